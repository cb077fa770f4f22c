//! For tests of models: compares the gradient of a model and its objective with central
//! differences, for single coordinates and, tensor by tensor, along the gradient itself.
//!
//! Losses are f32 sums inside, so a difference of two of them is exact to about `1e-6 / step`; a
//! step of `1e-2` and a tolerance of `1e-3` are usual. ReLU kinks can spoil single coordinates,
//! which is why a share of them may fail; the differences along whole tensors must all hold.

use crate::optim::norm;
use crate::{Batch, Model, Objective, ObjectiveInput, Pass, Slot, Terms, Workspace};
use rand::Rng;
use sidereal_core::{Error, Result, seed};

/// What to compare and how closely.
#[derive(Debug, Clone, Copy)]
pub struct GradCheck {
    /// Coordinates drawn from every parameter tensor.
    pub samples: usize,
    /// Half the distance of the two losses.
    pub step: f32,
    /// Allowed difference apart from the size of the gradient.
    pub absolute: f64,
    /// Allowed difference relative to the larger of both gradients.
    pub relative: f64,
    /// Share of coordinates that may differ by more, 0 to 1.
    pub may_fail: f64,
    /// Dropout key, and the seed of the sample.
    pub key: u64,
}

impl Default for GradCheck {
    fn default() -> Self {
        GradCheck { samples: 8, step: 1e-2, absolute: 1e-3, relative: 2e-2, may_fail: 0.0, key: 1 }
    }
}

/// Checks the gradients of all parameters of `model` for one micro-batch, dropout included. Gives
/// the number of coordinates compared; differences are an error that lists them.
///
/// The loss is the sum of the objective's first term divided by the number of targets.
pub fn check_gradients(
    model: &mut dyn Model,
    objective: &dyn Objective,
    batch: &Batch,
    check: GradCheck,
) -> Result<usize> {
    let scale = 1.0 / batch.targets.len().max(1) as f32;
    let mut workspace = model.workspace();
    let mut grads = vec![0f32; model.params().len()];
    run(model, objective, batch, check.key, scale, &mut workspace, Some(&mut grads))?;
    let mut rng = seed::stream(check.key, "gradcheck", 0);
    let infos = model.params().infos().to_vec();
    let start = model.params().values().to_vec();
    let allowed = |a: f64, b: f64| check.absolute + check.relative * a.abs().max(b.abs());
    let differs = |a: f64, b: f64| (a - b).abs() > allowed(a, b) || a.is_nan() || b.is_nan();
    // Slope of the loss along `direction` of one tensor.
    let mut slope = |slot: Slot, direction: &[f32]| -> Result<f64> {
        let mut loss_at = |step: f32| {
            let w = model.params_mut().values_mut();
            let moved = slot.of(&start).iter().zip(direction).map(|(v, d)| v + step * d);
            slot.of_mut(w).iter_mut().zip(moved).for_each(|(w, v)| *w = v);
            run(model, objective, batch, check.key, scale, &mut workspace, None)
        };
        let difference = loss_at(check.step)? - loss_at(-check.step)?;
        model.params_mut().values_mut().copy_from_slice(&start);
        Ok(difference / (2.0 * f64::from(check.step)))
    };
    let (mut compared, mut wrong) = (0u32, Vec::new());
    for info in infos.iter().filter(|info| info.slot.len > 0) {
        let g = info.slot.of(&grads);
        let norm = norm(g);
        if norm != 0.0 {
            let along: Vec<f32> = g.iter().map(|v| v / norm as f32).collect();
            let numeric = slope(info.slot, &along)?;
            if differs(numeric, norm) {
                return Err(Error::mismatch(format!(
                    "along the gradient of {}: backward {norm:e}, difference {numeric:e}",
                    info.name
                )));
            }
        }
        let mut one = vec![0.0; g.len()];
        for _ in 0..check.samples {
            let i = rng.random_range(0..g.len());
            one[i] = 1.0;
            let (numeric, analytic) = (slope(info.slot, &one)?, f64::from(g[i]));
            one[i] = 0.0;
            compared += 1;
            if differs(numeric, analytic) {
                let name = &info.name;
                wrong.push(format!("{name}[{i}]: backward {analytic:e}, difference {numeric:e}"));
            }
        }
    }
    if wrong.len() as f64 > check.may_fail * f64::from(compared) {
        let shown = wrong.len().min(20);
        return Err(Error::mismatch(format!(
            "{} of {} gradients differ:\n{}",
            wrong.len(),
            compared,
            wrong[..shown].join("\n")
        )));
    }
    Ok(compared as usize)
}

/// Loss of one micro-batch; with `grads` the backward pass too.
fn run(
    model: &dyn Model,
    objective: &dyn Objective,
    batch: &Batch,
    key: u64,
    scale: f32,
    workspace: &mut Workspace,
    mut grads: Option<&mut [f32]>,
) -> Result<f64> {
    let pass = Pass::Train { key };
    let mut terms = Terms::default();
    model.forward(batch, pass, workspace)?;
    let input = ObjectiveInput { batch, weights: model.params().values(), scale, key };
    objective.evaluate(&input, &mut workspace.bag, grads.as_deref_mut(), &mut terms)?;
    if let Some(grads) = grads {
        model.backward(batch, pass, workspace, grads)?;
    }
    let sum = terms.sums().next().map_or(0.0, |(_, sum, _)| sum);
    Ok(sum * f64::from(scale))
}
