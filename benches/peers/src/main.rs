//! Sidereal's arms of `benches/peers/run`: each repeats one piece of work that a Python peer does
//! too. `compare.py` tells the protocol.

mod arm;

use clap::{Parser, Subcommand};
use std::error::Error;
use std::path::PathBuf;

/// Sidereal's side of the comparisons with Python peers.
#[derive(Parser)]
struct Command {
    /// Folder with the weights, inputs and results that the peer prepared.
    #[arg(long, global = true, default_value = ".")]
    work: PathBuf,
    /// Threads.
    #[arg(long, global = true, default_value_t = 2)]
    threads: usize,
    #[command(subcommand)]
    arm: Arm,
}

#[derive(Subcommand)]
enum Arm {}

fn main() -> Result<(), Box<dyn Error>> {
    let command = Command::parse();
    rayon::ThreadPoolBuilder::new().num_threads(command.threads).build_global()?;
    match command.arm {}
}
