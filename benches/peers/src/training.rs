//! One training step of a backbone, as the trainer runs it: micro-batches over lanes, then AdamW.

use crate::arm;
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use sidereal::core::{ItemId, seed};
use sidereal::losses::{CrossEntropy, CrossEntropyOptions};
use sidereal::nn::lanes::{Compute, Lanes};
use sidereal::nn::optim::{AdamW, AdamWOptions, Optimizer};
use sidereal::nn::{Batch, Model, Target};
use std::error::Error;

/// Values of our parameter `name`, from the peer's weights or gradients.
type Named<'a> = dyn Fn(&str) -> Result<Vec<f32>, Box<dyn Error>> + 'a;

/// A model, its micro-batches and an optimiser.
pub struct Training<M> {
    pub model: M,
    pub batches: Vec<Batch>,
    /// Codes to predict in all micro-batches: the peer's loss is a mean over them.
    pub codes: usize,
    pub threads: usize,
}

impl<M: Model> Training<M> {
    /// Loads the peer's weights.
    pub fn load(&mut self, weights: &Named<'_>) -> Result<(), Box<dyn Error>> {
        for info in self.model.params().infos().to_vec() {
            let values = weights(&info.name)?;
            info.slot.of_mut(self.model.params_mut().values_mut()).copy_from_slice(&values);
        }
        Ok(())
    }

    /// Compares loss and all gradients of `batches`, which hold `codes` codes, with the peer's. The
    /// model must be one without dropout.
    pub fn check(
        &self,
        batches: &[Batch],
        codes: usize,
        loss: f32,
        gradients: &Named<'_>,
    ) -> Result<Map<String, Value>, Box<dyn Error>> {
        let objective = CrossEntropy::new(CrossEntropyOptions::default())?;
        let mut lanes = Lanes::new(Lanes::DEFAULT, &self.model);
        let keys = vec![0; batches.len()];
        let (grads, terms) = lanes.run(
            &self.model,
            &objective,
            batches,
            &[],
            &keys,
            1.0 / codes as f32,
            self.threads,
            Compute::Gradients,
        )?;
        let (_, sum, _) = terms.sums().next().ok_or("the objective has no term")?;
        let mut worst = arm::difference(&[(sum / codes as f64) as f32], &[loss]);
        for info in self.model.params().infos() {
            worst = worst.max(arm::difference(info.slot.of(grads), &gradients(&info.name)?));
        }
        arm::agreed(worst, 1e-4)
    }

    /// Repeats the step.
    pub fn serve(mut self, told: Map<String, Value>) -> Result<(), Box<dyn Error>> {
        let objective = CrossEntropy::new(CrossEntropyOptions::default())?;
        let mut lanes = Lanes::new(Lanes::DEFAULT, &self.model);
        let len = self.model.params().len();
        let mut optimizer = AdamW::new(AdamWOptions::default(), len, "optimizer")?;
        let (scale, threads) = (1.0 / self.codes as f32, self.threads);
        let mut keys = vec![0; self.batches.len()];
        arm::serve(told, || {
            for (j, key) in keys.iter_mut().enumerate() {
                *key = seed::key(0, "dropout", (optimizer.steps() << 32) + j as u64);
            }
            lanes.run(
                &self.model,
                &objective,
                &self.batches,
                &[],
                &keys,
                scale,
                threads,
                Compute::Gradients,
            )?;
            let grads = lanes.grads_mut();
            optimizer.step(self.model.params_mut().values_mut(), grads, 1e-3, threads);
            Ok(())
        })
    }
}

/// A micro-batch whose rows are histories of `digits` codes an item.
pub struct Rows {
    pub batch: Batch,
}

impl Rows {
    pub fn new() -> Self {
        let mut batch = Batch::default();
        for offsets in
            [&mut batch.item_offsets, &mut batch.code_offsets, &mut batch.target_code_offsets]
        {
            offsets.push(0);
        }
        Rows { batch }
    }

    /// Adds an item to the row that is being filled.
    pub fn item(&mut self, codes: impl Iterator<Item = u32>) {
        let b = &mut self.batch;
        b.items.push(ItemId(b.items.len() as u32));
        b.codes.extend(codes);
        b.code_offsets.push(b.codes.len() as u32);
    }

    /// Ends the row.
    pub fn end(&mut self) {
        self.batch.item_offsets.push(self.batch.items.len() as u32);
    }

    /// Adds a target of the row that is being filled.
    pub fn target(&mut self, position: usize, item: ItemId, codes: impl Iterator<Item = u32>) {
        let b = &mut self.batch;
        let row = b.item_offsets.len() as u32 - 1;
        b.targets.push(Target { row, position: position as u32, item });
        b.target_codes.extend(codes);
        b.target_code_offsets.push(b.target_codes.len() as u32);
    }
}

/// Reads the peer's file.
pub fn read(path: &std::path::Path) -> Result<Vec<u8>, Box<dyn Error>> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()).into())
}

/// Samples on which the peer compared gradients.
pub fn check_samples(file: &SafeTensors<'_>) -> Result<Vec<usize>, Box<dyn Error>> {
    Ok(arm::integers(file, "check")?.into_iter().map(|i| i as usize).collect())
}

/// The peer's loss.
pub fn loss(file: &SafeTensors<'_>) -> Result<f32, Box<dyn Error>> {
    Ok(arm::values(file, "loss")?.first().copied().unwrap_or(f32::NAN))
}
