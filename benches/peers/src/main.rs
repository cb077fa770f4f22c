//! Sidereal's arms of `benches/peers/run`: each repeats one piece of work that a Python peer does
//! too. `compare.py` tells the protocol.

mod arm;
mod causal;
mod data;
mod decode;
mod embed;
mod hstu;
mod metrics;
mod quantize;
mod rqvae;
mod tiger;
mod training;

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
enum Arm {
    /// A training step of `tiger`.
    Tiger {
        /// Dropout.
        #[arg(long, default_value_t = 0.1)]
        dropout: f32,
    },
    /// A training step of `causal`.
    Causal {
        /// Dropout.
        #[arg(long, default_value_t = 0.1)]
        dropout: f32,
    },
    /// The RQ-VAE's training step.
    Rqvae,
    /// Titles to vectors beside sentence-transformers.
    Embed,
    /// Reviews to histories and splits beside polars.
    Data,
    /// Constrained beam search.
    Decode(decode::Options),
    /// Attention of an HSTU layer, forward and backward.
    Hstu {
        /// Rows of the sequence.
        #[arg(long, default_value_t = 2048)]
        length: usize,
        /// The peer is softmax attention: no results to compare with.
        #[arg(long)]
        softmax: bool,
    },
    /// Accuracy of ranked lists.
    Metrics {
        /// Lists.
        #[arg(long, default_value_t = 100_000)]
        users: usize,
    },
    /// Residual k-means.
    Quantize {
        /// What is timed.
        #[arg(long)]
        task: quantize::Task,
        /// Vectors.
        #[arg(long, default_value_t = 100_000)]
        rows: usize,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    let command = Command::parse();
    rayon::ThreadPoolBuilder::new().num_threads(command.threads).build_global()?;
    let Command { work, threads, arm } = command;
    match arm {
        Arm::Tiger { dropout } => tiger::run(&work, threads, dropout),
        Arm::Causal { dropout } => causal::run(&work, threads, dropout),
        Arm::Rqvae => rqvae::run(&work, threads),
        Arm::Embed => embed::run(&work, threads),
        Arm::Data => data::run(&work, threads),
        Arm::Decode(options) => decode::run(&work, threads, &options),
        Arm::Hstu { length, softmax } => {
            let peer = if softmax { hstu::Peer::Softmax } else { hstu::Peer::Plain };
            hstu::run(&work, threads, length, peer)
        }
        Arm::Metrics { users } => metrics::run(&work, threads, users),
        Arm::Quantize { task, rows } => quantize::run(&work, threads, task, rows),
    }
}
