//! The loop over levels and iterations, over vectors in memory or in a file.

use super::{Method, RqKMeans};
use crate::blocks::{Blocks, survey};
use crate::kmeans::centroids::Centroids;
use crate::kmeans::lloyd::{Lloyd, Stop};
use crate::kmeans::mini_batch::{Batches, MiniBatch};
use crate::kmeans::pass::{Assigned, Collect, Scratch, pass};
use crate::kmeans::start::{self, Candidates};
use crate::levels::check_enough;
use crate::residual::{Entering, ResidualCodebook};
use sidereal_core::{Code, Event, Matrix, Result, Run, seed};

/// Where the first centroids of the levels come from.
#[derive(Clone, Copy)]
pub(crate) enum First<'a> {
    /// As the options say.
    Drawn,
    /// The residuals of these rows, one list a level.
    Rows(&'a [Vec<u32>]),
}

/// A level on its way.
pub(crate) enum Learner {
    Lloyd(Lloyd),
    MiniBatch(MiniBatch),
}

impl Learner {
    pub(crate) fn centroids(&self) -> &Centroids {
        match self {
            Learner::Lloyd(l) => &l.centroids,
            Learner::MiniBatch(m) => &m.centroids,
        }
    }

    pub(crate) fn iteration(&self) -> u32 {
        match self {
            Learner::Lloyd(l) => l.iteration,
            Learner::MiniBatch(m) => m.iteration,
        }
    }

    fn done(&self, iterations: u32) -> bool {
        match self {
            Learner::Lloyd(l) => l.done,
            Learner::MiniBatch(m) => m.iteration >= iterations,
        }
    }
}

/// Keeps what a fit needs to go on after a restart.
pub(crate) trait Keep {
    /// Finished levels and the level on its way, where an earlier fit stopped. `learner` makes the
    /// latter anew from its centroids.
    fn restore(
        &mut self,
        learner: &dyn Fn(usize, Centroids) -> Learner,
    ) -> Result<(Vec<Centroids>, Option<Learner>)>;

    /// Called after every iteration.
    fn save(&mut self, levels: &[Centroids], now: &Learner) -> Result<()>;
}

/// Keeps nothing.
pub(crate) struct Forget;

impl Keep for Forget {
    fn restore(
        &mut self,
        _learner: &dyn Fn(usize, Centroids) -> Learner,
    ) -> Result<(Vec<Centroids>, Option<Learner>)> {
        Ok((Vec::new(), None))
    }

    fn save(&mut self, _levels: &[Centroids], _now: &Learner) -> Result<()> {
        Ok(())
    }
}

/// Fits all levels.
pub(crate) fn fit(
    quantizer: &RqKMeans,
    vectors: &dyn Blocks,
    first: First<'_>,
    keep: &mut dyn Keep,
    run: &Run<'_>,
) -> Result<ResidualCodebook> {
    let options = &quantizer.options;
    let widest = options.levels.iter().copied().max().unwrap_or(0) as usize;
    check_enough(&options.levels, vectors.rows(), survey(vectors, widest)?)?;
    let (n, count) = (vectors.rows(), options.levels.len());
    let iterations = quantizer.iterations();
    let total = count as u64 * u64::from(iterations);
    run.emit(Event::Started { task: "rq-kmeans", total, unit: "iterations" });

    let new = |level: usize, centroids: Centroids| quantizer.learner(level, centroids, n, run.seed);
    let (finished, mut now) = keep.restore(&new)?;
    let mut levels: Vec<Centroids> = Vec::with_capacity(count);
    let mut codes: Vec<Code> = Vec::with_capacity(n * (count - 1));
    let mut scratch = Scratch::default();
    let mut finished = finished.into_iter();
    for (l, &width) in options.levels.iter().enumerate() {
        run.check()?;
        let source = Entering::new(vectors, &levels, &codes, quantizer.scale());
        let mut assigned = Assigned::default();
        let level = match finished.next() {
            Some(level) => level,
            None => {
                let mut learner = match (now.take(), first) {
                    (Some(learner), _) => learner,
                    (None, First::Drawn) => {
                        let c = quantizer.first_centroids(&source, l, width as usize, run.seed)?;
                        new(l, Centroids::new(c))
                    }
                    (None, First::Rows(rows)) => new(l, Centroids::new(source.gather(&rows[l])?)),
                };
                if let Learner::Lloyd(lloyd) = &learner {
                    lloyd.restore(&source, &mut assigned, &mut scratch)?;
                }
                while !learner.done(iterations) {
                    let distortion =
                        quantizer.step(&mut learner, &source, &mut assigned, &mut scratch)?;
                    keep.save(&levels, &learner)?;
                    let numbers = [("level", (l + 1) as f64), ("distortion", distortion)];
                    let done = l as u64 * u64::from(iterations) + u64::from(learner.iteration());
                    run.emit(Event::Advanced { task: "rq-kmeans", done, numbers: &numbers });
                    run.check()?;
                }
                learner.into_centroids()
            }
        };
        if l + 1 < count {
            pass(&source, &level, Collect::Codes, &mut assigned, &mut scratch)?;
            codes.extend_from_slice(&assigned.codes);
        }
        levels.push(level);
    }
    run.emit(Event::Finished { task: "rq-kmeans" });
    ResidualCodebook::new(
        levels.into_iter().map(Centroids::into_values).collect(),
        quantizer.scale(),
    )
}

impl Learner {
    fn into_centroids(self) -> Centroids {
        match self {
            Learner::Lloyd(l) => l.centroids,
            Learner::MiniBatch(m) => m.centroids,
        }
    }
}

impl RqKMeans {
    fn learner(&self, level: usize, centroids: Centroids, rows: usize, seed: u64) -> Learner {
        match self.options.method {
            Method::Lloyd => Learner::Lloyd(Lloyd::new(centroids)),
            Method::MiniBatch => {
                let seed = seed::key(seed, "rq-kmeans-batches", level as u64);
                let batches = Batches::new(rows, self.options.batch as usize, seed);
                Learner::MiniBatch(MiniBatch::new(centroids, batches))
            }
        }
    }

    fn step(
        &self,
        learner: &mut Learner,
        source: &Entering<'_>,
        assigned: &mut Assigned,
        scratch: &mut Scratch,
    ) -> Result<f64> {
        let stop = Stop { iterations: self.iterations(), tolerance: self.options.tolerance };
        match learner {
            Learner::Lloyd(l) => l.step(source, stop, self.options.dead, assigned, scratch),
            Learner::MiniBatch(m) => m.step(source, scratch),
        }
    }

    pub(crate) fn first_centroids(
        &self,
        source: &Entering<'_>,
        level: usize,
        width: usize,
        seed: u64,
    ) -> Result<Matrix> {
        let mut rng = seed::stream(seed, "rq-kmeans-start", level as u64);
        let wanted = match self.options.start_rows {
            0 => source.len(),
            rows => rows as usize,
        };
        let rows = start::sample(source.len(), wanted, &mut rng);
        let candidates = match self.options.start_candidates {
            0 => Candidates::ByWidth,
            n => Candidates::Fixed(n),
        };
        let buffer = source.gather(&rows)?;
        Ok(start::choose(self.options.start, &buffer, width, candidates, &mut rng))
    }
}
