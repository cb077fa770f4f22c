//! The `sidereal` command with two more components.

mod lsh;
mod novelty;

use sidereal::core::Result;
use sidereal::{Plugin, Registry};
use std::process::ExitCode;

struct Example;

impl Plugin for Example {
    fn register(&self, registry: &mut Registry) -> Result<()> {
        lsh::register(&mut registry.quantizers)?;
        novelty::register(&mut registry.metrics)
    }
}

fn main() -> ExitCode {
    match Registry::builtin().and_then(|r| r.with(Example)) {
        Ok(registry) => sidereal::cli::run(registry),
        Err(error) => sidereal::cli::fail(&error),
    }
}
