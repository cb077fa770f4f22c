//! The loop.
//!
//! ```text
//! for each step: examples -> micro-batches -> gradients by lanes -> clip -> update
//!     now and then: a line of the log, a checkpoint
//!     each interval: validate, keep the best weights, stop when patience is used up
//! ```
//!
//! Whatever decides the next step lies in the state of a checkpoint or follows from seed and step,
//! so a run that was interrupted anywhere ends with the bytes of one that was not. The one
//! exception is `max_minutes`: where it ends a run depends on the machine.

use crate::checkpoint;
use crate::options::TrainOptions;
use crate::plan::Plan;
use crate::source::{Examples, Goal, Validate};
use crate::state::State;
use crate::step::Stepper;
use crate::summary::{Stop, TrainSummary, Validation};
use sidereal_core::{Error, Event, Result, Run};
use sidereal_nn::optim::{Optimizer, first_not_finite};
use sidereal_nn::parallel::pool;
use sidereal_nn::schedule::Schedule;
use sidereal_nn::{Model, Objective};
use std::path::Path;
use std::time::{Duration, Instant};

/// Name of the task in events.
pub const TASK: &str = "train";

/// Group of the event that tells logs to forget what comes after its step, because it will come
/// again. Its numbers are groups with another last step, as in `("valid", 40.0)`: the checkpoint
/// of step 50 may have been written before the validation of step 50.
pub const RESUMED: &str = "resumed";

/// Time between two events for the progress bar.
const SHOW: Duration = Duration::from_millis(100);

/// Trains `model`; at the end it holds the best weights. Checkpoints go to `dir`; one that is
/// there is continued, so an empty `dir` starts afresh.
///
/// Errors: options outside their range, a checkpoint of another training, a NaN or infinite loss
/// or gradient (named, with the step; the last checkpoint stays), [`Error::Cancelled`] after
/// saving, and whatever model, objective, examples or validation report.
pub fn train(
    model: &mut dyn Model,
    objective: &dyn Objective,
    examples: &dyn Examples,
    validate: &mut dyn Validate,
    options: &TrainOptions,
    dir: &Path,
    run: &Run<'_>,
) -> Result<TrainSummary> {
    options.check()?;
    let mut training = Training::open(model, examples, options, dir, run)?;
    // One pool for the whole loop: work that starts inside it is handed to threads without
    // allocating.
    let outcome = pool(run.threads)?.install(|| training.run(objective, examples, validate));
    run.emit(Event::Finished { task: TASK });
    outcome?;
    training.finish()
}

struct Training<'a> {
    model: &'a mut dyn Model,
    options: &'a TrainOptions,
    dir: &'a Path,
    run: &'a Run<'a>,
    plan: Plan,
    schedule: Schedule,
    optimizer: Box<dyn Optimizer>,
    stepper: Stepper,
    state: State,
    /// Weights of the best validation.
    best: Option<Vec<f32>>,
    resumed_from: Option<u64>,
    /// Seconds of earlier sessions.
    seconds_before: f64,
    began: Instant,
    saved: Instant,
    shown: Option<Instant>,
    /// Seconds of the last validation in this session.
    validation_seconds: f64,
}

impl<'a> Training<'a> {
    fn open(
        model: &'a mut dyn Model,
        examples: &dyn Examples,
        options: &'a TrainOptions,
        dir: &'a Path,
        run: &'a Run<'a>,
    ) -> Result<Self> {
        let began = Instant::now();
        let plan = Plan::new(options, examples.len(), run.seed)?;
        let mut optimizer = options.build_optimizer(model.params().len())?;
        let fresh = State::new(options, examples.len(), model.params(), run.seed);
        checkpoint::sweep(dir);
        let found = checkpoint::latest(dir, &mut |e| {
            run.emit(Event::Warning(&format!("{e}; going on from the checkpoint before it")));
        })?;
        let (mut state, mut best, mut resumed_from) = (fresh, None, None);
        if let Some(mut c) = found {
            state = State::resume(&state, &c)?;
            let n = model.params().len();
            model.params_mut().values_mut().copy_from_slice(&c.take("weights", n)?);
            for (name, buffer) in optimizer.state_mut() {
                buffer.copy_from_slice(&c.take(&format!("optimizer.{name}"), n)?);
            }
            optimizer.set_steps(state.optimizer_steps);
            if state.best.is_some() {
                best = Some(c.take("best", n)?);
            }
            resumed_from = Some(state.step);
        }
        // More time than before lets a run go on that ended for lack of it.
        if state.stop == Some(Stop::Time) && options.budget().is_none_or(|b| b > state.seconds) {
            state.stop = None;
        }
        let stepper = Stepper::new(&*model, options.lanes, run.threads, run.seed);
        Ok(Training {
            schedule: options.build_schedule(plan.total),
            seconds_before: state.seconds,
            model,
            options,
            dir,
            run,
            plan,
            optimizer,
            stepper,
            state,
            best,
            resumed_from,
            began,
            saved: began,
            shown: None,
            validation_seconds: 0.0,
        })
    }

    fn run(
        &mut self,
        objective: &dyn Objective,
        examples: &dyn Examples,
        validate: &mut dyn Validate,
    ) -> Result<()> {
        let total = self.plan.examples_before(self.plan.total);
        self.run.emit(Event::Started { task: TASK, total, unit: "examples" });
        if let Some(step) = self.resumed_from {
            let numbers = &[("valid", self.state.validated as f64), ("process", 0.0)];
            self.run.emit(Event::Scalars { group: RESUMED, step, numbers });
        } else {
            // Tells at once, not after minutes, that a folder is full or cannot be written.
            self.save()?;
        }
        self.show();
        while self.state.stop.is_none() {
            let (step, total) = (self.state.step, self.plan.total);
            let ending = match step {
                s if s >= total => Some(Stop::Done),
                s if s > 0 && self.out_of_time() => Some(Stop::Time),
                _ => None,
            };
            let due = step > 0 && step.is_multiple_of(self.plan.validate);
            if (due || ending.is_some()) && self.state.validated != step {
                match self.validate(validate) {
                    Err(Error::Cancelled(_)) => return self.cancelled(),
                    other => other?,
                }
            }
            let patience = self.options.patience;
            let tired = patience > 0 && self.state.since_best >= patience;
            self.state.stop = ending.or(tired.then_some(Stop::Patience));
            if self.state.stop.is_some() {
                break;
            }
            if self.run.cancel.is_cancelled() {
                return self.cancelled();
            }
            self.step(objective, examples)?;
            if self.checkpoint_due() {
                self.save()?;
            }
        }
        self.show();
        Ok(())
    }

    fn step(&mut self, objective: &dyn Objective, examples: &dyn Examples) -> Result<()> {
        let step = self.state.step;
        let lr = self.options.lr * self.schedule.factor(step);
        let norm = self.stepper.step(
            &mut *self.model,
            objective,
            examples,
            &mut *self.optimizer,
            self.options,
            self.plan.ids(step),
            step,
            lr,
        )?;
        self.state.step += 1;
        self.state.optimizer_steps = self.optimizer.steps();
        for (name, mean) in self.stepper.terms.means() {
            self.state.add(name, mean);
        }
        self.state.add("grad_norm", norm);
        self.state.window_steps += 1;
        if self.shown.is_none_or(|at| at.elapsed() >= SHOW) {
            self.show();
        }
        if self.state.step.is_multiple_of(self.options.log_every) {
            let steps = self.state.window_steps as f64;
            let epochs = self.plan.epochs_before(self.state.step);
            let mut numbers: Vec<(&str, f64)> =
                self.state.window.iter().map(|(n, sum)| (n.as_str(), sum / steps)).collect();
            numbers.extend([("lr", lr), ("epoch", epochs)]);
            let step = self.state.step;
            self.run.emit(Event::Scalars { group: "train", step, numbers: &numbers });
            self.state.window.clear();
            self.state.window_steps = 0;
        }
        Ok(())
    }

    fn validate(&mut self, validate: &mut dyn Validate) -> Result<()> {
        let (began, step) = (Instant::now(), self.state.step);
        let metrics = validate.validate(&*self.model, self.run)?;
        self.validation_seconds = began.elapsed().as_secs_f64();
        self.state.validated = step;
        let Some((name, value)) = self.selected(&metrics)? else { return Ok(()) };
        if value.is_nan() {
            return Err(Error::NotFinite {
                what: format!("validation metric `{name}`"),
                step: Some(step),
                help: "it chooses the checkpoint: choose another with train.select".into(),
            });
        }
        let numbers: Vec<(&str, f64)> = metrics.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        self.run.emit(Event::Scalars { group: "valid", step, numbers: &numbers });
        let best = self.state.best().map(|b| value_of(&b.metrics, &name));
        let better = match (best, validate.goal(&name)) {
            (None, _) => true,
            (Some(best), Goal::Maximize) => value > best,
            (Some(best), Goal::Minimize) => value < best,
        };
        if better {
            self.state.best = Some(self.state.validations.len());
            self.state.since_best = 0;
            let weights = self.model.params().values();
            self.best.get_or_insert_with(Vec::new).clear();
            self.best.get_or_insert_with(Vec::new).extend_from_slice(weights);
        } else {
            self.state.since_best += 1;
        }
        let epoch = self.plan.epochs_before(step);
        self.state.validations.push(Validation { step, epoch, metrics });
        self.state.select = Some(name);
        self.show();
        Ok(())
    }

    /// Name and value of the metric that chooses; `None` when there is no metric at all.
    fn selected(&self, metrics: &[(String, f64)]) -> Result<Option<(String, f64)>> {
        let select = &self.options.select;
        let found = match select.is_empty() {
            true => metrics.first(),
            false => metrics.iter().find(|m| m.0 == *select),
        };
        if found.is_none() && !select.is_empty() {
            let known: Vec<&str> = metrics.iter().map(|m| m.0.as_str()).collect();
            let message = format!("`{select}` is not measured; allowed: {}", known.join(", "));
            return Err(Error::config("train.select", message));
        }
        Ok(found.cloned())
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.began.elapsed().as_secs_f64()
    }

    /// Whether a last validation still fits, but nothing more.
    fn out_of_time(&self) -> bool {
        self.options.budget().is_some_and(|b| self.seconds() + self.validation_seconds >= b)
    }

    fn checkpoint_due(&self) -> bool {
        let (minutes, steps) = (self.options.checkpoint_minutes, self.options.checkpoint_steps);
        let by_time = minutes > 0.0 && self.saved.elapsed().as_secs_f64() >= minutes * 60.0;
        by_time || (steps > 0 && self.state.step.is_multiple_of(steps))
    }

    fn save(&mut self) -> Result<()> {
        let params = self.model.params();
        if let Some(i) = first_not_finite(params.values()) {
            return Err(Error::NotFinite {
                what: format!("parameter `{}`", params.name_at(i)),
                step: Some(self.state.step),
                help: "lower train.lr; the last checkpoint is good".into(),
            });
        }
        self.state.seconds = self.seconds();
        let moments: Vec<(String, &[f32])> = self
            .optimizer
            .state()
            .into_iter()
            .map(|(name, values)| (format!("optimizer.{name}"), values))
            .collect();
        let mut tensors: Vec<(&str, &[f32])> = vec![("weights", params.values())];
        tensors.extend(moments.iter().map(|(name, values)| (name.as_str(), *values)));
        tensors.extend(self.best.as_deref().map(|best| ("best", best)));
        let json = self.state.to_json()?;
        checkpoint::save(self.dir, self.state.step, &json, &tensors, self.options.keep)?;
        self.saved = Instant::now();
        Ok(())
    }

    fn cancelled(&mut self) -> Result<()> {
        self.save()?;
        Err(Error::Cancelled(format!(
            "training was saved in {} at step {} of {} (epoch {:.2}); run the same command with \
             --resume to go on",
            self.dir.display(),
            self.state.step,
            self.plan.total,
            self.plan.epochs_before(self.state.step),
        )))
    }

    fn show(&mut self) {
        self.shown = Some(Instant::now());
        let done = self.plan.examples_before(self.state.step);
        // On the stack, because this is part of a step.
        let mut numbers = [("", 0.0); 3];
        let mut used = 0;
        let mut push = |number| {
            numbers[used] = number;
            used += 1;
        };
        if let Some((name, sum)) = self.state.window.first() {
            push((name.as_str(), sum / self.state.window_steps.max(1) as f64));
        }
        if let (Some(best), Some(select)) = (self.state.best(), &self.state.select) {
            push((select.as_str(), value_of(&best.metrics, select)));
        }
        push(("epoch", self.plan.epochs_before(self.state.step)));
        self.run.emit(Event::Advanced { task: TASK, done, numbers: &numbers[..used] });
    }

    fn finish(mut self) -> Result<TrainSummary> {
        self.save()?;
        let (step, seconds) = (self.state.step, self.state.seconds);
        if let Some(best) = &self.best {
            self.model.params_mut().values_mut().copy_from_slice(best);
        }
        let peak_memory = crate::peak_memory();
        let mut numbers = vec![("seconds", seconds)];
        numbers.extend(peak_memory.map(|b| ("peak_memory_mib", b as f64 / f64::from(1 << 20))));
        self.run.emit(Event::Scalars { group: "process", step, numbers: &numbers });
        let best = self.state.best().cloned();
        Ok(TrainSummary {
            stop: self.state.stop.unwrap_or(Stop::Done),
            steps: step,
            epochs: self.plan.epochs_before(step),
            examples: self.plan.examples_before(step),
            seconds,
            validations: self.state.validations,
            best,
            select: self.state.select,
            resumed_from: self.resumed_from,
            peak_memory,
        })
    }
}

fn value_of(metrics: &[(String, f64)], name: &str) -> f64 {
    metrics.iter().find(|m| m.0 == name).map_or(f64::NAN, |m| m.1)
}
