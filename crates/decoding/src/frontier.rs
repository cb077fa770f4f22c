//! The prefixes of one level over all requests, and what may follow each: the book-keeping that
//! decoders share which let several hypotheses stand at one prefix (samplers, groups of beams).
//!
//! A prefix is scored once, however many hypotheses stand at it. Prefixes lie in the order of
//! (request, codes), as long as children are grown in the order of (parent, code).

use crate::ranking::{PerRequest, check_logits, too_deep};
use crate::softmax::{Normalizers, normalize};
use crate::{Branch, CodeScorer, Constraint, Row, State};
use sidereal_core::{Code, Error, Result, Run};

/// A prefix that goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub request: u32,
    pub state: State,
    /// Sums of log-probabilities over the full vocabulary and over the allowed codes.
    pub full: f64,
    pub masked: f64,
    /// The prefix is a whole identifier too.
    pub ends: bool,
}

/// An extension of a node by one code, with the sums that it then has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Child {
    pub branch: Branch,
    pub full: f64,
    pub masked: f64,
}

/// What a prefix became when a code was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grown {
    /// A whole identifier that does not go on.
    Leaf,
    /// A node of the next level.
    Node(u32),
    /// Neither; constraints that keep their contract have none.
    Dead,
}

/// What may follow one node.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    pub branches: Vec<Branch>,
    /// Logits of the branches.
    pub allowed: Vec<f32>,
    lse: Option<Normalizers>,
}

impl Choices {
    /// Log-probability of branch `i` over the allowed codes.
    pub fn masked(&self, i: usize) -> f64 {
        self.lse.map_or(f64::NEG_INFINITY, |lse| f64::from(self.allowed[i]) - lse.masked)
    }

    /// Log-probability of branch `i` over the full vocabulary.
    pub fn full(&self, i: usize) -> f64 {
        self.lse.map_or(f64::NEG_INFINITY, |lse| f64::from(self.allowed[i]) - lse.full)
    }

    /// The extension of their node by branch `i`.
    pub fn child(&self, parent: &Node, i: usize) -> Child {
        Child {
            branch: self.branches[i],
            full: parent.full + self.full(i),
            masked: parent.masked + self.masked(i),
        }
    }

    /// Reads the logits of the branches from the row of a request at a level.
    pub fn read(&mut self, row: &[f32], request: u32, level: usize) -> Result<()> {
        self.lse = normalize(row, &self.branches, &mut self.allowed, request, level)?;
        Ok(())
    }

    /// Whether any branch has a positive probability.
    pub fn any(&self) -> bool {
        self.lse.is_some()
    }
}

#[derive(Default)]
struct Level {
    nodes: Vec<Node>,
    /// Codes of the nodes, row-major.
    prefixes: Vec<Code>,
    rows: Vec<Row>,
}

impl Level {
    fn clear(&mut self) {
        self.nodes.clear();
        self.prefixes.clear();
        self.rows.clear();
    }
}

/// The nodes that are scored and those that grow out of them.
pub(crate) struct Frontier<'a> {
    constraints: PerRequest<'a>,
    requests: usize,
    levels: usize,
    now: Level,
    next: Level,
    /// Codes of each node of `now`; those of `next` have one more. `None` before level 0.
    depth: Option<usize>,
    vocabulary: usize,
    logits: Vec<f32>,
    path: Vec<Code>,
}

impl<'a> Frontier<'a> {
    /// The empty prefix of every request. At most `width` nodes a request will be grown.
    ///
    /// Errors: more rows than can be numbered.
    pub fn new(scorer: &dyn CodeScorer, constraints: PerRequest<'a>, width: usize) -> Result<Self> {
        let (requests, levels) = (scorer.requests(), scorer.levels());
        if requests.checked_mul(width).is_none_or(|n| n > u32::MAX as usize) {
            return Err(Error::config(
                "decoder.width",
                format!(
                    "got {width} for a batch of {requests} requests; their product must stay \
                     below 2^32"
                ),
            ));
        }
        let mut next = Level::default();
        for request in 0..requests as u32 {
            let state = constraints.get(request).root();
            next.nodes.push(Node { request, state, full: 0.0, masked: 0.0, ends: false });
            next.rows.push(Row { request, parent: 0, code: 0 });
        }
        Ok(Frontier {
            constraints,
            requests,
            levels,
            now: Level::default(),
            next,
            depth: None,
            vocabulary: 0,
            logits: Vec::new(),
            path: Vec::new(),
        })
    }

    /// Number of requests.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// The constraint of a request.
    pub fn constraint(&self, request: u32) -> &'a dyn Constraint {
        self.constraints.get(request)
    }

    /// Goes to the nodes that were grown and scores them; false when there are none.
    pub fn advance(&mut self, scorer: &mut dyn CodeScorer, run: &Run<'_>) -> Result<bool> {
        std::mem::swap(&mut self.now, &mut self.next);
        self.next.clear();
        let level = self.depth.map_or(0, |d| d + 1);
        self.depth = Some(level);
        if self.now.rows.is_empty() || level >= self.levels {
            return Ok(false);
        }
        run.check()?;
        self.vocabulary = scorer.width(level);
        scorer.advance(level, &self.now.rows, &mut self.logits)?;
        check_logits(self.logits.len(), self.now.rows.len(), self.vocabulary, level)?;
        Ok(true)
    }

    /// The level that is scored now: the number of codes of its nodes.
    pub fn level(&self) -> usize {
        self.depth.unwrap_or(0)
    }

    /// The nodes that are scored now.
    pub fn nodes(&self) -> &[Node] {
        &self.now.nodes
    }

    /// Codes of a node.
    pub fn prefix(&self, node: usize) -> &[Code] {
        let level = self.level();
        &self.now.prefixes[node * level..(node + 1) * level]
    }

    /// Gathers what may follow a node.
    pub fn choices(&self, node: usize, out: &mut Choices) -> Result<()> {
        let Node { request, state, .. } = self.now.nodes[node];
        out.branches.clear();
        self.constraint(request).expand(self.prefix(node), state, &mut out.branches);
        let row = &self.logits[node * self.vocabulary..(node + 1) * self.vocabulary];
        out.read(row, request, self.level())
    }

    /// Appends a code to a node; the codes are then [`Frontier::path`].
    ///
    /// Errors: the identifier goes on behind the last level that can be scored.
    pub fn grow(&mut self, node: usize, child: &Child) -> Result<Grown> {
        let request = self.now.nodes[node].request;
        let Child { branch: Branch { code, state }, full, masked } = *child;
        let level = self.level();
        let (start, end) = (node * level, (node + 1) * level);
        self.path.clear();
        self.path.extend_from_slice(&self.now.prefixes[start..end]);
        self.path.push(code);
        let constraint = self.constraint(request);
        let ends = constraint.accepts(&self.path, state);
        if !constraint.continues(&self.path, state) {
            return Ok(if ends { Grown::Leaf } else { Grown::Dead });
        }
        if level + 1 >= self.levels {
            return Err(too_deep(self.levels));
        }
        self.next.nodes.push(Node { request, state, full, masked, ends });
        self.next.prefixes.extend_from_slice(&self.path);
        self.next.rows.push(Row { request, parent: node as u32, code });
        Ok(Grown::Node(self.next.nodes.len() as u32 - 1))
    }

    /// The last node of the next level.
    pub fn grown(&self) -> Option<&Node> {
        self.next.nodes.last()
    }

    /// Codes of what was grown last.
    pub fn path(&self) -> &[Code] {
        &self.path
    }
}
