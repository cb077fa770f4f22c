//! The loop of encoders that learn by gradients: steps of epochs, their mean loss told, a loss that
//! is no number refused, a request to stop heard.

use sidereal_core::{Error, Event, Result, Run};

/// How long an encoder learns.
pub(crate) struct Epochs {
    /// Name of the encoder in events and errors.
    pub task: &'static str,
    /// Passes over the examples.
    pub epochs: u64,
    /// Updates of a pass.
    pub steps: u64,
}

impl Epochs {
    /// Calls `step` with the number of every update, from 0; it updates and gives the loss.
    pub fn run(&self, run: &Run<'_>, mut step: impl FnMut(u64) -> f64) -> Result<()> {
        let Epochs { task, epochs, steps } = *self;
        run.emit(Event::Started { task, total: epochs, unit: "epochs" });
        for epoch in 0..epochs {
            let mut sum = 0.0;
            for number in epoch * steps..(epoch + 1) * steps {
                run.check()?;
                let loss = step(number);
                if !loss.is_finite() {
                    return Err(Error::NotFinite {
                        what: format!("the loss of {task}"),
                        step: Some(number),
                        help: "lower encoder.lr".into(),
                    });
                }
                sum += loss;
            }
            let numbers = [("loss", sum / steps as f64)];
            run.emit(Event::Advanced { task, done: epoch + 1, numbers: &numbers });
        }
        run.emit(Event::Finished { task });
        Ok(())
    }
}
