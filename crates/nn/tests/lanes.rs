//! Data parallelism and the gradient check, on a small model of embeddings and a feed-forward.

#![allow(clippy::unwrap_used)]

use sidereal_core::{Error, ItemId, Result, SidTable, seed};
use sidereal_nn::gradcheck::{GradCheck, check_gradients};
use sidereal_nn::kernels::cross_entropy::softmax_cross_entropy;
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::embedding::{gather, scatter_add};
use sidereal_nn::lanes::{Compute, Lanes};
use sidereal_nn::layers::{FeedForward, FeedForwardShape, FeedForwardState};
use sidereal_nn::{
    Bag, Batch, BatchBuilder, Init, Model, Objective, ObjectiveInput, Params, Pass, Slot, Terms,
    Workspace,
};
use std::sync::Arc;

const ITEMS: usize = 11;
const WIDTH: usize = 6;

/// Predicts the next item from the last one: embedding, feed-forward with dropout, logits.
struct Toy {
    params: Params,
    table: Slot,
    ff: FeedForward,
    /// Factor on the table's gradient: anything but 1 is wrong.
    slip: f32,
}

#[derive(Default)]
struct State {
    ids: Vec<u32>,
    x: Vec<f32>,
    dx: Vec<f32>,
    ff: FeedForwardState,
}

impl Toy {
    fn new(slip: f32) -> Self {
        let mut params = Params::new(5);
        let table = params.add("table", &[ITEMS, WIDTH], Init::Normal(1.0));
        // The output has one value an item: `width` is both, so pad the vectors.
        let ff = FeedForward::new(&mut params, "ff", ITEMS, FeedForwardShape::biased(9, 2));
        Toy { params, table, ff, slip }
    }
}

impl Model for Toy {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn workspace(&self) -> Workspace {
        Workspace { bag: Bag::default(), scratch: Box::new(State::default()) }
    }

    fn forward(&self, batch: &Batch, pass: Pass, workspace: &mut Workspace) -> Result<()> {
        let Workspace { bag, scratch } = workspace;
        let s: &mut State = scratch.downcast_mut().unwrap();
        let w = self.params.values();
        s.ids.clear();
        for t in &batch.targets {
            let history = batch.history(t.row as usize);
            let last = history[..t.position as usize].last();
            let last = last.ok_or_else(|| Error::mismatch(format!("row {} is empty", t.row)))?;
            s.ids.push(last.0);
        }
        let n = s.ids.len();
        let mut rows = vec![0.0; n * WIDTH];
        gather(self.table.of(w), WIDTH, &s.ids, &mut rows);
        s.x.clear();
        for row in rows.chunks(WIDTH) {
            s.x.extend_from_slice(row);
            s.x.extend([0.0; ITEMS - WIDTH]);
        }
        bag.clear();
        let out = bag.put("logits", 0, n, ITEMS);
        self.ff.forward(w, &s.x, n, Dropout::new(0.2, pass), 1, &mut s.ff, &mut out.value);
        Ok(())
    }

    fn backward(
        &self,
        _: &Batch,
        pass: Pass,
        workspace: &mut Workspace,
        grads: &mut [f32],
    ) -> Result<()> {
        let Workspace { bag, scratch } = workspace;
        let s: &mut State = scratch.downcast_mut().unwrap();
        let n = s.ids.len();
        s.dx.resize(n * ITEMS, 0.0);
        let dy = &bag.get("logits", 0)?.grad;
        let (w, drop) = (self.params.values(), Dropout::new(0.2, pass));
        self.ff.backward(w, &s.x, dy, n, drop, 1, &mut s.ff, &mut s.dx, grads);
        let rows: Vec<f32> =
            s.dx.chunks(ITEMS).flat_map(|r| r[..WIDTH].iter().map(|v| v * self.slip)).collect();
        scatter_add(self.table.of_mut(grads), WIDTH, &s.ids, &rows);
        Ok(())
    }
}

struct CrossEntropy;

impl Objective for CrossEntropy {
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

fn batch(first: u32, rows: u32) -> Batch {
    let builder = BatchBuilder::new(None::<Arc<SidTable>>, 8);
    let mut batch = Batch::default();
    builder.clear(&mut batch);
    for r in first..first + rows {
        let sequence: Vec<ItemId> =
            (0..2 + r % 5).map(|i| ItemId((r * 7 + i * 3) % ITEMS as u32)).collect();
        builder.push_every(&mut batch, &sequence).unwrap();
    }
    batch
}

/// Gradients as bits, and the terms.
fn run(n: usize, threads: usize, batches: &[Batch]) -> (Vec<u32>, Terms) {
    let model = Toy::new(1.0);
    let mut lanes = Lanes::new(n, &model);
    let costs: Vec<u64> = batches.iter().map(|b| b.targets.len() as u64).collect();
    let keys: Vec<u64> = (0..batches.len() as u64).map(|i| seed::key(1, "drop", i)).collect();
    // A run before must leave no trace.
    lanes
        .run(
            &model,
            &CrossEntropy,
            &batches[..1],
            &costs[..1],
            &keys[..1],
            1.0,
            1,
            Compute::Gradients,
        )
        .unwrap();
    let (grads, terms) = lanes
        .run(&model, &CrossEntropy, batches, &costs, &keys, 0.01, threads, Compute::Gradients)
        .unwrap();
    (grads.iter().map(|g| g.to_bits()).collect(), terms.clone())
}

#[test]
fn threads_change_no_bit() {
    let batches: Vec<Batch> = (0..13).map(|i| batch(i * 5, 1 + i % 4)).collect();
    for n in [1, 3, 4] {
        let one = run(n, 1, &batches);
        assert_eq!(one, run(n, 2, &batches));
        assert_eq!(one, run(n, 3, &batches));
        assert_eq!(one, run(n, 16, &batches));
    }
    // Another number of lanes is another order of the same sum.
    let value = |r: &(Vec<u32>, Terms)| r.0.iter().map(|b| f32::from_bits(*b)).collect::<Vec<_>>();
    let (a, b) = (value(&run(1, 1, &batches)), value(&run(4, 2, &batches)));
    assert!(a.iter().zip(&b).all(|(x, y)| (x - y).abs() < 1e-5));
    assert!(a.iter().any(|x| *x != 0.0));
}

#[test]
fn fewer_micro_batches_than_lanes_and_none() {
    let batches = [batch(3, 2)];
    assert_eq!(run(1, 1, &batches).0, run(4, 2, &batches).0);
    let model = Toy::new(1.0);
    let mut lanes = Lanes::new(2, &model);
    let (grads, _) =
        lanes.run(&model, &CrossEntropy, &[], &[], &[], 1.0, 2, Compute::Gradients).unwrap();
    assert!(grads.len() == model.params.len() && grads.iter().all(|g| *g == 0.0));
}

#[test]
fn evaluation_gives_terms_and_no_gradients() {
    let model = Toy::new(1.0);
    let batches = [batch(0, 4), batch(4, 3)];
    let mut lanes = Lanes::new(2, &model);
    let mut loss = |threads| {
        let (grads, terms) = lanes
            .run(&model, &CrossEntropy, &batches, &[], &[0, 0], 1.0, threads, Compute::Loss)
            .unwrap();
        assert!(grads.is_empty());
        terms.loss()
    };
    assert_eq!(loss(1), loss(2));
}

#[test]
fn the_first_faulty_micro_batch_decides() {
    let model = Toy::new(1.0);
    let mut lanes = Lanes::new(3, &model);
    let mut batches: Vec<Batch> = (0..6).map(|i| batch(i, 2)).collect();
    for (at, row) in [(4, 1), (2, 0)] {
        let target = batches[at].targets.iter_mut().find(|t| t.row == row).unwrap();
        target.position = 0;
    }
    for threads in [1, 2, 3] {
        let run = lanes.run(
            &model,
            &CrossEntropy,
            &batches,
            &[],
            &[0; 6],
            1.0,
            threads,
            Compute::Gradients,
        );
        assert!(run.unwrap_err().to_string().contains("row 0 is empty"));
    }
    let wrong =
        lanes.run(&model, &CrossEntropy, &batches, &[1], &[0; 6], 1.0, 1, Compute::Gradients);
    assert!(wrong.unwrap_err().to_string().contains("6 micro-batches with 1 costs"));
}

#[test]
fn the_gradient_check_passes_what_is_right_and_catches_what_is_not() {
    let batch = batch(0, 6);
    let check = GradCheck { may_fail: 0.05, ..GradCheck::default() };
    let checked = check_gradients(&mut Toy::new(1.0), &CrossEntropy, &batch, check).unwrap();
    assert_eq!(checked, 7 * 8);
    let e = check_gradients(&mut Toy::new(1.3), &CrossEntropy, &batch, check).unwrap_err();
    assert!(e.to_string().contains("along the gradient of table"), "{e}");
}
