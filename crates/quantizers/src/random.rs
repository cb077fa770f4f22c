//! Uniformly random codes: the control (TIGER, arXiv 2305.05065, section 4.2, "Random ID").
//!
//! Code `l` of row `i` is drawn from a counter-based generator keyed by (seed, i, l), so that it
//! depends on nothing else, least of all on the vectors. Cost: one mix of 64 bits a code.

use crate::levels::check_levels;
use rayon::prelude::*;
use sidereal_core::{
    Code, Codebook, Codes, Error, Matrix, Quantizer, QuantizerInput, Result, Run, seed,
};

sidereal_core::options! {
    /// Options of `random`.
    pub struct RandomOptions {
        /// Codes of each level: a list of 1 to 64 widths, each 1 and up.
        pub levels: Vec<u32> = vec![256, 256, 256],
    }
}

/// Gives every row random codes.
#[derive(Debug, Clone)]
pub struct Random {
    options: RandomOptions,
}

impl Random {
    /// Checks the options.
    pub fn new(options: RandomOptions) -> Result<Self> {
        check_levels(&options.levels)?;
        Ok(Random { options })
    }
}

impl Quantizer for Random {
    fn fit(&self, _input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(RandomCodebook { widths: self.options.levels.clone(), seed: run.seed }))
    }
}

/// Draws the codes of a row from (seed, row); the vectors only count the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomCodebook {
    widths: Vec<u32>,
    seed: u64,
}

/// Name of the tensor that holds the seed, in four parts of 16 bits, which f32 holds exactly.
pub(crate) const SEED: &str = "random_seed";
/// Name of the tensor that holds the widths, in two parts of 16 bits each.
const WIDTHS: &str = "random_widths";

impl RandomCodebook {
    fn code(&self, row: usize, level: usize) -> Code {
        let key = seed::key(self.seed, "random-codes", row as u64);
        let draw = seed::mix(key.wrapping_add(seed::mix(level as u64 + 1)));
        // The high half of the product is uniform up to a bias of width / 2^64.
        ((u128::from(draw) * u128::from(self.widths[level])) >> 64) as Code
    }

    /// From what [`Codebook::tensors`] gives.
    pub fn from_tensors(tensors: Vec<(String, Matrix)>) -> Result<Self> {
        let find = |name: &str| {
            let found = tensors.iter().find(|(n, _)| n == name);
            found.map(|(_, m)| m).ok_or_else(|| {
                Error::mismatch(format!("random codebook: tensor `{name}` is missing"))
            })
        };
        let seed = join(find(SEED)?.data(), 4)?.first().copied().unwrap_or(0);
        let widths: Vec<u32> =
            join(find(WIDTHS)?.data(), 2)?.into_iter().map(|w| w as u32).collect();
        check_levels(&widths).map_err(|e| Error::mismatch(format!("random codebook: {e}")))?;
        Ok(RandomCodebook { widths, seed })
    }
}

pub(crate) fn split(values: impl Iterator<Item = u64>, parts: usize) -> Vec<f32> {
    values.flat_map(|v| (0..parts).map(move |p| ((v >> (16 * p)) & 0xFFFF) as f32)).collect()
}

pub(crate) fn join(values: &[f32], parts: usize) -> Result<Vec<u64>> {
    let whole = |v: &f32| (0.0..65536.0).contains(v) && v.fract() == 0.0;
    if !values.iter().all(whole) || !values.len().is_multiple_of(parts) {
        return Err(Error::mismatch("codebook: expected whole numbers from 0 to 65535"));
    }
    let one = |c: &[f32]| c.iter().rev().fold(0u64, |sum, &v| (sum << 16) | v as u64);
    Ok(values.chunks(parts).map(one).collect())
}

impl Codebook for RandomCodebook {
    fn widths(&self) -> &[u32] {
        &self.widths
    }

    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        let (rows, levels) = (input.vectors.rows(), self.widths.len());
        let mut codes = vec![0; rows * levels];
        codes.par_chunks_mut(levels).enumerate().for_each(|(row, out)| {
            for (level, code) in out.iter_mut().enumerate() {
                *code = self.code(row, level);
            }
        });
        Codes::new(rows, levels, codes)
    }

    fn reconstruct(&self, _codes: &Codes, _levels: usize) -> Option<Matrix> {
        None
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        let row = |data: Vec<f32>| {
            let mut m = Matrix::zeros(1, data.len());
            m.data_mut().copy_from_slice(&data);
            m
        };
        vec![
            (SEED.into(), row(split(std::iter::once(self.seed), 4))),
            (WIDTHS.into(), row(split(self.widths.iter().map(|&w| u64::from(w)), 2))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::MatrixRef;

    fn codes(seed: u64, levels: &[u32], rows: usize) -> Codes {
        let quantizer = Random::new(RandomOptions { levels: levels.to_vec() }).unwrap();
        let data = vec![f32::NAN; rows];
        let input = QuantizerInput::vectors(MatrixRef::new(rows, 1, &data).unwrap());
        quantizer.fit(&input, &Run::quiet(seed)).unwrap().quantize(&input).unwrap()
    }

    #[test]
    fn codes_depend_on_seed_and_row_alone() {
        let (a, b) = (codes(1, &[256, 256, 256], 100), codes(1, &[256, 256, 256], 60));
        assert_eq!(a.data()[..180], *b.data());
        assert_ne!(a, codes(2, &[256, 256, 256], 100));
    }

    #[test]
    fn every_code_of_every_level_is_equally_likely() {
        let (rows, levels) = (32_000, [16u32, 5, 1]);
        let c = codes(3, &levels, rows);
        for (l, &w) in levels.iter().enumerate() {
            let mut counts = vec![0f64; w as usize];
            (0..rows).for_each(|i| counts[c.row(i)[l] as usize] += 1.0);
            let mean = rows as f64 / f64::from(w);
            let chi2: f64 = counts.iter().map(|n| (n - mean) * (n - mean) / mean).sum();
            // The 0.1 % point for 15 degrees of freedom is 37.7.
            assert!(chi2 < 37.7, "level {l}: {chi2}");
        }
        // Levels are independent: the pair takes all its 80 values about equally often.
        let mut pairs = vec![0f64; 80];
        (0..rows).for_each(|i| pairs[(c.row(i)[0] * 5 + c.row(i)[1]) as usize] += 1.0);
        let chi2: f64 = pairs.iter().map(|n| (n - 400.0) * (n - 400.0) / 400.0).sum();
        assert!(chi2 < 124.8, "pairs: {chi2}"); // 0.1 % point for 79 degrees of freedom
    }

    #[test]
    fn tensors_round_trip() {
        let book =
            RandomCodebook { widths: vec![1, 70_000, u32::MAX], seed: 0xDEAD_BEEF_0123_4567 };
        assert_eq!(RandomCodebook::from_tensors(book.tensors()).unwrap(), book);
        let bad = vec![(SEED.to_string(), Matrix::new(1, 1, vec![0.5]).unwrap())];
        assert!(RandomCodebook::from_tensors(bad).is_err());
    }
}
