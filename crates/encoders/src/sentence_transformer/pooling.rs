//! Pooling: the hidden states of a text (`[T, H]`) to one vector.
//!
//! Several modes concatenate. A prompt may be left out of the pooling (`include_prompt`), as
//! instruction-tuned models ask; positions of `weightedmean` still count from the first token.

use serde::Deserialize;
use serde_json::{Map, Value};
use sidereal_core::files::read_json;
use sidereal_core::{Error, Result};
use std::path::Path;

/// How states become a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The first state.
    Cls,
    /// The largest value of each column.
    Max,
    /// The average state.
    Mean,
    /// The sum divided by the square root of the length.
    MeanSqrtLenTokens,
    /// The average weighted by position (1, 2, ...), as SGPT does.
    #[serde(rename = "weightedmean")]
    WeightedMean,
    /// The last state.
    #[serde(rename = "lasttoken")]
    LastToken,
}

/// Keys of the flags, in the order of concatenation.
const FLAGS: [(&str, Mode); 6] = [
    ("pooling_mode_cls_token", Mode::Cls),
    ("pooling_mode_max_tokens", Mode::Max),
    ("pooling_mode_mean_tokens", Mode::Mean),
    ("pooling_mode_mean_sqrt_len_tokens", Mode::MeanSqrtLenTokens),
    ("pooling_mode_weightedmean_tokens", Mode::WeightedMean),
    ("pooling_mode_lasttoken", Mode::LastToken),
];

/// What pooling a model wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooling {
    modes: Vec<Mode>,
    skip_prompt: bool,
}

impl Pooling {
    /// Mean pooling: what a model without a pooling module gets.
    pub fn mean() -> Self {
        Pooling { modes: vec![Mode::Mean], skip_prompt: false }
    }

    /// Reads the `config.json` of a pooling module over states of width `hidden`.
    pub fn read(path: &Path, hidden: usize) -> Result<Self> {
        let config: Map<String, Value> = read_json(path)?;
        Pooling::from_config(&config, hidden).map_err(|e| Error::data(path, e))
    }

    /// Flags, or the newer `pooling_mode`: a name or a list of names.
    pub fn from_config(config: &Map<String, Value>, hidden: usize) -> Result<Self, String> {
        for key in ["word_embedding_dimension", "embedding_dimension"] {
            if let Some(width) = config.get(key).filter(|w| w.as_u64() != Some(hidden as u64)) {
                return Err(format!("{key} is {width}, but the transformer's width is {hidden}"));
            }
        }
        let modes = match config.get("pooling_mode") {
            Some(Value::Array(names)) => names.iter().map(mode).collect::<Result<Vec<_>, _>>()?,
            Some(name) => vec![mode(name)?],
            None => FLAGS
                .into_iter()
                .filter(|(key, _)| config.get(*key) == Some(&Value::Bool(true)))
                .map(|(_, mode)| mode)
                .collect(),
        };
        Ok(Pooling {
            modes: if modes.is_empty() { vec![Mode::Mean] } else { modes },
            skip_prompt: config.get("include_prompt") == Some(&Value::Bool(false)),
        })
    }

    /// Width of the pooled vector.
    pub fn width(&self, hidden: usize) -> usize {
        self.modes.len() * hidden
    }

    /// Whether the tokens of the prompt are left out.
    pub fn skips_prompt(&self) -> bool {
        self.skip_prompt
    }

    /// Appends the vector of `states` (T x `hidden`). The first `prompt` tokens are left out if
    /// the model says so; where nothing is left, the vector is zero.
    pub fn pool(&self, states: &[f32], hidden: usize, prompt: usize, out: &mut Vec<f32>) {
        let first = if self.skip_prompt { prompt } else { 0 };
        let rows: Vec<&[f32]> = states.chunks_exact(hidden).skip(first).collect();
        for mode in &self.modes {
            let (Some(head), Some(last)) = (rows.first(), rows.last()) else {
                out.extend(std::iter::repeat_n(0.0, hidden));
                continue;
            };
            match mode {
                Mode::Cls => out.extend_from_slice(head),
                Mode::LastToken => out.extend_from_slice(last),
                Mode::Max => {
                    let start = out.len();
                    out.extend_from_slice(head);
                    for row in &rows[1..] {
                        for (o, v) in out[start..].iter_mut().zip(*row) {
                            *o = o.max(*v);
                        }
                    }
                }
                Mode::Mean => weighted(&rows, hidden, |_| 1.0, |sum| sum, out),
                Mode::MeanSqrtLenTokens => weighted(&rows, hidden, |_| 1.0, f64::sqrt, out),
                Mode::WeightedMean => {
                    weighted(&rows, hidden, |i| (first + i + 1) as f64, |sum| sum, out);
                }
            }
        }
    }
}

/// Appends `sum_i w_i row_i / divisor(sum_i w_i)`.
fn weighted(
    rows: &[&[f32]],
    hidden: usize,
    weight: impl Fn(usize) -> f64,
    divisor: impl Fn(f64) -> f64,
    out: &mut Vec<f32>,
) {
    let mut sum = vec![0f64; hidden];
    let mut total = 0.0;
    for (i, row) in rows.iter().enumerate() {
        let w = weight(i);
        total += w;
        for (s, v) in sum.iter_mut().zip(*row) {
            *s += w * f64::from(*v);
        }
    }
    let divisor = divisor(total);
    out.extend(sum.iter().map(|s| (s / divisor) as f32));
}

fn mode(name: &Value) -> Result<Mode, String> {
    Mode::deserialize(name).map_err(|_| {
        format!(
            "pooling_mode {name} is not supported; known: cls, max, mean, mean_sqrt_len_tokens, \
             weightedmean, lasttoken"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pooling(config: Value) -> Result<Pooling, String> {
        Pooling::from_config(config.as_object().unwrap(), 2)
    }

    fn pooled(config: Value, prompt: usize) -> Vec<f32> {
        let mut out = Vec::new();
        pooling(config).unwrap().pool(
            &[1.0, 8.0, 3.0, -4.0, 5.0, 2.0, 7.0, 0.0],
            2,
            prompt,
            &mut out,
        );
        out
    }

    #[test]
    fn modes_by_hand() {
        assert_eq!(pooled(json!({}), 0), [4.0, 1.5]);
        assert_eq!(pooled(json!({"pooling_mode_cls_token": true}), 0), [1.0, 8.0]);
        assert_eq!(pooled(json!({"pooling_mode_max_tokens": true}), 0), [7.0, 8.0]);
        assert_eq!(pooled(json!({"pooling_mode_mean_sqrt_len_tokens": true}), 0), [8.0, 3.0]);
        assert_eq!(pooled(json!({"pooling_mode_lasttoken": true}), 0), [7.0, 0.0]);
        // (1*1 + 2*3 + 3*5 + 4*7) / 10, (8 - 8 + 6 + 0) / 10
        assert_eq!(pooled(json!({"pooling_mode_weightedmean_tokens": true}), 0), [5.0, 0.6]);
        let two = json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true});
        assert_eq!(pooled(two, 0), [1.0, 8.0, 4.0, 1.5]);
        assert_eq!(pooled(json!({"pooling_mode": ["mean", "cls"]}), 0), [4.0, 1.5, 1.0, 8.0]);
    }

    #[test]
    fn a_prompt_is_left_out_only_when_asked() {
        assert_eq!(pooled(json!({}), 2), [4.0, 1.5]);
        assert_eq!(pooled(json!({"include_prompt": false}), 2), [6.0, 1.0]);
        assert_eq!(pooled(json!({"include_prompt": false}), 9), [0.0, 0.0]);
        // Weights keep their positions: (3*5 + 4*7) / 7.
        let weighted = json!({"include_prompt": false, "pooling_mode": "weightedmean"});
        assert_eq!(pooled(weighted, 2), [43.0 / 7.0, 6.0 / 7.0]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert!(
            pooling(json!({"word_embedding_dimension": 3})).unwrap_err().contains("width is 2")
        );
        assert!(pooling(json!({"pooling_mode": "median"})).unwrap_err().contains("known: cls"));
    }
}
