//! A network in plain candle operations trains through the same trait as the fused blocks.

#![allow(clippy::unwrap_used)]

use candle_core::Tensor;
use sidereal_core::{ItemId, Result};
use sidereal_nn::candle::{CandleModel, Network, Output, Weights};
use sidereal_nn::gradcheck::{GradCheck, check_gradients};
use sidereal_nn::kernels::cross_entropy::softmax_cross_entropy;
use sidereal_nn::layers::{Bias, Linear};
use sidereal_nn::{
    Bag, Batch, BatchBuilder, Init, Model, Objective, ObjectiveInput, Params, Pass, Slot, Terms,
};

const ITEMS: usize = 7;
const WIDTH: usize = 5;

/// Scores all items from the vector of the last one.
#[derive(Clone)]
struct Bigram;

fn params() -> (Params, Slot, Linear) {
    let mut params = Params::new(3);
    let table = params.add("items.weight", &[ITEMS, WIDTH], Init::Normal(1.0));
    let out = Linear::new(&mut params, "out", WIDTH, ITEMS, Bias::With, Init::Uniform(0.5));
    (params, table, out)
}

fn last_items(batch: &Batch) -> Vec<u32> {
    batch.targets.iter().map(|t| batch.history(t.row as usize)[t.position as usize - 1].0).collect()
}

impl Network for Bigram {
    fn outputs(
        &self,
        weights: &Weights,
        batch: &Batch,
        _pass: Pass,
    ) -> candle_core::Result<Vec<Output>> {
        let ids = Tensor::new(last_items(batch), weights.device())?;
        let x = weights.get("items.weight")?.index_select(&ids, 0)?;
        let y = x.matmul(&weights.get("out.weight")?.t()?)?;
        let y = y.broadcast_add(weights.get("out.bias")?)?;
        Ok(vec![Output { name: "logits", level: 0, tensor: y }])
    }
}

struct NextItem;

impl Objective for NextItem {
    fn evaluate(
        &self,
        input: &ObjectiveInput<'_>,
        bag: &mut Bag,
        grads: Option<&mut [f32]>,
        terms: &mut Terms,
    ) -> Result<()> {
        let targets: Vec<u32> = input.batch.targets.iter().map(|t| t.item.0).collect();
        let field = bag.get_mut("logits", 0)?;
        let grad = grads.map(|_| &mut field.grad[..]);
        let sum = softmax_cross_entropy(&field.value, ITEMS, &targets, input.scale, grad);
        terms.add("loss", sum, targets.len() as u64);
        Ok(())
    }
}

fn batch() -> Batch {
    let builder = BatchBuilder::new(None, 10);
    let mut batch = Batch::default();
    builder.clear(&mut batch);
    builder.push_every(&mut batch, &[1, 4, 2, 2, 6].map(ItemId)).unwrap();
    builder.push_next(&mut batch, &[3, 0].map(ItemId), ItemId(5)).unwrap();
    batch
}

#[test]
fn gradients_equal_central_differences() {
    let mut model = CandleModel::new(Bigram, params().0);
    assert!(check_gradients(&mut model, &NextItem, &batch(), GradCheck::default()).unwrap() > 10);
}

#[test]
fn equals_the_fused_layer_forward_and_backward() {
    let (params, table, out) = params();
    let (batch, model) = (batch(), CandleModel::new(Bigram, params.clone()));
    let mut ws = model.workspace();
    model.forward(&batch, Pass::Evaluate, &mut ws).unwrap();
    let ids = last_items(&batch);
    let (rows, w) = (ids.len(), params.values());
    let mut x = vec![0.0; rows * WIDTH];
    sidereal_nn::kernels::embedding::gather(table.of(w), WIDTH, &ids, &mut x);
    let mut y = vec![0.0; rows * ITEMS];
    out.forward(w, &x, rows, &mut y);
    let field = ws.bag.get_mut("logits", 0).unwrap();
    assert!(y.iter().zip(&field.value).all(|(a, b)| (a - b).abs() < 1e-5));
    let dy: Vec<f32> = (0..y.len()).map(|i| (i as f32 * 0.9).sin()).collect();
    field.grad.copy_from_slice(&dy);
    let mut theirs = vec![0.0; params.len()];
    model.backward(&batch, Pass::Evaluate, &mut ws, &mut theirs).unwrap();
    let (mut ours, mut dx) = (vec![0.0; params.len()], vec![0.0; x.len()]);
    let write = sidereal_nn::kernels::gemm::Write::Set;
    out.backward(w, &x, &dy, rows, Some((&mut dx, write)), &mut ours);
    sidereal_nn::kernels::embedding::scatter_add(table.of_mut(&mut ours), WIDTH, &ids, &dx);
    assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-4));
}

/// Logits of the first target.
fn logits(model: &CandleModel<Bigram>) -> Vec<f32> {
    let mut ws = model.workspace();
    model.forward(&batch(), Pass::Evaluate, &mut ws).unwrap();
    ws.bag.get("logits", 0).unwrap().value[..ITEMS].to_vec()
}

#[test]
fn an_update_reaches_the_device_before_the_next_pass() {
    let mut model = CandleModel::new(Bigram, params().0);
    let before = logits(&model);
    assert_eq!(before, logits(&model));
    let copy = model.clone();
    model.params_mut().values_mut().iter_mut().for_each(|w| *w *= -2.0);
    let after = logits(&model);
    assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() > 1e-6), "{before:?} {after:?}");
    assert_eq!(logits(&copy), before);
    let weights = model.weights().unwrap();
    let bias: Vec<f32> = weights.get("out.bias").unwrap().to_vec1().unwrap();
    let slot = model.params().info("out.bias").unwrap().slot;
    assert_eq!(bias, slot.of(model.params().values()));
    assert!(weights.get("out.bais").unwrap_err().to_string().contains("out.bais"));
}

#[test]
fn backward_needs_a_forward_pass_and_ends_its_graph() {
    let model = CandleModel::new(Bigram, params().0);
    let (mut ws, mut grads) = (model.workspace(), vec![0.0; model.params().len()]);
    let backward = |ws: &mut _, grads: &mut [f32]| {
        model.backward(&batch(), Pass::Evaluate, ws, grads).map_err(|e| e.to_string())
    };
    assert!(backward(&mut ws, &mut grads).unwrap_err().contains("follows a forward pass"));
    model.forward(&batch(), Pass::Evaluate, &mut ws).unwrap();
    ws.bag.get_mut("logits", 0).unwrap().grad.fill(1.0);
    backward(&mut ws, &mut grads).unwrap();
    assert!(grads.iter().any(|g| *g != 0.0));
    assert!(backward(&mut ws, &mut grads).is_err());
}

/// A network that refuses its batch.
struct Refusing;

impl Network for Refusing {
    fn outputs(&self, _: &Weights, _: &Batch, _: Pass) -> candle_core::Result<Vec<Output>> {
        let refusal = sidereal_core::Error::config("backbone.encoder", "not so");
        Err(sidereal_nn::candle::fault(refusal))
    }
}

#[test]
fn a_fault_of_the_batch_keeps_its_kind() {
    let model = CandleModel::new(Refusing, params().0);
    let error = model.forward(&batch(), Pass::Evaluate, &mut model.workspace()).unwrap_err();
    assert!(matches!(error, sidereal_core::Error::Config { key, .. } if key == "backbone.encoder"));
}
