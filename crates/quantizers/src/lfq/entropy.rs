//! Entropies of independent bits and of codes made of them.
//!
//! For bits `p_i = sigmoid(a_i)`, `a = 4 z / t`: the entropy of one bit is `ln(1 + e^a) - a p` with
//! slope `-a p (1 - p)` in `a`. The joint distribution of `b` bits is built by doubling, `2^b` products
//! in all, and its backward pass folds it together again, so neither takes a pass a bit over all codes.

use sidereal_nn::kernels::math::{size, zeros};

/// Means this small count as this much under the logarithm.
const SMALLEST: f64 = 1e-30;

/// Buffers of a chunk, reused.
#[derive(Debug, Default)]
pub struct Entropy {
    /// `p` of every bit.
    p: Vec<f32>,
    /// Joint distribution of a row.
    joint: Vec<f32>,
    /// Slope of the entropy in the joint distribution of a row.
    slope: Vec<f32>,
    /// Mean joint distribution.
    mean: Vec<f64>,
}

impl Entropy {
    /// `E[H(bit)]` summed over bits less `H(E[code])` summed over codes, means over the rows of `z`;
    /// adds `weight * share` times its gradient to `dz`.
    pub(super) fn add(
        &mut self,
        z: &[f32],
        bits: &[u32],
        temperature: f32,
        weight: f64,
        share: f32,
        dz: &mut [f32],
    ) -> f64 {
        let d = bits.iter().sum::<u32>() as usize;
        let rows = (z.len() / d.max(1)).max(1) as f64;
        let factor = weight * f64::from(share) / rows;
        let slope = 4.0 / temperature;
        size(&mut self.p, z.len());
        let mut total = 0.0;
        for ((z, p), dz) in z.iter().zip(&mut self.p).zip(&mut *dz) {
            let a = slope * z;
            let e = (-a.abs()).exp();
            *p = if a >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) };
            total += f64::from(a.max(0.0) + e.ln_1p() - a * *p);
            *dz -= (factor * f64::from(a * *p * (1.0 - *p) * slope)) as f32;
        }
        total /= rows;
        let mut first = 0;
        for &b in bits {
            let b = b as usize;
            total -= self.code(d, first, b, factor * f64::from(slope), rows, dz);
            first += b;
        }
        total
    }

    /// `H(E[code])` of the `b` bits from `first`; takes `factor` times its gradient in `a` off `dz`.
    fn code(
        &mut self,
        d: usize,
        first: usize,
        b: usize,
        factor: f64,
        rows: f64,
        dz: &mut [f32],
    ) -> f64 {
        size(&mut self.joint, 1 << b);
        self.mean.clear();
        self.mean.resize(1 << b, 0.0);
        for row in self.p.chunks_exact(d) {
            spread(&row[first..first + b], &mut self.joint);
            self.mean.iter_mut().zip(&self.joint).for_each(|(m, j)| *m += f64::from(*j));
        }
        self.mean.iter_mut().for_each(|m| *m /= rows);
        let entropy = -self.mean.iter().map(|m| m * m.max(SMALLEST).ln()).sum::<f64>();
        zeros(&mut self.slope, 1 << b);
        for (row, dz) in self.p.chunks_exact(d).zip(dz.chunks_exact_mut(d)) {
            let p = &row[first..first + b];
            spread(p, &mut self.joint);
            for (s, m) in self.slope.iter_mut().zip(&self.mean) {
                *s = -(m.max(SMALLEST).ln() + 1.0) as f32;
            }
            fold(p, &mut self.joint, &mut self.slope, |i, dp| {
                dz[first + i] -= (factor * f64::from(dp * p[i] * (1.0 - p[i]))) as f32;
            });
        }
        entropy
    }
}

/// The joint distribution of independent bits, bit `i` with weight `2^i`.
fn spread(p: &[f32], joint: &mut [f32]) {
    joint[0] = 1.0;
    for (i, p) in p.iter().enumerate() {
        let (low, high) = joint.split_at_mut(1 << i);
        for (low, high) in low.iter_mut().zip(high) {
            *high = *low * p;
            *low *= 1.0 - p;
        }
    }
}

/// From the gradient in the joint distribution to that in every bit; both buffers are used up.
fn fold(p: &[f32], joint: &mut [f32], slope: &mut [f32], mut each: impl FnMut(usize, f32)) {
    for (i, p) in p.iter().enumerate().rev() {
        let half = 1 << i;
        let (low, high) = joint[..2 * half].split_at_mut(half);
        let (below, above) = slope[..2 * half].split_at_mut(half);
        let mut dp = 0.0;
        for c in 0..half {
            low[c] += high[c];
            dp += low[c] * (above[c] - below[c]);
            below[c] += p * (above[c] - below[c]);
        }
        each(i, dp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joint_distributions_by_hand() {
        let mut joint = [0.0; 4];
        spread(&[0.25, 0.5], &mut joint);
        assert_eq!(joint, [0.375, 0.125, 0.375, 0.125]);
        // A slope of 1 for code 3 alone: dp_0 = p_1, dp_1 = p_0.
        let mut dp = [0.0; 2];
        fold(&[0.25, 0.5], &mut joint, &mut [0.0, 0.0, 0.0, 1.0], |i, v| dp[i] = v);
        assert_eq!(dp, [0.5, 0.25]);
    }

    #[test]
    fn extremes_are_finite() {
        let mut dz = [0.0; 4];
        // Two rows that are sure of different codes: single choices cost nothing, both codes are
        // used, so the difference is -ln 2.
        let z = [100.0, -100.0, -100.0, -100.0];
        let got = Entropy::default().add(&z, &[2], 1.0, 1.0, 1.0, &mut dz);
        assert!((got + 2f64.ln()).abs() < 1e-6, "{got}");
        assert!(dz.iter().all(|g| g.abs() < 1e-6));
        // Undecided everywhere: 2 ln 2 for the bits, 2 ln 2 for the code.
        let got = Entropy::default().add(&[0.0; 4], &[2], 1.0, 1.0, 1.0, &mut dz);
        assert!(got.abs() < 1e-6, "{got}");
    }
}
