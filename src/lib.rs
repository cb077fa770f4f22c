//! Generative recommendation with semantic IDs: every part behind a trait, in Rust.
//!
//! Items get short code tuples (semantic IDs) from their content; a sequence model generates the
//! codes of the next item. Each stage is a crate of its own, re-exported here as a module, and
//! each part has a name that a TOML file can call.
//!
//! ```no_run
//! use sidereal::core::{Cancel, Result};
//! use sidereal::{Config, Existing, Plan, Registry, RunOptions};
//!
//! fn main() -> Result<()> {
//!     let registry = Registry::builtin()?;
//!     let mut config = Config::load("experiments/quickstart.toml".as_ref())?;
//!     config.set("quantizer=random")?;
//!     let plan = Plan::resolve(&registry, &config)?;
//!     let options = RunOptions {
//!         out: "runs/random-ids".into(),
//!         existing: Existing::Resume,
//!         cache: "runs/cache".into(),
//!     };
//!     let outcome = sidereal::run(&registry, &plan, &options, Vec::new(), Cancel::default())?;
//!     println!("recall@10 {:.4}", outcome.results.test["recall@10"]);
//!     Ok(())
//! }
//! ```
//!
//! A crate that adds parts of its own implements [`Plugin`] and makes its program with
//! [`cli::run`]; `examples/plugin` is one.

pub mod cli;

/// Ids, SID tables, the traits of the stages, components by name.
pub use sidereal_core as core;

/// Readers, splits, training samples, synthetic worlds.
pub use sidereal_data as data;

/// Items to vectors.
pub use sidereal_encoders as encoders;

/// Vectors to codes, codes to IDs.
pub use sidereal_quantizers as quantizers;

/// Fused blocks, optimisers, parameters.
pub use sidereal_nn as nn;

/// Sequence models and the recommenders made of them.
pub use sidereal_backbones as backbones;

/// Training objectives.
pub use sidereal_losses as losses;

/// The training loop.
pub use sidereal_train as train;

/// Constrained search for IDs.
pub use sidereal_decoding as decoding;

/// What orders a recommender's candidates again.
pub use sidereal_rerank as rerank;

/// Ranking metrics.
pub use sidereal_metrics as metrics;

/// A finished run behind HTTP.
#[cfg(feature = "serve")]
pub use sidereal_serve as serve;

/// Configurations, cached stages, run folders.
pub use sidereal_experiment as experiment;

pub use sidereal_experiment::{
    Asker, Cache, Config, Existing, Finished, Outcome, Plan, Plugin, Registry, Results, RunOptions,
    run,
};

/// The README's programs compile and hold.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
