//! What a fit needs to go on: finished levels, and the level on its way.
//!
//! One safetensors file, written anew after every iteration: `level_0`, `level_1`, ... are
//! finished, `now` are the centroids of the level on its way, `previous` those of its last pass (so
//! that its codes can be made again: the next pass counts the rows that change), `totals` the
//! counts of mini-batches. Codes are not kept: going on costs a pass a finished level and one more.

use super::blocks::FileBlocks;
use crate::blocks::Blocks;
use crate::files::{load_tensors, save_tensors};
use crate::kmeans::centroids::Centroids;
use crate::random::{join, split};
use crate::rq_kmeans::RqKMeans;
use crate::rq_kmeans::fit::{Keep, Learner};
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, Matrix, Options, Result, seed};
use std::path::{Path, PathBuf};

const FORMAT: &str = "k-means-state";
/// Rows of the file that its identity is made of, beside its shape.
const ROWS: usize = 64;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Header {
    /// Of options, seed and vectors.
    identity: String,
    iteration: u32,
    /// Bits of the last distortion in hexadecimal.
    before: String,
    done: bool,
}

/// A fit's state in a file.
pub(super) struct StateFile {
    path: PathBuf,
    identity: String,
}

impl StateFile {
    pub(super) fn new(
        path: &Path,
        quantizer: &RqKMeans,
        vectors: &FileBlocks<'_>,
        seed: u64,
    ) -> Result<Self> {
        let (rows, cols) = (vectors.rows(), vectors.cols());
        let step = (rows / ROWS).max(1);
        let some: Vec<u32> = (0..rows).step_by(step).map(|r| r as u32).collect();
        let values = vectors.gather(&some)?;
        let mut h = seed::key(seed, "stream-state", rows as u64);
        h = seed::mix(h ^ cols as u64);
        h = seed::mix(h ^ vectors.file().kind().size() as u64);
        h = values.data().iter().fold(h, |h, v| seed::mix(h ^ u64::from(v.to_bits())));
        let options = serde_json::to_string(&quantizer.options().to_map())
            .map_err(|e| Error::other("the options", e))?;
        let identity = format!("{:016x}", seed::key(h, &options, 0));
        Ok(StateFile { path: path.into(), identity })
    }
}

impl Keep for StateFile {
    fn restore(
        &mut self,
        learner: &dyn Fn(usize, Centroids) -> Learner,
    ) -> Result<(Vec<Centroids>, Option<Learner>)> {
        if !self.path.exists() {
            return Ok((Vec::new(), None));
        }
        let (header, tensors) = load_tensors::<Header>(&self.path, FORMAT)?;
        let wrong = |message: &str| Error::data(&self.path, message);
        if header.identity != self.identity {
            return Err(wrong(
                "the state of a fit with other options, seed or vectors; remove it to begin anew",
            ));
        }
        let before = u64::from_str_radix(&header.before, 16).map_err(|_| wrong("no distortion"))?;
        let find = |name: &str| tensors.iter().find(|(n, _)| n == name).map(|(_, m)| m.clone());
        let levels: Vec<Centroids> =
            (0..).map_while(|l| find(&format!("level_{l}"))).map(Centroids::new).collect();
        let now = find("now").ok_or_else(|| wrong("no centroids of the level on its way"))?;
        let now = match learner(levels.len(), Centroids::new(now)) {
            Learner::Lloyd(mut lloyd) => {
                lloyd.previous = find("previous");
                lloyd.iteration = header.iteration;
                lloyd.before = f64::from_bits(before);
                lloyd.done = header.done;
                Learner::Lloyd(lloyd)
            }
            Learner::MiniBatch(batches) => {
                let totals = find("totals").ok_or_else(|| wrong("no counts of mini-batches"))?;
                let totals = join(totals.data(), 4)?;
                Learner::MiniBatch(batches.resume(header.iteration, totals))
            }
        };
        Ok((levels, Some(now)))
    }

    fn save(&mut self, levels: &[Centroids], now: &Learner) -> Result<()> {
        let named = |(l, c): (usize, &Centroids)| (format!("level_{l}"), c.values().clone());
        let mut tensors: Vec<(String, Matrix)> = levels.iter().enumerate().map(named).collect();
        tensors.push(("now".into(), now.centroids().values().clone()));
        let (mut before, mut done) = (f64::INFINITY, false);
        match now {
            Learner::Lloyd(lloyd) => {
                (before, done) = (lloyd.before, lloyd.done);
                tensors.extend(lloyd.previous.clone().map(|m| ("previous".into(), m)));
            }
            Learner::MiniBatch(batches) => {
                let totals = split(batches.totals.iter().copied(), 4);
                tensors.push(("totals".into(), Matrix::new(1, totals.len(), totals)?));
            }
        }
        let header = Header {
            identity: self.identity.clone(),
            iteration: now.iteration(),
            before: format!("{:016x}", before.to_bits()),
            done,
        };
        save_tensors(&self.path, FORMAT, header, &tensors)
    }
}
