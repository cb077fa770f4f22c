//! Scores of one list brought to one scale.

use sidereal_core::{Error, Result};

/// How the scores of a list are brought to one scale. All of them keep the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    /// `(s - min) / (max - min)`; 0 where all are equal.
    #[default]
    MinMax,
    /// `(s - mean) / deviation` over the list; 0 where all are equal.
    ZScore,
    /// `s - ln sum exp s` (TTR-MCR's fusion takes this of the decoder's scores).
    LogSoftmax,
    /// As they are.
    None,
}

impl Normalisation {
    /// Brings `scores` to this scale, in place. `what` names them in errors.
    ///
    /// Errors: a score that is not finite.
    pub fn apply(self, scores: &mut [f64], what: &str) -> Result<()> {
        if let Some(at) = scores.iter().position(|s| !s.is_finite()) {
            return Err(Error::NotFinite {
                what: format!("score {what} of candidate {at}"),
                step: None,
                help: "fused scores must be numbers".into(),
            });
        }
        let n = scores.len() as f64;
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let min = scores.iter().copied().fold(f64::INFINITY, f64::min);
        let (shift, scale) = match self {
            Normalisation::MinMax => (min, max - min),
            Normalisation::ZScore => {
                let mean = scores.iter().map(|s| s / n).sum::<f64>();
                let variance = scores.iter().map(|s| (s - mean) * (s - mean) / n).sum::<f64>();
                (mean, if max > min { variance.sqrt() } else { 0.0 })
            }
            Normalisation::LogSoftmax => {
                let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
                (max + sum.ln(), 1.0)
            }
            Normalisation::None => return Ok(()),
        };
        for s in scores {
            *s = if scale > 0.0 { (*s - shift) / scale } else { 0.0 };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(normalisation: Normalisation, scores: &[f64]) -> Vec<f64> {
        let mut scores = scores.to_vec();
        normalisation.apply(&mut scores, "x").unwrap();
        scores
    }

    #[test]
    fn by_hand() {
        assert_eq!(of(Normalisation::MinMax, &[3.0, 1.0, 2.0]), [1.0, 0.0, 0.5]);
        assert_eq!(of(Normalisation::ZScore, &[3.0, 1.0]), [1.0, -1.0]);
        let logs = of(Normalisation::LogSoftmax, &[3f64.ln(), 0.0]);
        assert!((logs[0].exp() - 0.75).abs() < 1e-12 && (logs[1].exp() - 0.25).abs() < 1e-12);
        assert_eq!(of(Normalisation::None, &[3.0, 1.0]), [3.0, 1.0]);
    }

    #[test]
    fn equal_scores_and_none() {
        for n in [Normalisation::MinMax, Normalisation::ZScore] {
            assert_eq!(of(n, &[0.1; 3]), [0.0; 3]);
            assert_eq!(of(n, &[-7.0]), [0.0]);
            assert!(of(n, &[]).is_empty());
        }
        assert!(of(Normalisation::LogSoftmax, &[]).is_empty());
    }

    #[test]
    fn what_is_no_number_has_a_name() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let e = Normalisation::MinMax.apply(&mut [0.0, bad], "popularity").unwrap_err();
            assert!(e.to_string().contains("popularity of candidate 1"), "{e}");
        }
    }
}
