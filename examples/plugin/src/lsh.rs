//! `lsh`: codes from the sides of random hyperplanes, a control between random and learned codes
//! (TIGER, arXiv 2305.05065, section 4.2, compares with such IDs).
//!
//! Level `l` has `bits` hyperplanes through the mean of the vectors; bit `b` of its code says on
//! which side of hyperplane `b` a vector lies. Normals are standard normal. Cost `O(N L bits D)`.

use rand::Rng;
use sidereal::core::{
    Catalog, Codebook, Codes, Entry, Error, Matrix, Quantizer, QuantizerInput, Result, Run,
    options, seed,
};

options! {
    /// Options of `lsh`.
    pub struct LshOptions {
        /// Levels of the code, 1 to 64.
        pub levels: usize = 3,
        /// Hyperplanes of a level, 1 to 16; a level has 2^bits codes.
        pub bits: usize = 8,
    }
}

/// Registers `lsh`.
pub fn register(catalog: &mut Catalog<dyn Quantizer>) -> Result<()> {
    catalog.add(Entry::new(
        "lsh",
        env!("CARGO_PKG_NAME"),
        "Codes from the sides of random hyperplanes.",
        |options: LshOptions, _: &()| Ok(Box::new(Lsh::new(options)?) as Box<dyn Quantizer>),
    ))
}

/// Draws hyperplanes.
struct Lsh(LshOptions);

impl Lsh {
    fn new(options: LshOptions) -> Result<Self> {
        for (key, value, high) in [("levels", options.levels, 64), ("bits", options.bits, 16)] {
            if !(1..=high).contains(&value) {
                let message = format!("{value}; allowed: 1 to {high}");
                return Err(Error::config(format!("quantizer.{key}"), message));
            }
        }
        Ok(Lsh(options))
    }
}

impl Quantizer for Lsh {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        let vectors = input.vectors;
        let (rows, dim) = (vectors.rows(), vectors.cols());
        let mut mean = Matrix::zeros(1, dim);
        for i in 0..rows {
            for (m, v) in mean.data_mut().iter_mut().zip(vectors.row(i)) {
                *m += v / rows as f32;
            }
        }
        let LshOptions { levels, bits } = self.0;
        let mut normals = Matrix::zeros(levels * bits, dim);
        for plane in 0..levels * bits {
            let mut rng = seed::stream(run.seed, "lsh", plane as u64);
            normals.row_mut(plane).iter_mut().for_each(|v| *v = normal(&mut rng));
        }
        Ok(Box::new(Planes { widths: vec![1 << bits; levels], bits, mean, normals }))
    }
}

/// A standard normal number: twelve uniform ones summed (Irwin and Hall).
fn normal(rng: &mut impl Rng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}

/// Hyperplanes of all levels.
struct Planes {
    widths: Vec<u32>,
    bits: usize,
    /// Shape `1 x D`.
    mean: Matrix,
    /// Shape `(L bits) x D`.
    normals: Matrix,
}

impl Codebook for Planes {
    fn widths(&self) -> &[u32] {
        &self.widths
    }

    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        let (vectors, levels) = (input.vectors, self.widths.len());
        if vectors.cols() != self.mean.cols() {
            let (got, want) = (vectors.cols(), self.mean.cols());
            return Err(Error::mismatch(format!("vectors of width {got}; expected {want}")));
        }
        let mut codes = vec![0u32; vectors.rows() * levels];
        for (i, code) in codes.chunks_exact_mut(levels).enumerate() {
            for plane in 0..self.normals.rows() {
                let centred = vectors.row(i).iter().zip(self.mean.row(0)).map(|(v, m)| v - m);
                let side: f32 = centred.zip(self.normals.row(plane)).map(|(v, n)| v * n).sum();
                code[plane / self.bits] |= u32::from(side > 0.0) << (plane % self.bits);
            }
        }
        Codes::new(vectors.rows(), levels, codes)
    }

    fn reconstruct(&self, _codes: &Codes, _levels: usize) -> Option<Matrix> {
        None
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        vec![("mean".into(), self.mean.clone()), ("normals".into(), self.normals.clone())]
    }
}
