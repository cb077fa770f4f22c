//! What handlers, workers and the admin interface share.

use crate::live::Slot;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::options::{ServeOptions, millis};
use crate::queue::{Bounds, Queue};
use crate::routes::ROUTES;
use crate::worker::Job;
use sidereal_core::Result;
use sidereal_experiment::Served;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// Searches that run at once.
const SEARCHES: usize = 4;

/// Shared state of a service.
pub struct Shared {
    /// Options.
    pub options: ServeOptions,
    /// What answers now.
    pub slot: Slot,
    /// Requests that wait for the model.
    pub queue: Queue<Job>,
    /// What is counted.
    pub metrics: Metrics,
    /// Where lines go.
    pub log: Log,
    pub(crate) searches: Semaphore,
    draining: AtomicBool,
}

impl Shared {
    /// State of a service that begins with `served`.
    ///
    /// Errors: a catalogue with more values than can be indexed.
    pub fn new(served: Served, options: ServeOptions, log: Log) -> Result<Self> {
        let bounds = Bounds {
            capacity: options.queue as usize,
            batch: options.batch as usize,
            wait: millis(options.wait),
        };
        Ok(Shared {
            options,
            slot: Slot::new(served)?,
            queue: Queue::new(bounds),
            metrics: Metrics::new(ROUTES),
            log,
            searches: Semaphore::new(SEARCHES),
            draining: AtomicBool::new(false),
        })
    }

    /// Whether the service stops.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
