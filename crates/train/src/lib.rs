//! The training loop: optimiser steps over packed micro-batches, validation with early stopping,
//! checkpoints that survive a kill, and observers that show and log it.
//!
//! [`train()`] takes any [`Model`](sidereal_nn::Model) with any
//! [`Objective`](sidereal_nn::Objective); [`Examples`] gives the rows, [`Validate`] the metrics.
//! A run is a function of the seed and the options: threads, interruptions and the time at which
//! checkpoints are written change nothing.
//!
//! | file | holds |
//! |---|---|
//! | [`mod@train`] | the loop on one screen |
//! | [`options`] | `[train]` |
//! | [`source`] | the two traits the caller implements |
//! | `step` | batch to micro-batches to one optimiser step |
//! | `plan` | epochs, steps and the order of examples |
//! | [`checkpoint`], `state` | what is saved, and how it stays whole |
//! | [`observers`] | progress bar, JSON lines, TensorBoard |

pub mod checkpoint;
pub mod observers;
pub mod options;
pub mod source;
pub mod summary;
pub mod train;

mod crc32c;
mod memory;
mod plan;
mod state;
mod step;

pub use memory::peak_memory;
pub use observers::{Board, BoardLine, JsonlLog, ProgressBar, TensorBoard};
pub use options::{OptimizerKind, ScheduleKind, TrainOptions};
pub use source::{Examples, Goal, Validate};
pub use summary::{Stop, TrainSummary, Validation};
pub use train::train;
