//! The RQ-VAE's training step: forward, backward, AdamW.

use crate::arm;
use safetensors::SafeTensors;
use sidereal::nn::kernels::activation::Activation;
use sidereal::nn::optim::{AdamW, AdamWOptions, Optimizer};
use sidereal::quantizers::rq_vae::{
    BatchRows, EncoderForm, Estimator, RqVaeLoss, RqVaeModel, RqVaeShape, RqVaeStep,
};
use std::error::Error;
use std::path::Path;

pub fn run(work: &Path, threads: usize) -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read(work.join("rqvae.safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let (x, codes) = (arm::values(&file, "x")?, arm::integers(&file, "codes")?);
    let hidden = vec![512, 256, 128];
    let activation = Activation::Relu;
    let shape = RqVaeShape {
        input: 768,
        hidden,
        latent: 32,
        levels: vec![256; 3],
        activation,
        decoder_activation: activation,
        encoder: EncoderForm::Plain,
    };
    let mut model = RqVaeModel::new(shape, 0)?;
    // In a chain of modules every second one is an activation.
    let theirs = |name: &str| match name.split('.').collect::<Vec<_>>()[..] {
        [part, layer, kind] => layer.parse().map(|i: usize| format!("{part}.{}.{kind}", 2 * i)),
        _ => Ok(name.replace('_', ".")),
    };
    let infos = model.params().infos().to_vec();
    for info in &infos {
        let values = arm::values(&file, &theirs(&info.name)?)?;
        info.slot.of_mut(model.params_mut().values_mut()).copy_from_slice(&values);
    }
    let loss = RqVaeLoss { estimator: Estimator::ResidualPath, ..RqVaeLoss::default() };
    let (batch, mut step) = (BatchRows::all(&x, 768), RqVaeStep::new(&model));

    let got = step.run(&model, batch, loss, 0)?.total();
    let want = f64::from(arm::values(&file, "loss")?[0]);
    let mut off = (got - want).abs() / want.abs();
    for info in &infos {
        let want = arm::values(&file, &format!("grad.{}", theirs(&info.name)?))?;
        off = off.max(arm::difference(info.slot.of(step.grads()), &want));
    }
    for level in 0..3 {
        let mut counts = vec![0u32; 256];
        codes.iter().skip(level).step_by(3).for_each(|&c| counts[c as usize] += 1);
        if counts != step.counts(level) {
            return Err(format!("level {level} has other codes than the peer").into());
        }
    }
    let told = arm::agreed(off, 1e-4)?;

    let mut adam = AdamW::new(AdamWOptions::default(), model.params().len(), "optimizer")?;
    arm::serve(told, || {
        step.run(&model, batch, loss, 0)?;
        adam.step(model.params_mut().values_mut(), step.grads(), 1e-3, threads);
        Ok(())
    })
}
