//! The fused step equals the plain candle composition: loss and every gradient.

#![allow(clippy::unwrap_used)]

mod candle;

use candle::Composition;
use candle_core::{Device, Tensor};
use rand::Rng;
use sidereal_core::seed;
use sidereal_nn::kernels::activation::Activation;
use sidereal_quantizers::rq_vae::{
    BatchRows, CHUNK, EncoderForm, Estimator, RqVaeLoss, RqVaeModel, RqVaeShape, RqVaeStep,
};

#[test]
fn loss_and_gradients_equal_candle() {
    let rows = 2 * CHUNK + 91;
    for (hidden, levels) in [(vec![150, 33], vec![16, 9, 5]), (vec![], vec![7])] {
        let shape = RqVaeShape {
            input: 40,
            hidden,
            latent: 12,
            levels,
            activation: Activation::Relu,
            decoder_activation: Activation::Relu,
            encoder: EncoderForm::Plain,
        };
        let mut model = RqVaeModel::new(shape, 6).unwrap();
        let mut rng = seed::stream(2, "test", 0);
        for level in 0..model.shape().levels.len() {
            let slot = model.level_slot(level);
            let codes = slot.of_mut(model.params_mut().values_mut());
            codes.iter_mut().for_each(|c| *c = rng.random_range(-0.3..0.3));
        }
        let x: Vec<f32> = (0..rows * 40).map(|_| rng.random_range(-1.0..1.0)).collect();
        let tensor = Tensor::from_slice(&x, (rows, 40), &Device::Cpu).unwrap();
        for estimator in [Estimator::StraightThrough, Estimator::ResidualPath, Estimator::Rotation]
        {
            let loss = RqVaeLoss { estimator, weight: 0.7, ..Default::default() };
            let mut step = RqVaeStep::new(&model);
            let got = step.run(&model, BatchRows::all(&x, 40), loss, 0).unwrap().total();
            let plain = Composition::new(&model, model.encoder(), model.decoder()).unwrap();
            let want = plain.loss(&tensor, loss).unwrap();
            let gradients = want.backward().unwrap();
            let want = f64::from(want.to_scalar::<f32>().unwrap());
            assert!((got - want).abs() < 1e-5 * want, "{estimator:?}: {got}, candle {want}");
            for (info, var) in model.params().infos().iter().zip(&plain.vars) {
                let want = gradients.get(var).unwrap().flatten_all().unwrap();
                let want = want.to_vec1::<f32>().unwrap();
                let largest = want.iter().fold(0f32, |m, g| m.max(g.abs()));
                for (g, w) in info.slot.of(step.grads()).iter().zip(&want) {
                    let name = &info.name;
                    assert!((g - w).abs() <= 1e-4 * largest, "{estimator:?} {name}: {g} {w}");
                }
            }
        }
    }
}
