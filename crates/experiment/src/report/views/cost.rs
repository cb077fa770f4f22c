//! What systems cost: weights, seconds, memory. Times hold for the machine that the runs had.

use super::super::collect::System;
use super::super::record::Record;
use serde::{Deserialize, Serialize};

/// Means over the seeds of a system; nothing where no run has the figure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Name of the system.
    pub system: String,
    /// Weights of the model.
    pub parameters: Option<f64>,
    /// Seconds of training.
    pub training_seconds: Option<f64>,
    /// Test users answered a second; not known where the evaluation came from the cache.
    pub users_per_second: Option<f64>,
    /// Most memory in MiB of the process that trained; of the run's where nothing was trained.
    pub peak_memory_mib: Option<f64>,
}

/// Costs in the order of the systems.
pub fn costs(systems: &[System]) -> Vec<Cost> {
    let cost = |s: &System| {
        let mean = |of: &dyn Fn(&Record) -> Option<f64>| {
            let values: Vec<f64> = s.runs.iter().filter_map(of).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        Cost {
            system: s.name.clone(),
            parameters: mean(&|r| r.parameters.map(|p| p as f64)),
            training_seconds: mean(&|r| r.log.training_seconds),
            users_per_second: mean(&|r| r.log.users_per_second),
            peak_memory_mib: mean(&|r| {
                // Where training came from the cache, the run's own process says nothing of it.
                let bytes = r.log.training_memory.or(r.peak_memory.map(|b| b as f64));
                bytes.map(|b| b / (1u64 << 20) as f64)
            }),
        }
    };
    systems.iter().map(cost).collect()
}
