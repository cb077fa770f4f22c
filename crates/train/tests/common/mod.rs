//! A small model with its own backward pass, examples with a rule to learn, and helpers.
#![allow(dead_code)]

use sidereal_core::{
    Cancel, CodeOrder, Event, ItemId, Observer, Result, Run, SidTable, Silent, seed,
};
use sidereal_losses::{CrossEntropy, CrossEntropyOptions};
use sidereal_nn::{Batch, BatchBuilder, Init, Model, Params, Pass, Slot, Workspace};
use sidereal_train::{Examples, TrainOptions, TrainSummary, Validate, train};
use std::path::Path;
use std::sync::{Arc, Mutex};

pub const ITEMS: usize = 13;
const WIDTH: usize = 8;

/// Logits over items from the mean of the vectors of the history, with dropout.
pub struct Tiny {
    params: Params,
    vectors: Slot,
    head: Slot,
    pub dropout: f32,
}

impl Tiny {
    pub fn new(seed: u64) -> Self {
        let mut params = Params::new(seed);
        let vectors = params.add("items.weight", &[ITEMS, WIDTH], Init::Normal(0.5));
        let head = params.add("head.weight", &[ITEMS, WIDTH], Init::Normal(0.5));
        Tiny { params, vectors, head, dropout: 0.2 }
    }

    pub fn weights(&self) -> &[f32] {
        self.params.values()
    }

    /// Mean of the history's vectors, masked.
    fn state(&self, batch: &Batch, target: usize, pass: Pass) -> ([f32; WIDTH], [f32; WIDTH], f32) {
        let t = batch.targets[target];
        let history = &batch.history(t.row as usize)[..t.position as usize];
        let share = 1.0 / history.len().max(1) as f32;
        let w = self.vectors.of(self.params.values());
        let (mut x, mut mask) = ([0.0; WIDTH], [1.0; WIDTH]);
        for (j, mask) in mask.iter_mut().enumerate() {
            if let Pass::Train { key } = pass {
                let draw = seed::mix(key ^ (target * WIDTH + j) as u64) >> 40;
                let kept = draw as f32 / (1u64 << 24) as f32 >= self.dropout;
                *mask = if kept { 1.0 / (1.0 - self.dropout) } else { 0.0 };
            }
            x[j] = history.iter().map(|i| w[i.index() * WIDTH + j]).sum::<f32>() * share * *mask;
        }
        (x, mask, share)
    }
}

impl Model for Tiny {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn workspace(&self) -> Workspace {
        Workspace { bag: Default::default(), scratch: Box::new(()) }
    }

    fn forward(&self, batch: &Batch, pass: Pass, workspace: &mut Workspace) -> Result<()> {
        workspace.bag.clear();
        let field = workspace.bag.put("logits", 0, batch.targets.len(), ITEMS);
        let head = self.head.of(self.params.values());
        for (t, out) in field.value.chunks_exact_mut(ITEMS).enumerate() {
            let (x, ..) = self.state(batch, t, pass);
            for (o, w) in out.iter_mut().zip(head.chunks_exact(WIDTH)) {
                *o = x.iter().zip(w).map(|(x, w)| x * w).sum();
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        batch: &Batch,
        pass: Pass,
        workspace: &mut Workspace,
        grads: &mut [f32],
    ) -> Result<()> {
        let field = workspace.bag.get("logits", 0)?;
        let head = self.head.of(self.params.values());
        for (t, g) in field.grad.chunks_exact(ITEMS).enumerate() {
            let (x, mask, share) = self.state(batch, t, pass);
            let mut dx = [0.0; WIDTH];
            for (i, g) in g.iter().enumerate() {
                for j in 0..WIDTH {
                    self.head.of_mut(grads)[i * WIDTH + j] += g * x[j];
                    dx[j] += g * head[i * WIDTH + j] * mask[j] * share;
                }
            }
            let target = batch.targets[t];
            for item in &batch.history(target.row as usize)[..target.position as usize] {
                for j in 0..WIDTH {
                    self.vectors.of_mut(grads)[item.index() * WIDTH + j] += dx[j];
                }
            }
        }
        Ok(())
    }
}

/// Histories of 1 to 5 equal items; the next item follows from the item by a rule.
pub struct Rule {
    pub n: usize,
    builder: BatchBuilder,
}

impl Rule {
    pub fn new(n: usize) -> Self {
        let codes: Vec<[u32; 1]> = (0..ITEMS as u32).map(|i| [i]).collect();
        let rows = codes.iter().enumerate().map(|(i, c)| (ItemId(i as u32), &c[..]));
        let table = SidTable::new(ITEMS, CodeOrder::Sequence, rows).unwrap();
        Rule { n, builder: BatchBuilder::new(Some(Arc::new(table)), 5) }
    }

    fn item(i: usize) -> usize {
        (seed::mix(i as u64) % ITEMS as u64) as usize
    }

    pub fn next(item: usize) -> usize {
        (item * 5 + 2) % ITEMS
    }
}

impl Examples for Rule {
    fn len(&self) -> usize {
        self.n
    }

    fn cost(&self, i: usize) -> usize {
        i % 5 + 1
    }

    fn fill(&self, ids: &[usize], batch: &mut Batch) -> Result<()> {
        self.builder.clear(batch);
        for &i in ids {
            let item = Self::item(i);
            let history = vec![ItemId(item as u32); self.cost(i)];
            self.builder.push_next(batch, &history, ItemId(Self::next(item) as u32))?;
        }
        Ok(())
    }
}

/// Share of items whose next item the model knows, and the mean loss.
pub struct Accuracy;

impl Validate for Accuracy {
    fn validate(&mut self, model: &dyn Model, _run: &Run<'_>) -> Result<Vec<(String, f64)>> {
        let rule = Rule::new(ITEMS);
        let mut batch = Batch::default();
        rule.builder.clear(&mut batch);
        for i in 0..ITEMS as u32 {
            let next = ItemId(Rule::next(i as usize) as u32);
            rule.builder.push_next(&mut batch, &[ItemId(i)], next)?;
        }
        let mut workspace = model.workspace();
        model.forward(&batch, Pass::Evaluate, &mut workspace)?;
        let (mut right, mut margin) = (0.0, 0.0);
        for (i, row) in workspace.bag.get("logits", 0)?.value.chunks_exact(ITEMS).enumerate() {
            let at = row[Rule::next(i)];
            let top = row.iter().copied().fold(f32::MIN, f32::max);
            right += f64::from(u8::from(at == top));
            margin += f64::from(at - top);
        }
        let n = ITEMS as f64;
        Ok(vec![("accuracy".into(), right / n), ("margin".into(), margin / n)])
    }
}

/// Scalars of one event: group, step, numbers.
type Scalars = (String, u64, Vec<(String, f64)>);

/// Keeps scalars and cancels at a step.
#[derive(Default)]
pub struct Watch {
    pub scalars: Mutex<Vec<Scalars>>,
    pub notes: Mutex<Vec<String>>,
    pub stop_at: Option<(u64, Cancel)>,
}

impl Observer for Watch {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Scalars { group, step, numbers } => {
                let numbers = numbers.iter().map(|(n, v)| (n.to_string(), *v)).collect();
                self.scalars.lock().unwrap().push((group.to_string(), *step, numbers));
                if *group == "train"
                    && let Some((at, cancel)) = &self.stop_at
                    && step == at
                {
                    cancel.cancel();
                }
            }
            Event::Warning(text) => self.notes.lock().unwrap().push(text.to_string()),
            _ => {}
        }
    }
}

impl Watch {
    pub fn group(&self, group: &str) -> Vec<(u64, Vec<(String, f64)>)> {
        let all = self.scalars.lock().unwrap();
        all.iter().filter(|s| s.0 == group).map(|s| (s.1, s.2.clone())).collect()
    }

    pub fn values(&self, group: &str, name: &str) -> Vec<f64> {
        let pick = |n: Vec<(String, f64)>| n.into_iter().find(|v| v.0 == name).map(|v| v.1);
        self.group(group).into_iter().filter_map(|(_, n)| pick(n)).collect()
    }
}

pub fn options() -> TrainOptions {
    TrainOptions {
        epochs: 6,
        batch: 16,
        micro_batch: 10,
        lr: 0.02,
        log_every: 1,
        warmup_steps: 3,
        ..Default::default()
    }
}

pub fn quiet() -> Run<'static> {
    Run { seed: 7, observer: &Silent, cancel: Cancel::default(), threads: 1 }
}

pub fn go(
    model: &mut Tiny,
    options: &TrainOptions,
    dir: &Path,
    run: &Run<'_>,
) -> Result<TrainSummary> {
    let objective = CrossEntropy::new(CrossEntropyOptions::default()).unwrap();
    train(model, &objective, &Rule::new(150), &mut Accuracy, options, dir, run)
}

/// A run in a fresh folder: final weights, summary and what was logged.
pub fn fresh(options: &TrainOptions, threads: usize) -> (Vec<f32>, TrainSummary, Watch) {
    let dir = tempfile::tempdir().unwrap();
    let watch = Watch::default();
    let mut model = Tiny::new(3);
    let run = Run { observer: &watch, threads, ..quiet() };
    let summary = go(&mut model, options, dir.path(), &run).unwrap();
    (model.weights().to_vec(), summary, watch)
}
