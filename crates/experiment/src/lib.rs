//! Experiments from short TOML files: registry, cached stages, evaluation and run folders.
//!
//! ```text
//! FILE.toml ─▶ Config ─▶ Plan ─▶ data ─▶ embeddings ─▶ sids ─▶ training ─▶ evaluation ─▶ folder
//!              places    built    └──────────── each through the cache ──────────┘
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`registry`] | every component by name, and [`Plugin`] |
//! | [`config`] | TOML, overrides, resolution to a [`Plan`] |
//! | [`stages`] | the stages, one file each |
//! | [`cache`] | finished stages by what they were made from |
//! | [`measured`] | what stages took |
//! | [`folder`] | the run folder |
//! | [`protocol`] | what the figures of a result mean |
//! | [`leaks`] | whether anything of the targets reached what was trained |
//! | [`run`](mod@run) | a whole run on one screen |
//! | [`sweep`](mod@sweep) | many runs from one file, and their table |
//! | [`report`] | finished runs compared: systems, tests, views |
//! | [`serve`] | a finished run as a recommender |
//! | [`served`] | the same without what it was opened from, for services |

pub mod baselines;
pub mod cache;
pub mod config;
pub mod examples;
pub mod folder;
pub mod hash;
pub mod ids;
pub mod leaks;
pub mod measured;
pub mod probe;
pub mod protocol;
pub mod registry;
pub mod report;
pub mod results;
pub mod run;
pub mod scoring;
pub mod serve;
pub mod served;
pub mod stages;
pub mod sweep;
pub mod validation;

pub use cache::Cache;
pub use config::{Config, EvaluatePlan, GenerativePlan, ModelPlan, Part, Plan, TrainPlan};
pub use folder::{Existing, RunFolder};
pub use protocol::Protocol;
pub use registry::{ComponentDoc, Plugin, Registry};
pub use results::Results;
pub use run::{Outcome, RunOptions, STAGE, default_cache, default_out, run};
pub use serve::{Asker, Example, Finished, ShownItem, plan_of};
pub use served::{Catalogue, Explainer, Seen, Served};
pub use sweep::Sweep;
