//! The codes that the fitted vectors were given, where they are not those of the nearest centroid.
//!
//! Balanced and size-bounded levels, and leaves whose members are numbered, give the vectors of the
//! fit codes that no rule finds again. The codebook keeps them beside a hash of all vectors, and
//! gives them back to exactly the same matrix; all other vectors are quantized by its rule.

use crate::random::{join, split};
use rayon::prelude::*;
use sidereal_core::{Code, Codes, Error, Matrix, MatrixRef, Result, seed};

/// Start of the names of the tensors.
pub(crate) const TRAINING: &str = "training_";
const CODES: &str = "training_codes";
const HASH: &str = "training_hash";

/// Rows that are hashed together.
const BLOCK: usize = 1024;

/// Codes of the fitted vectors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Training {
    codes: Codes,
    hash: u64,
}

impl Training {
    pub(crate) fn new(vectors: MatrixRef<'_>, codes: Codes) -> Self {
        Training { codes, hash: hash(vectors) }
    }

    pub(crate) fn codes(&self) -> &Codes {
        &self.codes
    }

    /// The codes, if these are the fitted vectors.
    pub(crate) fn of(&self, vectors: MatrixRef<'_>) -> Option<&Codes> {
        (vectors.rows() == self.codes.rows() && hash(vectors) == self.hash).then_some(&self.codes)
    }

    /// Two tensors; codes and hash as 16-bit parts, because f32 holds no whole numbers above 2^24.
    pub(crate) fn tensors(&self) -> Result<[(String, Matrix); 2]> {
        let codes = split(self.codes.data().iter().map(|&c| u64::from(c)), 2);
        let codes = Matrix::new(self.codes.rows(), 2 * self.codes.levels(), codes)?;
        let hash = Matrix::new(1, 4, split(std::iter::once(self.hash), 4))?;
        Ok([(CODES.into(), codes), (HASH.into(), hash)])
    }

    /// Takes the two tensors out of those of a codebook; `None` when they are not there.
    pub(crate) fn take(tensors: &mut Vec<(String, Matrix)>) -> Result<Option<Self>> {
        let mut find = |name| {
            let at = tensors.iter().position(|(n, _)| n == name);
            at.map(|i| tensors.swap_remove(i).1)
        };
        let (codes, hash) = match (find(CODES), find(HASH)) {
            (None, None) => return Ok(None),
            (Some(codes), Some(hash)) => (codes, hash),
            _ => return Err(Error::mismatch(format!("codebook: `{CODES}` without `{HASH}`"))),
        };
        let data: Vec<Code> = join(codes.data(), 2)?.into_iter().map(|c| c as Code).collect();
        let hash = join(hash.data(), 4)?.first().copied();
        let hash = hash.ok_or_else(|| Error::mismatch(format!("codebook: `{HASH}` is empty")))?;
        let codes = Codes::new(codes.rows(), codes.cols() / 2, data)?;
        Ok(Some(Training { codes, hash }))
    }
}

/// A hash of shape and values.
fn hash(vectors: MatrixRef<'_>) -> u64 {
    let step = |h: u64, x: u64| seed::mix(h.wrapping_add(x));
    let block = |rows: &[f32]| rows.iter().fold(0, |h, v| step(h, u64::from(v.to_bits()) + 1));
    let width = BLOCK * vectors.cols().max(1);
    let hashes: Vec<u64> = vectors.data().par_chunks(width).map(block).collect();
    let shape = step(vectors.rows() as u64, vectors.cols() as u64);
    hashes.into_iter().fold(shape, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_vectors_get_their_codes() {
        let x = Matrix::new(3, 2, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let codes = Codes::new(3, 2, vec![0, Codes::NONE, 70_000, 1, 2, 3]).unwrap();
        let training = Training::new(x.view(), codes.clone());
        assert_eq!(training.of(x.view()), Some(&codes));
        let mut other = x.clone();
        other.row_mut(1)[1] = 4.0000005;
        assert_eq!(training.of(other.view()), None);
        let flat = MatrixRef::new(6, 1, x.data()).unwrap();
        assert_eq!(training.of(flat), None);
        let mut tensors = training.tensors().unwrap().to_vec();
        assert_eq!(Training::take(&mut tensors).unwrap(), Some(training.clone()));
        assert!(tensors.is_empty());
        assert_eq!(Training::take(&mut tensors).unwrap(), None);
        let mut half = training.tensors().unwrap()[..1].to_vec();
        assert!(Training::take(&mut half).is_err());
    }
}
