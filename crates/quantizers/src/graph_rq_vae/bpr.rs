//! BPR (arXiv 1205.2618) on the vectors of a graph network, as MMGRec trains its item vectors.
//!
//! `loss = -mean ln( sig(u.i+ - u.i-) + 1e-10 )` over triples; every interaction has a few negatives
//! that are drawn once, items that the user did not meet. Each step runs the whole graph.

use super::sage::{Means, Sage, SageState, rates};
use rand::Rng;
use rand::seq::SliceRandom;
use sidereal_core::{Error, Event, Matrix, Result, Run, seed};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::math::{axpy, dot, zeros};
use sidereal_nn::optim::{Adam, AdamOptions, Optimizer};

/// A user, an item of the user and one that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Triple {
    /// The user.
    pub user: u32,
    /// An item that the user met.
    pub met: u32,
    /// An item that the user did not meet.
    pub other: u32,
}

/// How the graph is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BprOptions {
    /// Negatives of an interaction.
    pub negatives: u32,
    /// Passes over the triples.
    pub epochs: u32,
    /// Triples of a step.
    pub batch: u32,
    /// Learning rate of Adam.
    pub lr: f32,
    /// L2 added to the gradient.
    pub weight_decay: f32,
    /// Dropout after the two layers.
    pub dropout: [f32; 2],
}

/// Fixed triples, user after user; a user who met everything has none.
pub fn triples(graph: &Means, negatives: u32, seed: u64) -> Vec<Triple> {
    let items = graph.nodes() - graph.users();
    let mut out = Vec::new();
    for user in 0..graph.users() {
        let met: Vec<u32> = graph.met(user).collect();
        let left = items - met.len();
        if left == 0 {
            continue;
        }
        let mut rng = seed::stream(seed, "graph-negatives", user as u64);
        for &item in &met {
            for _ in 0..negatives {
                // The n-th item that is not in the sorted list.
                let n = rng.random_range(0..left as u32);
                let mut below = 0;
                let (mut low, mut high) = (0, met.len());
                while low < high {
                    let middle = (low + high) / 2;
                    if met[middle] - middle as u32 <= n {
                        low = middle + 1;
                        below = low;
                    } else {
                        high = middle;
                    }
                }
                out.push(Triple { user: user as u32, met: item, other: n + below as u32 });
            }
        }
    }
    out
}

/// Loss of triples on `x` (`V x D`: users, then items), and its gradient, added to `dx`.
pub fn bpr(triples: &[Triple], x: &[f32], d: usize, users: usize, dx: &mut [f32]) -> f64 {
    let at = |node: usize| node * d..(node + 1) * d;
    let mut total = 0.0;
    let share = 1.0 / triples.len().max(1) as f64;
    for t in triples {
        let (u, i, j) = (t.user as usize, users + t.met as usize, users + t.other as usize);
        let (xu, xi, xj) = (&x[at(u)], &x[at(i)], &x[at(j)]);
        let difference = f64::from(dot(xu, xi)) - f64::from(dot(xu, xj));
        let s = 1.0 / (1.0 + (-difference).exp());
        total -= (s + 1e-10).ln();
        let slope = (-share * s * (1.0 - s) / (s + 1e-10)) as f32;
        axpy(slope, xi, &mut dx[at(u)]);
        axpy(-slope, xj, &mut dx[at(u)]);
        axpy(slope, xu, &mut dx[at(i)]);
        axpy(-slope, xu, &mut dx[at(j)]);
    }
    total * share
}

/// Trains the network; works on the current rayon pool.
///
/// Without a triple it stays as it is, with a warning.
///
/// Errors: a loss that is no number, a request to stop.
pub fn train(
    sage: &mut Sage,
    graph: &Means,
    features: &[f32],
    o: BprOptions,
    run: &Run<'_>,
) -> Result<()> {
    let all = triples(graph, o.negatives, run.seed);
    if all.is_empty() {
        run.emit(Event::Warning(
            "graph-rq-vae: no user has both an item in training and one that is not; the graph \
             teaches nothing and stays as it starts",
        ));
        return Ok(());
    }
    let d = sage.shape().output;
    let adam = AdamOptions { lr: o.lr, weight_decay: o.weight_decay, ..Default::default() };
    let mut adam = Adam::new(adam, sage.params().len(), "quantizer")?;
    let (mut state, mut dx) = (SageState::default(), Vec::new());
    let mut grads = vec![0.0; sage.params().len()];
    let mut order: Vec<u32> = (0..all.len() as u32).collect();
    let (task, total) = ("graph-rq-vae graph", u64::from(o.epochs));
    run.emit(Event::Started { task, total, unit: "epochs" });
    let mut batch = Vec::new();
    for epoch in 0..o.epochs {
        order.shuffle(&mut seed::stream(run.seed, "graph-order", u64::from(epoch)));
        let mut mean = 0.0;
        for (b, listed) in order.chunks(o.batch as usize).enumerate() {
            run.check()?;
            let step = (u64::from(epoch) << 32) | b as u64;
            let dropout = rates(o.dropout, seed::key(run.seed, "graph-dropout", step));
            batch.clear();
            batch.extend(listed.iter().map(|&t| all[t as usize]));
            sage.forward(graph, features, dropout, &mut state);
            zeros(&mut dx, state.output().len());
            let loss = bpr(&batch, state.output(), d, graph.users(), &mut dx);
            if !loss.is_finite() {
                return Err(Error::NotFinite {
                    what: "the loss of the graph of graph-rq-vae".into(),
                    step: Some(adam.steps() + 1),
                    help: "lower quantizer.graph_lr".into(),
                });
            }
            sage.backward(graph, features, dropout, &mut dx, &mut state, &mut grads);
            adam.step(sage.params_mut().values_mut(), &grads, o.lr, run.threads);
            mean += loss * listed.len() as f64 / all.len() as f64;
        }
        let done = u64::from(epoch) + 1;
        run.emit(Event::Advanced { task, done, numbers: &[("loss", mean)] });
    }
    run.emit(Event::Finished { task });
    Ok(())
}

/// Vectors of the items, shape `N x output`, without dropout.
pub fn item_vectors(sage: &Sage, graph: &Means, features: &[f32]) -> Result<Matrix> {
    let mut state = SageState::default();
    sage.forward(graph, features, [Dropout::none(); 2], &mut state);
    let d = sage.shape().output;
    let items = state.output()[graph.users() * d..].to_vec();
    Matrix::new(graph.nodes() - graph.users(), d, items)
}
