//! A network in plain candle operations trains through the same trait as the fused blocks.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use sidereal_core::{ItemId, Result};
use sidereal_nn::candle::{CandleModel, Network, Output};
use sidereal_nn::gradcheck::{GradCheck, check_gradients};
use sidereal_nn::kernels::cross_entropy::softmax_cross_entropy;
use sidereal_nn::layers::{Bias, Linear};
use sidereal_nn::{
    Bag, Batch, BatchBuilder, Init, Model, Objective, ObjectiveInput, Params, Pass, Slot, Terms,
};
use std::collections::BTreeMap;

const ITEMS: usize = 7;
const WIDTH: usize = 5;

/// Scores all items from the vector of the last one.
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
        weights: &BTreeMap<String, Tensor>,
        batch: &Batch,
        _pass: Pass,
    ) -> candle_core::Result<Vec<Output>> {
        let ids = Tensor::new(last_items(batch), &Device::Cpu)?;
        let x = weights["items.weight"].index_select(&ids, 0)?;
        let y = x.matmul(&weights["out.weight"].t()?)?.broadcast_add(&weights["out.bias"])?;
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
