//! What may follow a prefix. A constraint is an argument of the request, not of the decoder.
//!
//! [`constraints`](crate::constraints) has those over a catalogue; [`Unconstrained`] allows
//! everything.

use crate::{Rows, Trie};
use sidereal_core::Code;
use std::sync::Arc;

/// Opaque place inside a constraint after a prefix; each constraint packs its own meaning into it
/// (a trie packs a range of sorted rows).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State(pub u64);

/// An allowed code and the state it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// The code.
    pub code: Code,
    /// Where it leads.
    pub state: State,
}

/// Which codes may follow a prefix.
///
/// Every branch leads to at least one whole identifier: there are no dead ends to walk into.
pub trait Constraint: Send + Sync {
    /// State of the empty prefix.
    fn root(&self) -> State;

    /// Appends the codes that may follow `prefix`, ascending and distinct; none when the prefix
    /// cannot go on.
    fn expand(&self, prefix: &[Code], state: State, out: &mut Vec<Branch>);

    /// Whether `prefix` is a whole identifier.
    fn accepts(&self, prefix: &[Code], state: State) -> bool;

    /// The state after one known code, or `None` when the code may not follow. Override it where
    /// that is cheaper than expanding.
    fn step(&self, prefix: &[Code], state: State, code: Code) -> Option<State> {
        let mut branches = Vec::new();
        self.expand(prefix, state, &mut branches);
        branches.iter().find(|b| b.code == code).map(|b| b.state)
    }

    /// Whether any code may follow. Override it where that is cheaper than expanding: decoders ask
    /// for every prefix they keep.
    fn continues(&self, prefix: &[Code], state: State) -> bool {
        let mut branches = Vec::new();
        self.expand(prefix, state, &mut branches);
        !branches.is_empty()
    }

    /// The rows of a trie that this allows, where it is just that, for decoders that look at every
    /// identifier.
    fn trie_rows(&self) -> Option<TrieRows<'_>> {
        None
    }
}

/// Some rows of a trie.
#[derive(Debug, Clone, Copy)]
pub struct TrieRows<'a> {
    /// The trie.
    pub trie: &'a Trie,
    /// The rows that are alive; `None`: all.
    pub alive: Option<&'a Rows>,
}

macro_rules! constraint_behind {
    ($($pointer:ty),*) => {$(
        impl<C: Constraint + ?Sized> Constraint for $pointer {
            fn root(&self) -> State {
                (**self).root()
            }

            fn expand(&self, prefix: &[Code], state: State, out: &mut Vec<Branch>) {
                (**self).expand(prefix, state, out)
            }

            fn accepts(&self, prefix: &[Code], state: State) -> bool {
                (**self).accepts(prefix, state)
            }

            fn step(&self, prefix: &[Code], state: State, code: Code) -> Option<State> {
                (**self).step(prefix, state, code)
            }

            fn continues(&self, prefix: &[Code], state: State) -> bool {
                (**self).continues(prefix, state)
            }

            fn trie_rows(&self) -> Option<TrieRows<'_>> {
                (**self).trie_rows()
            }
        }
    )*};
}

constraint_behind!(&C, Box<C>, Arc<C>);

/// Whether `sid` is a whole identifier under `constraint`.
pub fn accepts_sid(constraint: &dyn Constraint, sid: &[Code]) -> bool {
    let mut state = constraint.root();
    for (d, &code) in sid.iter().enumerate() {
        match constraint.step(&sid[..d], state, code) {
            Some(next) => state = next,
            None => return false,
        }
    }
    constraint.accepts(sid, state)
}

/// Any code below the width of its level, for a fixed number of levels: free decoding.
#[derive(Debug, Clone)]
pub struct Unconstrained {
    widths: Vec<u32>,
}

impl Unconstrained {
    /// Free decoding over levels of the given widths.
    pub fn new(widths: Vec<u32>) -> Self {
        Unconstrained { widths }
    }
}

impl Constraint for Unconstrained {
    fn root(&self) -> State {
        State(0)
    }

    fn expand(&self, prefix: &[Code], _state: State, out: &mut Vec<Branch>) {
        if let Some(&width) = self.widths.get(prefix.len()) {
            out.extend((0..width).map(|code| Branch { code, state: State(0) }));
        }
    }

    fn accepts(&self, prefix: &[Code], _state: State) -> bool {
        prefix.len() == self.widths.len()
    }

    fn step(&self, prefix: &[Code], _state: State, code: Code) -> Option<State> {
        self.widths.get(prefix.len()).filter(|&&width| code < width).map(|_| State(0))
    }

    fn continues(&self, prefix: &[Code], _state: State) -> bool {
        self.widths.get(prefix.len()).is_some_and(|&width| width > 0)
    }
}
