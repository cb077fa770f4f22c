//! GMC's domain-aware contrastive loss (arXiv 2507.12871; the formula is a reconstruction in the
//! supervised-contrastive form of arXiv 2004.11362, as the paper has no public code): rows of one
//! domain are pulled together, apart from those of others.
//!
//! `u_i = r_i / |r_i|` for a representation `r` (latents or quantized latents), positives are the
//! other rows of the batch with the same label, a row is no key of its own. With `du` from
//! [`super::contrast`], `dr_i = (du_i - (u_i.du_i) u_i) / |r_i|`. A row of zeros has no direction: it
//! stays zero and gets no gradient.
//!
//! The loss opposes shared prefixes: watch [`prefix_sharing`].

use super::contrast::{Relation, Wanted, contrast};
use crate::rq_vae::{Auxiliary, AuxiliaryBatch, AuxiliaryGradients};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sidereal_core::{Code, Codes, Error, Matrix, Result, seed};

/// What a loss compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Representation {
    /// Before the codes.
    Latent,
    /// The sum of the codes.
    Quantized,
}

/// The loss over a batch.
#[derive(Debug, Clone)]
pub struct DomainContrast {
    /// Label of each row of the vectors.
    pub labels: Vec<u32>,
    /// What is compared.
    pub on: Representation,
    /// Weight of the loss.
    pub alpha: f32,
    /// Temperature, above 0.
    pub tau: f32,
}

impl Auxiliary for DomainContrast {
    fn evaluate(&self, s: &AuxiliaryBatch<'_>, into: &mut AuxiliaryGradients) -> Result<f64> {
        let (r, grad) = match self.on {
            Representation::Latent => (s.latents, &mut into.latents),
            Representation::Quantized => (s.quantized, &mut into.quantized),
        };
        let d = r.cols();
        let length = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let lengths: Vec<f64> = r.data().par_chunks(d).map(length).collect();
        let mut u = r.to_owned();
        u.data_mut().par_chunks_mut(d).zip(&lengths).for_each(|(row, length)| {
            if *length > 0.0 {
                row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
            }
        });
        let label = |i: usize| self.labels[s.rows[i] as usize];
        let labels: Vec<u32> = (0..s.rows.len()).map(label).collect();
        let alpha = f64::from(self.alpha);
        let got = contrast(u.view(), u.view(), self.tau, alpha, Wanted::Both, |i, j| {
            if i == j {
                Relation::Excluded
            } else if labels[i] == labels[j] {
                Relation::Positive
            } else {
                Relation::Negative
            }
        });
        let du = got.d_queries.par_chunks(d).zip(got.d_keys.par_chunks(d));
        let rows = grad.par_chunks_mut(d).zip(u.data().par_chunks(d)).zip(&lengths);
        rows.zip(du).for_each(|(((out, u), length), (a, b))| {
            if *length == 0.0 {
                return;
            }
            let du = || a.iter().zip(b).map(|(a, b)| f64::from(a + b));
            let along: f64 = du().zip(u).map(|(g, u)| g * f64::from(*u)).sum();
            for ((o, g), u) in out.iter_mut().zip(du()).zip(u) {
                *o += ((g - along * f64::from(*u)) / length) as f32;
            }
        });
        Ok(got.loss)
    }
}

/// Labels 0 and up from a side input of one column; equal values are one domain.
///
/// Errors: another number of columns, values that are not finite.
pub fn labels(side: &Matrix) -> Result<Vec<u32>> {
    if side.cols() != 1 {
        return Err(Error::mismatch(format!(
            "side input `domain` has {} columns; expected one, the label of each row",
            side.cols()
        )));
    }
    if let Some(row) = side.view().first_not_finite() {
        let message = format!("side input `domain` has {} in row {row}", side.data()[row]);
        return Err(Error::input(format!("{message}; expected a number for each domain")));
    }
    let mut values = side.data().to_vec();
    values.sort_unstable_by(f32::total_cmp);
    values.dedup_by(|a, b| a == b); // 0 and -0 are one domain
    let place = |v: &f32| values.partition_point(|known| known < v) as u32;
    Ok(side.data().iter().map(place).collect())
}

/// Rows of an epoch in batches that hold as many rows of each domain as of every other.
///
/// An epoch has as many batches as it would have without: `ceil(N / batch)`. Domains draw from
/// permutations of their own, one after the other, so the rows of small ones come back. A batch
/// smaller than the number of domains takes them in turn.
pub fn balanced_order(labels: &[u32], batch: usize, seed: u64, epoch: u32) -> Vec<u32> {
    let domains = labels.iter().max().map_or(0, |&m| m as usize + 1);
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); domains];
    labels.iter().enumerate().for_each(|(i, &l)| rows[l as usize].push(i as u32));
    let batch = batch.clamp(1, labels.len().max(1));
    let total = labels.len().div_ceil(batch) * batch;
    let mut next = vec![usize::MAX; domains];
    let mut rounds = vec![0u64; domains];
    let mut out = Vec::with_capacity(total);
    for i in 0..if domains > 0 { total } else { 0 } {
        let l = i % domains;
        if next[l] >= rows[l].len() {
            // Epoch, round and domain name the permutation.
            let purpose = format!("domain-order-{l}-{}", rounds[l]);
            rows[l].shuffle(&mut seed::stream(seed, &purpose, u64::from(epoch)));
            rounds[l] += 1;
            next[l] = 0;
        }
        out.push(rows[l][next[l]]);
        next[l] += 1;
    }
    out
}

/// For each length from 1 to L, the share of code prefixes in use that more than one domain uses.
pub fn prefix_sharing(codes: &Codes, labels: &[u32]) -> Vec<f64> {
    let mut order: Vec<u32> = (0..codes.rows() as u32).collect();
    order.par_sort_unstable_by(|&a, &b| codes.row(a as usize).cmp(codes.row(b as usize)));
    let share = |length: usize| {
        let prefix = |i: &u32| -> &[Code] { &codes.row(*i as usize)[..length] };
        let (mut used, mut shared) = (0usize, 0usize);
        for group in order.chunk_by(|a, b| prefix(a) == prefix(b)) {
            used += 1;
            let first = labels[group[0] as usize];
            shared += usize::from(group.iter().any(|&i| labels[i as usize] != first));
        }
        shared as f64 / used.max(1) as f64
    };
    (1..=codes.levels()).map(share).collect()
}
