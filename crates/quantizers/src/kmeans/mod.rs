//! One level of k-means over residuals: start, pass over the rows, updates.
//!
//! `balanced`, `constrained` and `transport` are levels whose codes have bounded numbers of rows.
//!
//! The `pass` is the only expensive part and both updates share it: `lloyd` runs it over all
//! rows, `mini_batch` over drawn ones. Rows are cut into chunks of a fixed size and partial sums
//! are added in chunk order, so the number of threads changes no bit of the result.

pub(crate) mod balanced;
pub(crate) mod centroids;
pub(crate) mod constrained;
pub(crate) mod lloyd;
pub(crate) mod means;
pub(crate) mod mini_batch;
pub(crate) mod pass;
pub(crate) mod start;
pub(crate) mod transport;

pub use centroids::Centroids;
pub use lloyd::DeadCode;
pub use start::Start;

/// Independent partial sums: enough for full vector registers, in an order that never changes.
const LANES: usize = 16;

/// Sum of squares of a vector.
pub(crate) fn squared_norm(v: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = v.chunks_exact(LANES);
    let tail: f32 = chunks.remainder().iter().map(|x| x * x).sum();
    for c in chunks {
        for i in 0..LANES {
            lanes[i] += c[i] * c[i];
        }
    }
    lanes.iter().sum::<f32>() + tail
}

/// Squared distance of two vectors of the same length.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (ca, cb) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = ca.remainder().iter().zip(cb.remainder()).map(|(x, y)| (x - y) * (x - y)).sum();
    for (x, y) in ca.zip(cb) {
        for i in 0..LANES {
            let d = x[i] - y[i];
            lanes[i] += d * d;
        }
    }
    lanes.iter().sum::<f32>() + tail
}
