//! Values of several dimensions as one code, and back: mixed radix, the first dimension fastest.

use sidereal_core::{Code, Error, Matrix, Result};

/// Largest number of values of one code.
const MOST: u64 = 1 << 20;

/// How dimensions are joined to codes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Digits {
    /// Values of each dimension.
    levels: Vec<u32>,
    /// Dimensions a code.
    group: usize,
    widths: Vec<u32>,
}

impl Digits {
    /// `levels` values a dimension, `group` dimensions a code, 0 for all.
    ///
    /// Errors name `quantizer.levels`, and `quantizer.{key}` where a code has too many values.
    pub fn new(levels: &[u32], group: u32, key: &str) -> Result<Self> {
        let refuse =
            |key: &str, message: String| Err(Error::config(format!("quantizer.{key}"), message));
        if levels.is_empty() || levels.len() > 64 {
            let n = levels.len();
            return refuse("levels", format!("{n} dimensions; expected a list of 1 to 64 numbers"));
        }
        if let Some(i) = levels.iter().position(|l| !(2..=65536).contains(l)) {
            return refuse(
                "levels",
                format!(
                    "dimension {} has {} values in {levels:?}; expected 2 to 65536",
                    i + 1,
                    levels[i]
                ),
            );
        }
        let group = if group == 0 { levels.len() } else { (group as usize).min(levels.len()) };
        let product = |g: &[u32]| {
            g.iter().try_fold(1u64, |p, &l| Some(p * u64::from(l)).filter(|p| *p <= MOST))
        };
        let mut widths = Vec::new();
        for run in levels.chunks(group) {
            match product(run) {
                Some(width) => widths.push(width as u32),
                None => {
                    return refuse(
                        key,
                        format!(
                            "one code of the dimensions {run:?} has more than {MOST} values; \
                             expected fewer"
                        ),
                    );
                }
            }
        }
        Ok(Digits { levels: levels.to_vec(), group, widths })
    }

    /// Values of each code.
    pub fn widths(&self) -> &[u32] {
        &self.widths
    }

    /// Values of each dimension.
    pub fn levels(&self) -> &[u32] {
        &self.levels
    }

    /// Codes of one row from the values of its dimensions.
    pub fn join(&self, values: &[u32], codes: &mut [Code]) {
        let runs = values.chunks(self.group).zip(self.levels.chunks(self.group));
        for ((values, levels), code) in runs.zip(codes) {
            *code = values.iter().zip(levels).rev().fold(0, |code, (v, l)| code * l + v);
        }
    }

    /// Calls `each` with dimension and value for all dimensions of the first codes, all known.
    pub fn split(&self, codes: &[Code], mut each: impl FnMut(usize, u32)) {
        for (c, (levels, &code)) in self.levels.chunks(self.group).zip(codes).enumerate() {
            let mut rest = code;
            for (i, l) in levels.iter().enumerate() {
                each(c * self.group + i, rest % l);
                rest /= l;
            }
        }
    }

    /// Group, then the values of each dimension: `1 x (1 + d)`.
    pub fn describe(&self) -> Matrix {
        let mut out = Matrix::zeros(1, 1 + self.levels.len());
        let values = out.data_mut();
        values[0] = self.group as f32;
        values[1..].iter_mut().zip(&self.levels).for_each(|(v, l)| *v = *l as f32);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_dimension_counts_fastest() {
        let d = Digits::new(&[8, 6, 5, 3], 3, "group").unwrap();
        assert_eq!(d.widths(), [240, 3]);
        let mut codes = [0; 2];
        d.join(&[7, 2, 4, 1], &mut codes);
        assert_eq!(codes, [7 + 8 * (2 + 6 * 4), 1]);
        assert_eq!(Digits::new(&[2; 20], 0, "group").unwrap().widths(), [1 << 20]);
        assert!(Digits::new(&[2; 21], 0, "group").is_err());
    }

    proptest! {
        #[test]
        fn codes_come_apart_again(
            pairs in proptest::collection::vec((2u32..12, 0u32..1000), 1..12), group in 1u32..5,
        ) {
            let levels: Vec<u32> = pairs.iter().map(|p| p.0).collect();
            let values: Vec<u32> = pairs.iter().map(|p| p.1 % p.0).collect();
            let d = Digits::new(&levels, group, "group").unwrap();
            let mut codes = vec![0; d.widths().len()];
            d.join(&values, &mut codes);
            let mut back = vec![u32::MAX; values.len()];
            d.split(&codes, |i, v| back[i] = v);
            prop_assert_eq!(back, values);
        }
    }
}
