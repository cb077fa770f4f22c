//! Lookup-free quantization: `lfq`.
//!
//! Every dimension of the latent gives one bit, the sign (Yu et al., MAGVIT-v2, arXiv 2310.05737,
//! section 3.1): `q = sign(z)` with `sign(0) = -1`, bit `b` of a code has weight `2^b`, and there is no
//! codebook to learn. The gradient passes the sign as if it were not there. Beside the reconstruction
//! the loss has
//!
//! ```text
//! beta mean (z - sg(q))^2 + (entropy / d) (E[H(p(z))] - H(E[p(z)]))
//! ```
//!
//! with `p` the soft choice of a code, `softmax(-|z - c|^2 / t)` over all `c` in `{-1, 1}^d`, which
//! falls apart into independent bits, `p(bit) = sigmoid(4 z / t)`: the first entropy, to be low, makes
//! single choices sure; the second, to be high, makes all codes be used. Bits are grouped into the
//! codes of an ID, `bits = [8, 8, 8]` for three of 256.
//!
//! Shapes: vectors `N x D`, latents `N x d` with `d` the sum of `bits`. Cost: that of the two
//! perceptrons, and `6 x 2^b` operations a row and code for the entropy.
//!
//! Deviations: the second entropy is summed over codes of the ID, not taken over all `2^d` joint
//! choices, which no memory holds for `d = 24`; its mean is over chunks of 256 rows; it is divided by
//! the number of bits. The weights (0.25, 0.1) and the temperature are from memory, unverified; the
//! paper lowers the entropy's weight while training, here it stays.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | options, quantizer, signs and their gradients |
//! | `entropy` | entropies of bits and of codes made of bits |

mod entropy;

use crate::autoencoder::{AutoencoderCodebook, Bottleneck, Training, check_hidden, whole_numbers};
use entropy::Entropy;
use sidereal_core::{Code, Codebook, Error, Matrix, Quantizer, QuantizerInput, Result, Run};

sidereal_core::options! {
    /// Options of `lfq`.
    pub struct LfqOptions {
        /// Bits of each code: a list of 1 to 64 numbers from 1 to 16. 8 bits are 256 codes. Yu et
        /// al.: one code of 18 bits.
        pub bits: Vec<u32> = vec![8, 8, 8],
        /// Weight of the commitment, 0 and up.
        pub beta: f32 = 0.25,
        /// Weight of both entropies, 0 and up; 0 leaves them away.
        pub entropy: f32 = 0.1,
        /// Temperature of the soft choice, above 0. With 1 the entropies hardly move the latents of
        /// text vectors of length one, and all of them can end on one code.
        pub temperature: f32 = 0.01,
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

/// Fits an [`LfqCodebook`].
#[derive(Debug, Clone)]
pub struct Lfq {
    options: LfqOptions,
    signs: Signs,
}

/// A trained LFQ autoencoder.
pub type LfqCodebook = AutoencoderCodebook<Signs>;

impl Lfq {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: LfqOptions) -> Result<Self> {
        check_hidden(&options.hidden)?;
        let refuse = |key: &str, got: f32, allowed: &str| {
            let message = format!("got {got}; expected a finite number {allowed}");
            Err(Error::config(format!("quantizer.{key}"), message))
        };
        for (key, value) in [("beta", options.beta), ("entropy", options.entropy)] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(key, value, "from 0");
            }
        }
        if !(options.temperature.is_finite() && options.temperature > 0.0) {
            return refuse("temperature", options.temperature, "above 0");
        }
        let LfqOptions { beta, entropy, temperature, .. } = options;
        let signs = Signs::new(&options.bits, LfqLoss { beta, entropy, temperature })?;
        let lfq = Lfq { signs, options };
        lfq.training().check()?;
        Ok(lfq)
    }

    fn training(&self) -> Training {
        let LfqOptions { epochs, batch, lr, .. } = self.options;
        Training { task: "lfq", epochs, batch, lr }
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_lfq(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<LfqCodebook> {
        let (signs, hidden) = (self.signs.clone(), &self.options.hidden);
        let nothing = |_: &mut _, _: &[f32]| Ok(());
        LfqCodebook::fit(signs, hidden, self.training(), input.vectors, run, nothing)
    }
}

impl Quantizer for Lfq {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_lfq(input, run)?))
    }
}

/// Weights of the terms beside the reconstruction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LfqLoss {
    /// Weight of the commitment.
    pub beta: f32,
    /// Weight of both entropies.
    pub entropy: f32,
    /// Temperature `t` of the soft choice.
    pub temperature: f32,
}

/// Takes the sign of every dimension of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Signs {
    bits: Vec<u32>,
    widths: Vec<u32>,
    loss: LfqLoss,
}

impl Signs {
    /// `bits` of each code.
    ///
    /// Errors name `quantizer.bits`.
    pub fn new(bits: &[u32], loss: LfqLoss) -> Result<Self> {
        if bits.is_empty() || bits.len() > 64 || bits.iter().any(|b| !(1..=16).contains(b)) {
            let message = format!("got {bits:?}; expected a list of 1 to 64 numbers from 1 to 16");
            return Err(Error::config("quantizer.bits", message));
        }
        let widths = bits.iter().map(|b| 1 << b).collect();
        Ok(Signs { bits: bits.to_vec(), widths, loss })
    }
}

impl Bottleneck for Signs {
    type State = Entropy;
    const MARK: &'static str = "lfq";

    fn widths(&self) -> &[u32] {
        &self.widths
    }

    fn inputs(&self) -> usize {
        self.bits.iter().sum::<u32>() as usize
    }

    fn outputs(&self) -> usize {
        self.inputs()
    }

    fn forward(
        &self,
        z: &[f32],
        _rows: usize,
        q: &mut [f32],
        codes: &mut [Code],
        _state: &mut Entropy,
    ) {
        q.iter_mut().zip(z).for_each(|(q, z)| *q = if *z > 0.0 { 1.0 } else { -1.0 });
        let rows = q.chunks_exact(self.inputs()).zip(codes.chunks_exact_mut(self.bits.len()));
        for (mut q, codes) in rows {
            for (code, &bits) in codes.iter_mut().zip(&self.bits) {
                let (own, rest) = q.split_at(bits as usize);
                let set = |(b, q): (usize, &f32)| u32::from(*q > 0.0) << b;
                *code = own.iter().enumerate().map(set).sum();
                q = rest;
            }
        }
    }

    fn backward(
        &self,
        z: &[f32],
        _rows: usize,
        share: f32,
        dq: &[f32],
        dz: &mut [f32],
        _grads: &mut [f32],
        state: &mut Entropy,
    ) -> f64 {
        let elements = z.len().max(1) as f64;
        let factor = (2.0 * f64::from(self.loss.beta * share) / elements) as f32;
        let mut square = 0.0;
        for ((z, g), dz) in z.iter().zip(dq).zip(&mut *dz) {
            let off = if *z > 0.0 { z - 1.0 } else { z + 1.0 };
            square += f64::from(off) * f64::from(off);
            *dz = g + factor * off;
        }
        let mut own = f64::from(self.loss.beta) * square / elements;
        if self.loss.entropy > 0.0 {
            let weight = f64::from(self.loss.entropy) / self.inputs() as f64;
            let terms = state.add(z, &self.bits, self.loss.temperature, weight, share, dz);
            own += weight * terms;
        }
        own
    }

    fn look_up(&self, codes: &[Code], q: &mut [f32]) {
        let mut rest = q;
        for (code, &bits) in codes.iter().zip(&self.bits) {
            let (own, behind) = rest.split_at_mut(bits as usize);
            let sign = |b: usize| if code >> b & 1 == 1 { 1.0 } else { -1.0 };
            own.iter_mut().enumerate().for_each(|(b, q)| *q = sign(b));
            rest = behind;
        }
    }

    fn describe(&self) -> Matrix {
        let mut out = Matrix::zeros(1, self.bits.len());
        out.data_mut().iter_mut().zip(&self.bits).for_each(|(v, b)| *v = *b as f32);
        out
    }

    /// The weights of the loss are not part of a file: a bottleneck that was read has none.
    fn from_description(description: &Matrix) -> Result<Self> {
        let loss = LfqLoss { beta: 0.0, entropy: 0.0, temperature: 1.0 };
        Signs::new(&whole_numbers(description.data())?, loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSS: LfqLoss = LfqLoss { beta: 0.5, entropy: 0.3, temperature: 1.5 };

    #[test]
    fn bits_by_hand_and_back() {
        let signs = Signs::new(&[3, 1], LOSS).unwrap();
        assert_eq!(signs.widths(), [8, 2]);
        let z = [0.2, -0.1, 3.0, 0.0, -1.0, 1e-9, -2.0, 0.5];
        let (mut q, mut codes) = ([0.0; 8], [9; 4]);
        signs.forward(&z, 2, &mut q, &mut codes, &mut Entropy::default());
        assert_eq!(codes, [0b101, 0, 0b010, 1]);
        assert_eq!(q, [1.0, -1.0, 1.0, -1.0, -1.0, 1.0, -1.0, 1.0]);
        for (codes, q) in codes.chunks(2).zip(q.chunks(4)) {
            let mut back = [7.0; 4];
            signs.look_up(codes, &mut back);
            assert_eq!(back, q);
        }
        let mut first = [7.0; 4];
        signs.look_up(&[5], &mut first);
        assert_eq!(first, [1.0, -1.0, 1.0, 7.0]);
        let back = Signs::from_description(&signs.describe()).unwrap();
        assert_eq!(back.widths(), signs.widths());
    }

    /// All terms written out in f64, with every joint code listed and the signs held fixed.
    fn reference(bits: &[u32], loss: LfqLoss, z: &[f64], at: &[f64], w: &[f32]) -> f64 {
        let d = bits.iter().sum::<u32>() as usize;
        let n = (z.len() / d) as f64;
        let p = |v: f64| 1.0 / (1.0 + (-4.0 * v / f64::from(loss.temperature)).exp());
        let through: f64 = z.iter().zip(w).map(|(z, w)| z * f64::from(*w)).sum();
        let sign = |v: f64| if v > 0.0 { 1.0 } else { -1.0 };
        let commit: f64 = z.iter().zip(at).map(|(z, a)| (z - sign(*a)).powi(2)).sum();
        let sure: f64 =
            z.iter().map(|&v| -p(v) * p(v).ln() - (1.0 - p(v)) * (1.0 - p(v)).ln()).sum::<f64>()
                / n;
        let (mut used, mut first) = (0.0, 0);
        for &b in bits {
            for code in 0..1usize << b {
                let one = |row: &[f64]| -> f64 {
                    let bit = |i: usize| {
                        let p = p(row[first + i]);
                        if code >> i & 1 == 1 { p } else { 1.0 - p }
                    };
                    (0..b as usize).map(bit).product()
                };
                let mean = z.chunks(d).map(one).sum::<f64>() / n;
                used -= mean * mean.ln();
            }
            first += b as usize;
        }
        through
            + f64::from(loss.beta) * commit / z.len() as f64
            + f64::from(loss.entropy) / d as f64 * (sure - used)
    }

    #[test]
    fn gradients_are_differences_of_the_terms_written_out() {
        let bits = [3, 2];
        let signs = Signs::new(&bits, LOSS).unwrap();
        let z: Vec<f32> = (0..35).map(|i| ((i * 53) % 71) as f32 / 35.0 - 1.01).collect();
        let w: Vec<f32> = (0..35).map(|i| ((i * 31) % 17) as f32 / 100.0).collect();
        let wide: Vec<f64> = z.iter().map(|v| f64::from(*v)).collect();
        let (mut dz, mut state) = (vec![0.0; 35], Entropy::default());
        let own = signs.backward(&z, 7, 1.0, &w, &mut dz, &mut [], &mut state);
        let through: f64 = z.iter().zip(&w).map(|(z, w)| f64::from(z * w)).sum();
        let want = reference(&bits, LOSS, &wide, &wide, &w) - through;
        assert!((own - want).abs() < 1e-5, "{own} {want}");
        for i in 0..35 {
            let at = |h: f64| {
                let mut moved = wide.clone();
                moved[i] += h;
                reference(&bits, LOSS, &moved, &wide, &w)
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((numeric - f64::from(dz[i])).abs() < 1e-5, "{i}: {numeric} {}", dz[i]);
        }
    }

    #[test]
    fn refused_options() {
        let o = LfqOptions::default;
        for (options, part) in [
            (LfqOptions { bits: vec![], ..o() }, "quantizer.bits"),
            (LfqOptions { bits: vec![8, 17], ..o() }, "quantizer.bits"),
            (LfqOptions { beta: -1.0, ..o() }, "quantizer.beta"),
            (LfqOptions { entropy: f32::NAN, ..o() }, "quantizer.entropy"),
            (LfqOptions { temperature: 0.0, ..o() }, "quantizer.temperature"),
            (LfqOptions { batch: 0, ..o() }, "quantizer.batch"),
        ] {
            let message = Lfq::new(options).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
