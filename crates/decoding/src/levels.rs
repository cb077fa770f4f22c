//! Scores of all levels at once, where no level depends on the codes before it (models with one
//! output head a level, as RPG, arXiv 2506.05781).
//!
//! The log-probability of an identifier is then a sum of one number a level, and the best of a whole
//! catalogue are found exactly, without a search: M identifiers of H codes cost M H additions.

use crate::softmax::{log_sum_exp, not_finite};
use crate::{CodeScorer, Row};
use sidereal_core::{Error, Result};

/// Logits of every level for a batch of requests.
#[derive(Debug, Clone)]
pub struct Levels {
    requests: usize,
    logits: Vec<Vec<f32>>,
    widths: Vec<usize>,
}

impl Levels {
    /// From the logits of each level, `requests x codes`, row-major.
    ///
    /// Errors: a level whose logits are not that many rows.
    pub fn new(requests: usize, logits: Vec<Vec<f32>>) -> Result<Self> {
        let widths: Vec<usize> = logits.iter().map(|l| l.len() / requests.max(1)).collect();
        match logits.iter().zip(&widths).position(|(l, w)| l.len() != w * requests) {
            None => Ok(Levels { requests, logits, widths }),
            Some(level) => Err(Error::mismatch(format!(
                "{} logits at level {level} are not rows of {requests} requests",
                logits[level].len()
            ))),
        }
    }

    /// Logits of a level for one request.
    pub fn row(&self, level: usize, request: usize) -> &[f32] {
        let width = self.widths[level];
        &self.logits[level][request * width..(request + 1) * width]
    }

    /// Log-probabilities of all codes of a request.
    ///
    /// Errors: NaN or +inf among the logits.
    pub(crate) fn log_probs(&self, request: usize, out: &mut LogProbs) -> Result<()> {
        out.values.clear();
        out.starts.clear();
        out.starts.push(0);
        for level in 0..self.logits.len() {
            let row = self.row(level, request);
            let lse = log_sum_exp(row).ok_or_else(|| not_finite(request as u32, level))?;
            out.values.extend(row.iter().map(|&x| f64::from(x) - lse));
            out.starts.push(out.values.len());
        }
        Ok(())
    }
}

/// As a session: whatever the prefix, the same logits.
impl CodeScorer for Levels {
    fn requests(&self) -> usize {
        self.requests
    }

    fn levels(&self) -> usize {
        self.logits.len()
    }

    fn width(&self, level: usize) -> usize {
        self.widths[level]
    }

    fn advance(&mut self, level: usize, rows: &[Row], logits: &mut Vec<f32>) -> Result<()> {
        logits.clear();
        rows.iter().for_each(|r| logits.extend_from_slice(self.row(level, r.request as usize)));
        Ok(())
    }

    fn independent(&self) -> Option<&Levels> {
        Some(self)
    }
}

/// Log-probabilities of one request, level after level.
#[derive(Debug, Default)]
pub(crate) struct LogProbs {
    pub values: Vec<f64>,
    /// Start of each level, and the end of the last.
    pub starts: Vec<usize>,
}
