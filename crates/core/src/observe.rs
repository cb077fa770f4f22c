//! Events of long work, who listens to them, and how work is asked to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Something worth showing or logging.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A task begins; `total` is 0 when unknown.
    Started {
        /// Name shown to people, as in `train`.
        task: &'a str,
        /// Units of work, 0 when unknown.
        total: u64,
        /// What a unit is, as in `items`.
        unit: &'a str,
    },
    /// Work done so far (absolute), with the numbers that matter now.
    Advanced {
        /// The task's name.
        task: &'a str,
        /// Units done.
        done: u64,
        /// Name and value pairs, as in `("loss", 7.31)`.
        numbers: &'a [(&'a str, f64)],
    },
    /// The task ended.
    Finished {
        /// The task's name.
        task: &'a str,
    },
    /// A named set of numbers at a step, for logs and TensorBoard.
    Scalars {
        /// Group, as in `train` or `valid`.
        group: &'a str,
        /// Optimiser step.
        step: u64,
        /// Name and value pairs.
        numbers: &'a [(&'a str, f64)],
    },
    /// A sentence for people.
    Note(&'a str),
    /// A sentence that deserves attention, as in bad lines that were skipped.
    Warning(&'a str),
}

/// Listens to events. Implementations must be cheap and must not fail the work they watch.
pub trait Observer: Send + Sync {
    /// Called for every event, from any thread.
    fn observe(&self, event: &Event<'_>);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _event: &Event<'_>) {}
}

/// Passes every event on to all of its members.
#[derive(Default)]
pub struct Fanout(pub Vec<Box<dyn Observer>>);

impl Observer for Fanout {
    fn observe(&self, event: &Event<'_>) {
        for o in &self.0 {
            o.observe(event);
        }
    }
}

/// A flag that asks running work to stop at its next safe point.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether someone asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What every stage of one run shares: seed, listener, stop flag, threads.
#[derive(Clone)]
pub struct Run<'a> {
    /// The run's seed; see [`crate::seed`].
    pub seed: u64,
    /// Who listens.
    pub observer: &'a dyn Observer,
    /// Asks to stop.
    pub cancel: Cancel,
    /// Worker threads; never changes a result.
    pub threads: usize,
}

impl<'a> Run<'a> {
    /// A run that nobody watches, on one thread; for tests and for library users.
    pub fn quiet(seed: u64) -> Run<'static> {
        Run { seed, observer: &Silent, cancel: Cancel::default(), threads: 1 }
    }

    /// Sends an event.
    pub fn emit(&self, event: Event<'_>) {
        self.observer.observe(&event);
    }

    /// An error once someone asked to stop.
    pub fn check(&self) -> crate::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(crate::Error::Cancelled("on request".into()));
        }
        Ok(())
    }
}
