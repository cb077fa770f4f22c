//! LETTER's diversity regularisation (arXiv 2405.07314): codes of a level are gathered in clusters,
//! and the code of a row is pulled to another of its cluster, against all other codes of the level,
//! so that codes spread evenly.
//!
//! `loss = (beta / L) sum_l -(1 / B) sum_i log( exp(e.e+) / sum_{k != c_i} exp(e.e_k) )` with the
//! row's code `e = C_l[c_i]` and a drawn `e+` of its cluster. A code alone in its cluster has no `e+`
//! and adds nothing (the authors' code would search for one without end).
//!
//! Deviations: clusters are those of plain k-means, found anew at each step, where the authors bound
//! their sizes and keep them for a while.

use super::contrast::{Relation, Wanted, contrast};
use crate::blocks::distinct_rows;
use crate::rq_kmeans::{RqKMeans, RqKMeansOptions};
use crate::rq_vae::{Auxiliary, AuxiliaryBatch, AuxiliaryGradients};
use rand::Rng;
use sidereal_core::{Code, Codebook, Matrix, QuantizerInput, Result, Run, seed};
use sidereal_nn::kernels::embedding;

/// The loss over a batch.
#[derive(Debug, Clone)]
pub struct Diversity {
    /// Weight of the loss.
    pub beta: f32,
    /// Clusters of a level's codes, 1 and up; at most as many as there are distinct codes.
    pub clusters: u32,
}

impl Diversity {
    /// Cluster of each code.
    fn cluster(&self, codes: &Matrix, key: u64) -> Result<Vec<Code>> {
        let wanted = self.clusters as usize;
        let most = distinct_rows(codes.view(), wanted).min(wanted) as u32;
        let options = RqKMeansOptions {
            levels: vec![most],
            iterations: 10,
            start_rows: 0,
            ..Default::default()
        };
        let input = QuantizerInput::vectors(codes.view());
        let book = RqKMeans::new(options)?.fit_here(codes.view(), &Run::quiet(key))?;
        Ok(book.quantize(&input)?.data().to_vec())
    }
}

impl Auxiliary for Diversity {
    fn evaluate(&self, s: &AuxiliaryBatch<'_>, into: &mut AuxiliaryGradients) -> Result<f64> {
        let (b, d) = (s.rows.len(), s.quantized.cols());
        let levels = s.codes.len() / b.max(1);
        let weight = f64::from(self.beta) / levels.max(1) as f64;
        let mut total = 0.0;
        for l in 0..levels {
            let book = Matrix::new(s.model.level(l).len() / d, d, s.model.level(l).to_vec())?;
            let of = self.cluster(&book, seed::key(s.key, "diversity-clusters", l as u64))?;
            let chosen: Vec<Code> = s.codes.chunks_exact(levels).map(|row| row[l]).collect();
            let partners = partners(&of, &chosen, seed::key(s.key, "diversity", l as u64));
            let mut queries = Matrix::zeros(b, d);
            embedding::gather(book.data(), d, &chosen, queries.data_mut());
            let relation = |i: usize, j: usize| match j as Code {
                own if own == chosen[i] => Relation::Excluded,
                other if Some(other) == partners[i] => Relation::Positive,
                _ => Relation::Negative,
            };
            let got = contrast(queries.view(), book.view(), 1.0, weight, Wanted::Both, relation);
            let out = s.model.level_slot(l).of_mut(&mut into.params);
            out.iter_mut().zip(&got.d_keys).for_each(|(o, g)| *o += g);
            embedding::scatter_add(out, d, &chosen, &got.d_queries);
            total += got.loss;
        }
        Ok(total)
    }
}

/// For each row another code of its code's cluster, or none where there is no other.
fn partners(cluster: &[Code], chosen: &[Code], key: u64) -> Vec<Option<Code>> {
    let count = cluster.iter().max().map_or(0, |&c| c as usize + 1);
    let mut members: Vec<Vec<Code>> = vec![Vec::new(); count];
    cluster.iter().enumerate().for_each(|(code, &c)| members[c as usize].push(code as Code));
    let mut rng = seed::stream(key, "partners", 0);
    let mut draw = |&code: &Code| {
        let all = &members[cluster[code as usize] as usize];
        let at = all.partition_point(|&c| c < code);
        if all.len() < 2 {
            return None;
        }
        let drawn = rng.random_range(0..all.len() - 1);
        Some(all[if drawn < at { drawn } else { drawn + 1 }])
    };
    chosen.iter().map(&mut draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partners_are_others_of_the_cluster() {
        let cluster = [0, 1, 0, 2, 0, 1];
        let chosen: Vec<Code> = (0..600).map(|i| i % 6).collect();
        let mut seen = [[0; 6]; 6];
        for (&c, p) in chosen.iter().zip(partners(&cluster, &chosen, 4)) {
            match p {
                None => assert_eq!(c, 3),
                Some(p) => {
                    assert!(p != c && cluster[p as usize] == cluster[c as usize]);
                    seen[c as usize][p as usize] += 1;
                }
            }
        }
        assert!(seen[0][2] > 30 && seen[0][4] > 30 && seen[1][5] == 100);
    }
}
