//! The command line: a program is `sidereal::cli::run(registry)` and nothing else, so that a
//! plugin's program knows every command.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | anything not below: output that cannot be written, numbers that blew up, stopped |
//! | 2 | wrong usage |
//! | 3 | wrong or missing data |
//! | 4 | wrong configuration |

mod ahead;
mod args;
mod charts;
mod child;
mod components;
mod data;
mod evaluate;
mod evaluate_lists;
mod interrupt;
mod leaks;
mod output;
mod quantize;
mod recommend;
mod replay;
mod report;
mod run;
#[cfg(feature = "serve")]
mod serve;
mod sids;
mod sweep;
mod tables;
mod wire;

use crate::Registry;
use args::{Arguments, Command, DataCommand};
use clap::Parser;
use sidereal_core::{Category, Error};
use std::process::ExitCode;

/// Reads the command line and does what it says.
pub fn run(registry: Registry) -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Run(a) => run::run(&registry, a),
        Command::Sweep(a) => sweep::sweep(&registry, a),
        Command::Report(a) => report::report(&registry, a),
        Command::Evaluate(a) => evaluate::evaluate(&registry, a),
        Command::Recommend(a) => recommend::recommend(&registry, a),
        #[cfg(feature = "serve")]
        Command::Serve(a) => serve::serve(registry, a),
        Command::Replay(a) => replay::replay(&registry, a),
        Command::Components(a) => components::components(&registry, a),
        Command::Sids(a) => sids::sids(&registry, a),
        Command::Quantize(a) => quantize::quantize(a),
        Command::Leaks(a) => leaks::leaks(&registry, a),
        Command::Data(DataCommand::Inspect(a)) => data::inspect(a),
    };
    match done {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// Prints an error and gives its exit code.
pub fn fail(error: &Error) -> ExitCode {
    // The bar or a broken pipe may have closed standard error; there is no one left to tell.
    let _ = output::write_error(error);
    ExitCode::from(match error.category() {
        Category::Data => 3,
        Category::Config => 4,
        Category::Other | Category::Cancelled => 1,
    })
}
