//! Finite scalar quantization: `fsq`.
//!
//! Every dimension of a narrow latent is bounded and rounded to one of a few values; there is no
//! codebook to learn (Mentzer et al., arXiv 2309.15505, section 3 and appendix A.1). For dimension
//! `i` with `L_i` values
//!
//! ```text
//! h = (L - 1) (1 + 1e-3) / 2,  o = 1/2 if L is even else 0,  s = atanh(o / h)
//! b(z) = h tanh(z + s) - o,    q = round(b(z)) / floor(L / 2),  digit = round(b(z)) + floor(L / 2)
//! ```
//!
//! so that an even `L` has its values at `-L/2 .. L/2 - 1` and 0 stays a value. The gradient passes
//! the rounding as if it were not there. Dimensions in runs of `group` make one code of an ID, the
//! first dimension of a run counting fastest, as in the paper's single index.
//!
//! Encoder and decoder, loss and training are those of [`crate::autoencoder`]; the loss is the
//! reconstruction alone. Shapes: vectors `N x D`, latents `N x d` with `d` the number of levels. Cost:
//! that of the two perceptrons.
//!
//! Deviations: the paper trains on images; widths and training of the perceptrons are those of
//! `rq-vae` here. The paper advises `L >= 5`; 2 and up are accepted.

use crate::autoencoder::{AutoencoderCodebook, Bottleneck, Training, check_hidden, whole_numbers};
use crate::digits::Digits;
use sidereal_core::{Code, Codebook, Error, Matrix, Quantizer, QuantizerInput, Result, Run};

sidereal_core::options! {
    /// Options of `fsq`.
    pub struct FsqOptions {
        /// Values of each dimension of the latent: a list of 1 to 64 numbers from 2 to 65536.
        /// Mentzer et al. for 2^8 codes: 8, 6, 5; for 2^10: 8, 5, 5, 5; for 2^12: 7, 5, 5, 5, 5.
        pub levels: Vec<u32> = vec![8, 6, 5, 8, 6, 5, 8, 6, 5],
        /// Dimensions that make one code, 1 and up; the last code may have fewer. 1: every dimension
        /// is a code; 0: all dimensions are one code (Mentzer et al.). A code has at most 2^20 values.
        pub group: u32 = 3,
        /// Widths of the encoder's hidden layers, each 1 and up; the decoder mirrors them.
        pub hidden: Vec<u32> = vec![512, 256, 128],
        /// Passes over the vectors, 0 and up.
        pub epochs: u32 = 250,
        /// Rows of an update, 1 and up.
        pub batch: u32 = 1024,
        /// Learning rate of AdamW, 0 and up.
        pub lr: f32 = 1e-3,
    }
}

/// Fits an [`FsqCodebook`].
#[derive(Debug, Clone)]
pub struct Fsq {
    options: FsqOptions,
    rounding: Rounding,
}

/// A trained FSQ autoencoder.
pub type FsqCodebook = AutoencoderCodebook<Rounding>;

impl Fsq {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: FsqOptions) -> Result<Self> {
        check_hidden(&options.hidden)?;
        let fsq = Fsq { rounding: Rounding::new(&options.levels, options.group)?, options };
        fsq.training().check()?;
        Ok(fsq)
    }

    fn training(&self) -> Training {
        let FsqOptions { epochs, batch, lr, .. } = self.options;
        Training { task: "fsq", epochs, batch, lr }
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_fsq(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<FsqCodebook> {
        let (rounding, hidden) = (self.rounding.clone(), &self.options.hidden);
        let nothing = |_: &mut _, _: &[f32]| Ok(());
        FsqCodebook::fit(rounding, hidden, self.training(), input.vectors, run, nothing)
    }
}

impl Quantizer for Fsq {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_fsq(input, run)?))
    }
}

/// Slack of the bound, so that the outermost values are reached.
const EPS: f32 = 1e-3;

/// Bounds and rounds every dimension of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounding {
    digits: Digits,
    scales: Vec<Scale>,
}

/// Constants of one dimension.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    /// `h`.
    half: f32,
    /// `o`.
    offset: f32,
    /// `s`.
    shift: f32,
    /// `floor(L / 2)`.
    middle: f32,
}

impl Scale {
    fn new(values: u32) -> Self {
        let half = (values - 1) as f32 * (1.0 + EPS) / 2.0;
        let offset = if values.is_multiple_of(2) { 0.5 } else { 0.0 };
        Scale { half, offset, shift: (offset / half).atanh(), middle: (values / 2) as f32 }
    }
}

impl Rounding {
    /// `levels` values a dimension, `group` dimensions a code.
    ///
    /// Errors name the keys of [`FsqOptions`].
    pub fn new(levels: &[u32], group: u32) -> Result<Self> {
        let digits = Digits::new(levels, group, "group")?;
        Ok(Rounding { scales: levels.iter().map(|&l| Scale::new(l)).collect(), digits })
    }
}

impl Bottleneck for Rounding {
    type State = Vec<u32>;
    const MARK: &'static str = "fsq";

    fn widths(&self) -> &[u32] {
        self.digits.widths()
    }

    fn inputs(&self) -> usize {
        self.scales.len()
    }

    fn outputs(&self) -> usize {
        self.scales.len()
    }

    fn forward(
        &self,
        z: &[f32],
        _rows: usize,
        q: &mut [f32],
        codes: &mut [Code],
        values: &mut Vec<u32>,
    ) {
        let (d, levels) = (self.scales.len(), self.widths().len());
        values.resize(d, 0);
        let rows = z.chunks_exact(d).zip(q.chunks_exact_mut(d)).zip(codes.chunks_exact_mut(levels));
        for ((z, q), codes) in rows {
            for (((z, q), s), value) in z.iter().zip(q).zip(&self.scales).zip(&mut *values) {
                let rounded = (s.half * (z + s.shift).tanh() - s.offset).round();
                *q = rounded / s.middle;
                *value = (rounded + s.middle) as u32;
            }
            self.digits.join(values, codes);
        }
    }

    fn backward(
        &self,
        z: &[f32],
        _rows: usize,
        _share: f32,
        dq: &[f32],
        dz: &mut [f32],
        _grads: &mut [f32],
        _state: &mut Vec<u32>,
    ) -> f64 {
        let d = self.scales.len();
        let rows = z.chunks_exact(d).zip(dq.chunks_exact(d)).zip(dz.chunks_exact_mut(d));
        for ((z, dq), dz) in rows {
            for (((z, g), dz), s) in z.iter().zip(dq).zip(dz).zip(&self.scales) {
                let t = (z + s.shift).tanh();
                *dz = g * s.half * (1.0 - t * t) / s.middle;
            }
        }
        0.0
    }

    fn look_up(&self, codes: &[Code], q: &mut [f32]) {
        self.digits.split(codes, |i, value| {
            let middle = self.scales[i].middle;
            q[i] = (value as f32 - middle) / middle;
        });
    }

    fn describe(&self) -> Matrix {
        self.digits.describe()
    }

    fn from_description(description: &Matrix) -> Result<Self> {
        let numbers = whole_numbers(description.data())?;
        let [group, levels @ ..] = &numbers[..] else {
            return Err(Error::mismatch("fsq: an empty description"));
        };
        Rounding::new(levels, *group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(levels: u32, z: f32) -> (f32, Code) {
        let r = Rounding::new(&[levels], 1).unwrap();
        let (mut q, mut code) = ([9.0], [9]);
        r.forward(&[z], 1, &mut q, &mut code, &mut Vec::new());
        (q[0], code[0])
    }

    #[test]
    fn every_value_of_odd_and_even_levels_by_hand() {
        // L = 5: b in (-2.002, 2.002), values -1, -1/2, 0, 1/2, 1.
        assert_eq!([-9.0, 0.0, 9.0].map(|z| one(5, z)), [(-1.0, 0), (0.0, 2), (1.0, 4)]);
        // 2.002 tanh(0.5) = 0.925.
        assert_eq!(one(5, 0.5), (0.5, 3));
        // L = 8: b in (-4.0035, 3.0035), values -1 to 3/4, and z = 0 gives b = 0.
        assert_eq!([-9.0, 0.0, 9.0].map(|z| one(8, z)), [(-1.0, 0), (0.0, 4), (0.75, 7)]);
        // L = 2: -1 and 0.
        assert_eq!([-9.0, 9.0].map(|z| one(2, z)), [(-1.0, 0), (0.0, 1)]);
        for levels in 2..17 {
            let mut seen: Vec<Code> =
                (-2000..=2000).map(|i| one(levels, i as f32 / 200.0).1).collect();
            assert!(seen.is_sorted());
            seen.dedup();
            assert_eq!(seen, (0..levels).collect::<Vec<_>>());
        }
    }

    #[test]
    fn codes_stand_for_what_was_rounded() {
        let levels = [3, 8, 5, 4, 2];
        for group in [0, 1, 2, 3] {
            let r = Rounding::new(&levels, group).unwrap();
            let n = 50;
            let z: Vec<f32> = (0..n * 5).map(|i| ((i * 37) % 101) as f32 / 25.0 - 2.0).collect();
            let (mut q, mut codes) = (vec![0.0; n * 5], vec![0; n * r.widths().len()]);
            r.forward(&z, n, &mut q, &mut codes, &mut Vec::new());
            for (q, c) in q.chunks(5).zip(codes.chunks(r.widths().len())) {
                assert!(c.iter().zip(r.widths()).all(|(c, w)| c < w));
                let mut back = [7.0; 5];
                r.look_up(c, &mut back);
                assert_eq!(back, q);
            }
            assert_eq!(Rounding::from_description(&r.describe()).unwrap(), r);
        }
    }

    /// `sum_i w_i b(z_i) / middle_i`, the rounding left out, against its differences.
    #[test]
    fn the_slope_is_that_of_the_bound() {
        let levels = [3, 8, 5];
        let r = Rounding::new(&levels, 1).unwrap();
        let (z, w) = ([0.3f32, -1.2, 0.8], [1.0f32, -2.0, 0.5]);
        let value = |z: &[f64]| -> f64 {
            let one = |(i, z): (usize, &f64)| {
                let l = f64::from(levels[i]);
                let h = (l - 1.0) * 1.001 / 2.0;
                let o = if levels[i] % 2 == 0 { 0.5 } else { 0.0 };
                f64::from(w[i]) * (h * (z + (o / h).atanh()).tanh() - o) / (l / 2.0).floor()
            };
            z.iter().enumerate().map(one).sum()
        };
        let mut dz = [0.0; 3];
        let own = r.backward(&z, 1, 1.0, &w, &mut dz, &mut [], &mut Vec::new());
        assert_eq!(own, 0.0);
        for i in 0..3 {
            let at = |h: f64| {
                let mut z = z.map(f64::from);
                z[i] += h;
                value(&z)
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((numeric - f64::from(dz[i])).abs() < 1e-5, "{i}: {numeric} {}", dz[i]);
        }
    }

    #[test]
    fn refused_options() {
        let refused = |options: FsqOptions| Fsq::new(options).unwrap_err().to_string();
        let o = FsqOptions::default;
        for (options, part) in [
            (FsqOptions { levels: vec![], ..o() }, "quantizer.levels"),
            (FsqOptions { levels: vec![5, 1], ..o() }, "dimension 2"),
            (FsqOptions { levels: vec![2000; 3], group: 0, ..o() }, "quantizer.group"),
            (FsqOptions { hidden: vec![0], ..o() }, "quantizer.hidden"),
            (FsqOptions { batch: 0, ..o() }, "quantizer.batch"),
            (FsqOptions { lr: -1.0, ..o() }, "quantizer.lr"),
        ] {
            let message = refused(options);
            assert!(message.contains(part), "{message}");
        }
        let empty = Matrix::zeros(1, 0);
        assert!(Rounding::from_description(&empty).is_err());
    }
}
