//! Data parallelism whose result does not depend on the number of threads.
//!
//! Micro-batches are dealt to a fixed number of lanes by their costs alone. A lane has its own
//! gradient buffer and works through its micro-batches in order; threads of the current rayon pool
//! pick whole lanes. The lanes' gradients are then added in a fixed tree. Memory: one gradient
//! buffer a lane and one workspace a thread. In steady state nothing is allocated.

use crate::kernels::simd;
use crate::parallel;
use crate::{Batch, Model, Objective, ObjectiveInput, Pass, Terms, Workspace};
use sidereal_core::{Error, Result};
use std::sync::Mutex;

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compute {
    /// Forward without dropout, and the objective's terms.
    Loss,
    /// Forward with dropout, terms, and the gradients of all parameters.
    Gradients,
}

/// One lane's buffers.
struct Lane {
    grads: Vec<f32>,
    terms: Terms,
    /// Micro-batches of this run, rising.
    batches: Vec<usize>,
    /// First fault, with its micro-batch.
    fault: Option<(usize, Error)>,
}

/// Lanes of data-parallel work over micro-batches.
pub struct Lanes {
    lanes: Vec<Lane>,
    /// One for each thread that ever worked.
    workspaces: Vec<Workspace>,
    terms: Terms,
    /// Micro-batches by cost, and what each lane has so far.
    order: Vec<usize>,
    load: Vec<u64>,
}

/// What every micro-batch of a run shares.
#[derive(Clone, Copy)]
struct Work<'a> {
    model: &'a dyn Model,
    objective: &'a dyn Objective,
    batches: &'a [Batch],
    keys: &'a [u64],
    scale: f32,
    train: bool,
}

impl Lanes {
    /// Lanes that keep up to four threads busy.
    pub const DEFAULT: usize = 4;

    /// The most lanes: adding them up keeps a place for each on the stack.
    pub const MOST: usize = 256;

    /// `n` lanes (1 to [`Lanes::MOST`]) for a model. Another number gives another order of sums, so it
    /// belongs to the configuration of a run; threads beyond `n` find nothing to do.
    pub fn new(n: usize, model: &dyn Model) -> Self {
        let lane = |_| Lane {
            grads: Vec::new(),
            terms: Terms::default(),
            batches: Vec::new(),
            fault: None,
        };
        Lanes {
            lanes: (0..n.clamp(1, Self::MOST)).map(lane).collect(),
            workspaces: vec![model.workspace()],
            terms: Terms::default(),
            order: Vec::new(),
            load: Vec::new(),
        }
    }

    /// Runs all micro-batches as far as `compute` says.
    ///
    /// `costs` balance the lanes (any unit; all equal when empty); `keys` are the dropout and
    /// sampling keys of the micro-batches; `scale` is the factor on every gradient. Gives the sum
    /// of all gradients (empty for [`Compute::Loss`]) and of all terms; the first faulty micro-batch
    /// decides the error.
    pub fn run(
        &mut self,
        model: &dyn Model,
        objective: &dyn Objective,
        batches: &[Batch],
        costs: &[u64],
        keys: &[u64],
        scale: f32,
        threads: usize,
        compute: Compute,
    ) -> Result<(&[f32], &Terms)> {
        if keys.len() != batches.len() || !(costs.is_empty() || costs.len() == batches.len()) {
            return Err(Error::mismatch(format!(
                "{} micro-batches with {} costs and {} keys",
                batches.len(),
                costs.len(),
                keys.len()
            )));
        }
        self.deal(batches.len(), costs);
        let train = compute == Compute::Gradients;
        let parameters = if train { model.params().len() } else { 0 };
        let work = Work { model, objective, batches, keys, scale, train };
        let busy = threads.clamp(1, self.lanes.len());
        while self.workspaces.len() < busy {
            self.workspaces.push(model.workspace());
        }
        let queue = Mutex::new(self.lanes.iter_mut());
        let next = || queue.lock().unwrap_or_else(|e| e.into_inner()).next();
        parallel::each(&mut self.workspaces[..busy], &|workspace| {
            while let Some(lane) = next() {
                lane.run(work, parameters, workspace);
            }
        });
        let fault = self.lanes.iter_mut().filter_map(|l| l.fault.take()).min_by_key(|f| f.0);
        if let Some((_, error)) = fault {
            return Err(error);
        }
        self.terms.reset();
        for lane in &self.lanes {
            self.terms.merge(&lane.terms);
        }
        if train {
            self.reduce(threads);
        }
        Ok((&self.lanes[0].grads[..parameters], &self.terms))
    }

    /// The gradients of the last run for [`Compute::Gradients`], writable, to clip them in place.
    pub fn grads_mut(&mut self) -> &mut [f32] {
        &mut self.lanes[0].grads
    }

    /// Deals micro-batches to lanes: the costliest first, each to the lane with the least so far.
    fn deal(&mut self, n: usize, costs: &[u64]) {
        let Lanes { lanes, order, load, .. } = self;
        let cost = |i: usize| costs.get(i).copied().unwrap_or(1);
        order.clear();
        order.extend(0..n);
        order.sort_unstable_by_key(|&i| (std::cmp::Reverse(cost(i)), i));
        load.clear();
        load.resize(lanes.len(), 0);
        lanes.iter_mut().for_each(|l| l.batches.clear());
        for &i in order.iter() {
            let (least, total) = load
                .iter_mut()
                .enumerate()
                .min_by_key(|(l, t)| (**t, *l))
                .unwrap_or_else(|| unreachable!("there is at least one lane"));
            *total += cost(i);
            lanes[least].batches.push(i);
        }
        lanes.iter_mut().for_each(|l| l.batches.sort_unstable());
    }

    /// Adds all lanes into the first: pairs, then pairs of pairs, each thread on its own part.
    fn reduce(&mut self, threads: usize) {
        let len = self.lanes[0].grads.len();
        let part = len.div_ceil(threads.max(1)).next_multiple_of(16).max(16);
        let n = self.lanes.len();
        let mut slices: [&mut [f32]; Self::MOST] = std::array::from_fn(|_| Default::default());
        for (slice, lane) in slices.iter_mut().zip(&mut self.lanes) {
            *slice = &mut lane.grads;
        }
        parallel::parts(slices, part, &|_, mut lanes| add_tree(&mut lanes[..n]));
    }
}

/// Values that stay in cache while all lanes are added.
const BLOCK: usize = 4096;

/// Adds the same part of all lanes into that of the first.
fn add_tree(lanes: &mut [&mut [f32]]) {
    let len = lanes.first().map_or(0, |l| l.len());
    for start in (0..len).step_by(BLOCK) {
        let range = start..(start + BLOCK).min(len);
        let mut stride = 1;
        while stride < lanes.len() {
            for i in (0..lanes.len() - stride).step_by(2 * stride) {
                let (low, high) = lanes.split_at_mut(i + stride);
                add(&mut low[i][range.clone()], &high[0][range.clone()]);
            }
            stride *= 2;
        }
    }
}

simd! {
    fn add(out: &mut [f32], x: &[f32]) {
        for (o, x) in out.iter_mut().zip(x) {
            *o += *x;
        }
    }
}

impl Lane {
    fn run(&mut self, work: Work<'_>, parameters: usize, workspace: &mut Workspace) {
        self.terms.reset();
        self.fault = None;
        self.grads.clear();
        self.grads.resize(parameters, 0.0);
        for at in 0..self.batches.len() {
            let i = self.batches[at];
            if let Err(error) = self.micro_batch(work, i, workspace) {
                self.fault = Some((i, error));
                return;
            }
        }
    }

    fn micro_batch(&mut self, work: Work<'_>, i: usize, workspace: &mut Workspace) -> Result<()> {
        let Work { model, objective, scale, train, .. } = work;
        let (batch, key) = (&work.batches[i], work.keys[i]);
        let pass = if train { Pass::Train { key } } else { Pass::Evaluate };
        model.forward(batch, pass, workspace)?;
        let input = ObjectiveInput { batch, weights: model.params().values(), scale, key };
        let grads = train.then_some(&mut self.grads[..]);
        objective.evaluate(&input, &mut workspace.bag, grads, &mut self.terms)?;
        if train {
            model.backward(batch, pass, workspace, &mut self.grads)?;
        }
        Ok(())
    }
}
