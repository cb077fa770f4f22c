//! One pass over the rows: residual, nearest code, centroid sums, all while the tile is in cache.
//!
//! Chunks of `CHUNK` rows go to threads; each has its own f32 partial sums (`K x D`), which are
//! then added to the f64 totals in chunk order. The size of a chunk is fixed and a wave of chunks
//! is only a limit on memory, so the result is the same for any number of threads.

use super::centroids::{Centroids, Search, TILE};
use crate::residual::{Entering, Residuals};
use rayon::prelude::*;
use sidereal_core::{Code, Result};
use sidereal_nn::kernels::math::add_rows;

/// Rows whose sums are added up in f32 before they join the f64 totals.
pub(crate) const CHUNK: usize = 4 * TILE;

/// Codes and squared distances of all rows.
#[derive(Default)]
pub(crate) struct Assigned {
    pub codes: Vec<Code>,
    pub distances: Vec<f32>,
}

/// What the update of the centroids needs.
pub(crate) struct Sums {
    /// Sum of the rows of each code, shape `K x D`.
    pub sums: Vec<f64>,
    /// Rows of each code.
    pub counts: Vec<u64>,
    /// Sum of squared distances.
    pub distortion: f64,
    /// Rows whose code is another than in the pass before.
    pub changed: usize,
}

/// Working memory of passes, kept between them.
#[derive(Default)]
pub(crate) struct Scratch {
    parts: Vec<Part>,
}

#[derive(Default)]
struct Part {
    sums: Vec<f32>,
    counts: Vec<u32>,
    distortion: f64,
    changed: usize,
    tile: Vec<f32>,
    search: Search,
    codes: Vec<Code>,
}

/// Whether a pass also adds up the rows of each code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collect {
    Codes,
    Sums,
}

/// Assigns every row to its nearest centroid.
pub(crate) fn pass(
    source: &Entering<'_>,
    centroids: &Centroids,
    collect: Collect,
    assigned: &mut Assigned,
    scratch: &mut Scratch,
) -> Result<Sums> {
    let (n, k, dim) = (source.len(), centroids.width(), centroids.dim());
    assigned.codes.resize(n, Code::MAX);
    assigned.distances.resize(n, 0.0);
    let size = if collect == Collect::Sums { k } else { 0 };
    let mut total =
        Sums { sums: vec![0.0; size * dim], counts: vec![0; size], distortion: 0.0, changed: 0 };
    source.each(&mut |block| {
        let codes = &mut assigned.codes[block.range()];
        let distances = &mut assigned.distances[block.range()];
        pass_block(&block, centroids, &mut total, codes, distances, scratch);
        Ok(())
    })?;
    Ok(total)
}

/// The rows of one block; `total` without counts collects no sums.
fn pass_block(
    block: &Residuals<'_>,
    centroids: &Centroids,
    total: &mut Sums,
    codes: &mut [Code],
    distances: &mut [f32],
    scratch: &mut Scratch,
) {
    let (size, dim) = (total.counts.len(), centroids.dim());
    let wave = 4 * rayon::current_num_threads();
    scratch.parts.resize_with(wave, Part::default);
    let outputs =
        codes.chunks_mut(wave * CHUNK).zip(distances.chunks_mut(wave * CHUNK)).enumerate();
    for (w, (codes, distances)) in outputs {
        let used = codes.len().div_ceil(CHUNK);
        codes
            .par_chunks_mut(CHUNK)
            .zip(distances.par_chunks_mut(CHUNK))
            .zip(scratch.parts.par_iter_mut())
            .enumerate()
            .with_max_len(1)
            .for_each(|(c, ((codes, distances), part))| {
                part.reset(size, dim);
                part.run(block, (w * wave + c) * CHUNK, centroids, codes, distances);
            });
        add_up(total, &scratch.parts[..used], dim);
    }
}

fn add_up(total: &mut Sums, parts: &[Part], dim: usize) {
    for p in parts {
        total.distortion += p.distortion;
        total.changed += p.changed;
    }
    for (k, count) in total.counts.iter_mut().enumerate() {
        *count += parts.iter().map(|p| u64::from(p.counts[k])).sum::<u64>();
    }
    let block = 16 * dim;
    total.sums.par_chunks_mut(block).enumerate().for_each(|(b, out)| {
        let at = b * block;
        for p in parts {
            for (o, v) in out.iter_mut().zip(&p.sums[at..]) {
                *o += f64::from(*v);
            }
        }
    });
}

impl Part {
    fn reset(&mut self, size: usize, dim: usize) {
        self.sums.clear();
        self.sums.resize(size * dim, 0.0);
        self.counts.clear();
        self.counts.resize(size, 0);
        self.distortion = 0.0;
        self.changed = 0;
    }

    fn run(
        &mut self,
        block: &Residuals<'_>,
        first: usize,
        centroids: &Centroids,
        codes: &mut [Code],
        distances: &mut [f32],
    ) {
        let dim = centroids.dim();
        let (step, mut start, end) = (centroids.step(), first, first + codes.len());
        self.search.begin();
        for (codes, distances) in codes.chunks_mut(step).zip(distances.chunks_mut(step)) {
            let tile = block.tile(start, codes.len(), &mut self.tile);
            start += codes.len();
            let ahead = block.vectors(start, step.min(end - start));
            self.codes.resize(codes.len(), 0);
            centroids.go_on(tile, ahead, &mut self.search, &mut self.codes, distances);
            for (i, row) in tile.chunks_exact(dim).enumerate() {
                let code = self.codes[i];
                self.distortion += f64::from(distances[i]);
                self.changed += usize::from(codes[i] != code);
                codes[i] = code;
                if !self.counts.is_empty() {
                    self.counts[code as usize] += 1;
                    let at = code as usize * dim;
                    add_rows(row, &mut self.sums[at..at + dim]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::Matrix;
    use sidereal_nn::parallel::pool;

    fn uniform(i: usize) -> f32 {
        (sidereal_core::seed::mix(i as u64) >> 40) as f32 / (1 << 24) as f32 - 0.5
    }

    /// Screened blocks and crowded ones, several chunks, both on raw rows and on residuals.
    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (n, k, dim) = (3 * CHUNK + 77, 130, 128);
        let mut x = Matrix::zeros(n, dim);
        x.data_mut().iter_mut().enumerate().for_each(|(i, v)| *v = uniform(i));
        for row in x.data_mut().chunks_exact_mut(dim).skip(CHUNK + 10).take(100) {
            row[3] = 1e5;
        }
        let below = Centroids::new(Matrix::new(2, dim, x.data()[..2 * dim].to_vec()).unwrap());
        let level = Centroids::new(Matrix::new(k, dim, x.data()[..k * dim].to_vec()).unwrap());
        let (view, lower) = (x.view(), (0..n as u32).map(|i| i % 2).collect::<Vec<_>>());
        let below = [below];
        let on = |threads: usize, source: &Entering<'_>| {
            pool(threads).unwrap().install(|| {
                let (mut assigned, mut scratch) = (Assigned::default(), Scratch::default());
                let sums =
                    pass(source, &level, Collect::Sums, &mut assigned, &mut scratch).unwrap();
                (assigned.codes, assigned.distances, sums.sums, sums.counts, sums.distortion)
            })
        };
        let scale = crate::residual::ResidualScale::Raw;
        for source in [Entering::raw(&view), Entering::new(&view, &below, &lower, scale)] {
            let one = on(1, &source);
            assert!(one == on(3, &source));
            let rows = source.gather(&[0, 70, (CHUNK + 50) as u32, n as u32 - 1]).unwrap();
            for (i, &r) in [0, 70, CHUNK + 50, n - 1].iter().enumerate() {
                let square = |c: &[f32]| -> f64 {
                    let pairs = rows.row(i).iter().zip(c);
                    pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
                };
                let all = level.values().data().chunks_exact(dim).map(square);
                let low = all.fold(f64::INFINITY, f64::min);
                let chosen = square(level.row(one.0[r]));
                assert!(chosen <= low + 1e-6 * (low + if i == 2 { 1e10 } else { 0.0 }), "row {r}");
            }
        }
    }
}
