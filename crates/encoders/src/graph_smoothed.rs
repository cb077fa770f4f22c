//! Vectors of another encoder, smoothed over the co-occurrence graph of items.
//!
//! `X_{t+1} = (1 - alpha) X_0 + alpha S X_t`, `steps` times from the inner encoder's `X_0` (N x D),
//! with the symmetric normalised graph `S` of [`CoOccurrence`]: label spreading (Zhou et al., NIPS
//! 2003), known from APPNP (arXiv 1810.05997), whose restart probability is `1 - alpha`. Items that
//! users meet together end close to each other, whatever their texts say. `alpha = 0` and
//! `steps = 0` are the inner encoder; a plain walk over the graph is `alpha = 1`.
//!
//! Cost: `4 nnz(R) D` operations a step; the graph is never stored.
//!
//! Deviation: an item that shares no user with another keeps its `X_0`; the formula would only
//! shorten it.

use crate::collaborative::CoOccurrence;
use crate::rows;
use crate::threads::with_threads;
use crate::{check_number, check_range};
use rayon::prelude::*;
use sidereal_core::component::Inner;
use sidereal_core::{Catalog, EncoderInput, Error, Event, ItemEncoder, Matrix, Result, Run};
use std::path::PathBuf;

sidereal_core::options! {
    /// Options of `graph-smoothed`.
    pub struct GraphSmoothedOptions {
        /// The encoder whose vectors are smoothed.
        pub inner: Inner = Inner::Name("lsa".into()),
        /// Share of the neighbours in a step, 0 to 1 (arXiv 1810.05997: 0.9).
        pub alpha: f32 = 0.5,
        /// Steps over the graph, 0 to 1000.
        pub steps: usize = 2,
        /// Whether vectors are scaled to length 1 after the last step.
        pub normalize: bool = false,
    }
}

/// An encoder and a graph.
pub struct GraphSmoothed {
    options: GraphSmoothedOptions,
    inner: Box<dyn ItemEncoder>,
}

impl GraphSmoothed {
    /// Checks the options and builds the inner encoder from `all`.
    pub fn new(options: GraphSmoothedOptions, all: &Catalog<dyn ItemEncoder>) -> Result<Self> {
        check_number("alpha", options.alpha, 0.0, 1.0)?;
        check_range("steps", options.steps, 0, 1000)?;
        let inner = all.build(&options.inner.spec(&crate::key("inner"))?, &())?;
        Ok(GraphSmoothed { options, inner })
    }
}

/// Smooths `vectors` (N x D); works on the current pool. The number of rows must be that of items.
///
/// Errors: another number of rows than items, or a request to stop.
pub fn smooth(
    graph: &CoOccurrence,
    vectors: &Matrix,
    alpha: f32,
    steps: usize,
    run: &Run<'_>,
) -> Result<Matrix> {
    let (n, d) = (vectors.rows(), vectors.cols());
    if n != graph.len() {
        let items = graph.len();
        return Err(Error::mismatch(format!("{n} vectors for a graph of {items} items")));
    }
    let mut out = vectors.clone();
    let mut near = vec![0f32; n * d];
    let task = "graph-smoothed";
    run.emit(Event::Started { task, total: steps as u64, unit: "steps" });
    for step in 0..steps {
        run.check()?;
        graph.times(out.data(), d, &mut near);
        let rows = out.data_mut().par_chunks_mut(d.max(1)).enumerate().with_min_len(64);
        rows.filter(|(i, _)| !graph.is_alone(*i)).for_each(|(i, row)| {
            let (own, near) = (vectors.row(i), &near[i * d..(i + 1) * d]);
            for ((o, own), near) in row.iter_mut().zip(own).zip(near) {
                *o = (1.0 - alpha) * own + alpha * near;
            }
        });
        run.emit(Event::Advanced { task, done: step as u64 + 1, numbers: &[] });
    }
    run.emit(Event::Finished { task });
    Ok(out)
}

impl ItemEncoder for GraphSmoothed {
    fn encode(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        let o = &self.options;
        let vectors = self.inner.encode(input, run)?;
        let mut out = with_threads(run.threads, || {
            let graph = CoOccurrence::new(input)?;
            smooth(&graph, &vectors, o.alpha, o.steps, run)
        })?;
        if o.normalize {
            rows::normalize_all(&mut out);
        }
        Ok(out)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.inner.files()
    }

    fn seeded(&self) -> bool {
        self.inner.seeded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::{ItemId, ItemTable, Sequences};

    fn graph(histories: &[&[u32]], n: usize) -> CoOccurrence {
        let mut train = Sequences::default();
        for h in histories {
            train.push(&h.iter().map(|&i| ItemId(i)).collect::<Vec<_>>());
        }
        let items = ItemTable::new((0..n).map(|i| i.to_string()).collect());
        CoOccurrence::new(&EncoderInput { items: &items, train: &train }).unwrap()
    }

    #[test]
    fn a_path_of_three_by_hand() {
        // 0 - 1 - 2 with degrees 1, 2, 1; item 3 is alone.
        let graph = graph(&[&[0, 1], &[1, 2], &[3]], 4);
        let x = Matrix::new(4, 1, vec![1.0, 2.0, 4.0, 8.0]).unwrap();
        let run = Run::quiet(0);
        let got = |alpha, steps| smooth(&graph, &x, alpha, steps, &run).unwrap().into_data();
        let h = 0.5f32.sqrt();
        let near = |got: Vec<f32>, want: [f32; 4]| {
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} {want:?}");
        };
        near(got(1.0, 1), [2.0 * h, 5.0 * h, 2.0 * h, 8.0]);
        near(got(0.25, 1), [0.75 + 0.5 * h, 1.5 + 1.25 * h, 3.0 + 0.5 * h, 8.0]);
        // Twice over the graph: 0 and 2 get the mean of both, 1 keeps its value.
        near(got(1.0, 2), [2.5, 2.0, 2.5, 8.0]);
        for (alpha, steps) in [(0.0, 3), (0.7, 0)] {
            assert_eq!(got(alpha, steps), x.data());
        }
        let short = Matrix::zeros(3, 1);
        assert!(smooth(&graph, &short, 0.5, 1, &run).is_err());
    }

    #[test]
    fn roots_of_degrees_stay_as_they_are() {
        let graph = graph(&[&[0, 1, 2], &[2, 3], &[0, 3]], 4);
        // Degrees: 0 has 2 + 1, 1 has 2, 2 has 2 + 1, 3 has 1 + 1.
        let x = Matrix::new(4, 1, [3f32, 2.0, 3.0, 2.0].map(f32::sqrt).to_vec()).unwrap();
        let got = smooth(&graph, &x, 0.6, 7, &Run::quiet(0)).unwrap();
        assert!(got.data().iter().zip(x.data()).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
