//! Vectors with all that a quantizer may ask for beside them.

use half::f16;
use rand::Rng;
use sidereal_core::{
    EncoderInput, ItemId, ItemTable, Matrix, QuantizerInput, Sequences, StringColumn, seed,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What a quantizer is given.
#[derive(Clone)]
pub struct Given {
    pub vectors: Matrix,
    side: BTreeMap<String, Matrix>,
    items: ItemTable,
    train: Sequences,
}

impl Given {
    /// With labels of four domains, collaborative vectors that hang together with the first columns,
    /// and histories of neighbouring rows.
    pub fn new(vectors: Matrix) -> Self {
        let n = vectors.rows();
        let mut domain = Matrix::zeros(n, 1);
        (0..n).for_each(|i| domain.row_mut(i)[0] = (i % 4) as f32);
        let mut collaborative = uniform(n, 6, 11);
        for i in 0..n {
            let from = vectors.row(i).iter().chain([0.0f32; 6].iter());
            let both = collaborative.row_mut(i).iter_mut().zip(from);
            both.for_each(|(c, v)| *c = 0.1 * *c + if v.is_finite() { v.tanh() } else { 0.0 });
        }
        let ids: StringColumn = (0..n).map(|i| format!("item {i}")).collect();
        let mut train = Sequences::default();
        for user in 0..n {
            let history: Vec<ItemId> =
                (0..4).map(|k| ItemId(((user + k * k) % n) as u32)).collect();
            train.push(&history);
        }
        let side = [("domain", domain), ("collaborative", collaborative)];
        Given {
            vectors,
            side: side.map(|(name, m)| (name.to_string(), m)).into(),
            items: ItemTable::new(ids),
            train,
        }
    }

    pub fn input(&self) -> QuantizerInput<'_> {
        QuantizerInput {
            vectors: self.vectors.view(),
            side: &self.side,
            catalogue: Some(EncoderInput { items: &self.items, train: &self.train }),
        }
    }
}

/// Values from -1 to 1.
pub fn uniform(rows: usize, cols: usize, index: u64) -> Matrix {
    let mut rng = seed::stream(21, "test-data", index);
    let data = (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect();
    Matrix::new(rows, cols, data).unwrap()
}

/// Text embeddings of Amazon Beauty, every so many rows, or else a mixture of Gaussians.
pub fn real_or_mixture(rows: usize) -> Given {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root = std::env::var("SIDEREAL_DATA").unwrap_or_else(|_| default.into());
    let path = Path::new(&root).join("amazon2014-beauty/embeddings/text_lsa_64.npy");
    let real = fs::read(&path).ok().and_then(|bytes| npy(&bytes, 64));
    let Some(all) = real.filter(|m| m.rows() >= rows) else {
        println!("skipped: real embeddings because {} is no such file; a mixture", path.display());
        return Given::new(mixture(rows, 24));
    };
    let step = all.rows() / rows;
    let data = (0..rows).flat_map(|i| all.row(i * step)).copied().collect();
    Given::new(Matrix::new(rows, 64, data).unwrap())
}

/// Half-precision rows of a `.npy` file of version 1.
fn npy(bytes: &[u8], cols: usize) -> Option<Matrix> {
    let length = usize::from(u16::from_le_bytes(bytes.get(8..10)?.try_into().ok()?));
    let header = std::str::from_utf8(bytes.get(10..10 + length)?).ok()?;
    header.contains("'<f2'").then_some(())?;
    let pairs = bytes.get(10 + length..)?.chunks_exact(2);
    let data: Vec<f32> = pairs.map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
    Matrix::new(data.len() / cols, cols, data).ok()
}

/// Twenty clusters with noise around them.
fn mixture(rows: usize, cols: usize) -> Matrix {
    let (centres, noise) = (uniform(20, cols, 30), uniform(rows, cols, 31));
    let mut out = noise;
    for i in 0..rows {
        let centre = centres.row(i * 7 % 20);
        out.row_mut(i).iter_mut().zip(centre).for_each(|(v, c)| *v = 0.4 * *v + c);
    }
    out
}
