//! Items that users have together, as a sparse symmetric matrix, and its components.

use rayon::prelude::*;
use sidereal_core::{ItemId, Result, Run, Sequences, UserId};
use sidereal_nn::algebra::sparse::Csr;

/// Rows counted as one piece of work.
const ROWS: usize = 256;

/// `A_ij`: pairs of places in one training history that hold items `i` and `j`, `N x N` without a
/// diagonal. Of longer histories the last `longest` items count (0: all).
///
/// Cost: `sum_u n_u^2` additions; memory: the stored values and one row a thread.
pub fn co_occurrence(
    train: &Sequences,
    items: usize,
    longest: usize,
    run: &Run<'_>,
) -> Result<Csr> {
    let history = |u: u32| {
        let all = train.items(UserId(u));
        &all[if longest == 0 { 0 } else { all.len().saturating_sub(longest) }..]
    };
    // Users of each item, once for every place.
    let mut starts = vec![0usize; items + 1];
    let known = |item: &&ItemId| item.index() < items;
    for u in 0..train.len() as u32 {
        history(u).iter().filter(known).for_each(|item| starts[item.index() + 1] += 1);
    }
    (0..items).for_each(|i| starts[i + 1] += starts[i]);
    let mut next = starts.clone();
    let mut users = vec![0u32; starts[items]];
    for u in 0..train.len() as u32 {
        for item in history(u).iter().filter(known) {
            users[next[item.index()]] = u;
            next[item.index()] += 1;
        }
    }
    run.check()?;
    let blocks: Vec<(Vec<usize>, Vec<u32>, Vec<f32>)> = (0..items.div_ceil(ROWS))
        .into_par_iter()
        .map_init(
            || (vec![0f32; items], Vec::new()),
            |(counts, touched): &mut (Vec<f32>, Vec<u32>), block| {
                let (mut lengths, mut columns, mut values) = (Vec::new(), Vec::new(), Vec::new());
                for i in block * ROWS..((block + 1) * ROWS).min(items) {
                    for &u in &users[starts[i]..starts[i + 1]] {
                        for item in history(u).iter().filter(known).filter(|j| j.index() != i) {
                            let count = &mut counts[item.index()];
                            if *count == 0.0 {
                                touched.push(item.0);
                            }
                            *count += 1.0;
                        }
                    }
                    touched.sort_unstable();
                    lengths.push(touched.len());
                    for j in touched.drain(..) {
                        columns.push(j);
                        values.push(std::mem::take(&mut counts[j as usize]));
                    }
                }
                (lengths, columns, values)
            },
        )
        .collect();
    run.check()?;
    let mut offsets = vec![0];
    for length in blocks.iter().flat_map(|b| &b.0) {
        offsets.push(offsets.last().copied().unwrap_or(0) + length);
    }
    let columns = blocks.iter().flat_map(|b| b.1.iter().copied()).collect();
    let values = blocks.iter().flat_map(|b| b.2.iter().copied()).collect();
    Ok(Csr::from_parts(items, offsets, columns, values))
}

/// The rows and columns `nodes` (ascending) of a symmetric matrix. `local` is scratch of N values,
/// all `u32::MAX` before and after.
pub fn part(graph: &Csr, nodes: &[u32], local: &mut [u32]) -> Csr {
    (0..).zip(nodes).for_each(|(i, &node)| local[node as usize] = i);
    let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
    for &node in nodes {
        let (cs, vs) = graph.row(node as usize);
        for (&c, &v) in cs.iter().zip(vs).filter(|(c, _)| local[**c as usize] != u32::MAX) {
            columns.push(local[c as usize]);
            values.push(v);
        }
        offsets.push(columns.len());
    }
    nodes.iter().for_each(|&node| local[node as usize] = u32::MAX);
    Csr::from_parts(nodes.len(), offsets, columns, values)
}

/// The number of the component of each node, numbered by their first nodes, and their sizes.
pub fn components(graph: &Csr) -> (Vec<u32>, Vec<usize>) {
    let mut of = vec![u32::MAX; graph.rows()];
    let (mut sizes, mut stack) = (Vec::new(), Vec::new());
    for first in 0..graph.rows() {
        if of[first] != u32::MAX {
            continue;
        }
        let name = sizes.len() as u32;
        of[first] = name;
        stack.push(first as u32);
        let mut size = 0;
        while let Some(node) = stack.pop() {
            size += 1;
            for &c in graph.row(node as usize).0 {
                if of[c as usize] == u32::MAX {
                    of[c as usize] = name;
                    stack.push(c);
                }
            }
        }
        sizes.push(size);
    }
    (of, sizes)
}
