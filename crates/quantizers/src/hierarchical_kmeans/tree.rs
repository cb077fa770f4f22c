//! The tree of a hierarchical k-means as a codebook.
//!
//! Nodes lie level by level, the children of a node side by side, so a digit is the distance to the
//! first child. Cost of a new vector: `2 D k` operations a level.

use super::MOST_LEVELS;
use crate::kmeans::squared_distance;
use crate::random::{join, split};
use crate::residual::check_vectors;
use crate::training::Training;
use rayon::prelude::*;
use sidereal_core::{Code, Codebook, Codes, Error, Matrix, MatrixRef, QuantizerInput, Result};

/// Start of the names of the tensors.
pub(crate) const TREE: &str = "tree_";
const NODES: &str = "tree_nodes";
const CENTROIDS: &str = "tree_centroids";
const ROOM: &str = "tree_room";

/// A set of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    /// Number of the first child.
    pub first: u32,
    /// Number of children; a leaf has none.
    pub children: u32,
    /// Fitted vectors.
    pub members: u32,
}

/// All nodes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// One row a node.
    centroids: Matrix,
    /// Numbers of a leaf, if it has no more members.
    room: u32,
    /// Digits of every ID, 0 where they differ.
    digits: u32,
    widths: Vec<u32>,
}

impl Tree {
    /// Errors: nodes that are no tree, or a shape of centroids that does not fit.
    pub(super) fn new(nodes: Vec<Node>, centroids: Matrix, room: u32, digits: u32) -> Result<Self> {
        let wrong = |what| Err(Error::mismatch(format!("hierarchical codebook: {what}")));
        if nodes.is_empty() || centroids.rows() != nodes.len() || centroids.cols() == 0 {
            return wrong("expected one centroid a node");
        }
        check_vectors(centroids.view())
            .map_err(|e| Error::mismatch(format!("hierarchical codebook: {e}")))?;
        let mut tree = Tree { nodes, centroids, room, digits, widths: Vec::new() };
        let mut depths = vec![0usize; tree.nodes.len()];
        let mut next = 1usize;
        for i in 0..tree.nodes.len() {
            let Node { first, children, .. } = tree.nodes[i];
            let (depth, digits) = (depths[i], tree.digits_at(i));
            if digits > 0 {
                if depth == tree.widths.len() {
                    tree.widths.push(0);
                }
                if depth >= MOST_LEVELS {
                    return wrong("the tree is too deep");
                }
                tree.widths[depth] = tree.widths[depth].max(digits);
            }
            if children > 0 {
                let end = next.saturating_add(children as usize);
                if first as usize != next || next <= i || end > tree.nodes.len() {
                    return wrong("its nodes are no tree");
                }
                depths[next..end].fill(depth + 1);
                next = end;
            }
        }
        // The members of a node are those of its children; a leaf has members and points nowhere.
        let counts = |n: &Node| {
            let children = n.first as usize..n.first.saturating_add(n.children) as usize;
            let below = tree.nodes.get(children).unwrap_or_default();
            let below: u64 = below.iter().map(|c| u64::from(c.members)).sum();
            if n.children == 0 {
                n.members > 0 && n.first == 0
            } else {
                below == u64::from(n.members)
            }
        };
        if next != tree.nodes.len() || !tree.nodes.iter().all(counts) {
            return wrong("its nodes are no tree");
        }
        Ok(tree)
    }

    pub(super) fn node(&self, node: usize) -> Node {
        self.nodes[node]
    }

    pub(super) fn widths(&self) -> &[u32] {
        &self.widths
    }

    /// Whether the members of a leaf have a digit of their own. IDs are never empty, and where all
    /// have the same length the last digit is always there.
    pub(super) fn numbered(&self, leaf: usize) -> bool {
        leaf == 0 || self.digits > 0 || self.nodes[leaf].members > 1
    }

    /// Digits that may follow a node.
    fn digits_at(&self, node: usize) -> u32 {
        match self.nodes[node] {
            Node { children: 0, members, .. } if self.numbered(node) => members.max(self.room),
            Node { children, .. } => children,
        }
    }

    /// Digits to the leaf that a vector falls into, and the leaf.
    fn descend(&self, vector: &[f32], digits: &mut [Code]) -> usize {
        let mut node = 0;
        for digit in digits {
            let Node { first, children, .. } = self.nodes[node];
            let distance =
                |c: u32| squared_distance(vector, self.centroids.row((first + c) as usize));
            let nearer = |best: Option<(Code, f32)>, c: Code| {
                let now = distance(c);
                if best.is_none_or(|b| now < b.1) { Some((c, now)) } else { best }
            };
            let Some((child, _)) = (0..children).fold(None, nearer) else { break };
            *digit = child;
            node = (first + child) as usize;
        }
        node
    }

    /// The node that the first digits name, and how many they are; `None` when there is none.
    fn find(&self, digits: &[Code]) -> Option<usize> {
        let mut node = 0;
        for &digit in digits {
            match self.nodes[node] {
                _ if digit == Codes::NONE => break,
                Node { children: 0, .. } => {
                    return (digit < self.digits_at(node)).then_some(node);
                }
                Node { first, children, .. } if digit < children => {
                    node = (first + digit) as usize;
                }
                _ => return None,
            }
        }
        Some(node)
    }
}

/// A tree of clusters with the IDs of the vectors it was fitted on.
#[derive(Debug, Clone, PartialEq)]
pub struct HierarchicalCodebook {
    tree: Tree,
    training: Training,
}

impl HierarchicalCodebook {
    pub(super) fn new(tree: Tree, vectors: MatrixRef<'_>, codes: Codes) -> Self {
        HierarchicalCodebook { tree, training: Training::new(vectors, codes) }
    }

    /// From what [`Codebook::tensors`] gives.
    pub fn from_tensors(mut tensors: Vec<(String, Matrix)>) -> Result<Self> {
        let training = Training::take(&mut tensors)?;
        let mut find = |name: &str| {
            let at = tensors.iter().position(|(n, _)| n == name);
            let missing = || format!("hierarchical codebook: tensor `{name}` is missing");
            at.map(|i| tensors.swap_remove(i).1).ok_or_else(|| Error::mismatch(missing()))
        };
        let (nodes, centroids, room) = (find(NODES)?, find(CENTROIDS)?, find(ROOM)?);
        let numbers = join(nodes.data(), 2)?;
        let node =
            |n: &[u64; 3]| Node { first: n[0] as u32, children: n[1] as u32, members: n[2] as u32 };
        let (whole, rest) = numbers.as_chunks::<3>();
        let &[room, digits] = &join(room.data(), 2)?[..] else {
            return Err(Error::mismatch(format!(
                "hierarchical codebook: `{ROOM}` has no two words"
            )));
        };
        if !rest.is_empty() {
            return Err(Error::mismatch(format!("hierarchical codebook: `{NODES}` is cut off")));
        }
        let nodes = whole.iter().map(node).collect();
        let tree = Tree::new(nodes, centroids, room as u32, digits as u32)?;
        let fits = |t: &Training| {
            let codes = t.codes();
            codes.levels() == tree.widths.len()
                && (0..codes.rows()).all(|i| tree.find(codes.row(i)).is_some())
        };
        match training {
            Some(training) if fits(&training) => Ok(HierarchicalCodebook { tree, training }),
            _ => Err(Error::mismatch(
                "hierarchical codebook: the IDs of the fit do not fit the tree",
            )),
        }
    }

    /// IDs of the fitted vectors.
    pub fn fitted(&self) -> &Codes {
        self.training.codes()
    }
}

impl Codebook for HierarchicalCodebook {
    fn widths(&self) -> &[u32] {
        &self.tree.widths
    }

    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        let (vectors, tree) = (input.vectors, &self.tree);
        if vectors.cols() != tree.centroids.cols() {
            return Err(Error::mismatch(format!(
                "the codebook was fitted on vectors of width {}, got width {}",
                tree.centroids.cols(),
                vectors.cols()
            )));
        }
        if let Some(codes) = self.training.of(vectors) {
            return Ok(codes.clone());
        }
        let (rows, levels) = (vectors.rows(), tree.widths.len());
        if rows > 0 {
            check_vectors(vectors)?;
        }
        let mut data = vec![Codes::NONE; rows * levels];
        let leaves: Vec<usize> = data
            .par_chunks_mut(levels)
            .enumerate()
            .map(|(i, digits)| tree.descend(vectors.row(i), digits))
            .collect();
        let mut next: Vec<u32> = tree.nodes.iter().map(|n| n.members).collect();
        for (digits, leaf) in data.chunks_exact_mut(levels).zip(leaves) {
            if !tree.numbered(leaf) {
                continue;
            }
            let last = tree.digits_at(leaf) - 1;
            if let Some(free) = digits.iter_mut().find(|d| **d == Codes::NONE) {
                *free = next[leaf].min(last);
                next[leaf] = next[leaf].saturating_add(1);
            }
        }
        Codes::new(rows, levels, data)
    }

    /// The centroid of the smallest set that the digits name; none of them stand for zero.
    fn reconstruct(&self, codes: &Codes, levels: usize) -> Option<Matrix> {
        if levels > codes.levels() || codes.levels() > self.tree.widths.len() {
            return None;
        }
        let mut out = Matrix::zeros(codes.rows(), self.tree.centroids.cols());
        for i in 0..codes.rows() {
            let node = self.tree.find(&codes.row(i)[..levels])?;
            if levels > 0 {
                out.row_mut(i).copy_from_slice(self.tree.centroids.row(node));
            }
        }
        Some(out)
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        let words = |n: &Node| [n.first, n.children, n.members].map(u64::from);
        let nodes = split(self.tree.nodes.iter().flat_map(words), 2);
        let room = split([self.tree.room, self.tree.digits].into_iter().map(u64::from), 2);
        let mut out = vec![(CENTROIDS.to_string(), self.tree.centroids.clone())];
        // The shapes of a codebook's own parts fit.
        let parts = [(NODES, self.tree.nodes.len(), nodes), (ROOM, 1, room)];
        for (name, rows, data) in parts {
            out.extend(Matrix::new(rows, data.len() / rows, data).ok().map(|m| (name.into(), m)));
        }
        out.extend(self.training.tensors().into_iter().flatten());
        out
    }
}
