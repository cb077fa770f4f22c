//! Optimisers over flat parameters: one fused pass over weights, gradients and moments.
//!
//! Every value is updated on its own, so the number of threads changes no bit of the result. The
//! state can be saved and loaded, so that a run that was stopped goes on as if it had not been.

mod adam;
mod norms;
mod state;

pub use adam::{Adam, AdamOptions, AdamW, AdamWOptions, Sgd, SgdOptions};
pub use norms::{clip_by_norm, first_not_finite, norm};
pub use state::{load_state, save_state};

use sidereal_core::component::{Catalog, Entry};
use sidereal_core::{Error, Result};

/// Updates flat parameters from flat gradients.
pub trait Optimizer: Send {
    /// Learning rate before any schedule.
    fn base_lr(&self) -> f32;

    /// One update with rate `lr`, on `threads` threads.
    ///
    /// # Panics
    /// When `weights` or `grads` have another length than the optimiser was built for: a mistake
    /// of the caller.
    fn step(&mut self, weights: &mut [f32], grads: &[f32], lr: f32, threads: usize);

    /// Number of updates so far.
    fn steps(&self) -> u64;

    /// Says how many updates led to the state that was loaded.
    fn set_steps(&mut self, steps: u64);

    /// Buffers to save, by name, each laid out as the parameters.
    fn state(&self) -> Vec<(&'static str, &[f32])>;

    /// The same buffers, writable.
    fn state_mut(&mut self) -> Vec<(&'static str, &mut [f32])>;
}

/// Registers `adamw`, `adam` and `sgd`; the context is the number of parameters.
pub fn register(catalog: &mut Catalog<dyn Optimizer, usize>) -> Result<()> {
    let origin = env!("CARGO_PKG_NAME");
    let kind = catalog.kind();
    catalog.add(Entry::new(
        "adamw",
        origin,
        "Adam with decoupled weight decay (arXiv 1711.05101).",
        move |o: AdamWOptions, &len| Ok(Box::new(AdamW::new(o, len, kind)?) as Box<dyn Optimizer>),
    ))?;
    catalog.add(Entry::new(
        "adam",
        origin,
        "Adam (arXiv 1412.6980) with L2 added to the gradient.",
        move |o: AdamOptions, &len| Ok(Box::new(Adam::new(o, len, kind)?) as Box<dyn Optimizer>),
    ))?;
    catalog.add(Entry::new(
        "sgd",
        origin,
        "Stochastic gradient descent, with momentum and L2 if asked for.",
        move |o: SgdOptions, &len| Ok(Box::new(Sgd::new(o, len, kind)?) as Box<dyn Optimizer>),
    ))
}

/// Refuses an option outside `low..high`.
fn in_range(section: &str, key: &str, value: f32, low: f32, high: f32) -> Result<()> {
    if value >= low && value < high {
        return Ok(());
    }
    let high = if high.is_infinite() { "up".to_string() } else { format!("below {high}") };
    Err(Error::config(
        format!("{section}.{key}"),
        format!("{value} is out of range; allowed: {low} to {high}"),
    ))
}

/// Length of the contiguous part of each thread: whole cache lines, all parts but the last equal.
fn part(len: usize, threads: usize) -> usize {
    len.div_ceil(threads.max(1)).next_multiple_of(16).max(16)
}
