//! Residual finite scalar quantization: `residual-fsq`.
//!
//! Each depth rounds what the one before left over on a grid that is finer by its number of
//! intervals, so codes refine each other as in residual quantization and there is still no codebook
//! to learn. For a dimension with `L` values and `u = tanh(z)` in `(-1, 1)`:
//!
//! ```text
//! s_l = (L - 1)^-l,  q_l = s_l (2 round((r_l / s_l + 1) (L - 1) / 2) / (L - 1) - 1),
//! r_0 = u,  r_{l+1} = r_l - q_l,  q = sum_l q_l
//! ```
//!
//! The values of a level are the grid `-1, -1 + 2 / (L - 1), ..., 1`, symmetric for even and odd `L`,
//! and half an interval is `s_1`: the residual of a level fits the next one exactly, so after `l`
//! levels `|u - q| <= (L - 1)^-l`. The gradient passes all levels as if they were not there:
//! `dz = dq (1 - tanh(z)^2)`. All dimensions of a depth make one code, the first counting fastest.
//!
//! Sources: FSQ (arXiv 2309.15505); residual levels scaled by `(L - 1)^-l` as in the public
//! `vector-quantize-pytorch` library and the symmetric grid of arXiv 2411.19842, both from memory and
//! unverified. Deviation: the bound is one `tanh` before the first level, none between levels.
//! Encoder, decoder, loss and training are those of [`crate::autoencoder`].

use crate::autoencoder::{AutoencoderCodebook, Bottleneck, Training, check_hidden, whole_numbers};
use crate::digits::Digits;
use sidereal_core::{Code, Codebook, Error, Matrix, Quantizer, QuantizerInput, Result, Run};

sidereal_core::options! {
    /// Options of `residual-fsq`.
    pub struct ResidualFsqOptions {
        /// Values of each dimension of the latent, the same at every depth: a list of 1 to 64 numbers
        /// from 3 to 65536, whose product, the codes of a level, is at most 2^20.
        pub levels: Vec<u32> = vec![4, 4, 4, 4],
        /// Codes of an ID, 1 to 16.
        pub depth: u32 = 3,
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

/// Fits a [`ResidualFsqCodebook`].
#[derive(Debug, Clone)]
pub struct ResidualFsq {
    options: ResidualFsqOptions,
    rounding: ResidualRounding,
}

/// A trained residual FSQ autoencoder.
pub type ResidualFsqCodebook = AutoencoderCodebook<ResidualRounding>;

impl ResidualFsq {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: ResidualFsqOptions) -> Result<Self> {
        check_hidden(&options.hidden)?;
        let rounding = ResidualRounding::new(&options.levels, options.depth)?;
        let fsq = ResidualFsq { rounding, options };
        fsq.training().check()?;
        Ok(fsq)
    }

    fn training(&self) -> Training {
        let ResidualFsqOptions { epochs, batch, lr, .. } = self.options;
        Training { task: "residual-fsq", epochs, batch, lr }
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_residual_fsq(
        &self,
        input: &QuantizerInput<'_>,
        run: &Run<'_>,
    ) -> Result<ResidualFsqCodebook> {
        let (rounding, hidden) = (self.rounding.clone(), &self.options.hidden);
        let nothing = |_: &mut _, _: &[f32]| Ok(());
        AutoencoderCodebook::fit(rounding, hidden, self.training(), input.vectors, run, nothing)
    }
}

impl Quantizer for ResidualFsq {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_residual_fsq(input, run)?))
    }
}

/// Rounds every dimension of a row on finer and finer grids.
#[derive(Debug, Clone, PartialEq)]
pub struct ResidualRounding {
    digits: Digits,
    depth: usize,
    widths: Vec<u32>,
}

impl ResidualRounding {
    /// `levels` values a dimension, `depth` codes.
    ///
    /// Errors name the keys of [`ResidualFsqOptions`].
    pub fn new(levels: &[u32], depth: u32) -> Result<Self> {
        let digits = Digits::new(levels, 0, "levels")?;
        if let Some(i) = levels.iter().position(|&l| l < 3) {
            let message = format!(
                "dimension {} has {} values in {levels:?}; expected at least 3, or its residuals \
                 never shrink",
                i + 1,
                levels[i]
            );
            return Err(Error::config("quantizer.levels", message));
        }
        if !(1..=16).contains(&depth) {
            let message = format!("got {depth}; expected 1 to 16");
            return Err(Error::config("quantizer.depth", message));
        }
        let depth = depth as usize;
        Ok(ResidualRounding { widths: vec![digits.widths()[0]; depth], digits, depth })
    }
}

/// Value number `index` of a grid of `levels` values from -1 to 1.
fn on_grid(index: u32, levels: u32) -> f32 {
    2.0 * index as f32 / (levels - 1) as f32 - 1.0
}

impl Bottleneck for ResidualRounding {
    type State = Vec<u32>;
    const MARK: &'static str = "residual-fsq";

    fn widths(&self) -> &[u32] {
        &self.widths
    }

    fn inputs(&self) -> usize {
        self.digits.levels().len()
    }

    fn outputs(&self) -> usize {
        self.digits.levels().len()
    }

    fn forward(
        &self,
        z: &[f32],
        _rows: usize,
        q: &mut [f32],
        codes: &mut [Code],
        values: &mut Vec<u32>,
    ) {
        let (levels, depth) = (self.digits.levels(), self.depth);
        let d = levels.len();
        values.resize(d * depth, 0);
        let rows = z.chunks_exact(d).zip(q.chunks_exact_mut(d)).zip(codes.chunks_exact_mut(depth));
        for ((z, q), codes) in rows {
            for (i, (z, q)) in z.iter().zip(q).enumerate() {
                // The residual in units of its scale, which grows by L - 1 a level.
                let (mut residual, mut scale) = (z.tanh(), 1.0);
                let intervals = (levels[i] - 1) as f32;
                *q = 0.0;
                for l in 0..depth {
                    let index = ((residual + 1.0) * intervals / 2.0).round();
                    let index = index.clamp(0.0, intervals) as u32;
                    let value = on_grid(index, levels[i]);
                    values[l * d + i] = index;
                    *q += value * scale;
                    residual = (residual - value) * intervals;
                    scale /= intervals;
                }
            }
            for (values, code) in values.chunks_exact(d).zip(codes) {
                self.digits.join(values, std::slice::from_mut(code));
            }
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
        for ((z, g), dz) in z.iter().zip(dq).zip(dz) {
            let t = z.tanh();
            *dz = g * (1.0 - t * t);
        }
        0.0
    }

    fn look_up(&self, codes: &[Code], q: &mut [f32]) {
        let levels = self.digits.levels();
        if !codes.is_empty() {
            q.fill(0.0);
        }
        for (l, code) in codes.iter().enumerate() {
            self.digits.split(std::slice::from_ref(code), |i, index| {
                let scale = (0..l).fold(1.0, |s, _| s / (levels[i] - 1) as f32);
                q[i] += on_grid(index, levels[i]) * scale;
            });
        }
    }

    fn describe(&self) -> Matrix {
        let mut out = self.digits.describe();
        out.data_mut()[0] = self.depth as f32;
        out
    }

    fn from_description(description: &Matrix) -> Result<Self> {
        let numbers = whole_numbers(description.data())?;
        let [depth, levels @ ..] = &numbers[..] else {
            return Err(Error::mismatch("residual-fsq: an empty description"));
        };
        ResidualRounding::new(levels, *depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(r: &ResidualRounding, z: &[f32]) -> (Vec<f32>, Vec<Code>) {
        let n = z.len() / r.inputs();
        let (mut q, mut codes) = (vec![0.0; z.len()], vec![0; n * r.widths().len()]);
        r.forward(z, n, &mut q, &mut codes, &mut Vec::new());
        (q, codes)
    }

    #[test]
    fn three_levels_by_hand() {
        // L = 3: grid -1, 0, 1. u = 0.3: 0 (index 1), then 0.3 / 0.5 = 0.6: 1 (index 2), worth 0.5;
        // then (0.3 - 0.5) / 0.25 = -0.8: -1 (index 0), worth -0.25.
        let r = ResidualRounding::new(&[3], 3).unwrap();
        let (q, codes) = run(&r, &[0.3f32.atanh()]);
        assert_eq!(codes, [1, 2, 0]);
        assert!((q[0] - 0.25).abs() < 1e-6);
        // The ends of the grid, and -1 again for what is left of them: none.
        let (q, codes) = run(&r, &[9.0, -9.0]);
        assert_eq!((q, codes), (vec![1.0, -1.0], vec![2, 1, 1, 0, 1, 1]));
    }

    #[test]
    fn every_level_bounds_what_is_left() {
        for levels in [3u32, 4, 5, 8] {
            let r = ResidualRounding::new(&[levels, levels], 5).unwrap();
            let z: Vec<f32> = (0..400).map(|i| (i as f32 - 200.0) / 60.0).collect();
            let (q, codes) = run(&r, &z);
            for (i, codes) in codes.chunks(5).enumerate() {
                for l in 1..=5 {
                    let mut hat = [9.0; 2];
                    r.look_up(&codes[..l], &mut hat);
                    let bound = ((levels - 1) as f32).powi(-(l as i32)) + 1e-6;
                    for j in 0..2 {
                        assert!((hat[j] - z[2 * i + j].tanh()).abs() <= bound);
                    }
                    if l == 5 {
                        assert!((0..2).all(|j| (hat[j] - q[2 * i + j]).abs() < 1e-6));
                    }
                }
            }
            assert_eq!(ResidualRounding::from_description(&r.describe()).unwrap(), r);
        }
        let mut kept = [0.5];
        ResidualRounding::new(&[3], 2).unwrap().look_up(&[], &mut kept);
        assert_eq!(kept, [0.5]);
    }

    #[test]
    fn the_slope_is_that_of_tanh() {
        let r = ResidualRounding::new(&[4, 5], 2).unwrap();
        let (z, w) = ([0.4f32, -0.9], [2.0f32, -1.0]);
        let mut dz = [0.0; 2];
        r.backward(&z, 1, 1.0, &w, &mut dz, &mut [], &mut Vec::new());
        for i in 0..2 {
            let at = |h: f64| f64::from(w[i]) * (f64::from(z[i]) + h).tanh();
            assert!(((at(1e-5) - at(-1e-5)) / 2e-5 - f64::from(dz[i])).abs() < 1e-5);
        }
    }

    #[test]
    fn refused_options() {
        let o = ResidualFsqOptions::default;
        for (options, part) in [
            (ResidualFsqOptions { levels: vec![4, 2], ..o() }, "dimension 2 has 2 values"),
            (ResidualFsqOptions { levels: vec![2000; 3], ..o() }, "quantizer.levels"),
            (ResidualFsqOptions { depth: 0, ..o() }, "quantizer.depth"),
            (ResidualFsqOptions { depth: 17, ..o() }, "quantizer.depth"),
            (ResidualFsqOptions { batch: 0, ..o() }, "quantizer.batch"),
        ] {
            let message = ResidualFsq::new(options).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
