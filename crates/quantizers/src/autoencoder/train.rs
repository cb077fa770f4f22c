//! The training of an [`Autoencoder`]: epochs of seeded batches, AdamW, the same bits with any
//! number of threads.
//!
//! A batch is cut into chunks of [`CHUNK`] rows. Threads take whole chunks, forward and backward,
//! each into a gradient buffer of its own; the buffers of a wave of chunks are then added in the
//! order of the chunks. Gradients are clipped to norm 1. Cost: six operations a weight and row;
//! memory [`WAVE`] gradient buffers beside the scaled rows.

use super::{Autoencoder, Bottleneck, CHUNK, Chunk, Losses};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use sidereal_core::{Error, Event, Result, Run, seed};
use sidereal_nn::kernels::embedding;
use sidereal_nn::kernels::math::size;
use sidereal_nn::optim::{AdamW, AdamWOptions, Optimizer, clip_by_norm};

/// Chunks whose gradients are kept at once.
const WAVE: usize = 8;
/// Largest norm of all gradients.
const CLIP: f64 = 1.0;
/// Gradient values that one task adds up.
const BLOCK: usize = 1 << 14;

/// How long and how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Training {
    pub task: &'static str,
    pub epochs: u32,
    pub batch: u32,
    pub lr: f32,
}

/// Refuses hidden layers without width.
pub(crate) fn check_hidden(hidden: &[u32]) -> Result<()> {
    if hidden.len() > 64 || hidden.contains(&0) {
        let message = format!("got {hidden:?}; expected at most 64 widths, each at least 1");
        return Err(Error::config("quantizer.hidden", message));
    }
    Ok(())
}

impl Training {
    /// Refuses values out of range; errors name the key under `quantizer`.
    pub fn check(&self) -> Result<()> {
        if self.batch == 0 {
            return Err(Error::config("quantizer.batch", "got 0; expected at least 1 row"));
        }
        if !(self.lr.is_finite() && self.lr >= 0.0) {
            let message = format!("got {}; expected a finite number from 0", self.lr);
            return Err(Error::config("quantizer.lr", message));
        }
        Ok(())
    }

    /// Trains on rows of the network's width, on the current pool of threads.
    pub fn run<B: Bottleneck>(
        &self,
        network: &mut Autoencoder<B>,
        rows: &[f32],
        run: &Run<'_>,
    ) -> Result<()> {
        let (task, total) = (self.task, u64::from(self.epochs));
        run.emit(Event::Started { task, total, unit: "epochs" });
        let options = AdamWOptions { lr: self.lr, weight_decay: 0.0, ..Default::default() };
        let mut adam = AdamW::new(options, network.params.len(), "quantizer")?;
        let mut grads = vec![0.0; network.params.len()];
        let mut chunks: Vec<Chunk<B::State>> = Vec::new();
        let mut order: Vec<u32> = (0..(rows.len() / network.width) as u32).collect();
        let mut updates = 0;
        for epoch in 0..self.epochs {
            order.shuffle(&mut seed::stream(run.seed, "autoencoder-order", u64::from(epoch)));
            let mut mean = Losses::default();
            for batch in order.chunks(self.batch as usize) {
                run.check()?;
                updates += 1;
                grads.fill(0.0);
                let losses = step(network, rows, batch, &mut chunks, &mut grads);
                let length = clip_by_norm(&mut grads, CLIP);
                if !(length.is_finite() && (losses.reconstruction + losses.own).is_finite()) {
                    return Err(Error::NotFinite {
                        what: format!("the loss of {task}"),
                        step: Some(updates),
                        help: "lower quantizer.lr".into(),
                    });
                }
                network.update(|values| adam.step(values, &grads, self.lr, run.threads));
                let share = batch.len() as f64 / order.len() as f64;
                mean.reconstruction += share * losses.reconstruction;
                mean.own += share * losses.own;
            }
            let numbers =
                [("loss", mean.reconstruction + mean.own), ("reconstruction", mean.reconstruction)];
            let done = u64::from(epoch) + 1;
            run.emit(Event::Advanced { task, done, numbers: &numbers });
        }
        run.emit(Event::Finished { task });
        Ok(())
    }
}

/// Losses of a batch; adds its gradients to `grads`.
pub(super) fn step<B: Bottleneck>(
    network: &Autoencoder<B>,
    rows: &[f32],
    batch: &[u32],
    chunks: &mut Vec<Chunk<B::State>>,
    grads: &mut [f32],
) -> Losses {
    let width = network.width;
    let mut total = Losses::default();
    for wave in batch.chunks(WAVE * CHUNK) {
        let used = wave.len().div_ceil(CHUNK);
        chunks.resize_with(used.max(chunks.len()), Chunk::default);
        let share = |listed: &[u32]| listed.len() as f32 / batch.len() as f32;
        let chunks = &mut chunks[..used];
        let work = chunks.par_iter_mut().zip(wave.par_chunks(CHUNK)).with_max_len(1);
        work.for_each(|(chunk, listed)| {
            size(&mut chunk.x, listed.len() * width);
            embedding::gather(rows, width, listed, &mut chunk.x);
            chunk.grads.clear();
            chunk.grads.resize(grads.len(), 0.0);
            network.learn(listed.len(), share(listed), chunk);
        });
        for (chunk, listed) in chunks.iter().zip(wave.chunks(CHUNK)) {
            total.reconstruction += f64::from(share(listed)) * chunk.losses.reconstruction;
            total.own += f64::from(share(listed)) * chunk.losses.own;
        }
        // In the order of the chunks, whoever did them.
        grads.par_chunks_mut(BLOCK).enumerate().for_each(|(b, out)| {
            for chunk in &*chunks {
                let part = &chunk.grads[b * BLOCK..];
                out.iter_mut().zip(part).for_each(|(o, g)| *o += g);
            }
        });
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::{Code, Matrix};

    /// Passes everything on; its own term is the mean square of `z`.
    #[derive(Debug, Clone)]
    struct Open;

    impl Bottleneck for Open {
        type State = ();
        const MARK: &'static str = "open";
        fn widths(&self) -> &[u32] {
            &[1]
        }
        fn inputs(&self) -> usize {
            3
        }
        fn outputs(&self) -> usize {
            3
        }
        fn forward(&self, z: &[f32], _: usize, q: &mut [f32], _: &mut [Code], _: &mut ()) {
            q.copy_from_slice(z);
        }
        fn backward(
            &self,
            z: &[f32],
            rows: usize,
            share: f32,
            dq: &[f32],
            dz: &mut [f32],
            _: &mut [f32],
            _: &mut (),
        ) -> f64 {
            let n = (rows * 3) as f32;
            dz.iter_mut().zip(dq).zip(z).for_each(|((d, g), z)| *d = g + 2.0 * share * z / n);
            z.iter().map(|z| f64::from(*z).powi(2)).sum::<f64>() / f64::from(n)
        }
        fn look_up(&self, _: &[Code], _: &mut [f32]) {}
        fn describe(&self) -> Matrix {
            Matrix::zeros(1, 1)
        }
        fn from_description(_: &Matrix) -> Result<Self> {
            Ok(Open)
        }
    }

    fn rows(n: usize) -> Vec<f32> {
        use rand::Rng;
        let mut rng = seed::stream(2, "autoencoder-test", 0);
        (0..n * 4).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// More rows than a wave, and a last chunk that is not full.
    #[test]
    fn gradients_of_a_batch_are_differences_of_its_loss() {
        let x = rows(WAVE * CHUNK + 300);
        let batch: Vec<u32> = (0..x.len() as u32 / 4).rev().collect();
        let mut network = Autoencoder::new(Open, 4, &[5], 1);
        let mut grads = vec![0.0; network.params.len()];
        let loss = |n: &Autoencoder<Open>, grads: &mut [f32]| {
            let losses = step(n, &x, &batch, &mut Vec::new(), grads);
            losses.reconstruction + losses.own
        };
        loss(&network, &mut grads);
        let mut unused = vec![0.0; grads.len()];
        let mut worst = 0.0f64;
        for i in 0..grads.len() {
            let at = network.params.values()[i];
            network.update(|v| v[i] = at + 1e-2);
            let above = loss(&network, &mut unused);
            network.update(|v| v[i] = at - 1e-2);
            let below = loss(&network, &mut unused);
            network.update(|v| v[i] = at);
            worst = worst.max(((above - below) / 2e-2 - f64::from(grads[i])).abs());
        }
        assert!(worst < 2e-3, "{worst}");
        assert!(grads.iter().any(|g| g.abs() > 0.05));
    }

    #[test]
    fn what_is_refused() {
        let with = |batch, lr| Training { task: "x", epochs: 1, batch, lr }.check();
        assert!(with(0, 0.1).unwrap_err().to_string().contains("quantizer.batch"));
        for lr in [-1.0, f32::NAN, f32::INFINITY] {
            assert!(with(1, lr).unwrap_err().to_string().contains("quantizer.lr"));
        }
        assert!(check_hidden(&[3, 0]).unwrap_err().to_string().contains("quantizer.hidden"));
        // A rate that blows up is an error with the step, not a codebook of NaN.
        let mut network = Autoencoder::new(Open, 4, &[5], 1);
        let wild = Training { task: "x", epochs: 50, batch: 8, lr: 1e30 };
        let message = wild.run(&mut network, &rows(16), &Run::quiet(1)).unwrap_err().to_string();
        assert!(message.contains("at step"), "{message}");
    }
}
