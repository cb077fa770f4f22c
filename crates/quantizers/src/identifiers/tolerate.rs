//! `tolerate`: codes are the IDs, and several items may share one (arXiv 2507.22224, "random
//! pick"). A decoder that reaches a shared ID returns all its items.

use super::one_each;
use sidereal_core::{Identifier, IdentifierInput, Result, Run, SidTable};

sidereal_core::options! {
    /// `tolerate` has no options.
    pub struct TolerateOptions {}
}

/// Keeps the codes as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tolerate;

impl Identifier for Tolerate {
    fn identify(&self, input: &IdentifierInput<'_>, _run: &Run<'_>) -> Result<SidTable> {
        one_each(input.quantized()?.codes)
    }
}
