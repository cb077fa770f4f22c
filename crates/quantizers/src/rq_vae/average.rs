//! Codebooks as moving averages of the residuals that chose them (arXiv 1711.00937, appendix A.1).
//!
//! `N[k] <- g N[k] + (1 - g) n[k]`, `m[k] <- g m[k] + (1 - g) sum r`, `C[k] = m[k] / N[k]` with the
//! counts `n` and sums of a batch; `N = 1` and `m = C` at the start. A code that no row chose stays
//! where it is (both sides shrink alike), so there is no smoothing of counts.

use super::step::Usage;

/// The averages of one level.
#[derive(Debug, Clone)]
pub(super) struct Averages {
    counts: Vec<f32>,
    sums: Vec<f32>,
    codes: Vec<f32>,
}

impl Averages {
    /// Starts from `width` codes.
    pub fn new(codes: &[f32], width: usize) -> Self {
        Averages { counts: vec![1.0; width], sums: codes.to_vec(), codes: codes.to_vec() }
    }

    /// Takes a batch in and writes all codes.
    pub fn update(&mut self, usage: &Usage, decay: f32, codes: &mut [f32]) {
        let d = codes.len() / self.counts.len().max(1);
        let rest = 1.0 - decay;
        for (k, &n) in usage.counts.iter().enumerate() {
            let range = k * d..(k + 1) * d;
            self.counts[k] = decay * self.counts[k] + rest * n as f32;
            let sums = self.sums[range.clone()].iter_mut().zip(&usage.sums[range.clone()]);
            sums.for_each(|(m, s)| *m = decay * *m + rest * s);
            if n > 0 {
                let values = self.codes[range.clone()].iter_mut().zip(&self.sums[range]);
                values.for_each(|(c, m)| *c = m / self.counts[k]);
            } else if self.counts[k] < 1e-20 {
                // Long unused: the ratio would soon be lost to underflow.
                self.counts[k] = 1.0;
                self.sums[range.clone()].copy_from_slice(&self.codes[range]);
            }
        }
        codes.copy_from_slice(&self.codes);
    }

    /// Restarts one code.
    pub fn set(&mut self, code: usize, vector: &[f32]) {
        let range = code * vector.len()..(code + 1) * vector.len();
        self.counts[code] = 1.0;
        self.sums[range.clone()].copy_from_slice(vector);
        self.codes[range].copy_from_slice(vector);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_update_by_hand() {
        let mut a = Averages::new(&[1.0, 10.0], 2);
        let usage = Usage { counts: vec![3, 0], sums: vec![12.0, 0.0] };
        let mut codes = [f32::NAN; 2];
        a.update(&usage, 0.5, &mut codes);
        // N = (1 + 3) / 2 = 2, m = (1 + 12) / 2 = 6.5.
        assert_eq!(codes, [3.25, 10.0]);
        a.set(1, &[4.0]);
        a.update(&usage, 0.5, &mut codes);
        // N = (2 + 3) / 2 = 2.5, m = (6.5 + 12) / 2 = 9.25.
        assert_eq!(codes, [3.7, 4.0]);
        // A code keeps its place however long nobody chooses it.
        for _ in 0..500 {
            a.update(&usage, 0.5, &mut codes);
        }
        assert_eq!(codes[1], 4.0);
        assert!((codes[0] - 4.0).abs() < 1e-6); // the mean of its rows
    }
}
