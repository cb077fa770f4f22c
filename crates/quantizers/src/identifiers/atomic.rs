//! `atomic`: one code an item, shared with nobody.
//!
//! The independent indexing (IID) of arXiv 2305.06569 and the atomic IDs of DSI (arXiv 2202.06991):
//! the ID of item `i` is `(i)`. Nothing is shared between items, the vocabulary has N codes, and
//! generation is one softmax over the catalogue.

use super::Ids;
use sidereal_core::{CodeOrder, Identifier, IdentifierInput, Result, Run, SidTable};

sidereal_core::options! {
    /// `atomic` has no options.
    pub struct AtomicOptions {}
}

/// The item's number as its only code.
#[derive(Debug, Clone, Copy, Default)]
pub struct Atomic;

impl Identifier for Atomic {
    fn identify(&self, input: &IdentifierInput<'_>, _run: &Run<'_>) -> Result<SidTable> {
        let mut ids = Ids::new();
        (0..input.catalogue.items.len() as u32).for_each(|item| ids.push(&[item]));
        ids.table(CodeOrder::Sequence)
    }

    fn reads_codes(&self) -> bool {
        false
    }
}
