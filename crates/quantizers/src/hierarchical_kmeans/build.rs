//! Cuts sets level by level: all sets of a depth at a time, each from its own random stream.

use super::tree::{HierarchicalCodebook, Node, Tree};
use super::{HierarchicalKMeansOptions, MOST_LEVELS};
use crate::blocks::{Blocks, distinct_rows};
use crate::kmeans::Start;
use crate::kmeans::balanced::Grouped;
use crate::kmeans::constrained::constrained;
use crate::kmeans::means::by_code;
use crate::kmeans::start::{Candidates, first_centroids};
use crate::kmeans::transport::Sizes;
use crate::residual::{Entering, check_vectors};
use crate::rq_kmeans::{RqKMeans, RqKMeansOptions};
use rayon::prelude::*;
use sidereal_core::{
    Code, Codebook, Codes, Error, Event, Matrix, MatrixRef, QuantizerInput, Result, Run, Silent,
    seed,
};
use std::ops::Range;

const TASK: &str = "hierarchical-kmeans";

/// Iterations of a cut with bounded sizes end like those of free ones.
const TOLERANCE: f64 = 1e-4;

/// A set on its way: its node, and where its rows are in the order of rows.
struct Set {
    node: usize,
    rows: Range<usize>,
}

pub(super) fn fit(
    options: &HierarchicalKMeansOptions,
    vectors: MatrixRef<'_>,
    run: &Run<'_>,
) -> Result<HierarchicalCodebook> {
    check_vectors(vectors)?;
    let n = vectors.rows();
    let (branches, levels) = (options.branches as usize, options.depth);
    if levels > 0 && branches.saturating_pow(levels) < n {
        return Err(Error::config(
            "quantizer.depth",
            format!(
                "{levels} digits of {branches} make {} IDs for {n} items; expected more of either",
                branches.saturating_pow(levels)
            ),
        ));
    }
    run.emit(Event::Started { task: TASK, total: n as u64, unit: "items" });
    let mut order: Vec<u32> = (0..n as u32).collect();
    let mut nodes = vec![Node { first: 0, children: 0, members: n as u32 }];
    let mut centroids = mean(vectors);
    let mut leaves: Vec<Set> = Vec::new();
    let (mut open, mut parents, mut placed) = (vec![Set { node: 0, rows: 0..n }], vec![0], 0);
    for depth in 0..MOST_LEVELS {
        let cuts: Vec<Option<Grouped>> = open
            .par_iter()
            .with_max_len(1)
            .map(|set| cut(options, vectors, &order[set.rows.clone()], depth, set.node, run))
            .collect::<Result<_>>()?;
        run.check()?;
        let mut next = Vec::new();
        for (set, grouped) in open.into_iter().zip(cuts) {
            let Some(Grouped { centroids: found, codes }) = grouped else {
                placed += set.rows.len();
                leaves.push(set);
                continue;
            };
            let (places, ends) = by_code(&codes, found.width());
            let rows = &mut order[set.rows.clone()];
            let sorted: Vec<u32> = places.iter().map(|&p| rows[p as usize]).collect();
            rows.copy_from_slice(&sorted);
            nodes[set.node].first = nodes.len() as u32;
            for (code, w) in ends.windows(2).enumerate().filter(|(_, w)| w[0] < w[1]) {
                let rows = set.rows.start + w[0]..set.rows.start + w[1];
                nodes[set.node].children += 1;
                next.push(Set { node: nodes.len(), rows: rows.clone() });
                nodes.push(Node { first: 0, children: 0, members: rows.len() as u32 });
                parents.push(set.node);
                centroids.extend_from_slice(found.row(code as Code));
            }
        }
        run.emit(Event::Advanced { task: TASK, done: placed as u64, numbers: &[] });
        open = next;
        if open.is_empty() {
            break;
        }
    }
    leaves.append(&mut open); // as deep as IDs may be
    let room = if levels > 0 { options.branches } else { options.leaf };
    let centroids = Matrix::new(nodes.len(), vectors.cols(), centroids)?;
    let tree = Tree::new(nodes, centroids, room, levels)?;
    let codes = number(&tree, &parents, &leaves, &order)?;
    run.emit(Event::Finished { task: TASK });
    Ok(HierarchicalCodebook::new(tree, vectors, codes))
}

/// Mean of all vectors: the centroid of the root.
fn mean(vectors: MatrixRef<'_>) -> Vec<f32> {
    let mut sum = vec![0f64; vectors.cols()];
    for row in vectors.data().chunks_exact(vectors.cols()) {
        sum.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
    }
    sum.into_iter().map(|s| (s / vectors.rows() as f64) as f32).collect()
}

/// Cuts a set, or leaves it as it is: `None`.
fn cut(
    options: &HierarchicalKMeansOptions,
    vectors: MatrixRef<'_>,
    rows: &[u32],
    depth: usize,
    node: usize,
    run: &Run<'_>,
) -> Result<Option<Grouped>> {
    let branches = options.branches as usize;
    let seed = seed::key(run.seed, "hierarchical-kmeans", node as u64);
    // Nobody hears the progress of a single set, but a stop is heard.
    let quiet = Run { seed, observer: &Silent, cancel: run.cancel.clone(), threads: run.threads };
    if options.depth > 0 {
        let left = options.depth as usize - 1 - depth;
        if left == 0 {
            return Ok(None);
        }
        let most = branches.saturating_pow(left as u32).min(rows.len());
        let subset = vectors.gather(rows)?;
        let (view, width) = (subset.view(), branches.min(rows.len()));
        let source = Entering::raw(&view);
        let mut rng = seed::stream(seed, "hierarchical-start", 0);
        let first =
            first_centroids(&source, Start::PlusPlus, width, Candidates::ByWidth, &mut rng)?;
        let sizes = Sizes { least: 0, most };
        let each = |_: u32, _: f64| quiet.check();
        let got = constrained(&source, first, sizes, options.iterations, TOLERANCE, each)?;
        return Ok(Some(got.grouped));
    }
    if rows.len() <= options.leaf as usize || depth + 1 >= MOST_LEVELS {
        return Ok(None);
    }
    let subset = vectors.gather(rows)?;
    let width = distinct_rows(subset.view(), branches).min(branches);
    if width < 2 {
        return Ok(None);
    }
    let o = RqKMeansOptions {
        levels: vec![width as u32],
        iterations: options.iterations,
        start_rows: 3072.max(width as u32),
        ..Default::default()
    };
    let book = RqKMeans::new(o)?.fit_here(subset.view(), &quiet)?;
    let codes = book.quantize(&QuantizerInput::vectors(subset.view()))?.data().to_vec();
    if codes.iter().all(|c| *c == codes[0]) {
        return Ok(None); // rounding has made one set of vectors that hardly differ
    }
    let centroids = crate::kmeans::Centroids::new(book.level(0).clone());
    Ok(Some(Grouped { centroids, codes }))
}

/// IDs of all rows: the digits on the way to the leaf, then the number in it.
fn number(tree: &Tree, parents: &[usize], leaves: &[Set], order: &[u32]) -> Result<Codes> {
    let levels = tree.widths().len();
    let mut data = vec![Codes::NONE; order.len() * levels];
    for leaf in leaves {
        let (mut path, mut node) = (Vec::new(), leaf.node);
        while node != 0 {
            let parent = parents[node];
            path.push(node as u32 - tree.node(parent).first);
            node = parent;
        }
        path.reverse();
        for (number, &row) in order[leaf.rows.clone()].iter().enumerate() {
            let out = &mut data[row as usize * levels..(row as usize + 1) * levels];
            out[..path.len()].copy_from_slice(&path);
            if tree.numbered(leaf.node) {
                out[path.len()] = number as Code;
            }
        }
    }
    Codes::new(order.len(), levels, data)
}
