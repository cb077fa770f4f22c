//! Trains the adapter of `fused` on the items that have both vectors.

use super::adapter::{Adapter, AdapterState};
use super::contrast::{Contrast, ROWS};
use crate::epochs::Epochs;
use crate::rows::normalize;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use sidereal_core::{Error, Matrix, Result, Run, seed};
use sidereal_nn::Params;
use sidereal_nn::kernels::math::dot;
use sidereal_nn::optim::{AdamW, AdamWOptions, Optimizer};

/// How the adapter is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    /// Temperature of the contrast.
    pub temperature: f32,
    /// Passes over the items.
    pub epochs: usize,
    /// Items of a step; batches of an epoch are as equal as they can be.
    pub batch: usize,
    /// Learning rate of AdamW.
    pub lr: f32,
    /// Weight decay of AdamW.
    pub weight_decay: f32,
}

/// One piece of rows.
#[derive(Default)]
struct Piece {
    state: AdapterState,
    grads: Vec<f32>,
}

/// The semantic vectors (N x d_s) in the space of the collaborative ones (N x d_c). Rows that are
/// zero stay zero. On the current pool.
///
/// Errors: fewer than two items have both vectors, a loss that is no number, a request to stop.
pub fn align(
    semantic: &Matrix,
    collaborative: &Matrix,
    alignment: &Alignment,
    run: &Run<'_>,
) -> Result<Matrix> {
    let (n, ds, dc) = (semantic.rows(), semantic.cols(), collaborative.cols());
    let mut texts = semantic.clone();
    let mut targets = collaborative.clone();
    for i in 0..n {
        normalize(texts.row_mut(i));
        texts.row_mut(i).iter_mut().for_each(|v| *v *= (ds as f32).sqrt());
        normalize(targets.row_mut(i));
    }
    let there = |m: &Matrix, i: usize| m.row(i).iter().any(|v| *v != 0.0);
    let mut order: Vec<usize> =
        (0..n).filter(|&i| there(&texts, i) && there(&targets, i)).collect();
    if order.len() < 2 {
        return Err(Error::input(format!(
            "fused: {} of {n} items have both a semantic and a collaborative vector; the alignment \
             needs at least two",
            order.len()
        )));
    }
    let mut params = Params::new(run.seed);
    let adapter = Adapter::new(&mut params, ds, dc);
    let options = AdamWOptions {
        lr: alignment.lr,
        weight_decay: alignment.weight_decay,
        ..Default::default()
    };
    let mut adam = AdamW::new(options, params.len(), crate::SECTION)?;
    let batches = order.len().div_ceil(alignment.batch).min(order.len() / 2);
    let mut step = Step { adapter, ds, dc, contrast: Contrast::default(), pieces: Vec::new() };
    let epochs = Epochs { task: "fused", epochs: alignment.epochs as u64, steps: batches as u64 };
    epochs.run(run, |number| {
        let b = (number % epochs.steps) as usize;
        if b == 0 {
            order.shuffle(&mut seed::stream(run.seed, "fused-order", number / epochs.steps));
        }
        let rows = &order[b * order.len() / batches..(b + 1) * order.len() / batches];
        let (x, a) = (gather(&texts, rows), gather(&targets, rows));
        let loss = step.run(params.values(), &x, &a, alignment.temperature);
        adam.step(params.values_mut(), step.grads(), alignment.lr, run.threads);
        loss
    })?;
    let mut out = Matrix::zeros(n, dc);
    let chunks = out.data_mut().par_chunks_mut(ROWS * dc).zip(texts.data().par_chunks(ROWS * ds));
    chunks.for_each_init(AdapterState::default, |state, (out, x)| {
        adapter.forward(params.values(), x, x.len() / ds, state);
        for ((o, e), x) in
            out.chunks_exact_mut(dc).zip(state.output().chunks_exact(dc)).zip(x.chunks_exact(ds))
        {
            if x.iter().any(|v| *v != 0.0) {
                o.copy_from_slice(e);
            }
        }
    });
    Ok(out)
}

fn gather(m: &Matrix, rows: &[usize]) -> Vec<f32> {
    rows.iter().flat_map(|&i| m.row(i)).copied().collect()
}

/// Loss and gradients of a batch, the same bits with any number of threads.
struct Step {
    adapter: Adapter,
    ds: usize,
    dc: usize,
    contrast: Contrast,
    pieces: Vec<Piece>,
}

impl Step {
    fn run(&mut self, weights: &[f32], x: &[f32], a: &[f32], tau: f32) -> f64 {
        let (ds, dc, adapter) = (self.ds, self.dc, self.adapter);
        let rows = x.len() / ds;
        self.pieces.resize_with(rows.div_ceil(ROWS).max(1), Piece::default);
        let mut b = vec![0f32; rows * dc];
        let pieces = self.pieces.par_iter_mut().zip(x.par_chunks(ROWS * ds));
        pieces.zip(b.par_chunks_mut(ROWS * dc)).for_each(|((piece, x), b)| {
            adapter.forward(weights, x, x.len() / ds, &mut piece.state);
            b.copy_from_slice(piece.state.output());
            b.chunks_exact_mut(dc).for_each(normalize);
        });
        let mut db = vec![0f32; rows * dc];
        let loss = self.contrast.run(a, &b, dc, tau, &mut db);
        let pieces = self.pieces.par_iter_mut().zip(x.par_chunks(ROWS * ds));
        let pieces = pieces.zip(b.par_chunks(ROWS * dc)).zip(db.par_chunks_mut(ROWS * dc));
        pieces.for_each(|(((piece, x), b), db)| {
            let units = db.chunks_exact_mut(dc).zip(b.chunks_exact(dc));
            for ((d, b), e) in units.zip(piece.state.output().chunks_exact(dc)) {
                // d(e / |e|) = (d - b (b . d)) / |e|.
                let (length, along) = (dot(e, e).sqrt(), dot(b, d));
                let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
                d.iter_mut().zip(b).for_each(|(d, b)| *d = (*d - b * along) * factor);
            }
            piece.grads.clear();
            piece.grads.resize(weights.len(), 0.0);
            adapter.backward(x, x.len() / ds, &mut piece.state, db, &mut piece.grads);
        });
        let (first, rest) = self.pieces.split_at_mut(1);
        for piece in rest {
            first[0].grads.iter_mut().zip(&piece.grads).for_each(|(s, g)| *s += g);
        }
        loss
    }

    /// Gradient of the last run, laid out as the parameters.
    fn grads(&self) -> &[f32] {
        self.pieces.first().map_or(&[], |p| &p.grads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    fn random(rows: usize, cols: usize, index: u64) -> Matrix {
        let mut rng = seed::stream(8, "align-test", index);
        let data = (0..rows * cols).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect();
        Matrix::new(rows, cols, data).unwrap()
    }

    #[test]
    fn gradient_of_a_batch_along_itself() {
        let (rows, ds, dc) = (ROWS + 30, 6, 4);
        let mut params = Params::new(3);
        let adapter = Adapter::new(&mut params, ds, dc);
        let mut rng = seed::stream(8, "align-test", 9);
        params.values_mut().iter_mut().for_each(|v| *v += rng.random::<f32>() - 0.5);
        let (x, mut a) = (random(rows, ds, 0), random(rows, dc, 1));
        (0..rows).for_each(|i| normalize(a.row_mut(i)));
        let mut step = Step { adapter, ds, dc, contrast: Contrast::default(), pieces: Vec::new() };
        step.run(params.values(), x.data(), a.data(), 0.3);
        let grads = step.grads().to_vec();
        let norm = dot(&grads, &grads).sqrt();
        let mut at = |shift: f32| {
            let moved: Vec<f32> =
                params.values().iter().zip(&grads).map(|(w, g)| w + shift * g / norm).collect();
            step.run(&moved, x.data(), a.data(), 0.3)
        };
        let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
        assert!((slope / f64::from(norm) - 1.0).abs() < 2e-3, "{slope} {norm}");
    }

    #[test]
    fn a_hidden_map_is_found() {
        // Collaborative vectors are a linear map of the semantic ones.
        let (n, ds, dc) = (300, 8, 5);
        let (x, m) = (random(n, ds, 2), random(dc, ds, 3));
        let mut y = Matrix::zeros(n, dc);
        for i in 0..n {
            for k in 0..dc {
                y.row_mut(i)[k] = dot(x.row(i), m.row(k));
            }
        }
        y.row_mut(7).fill(0.0);
        let alignment =
            Alignment { temperature: 0.1, epochs: 60, batch: 128, lr: 0.01, weight_decay: 0.0 };
        let run = Run::quiet(1);
        let got = align(&x, &y, &alignment, &run).unwrap();
        let cos = |a: &[f32], b: &[f32]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        let found = (0..n).filter(|&i| i != 7).filter(|&i| {
            let own = cos(got.row(i), y.row(i));
            let closer = |j: &usize| *j != 7 && cos(got.row(i), y.row(*j)) > own;
            (0..n).filter(closer).count() < 3
        });
        let found = found.count();
        println!("aligned: {found} of 299 items are among their nearest three");
        assert!(found > 200, "{found}");
        // The scale of either side changes nothing but rounding.
        let mut large = x.clone();
        large.data_mut().iter_mut().for_each(|v| *v *= 1024.0);
        assert_eq!(align(&large, &y, &alignment, &run).unwrap(), got);
    }

    #[test]
    fn one_item_is_too_few() {
        let alignment =
            Alignment { temperature: 0.1, epochs: 1, batch: 8, lr: 0.01, weight_decay: 0.0 };
        let y = Matrix::new(3, 1, vec![0.0, 1.0, 0.0]).unwrap();
        let error = align(&random(3, 2, 0), &y, &alignment, &Run::quiet(1)).unwrap_err();
        assert!(error.to_string().contains("1 of 3 items"), "{error}");
    }
}
