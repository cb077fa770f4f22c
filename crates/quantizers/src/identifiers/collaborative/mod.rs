//! `collaborative`: the path of an item in a tree of items that users have together.
//!
//! The collaborative indexing (CID) of arXiv 2305.06569 and OpenP5 (arXiv 2306.11134):
//! 1. `A_ij` counts how often items `i` and `j` stand in one training history (`graph`).
//! 2. Spectral clustering cuts the items into k groups (`spectral`); each group of more than M is cut
//!    again by its own part of A, breadth first.
//! 3. Every group has a code, appended to the IDs of its items. The items of a group of at most M
//!    end in their place in the group, `0..n`.
//!
//! Codes of groups: a running number over the whole tree modulo M (`repeated`, as OpenP5 does), or
//! the number itself, so that no two groups share a code (`unique`, the paper's variant without
//! repetition). Groups below one parent have neighbouring numbers and fewer than M of them, so IDs
//! are distinct either way; no ID begins another one. The paper's CID+IID is `hybrid`.
//!
//! Deviations:
//! - Counts of (i, j) and (j, i) are added (as OpenP5 does); the first code base lets one overwrite
//!   the other. An item that a history has twice is not joined to itself.
//! - Items without a neighbour form one group of their own at the top, in the order of their source
//!   ids, cut into k parts as long as it has more than M; OpenP5 has one leaf of any size.
//! - A graph of more than k components has no k distinguished eigenvectors: its components are dealt
//!   to k groups, the largest first, each to the smallest group.
//! - Below 8 levels (the first code base ends there), and where clustering finds one group only, a
//!   group is cut into k equal parts in the order of the catalogue.
//! - The number of groups is an option; the eigengap rule of the code base, which takes the wrong
//!   end of the list, is not built in.
//!
//! Cost: see `graph` and `spectral`; every level of the tree costs about as much as the first.

mod graph;
mod spectral;

use super::Ids;
use graph::{co_occurrence, components, part};
use serde::{Deserialize, Serialize};
use sidereal_core::{
    Code, CodeOrder, EncoderInput, Error, Event, Identifier, IdentifierInput, ItemId, Result, Run,
    SidTable,
};
use sidereal_nn::algebra::sparse::Csr;
use sidereal_nn::parallel::pool;
use std::collections::VecDeque;

/// Codes of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Numbering {
    /// A running number modulo `leaf`: groups far apart share codes.
    Repeated,
    /// A number of its own for every group.
    Unique,
}

sidereal_core::options! {
    /// Options of `collaborative`.
    pub struct CollaborativeOptions {
        /// Groups that every group is cut into, k; 2 and up. The paper: 20.
        pub groups: u32 = 20,
        /// Items of the largest group that is not cut again, M; above `groups`. The paper: 500.
        pub leaf: u32 = 500,
        /// Codes of groups: `repeated` or `unique`.
        pub numbering: Numbering = Numbering::Repeated,
        /// Items of each history that are joined, from the last; 0 for all. The cost grows with the
        /// square.
        pub longest: u32 = 0,
    }
}

/// Levels that are cut by clustering.
const DEPTH: usize = 8;
const TASK: &str = "collaborative";

/// Builds the tree.
#[derive(Debug, Clone)]
pub struct Collaborative {
    options: CollaborativeOptions,
}

/// A group that waits for its cut.
struct Group {
    /// Ascending, or in the order of source ids for items without neighbours.
    items: Vec<u32>,
    path: Vec<Code>,
    cut: Cut,
}

#[derive(Clone, Copy, PartialEq)]
enum Cut {
    Clusters,
    EqualParts,
}

impl Collaborative {
    /// Checks the options.
    ///
    /// Errors name the key under `identifier`, its value and what is allowed.
    pub fn new(options: CollaborativeOptions) -> Result<Self> {
        let CollaborativeOptions { groups, leaf, .. } = options;
        if groups < 2 {
            let message = format!("got {groups}; expected at least 2");
            return Err(Error::config("identifier.groups", message));
        }
        if leaf <= groups {
            let message = format!("got {leaf}; expected more than identifier.groups = {groups}");
            return Err(Error::config("identifier.leaf", message));
        }
        Ok(Collaborative { options })
    }

    /// The ID of each item.
    fn ids(&self, catalogue: &EncoderInput<'_>, run: &Run<'_>) -> Result<Ids> {
        let EncoderInput { items, train } = *catalogue;
        let n = items.len();
        let total = n as u64;
        run.emit(Event::Started { task: TASK, total, unit: "items" });
        let graph = co_occurrence(train, n, self.options.longest as usize, run)?;
        let joined = |i: &u32| !graph.row(*i as usize).0.is_empty();
        let (joined, mut alone): (Vec<u32>, Vec<u32>) = (0..n as u32).partition(joined);
        alone.sort_by_key(|&i| (items.id(ItemId(i)), i));

        let mut number = 0;
        let mut waiting = VecDeque::new();
        let mut name = |path: &[Code], items: Vec<u32>, cut: Cut, waiting: &mut VecDeque<Group>| {
            let code = match self.options.numbering {
                Numbering::Repeated => number % self.options.leaf,
                Numbering::Unique => number,
            };
            number += 1;
            let path = path.iter().copied().chain([code]).collect();
            waiting.push_back(Group { items, path, cut });
        };
        // The top is always cut, however few items there are.
        let mut local = vec![u32::MAX; n];
        for items in self.clusters(&graph, &joined, &mut local, run, 0)? {
            name(&[], items, Cut::Clusters, &mut waiting);
        }
        if !alone.is_empty() {
            name(&[], alone, Cut::EqualParts, &mut waiting);
        }
        let mut leaf_of: Vec<(u32, u32)> = vec![(0, 0); n];
        let mut leaves = Ids::new();
        let (mut done, mut cuts) = (0, 0);
        while let Some(Group { items, path, cut }) = waiting.pop_front() {
            if items.len() <= self.options.leaf as usize {
                let leaf = leaves.len() as u32;
                leaves.push(&path);
                (0..).zip(&items).for_each(|(place, &i)| leaf_of[i as usize] = (leaf, place));
                done += items.len() as u64;
                run.emit(Event::Advanced { task: TASK, done, numbers: &[] });
                continue;
            }
            let mut parts = Vec::new();
            if cut == Cut::Clusters && path.len() < DEPTH {
                cuts += 1;
                parts = self.clusters(&graph, &items, &mut local, run, cuts)?;
            }
            if parts.len() < 2 {
                let size = items.len().div_ceil(self.options.groups as usize);
                parts = items.chunks(size.max(1)).map(<[u32]>::to_vec).collect();
            }
            parts.into_iter().for_each(|items| name(&path, items, cut, &mut waiting));
        }
        let mut ids = Ids::new();
        for (leaf, place) in leaf_of {
            ids.extend(leaves.get(leaf as usize).iter().copied().chain([place]));
        }
        run.emit(Event::Finished { task: TASK });
        Ok(ids)
    }

    /// Cuts a group by its part of the graph; groups are ordered by their first items.
    fn clusters(
        &self,
        graph: &Csr,
        items: &[u32],
        local: &mut [u32],
        run: &Run<'_>,
        index: u64,
    ) -> Result<Vec<Vec<u32>>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let k = self.options.groups as usize;
        let own = part(graph, items, local);
        let (component, sizes) = components(&own);
        let labels = if sizes.len() > k {
            let to = deal(&sizes, k);
            component.iter().map(|&c| to[c as usize]).collect()
        } else {
            spectral::labels(&own, k, run, index)?
        };
        let mut place = vec![u32::MAX; k];
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for (&item, label) in items.iter().zip(labels) {
            let place = &mut place[label as usize];
            if *place == u32::MAX {
                *place = groups.len() as u32;
                groups.push(Vec::new());
            }
            groups[*place as usize].push(item);
        }
        Ok(groups)
    }
}

/// A group for each component, of k: the largest first, each to the group that has the fewest.
fn deal(sizes: &[usize], k: usize) -> Vec<u32> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&c| (std::cmp::Reverse(sizes[c]), c));
    let mut groups = std::collections::BTreeSet::from_iter((0..k as u32).map(|g| (0, g)));
    let mut to = vec![0; sizes.len()];
    for c in order {
        if let Some((size, group)) = groups.pop_first() {
            to[c] = group;
            groups.insert((size + sizes[c], group));
        }
    }
    to
}

impl Identifier for Collaborative {
    fn identify(&self, input: &IdentifierInput<'_>, run: &Run<'_>) -> Result<SidTable> {
        let ids = pool(run.threads)?.install(|| self.ids(&input.catalogue, run))?;
        ids.table(CodeOrder::Sequence)
    }

    fn reads_codes(&self) -> bool {
        false
    }
}
