//! GraphSAGE with means (arXiv 1706.02216) over users and items, forward and backward.
//!
//! `SAGE(x)_i = W_a x_i + W_b mean_{j in N(i)} x_j + b`. With the matrix `M` of means,
//! `SAGE(x) = x W_a' + M (x W_b') + b`: neighbours are averaged at the layer's output width. A node
//! without neighbours has mean 0. Backward: `dN = M' dy`, `dx = dy W_a + dN W_b`, `dW_a = dy' x`,
//! `dW_b = dN' x`.
//!
//! MMGRec's network (arXiv 2404.16555): `x0 = [P ; f W' + c]` with free user vectors `P` and item
//! features `f`, `x1 = drop(leaky(SAGE(x0)))`, `x2 = drop(SAGE(x1))`. Rows are U users, then N items.
//!
//! Cost: `4 V D D'` operations a layer for V nodes and `2 nnz D'` for the means; a product's rows go
//! to threads whole, sums over nodes are those of fixed chunks in their order.

use rayon::prelude::*;
use sidereal_core::Sequences;
use sidereal_nn::algebra::sparse::Csr;
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::{add_bias, add_rows, size};
use sidereal_nn::{Init, Params, Pass, Slot};

/// Nodes that one task works on.
const ROWS: usize = 512;
/// Nodes whose part of a weight's gradient is summed before the sums are added up.
const SUMMED: usize = 4096;
/// Slope below 0 (PyTorch's default, which MMGRec leaves).
const LEAK: f32 = 0.01;

/// Means over neighbours: one row a node, users first, and its transpose.
#[derive(Debug, Clone)]
pub struct Means {
    mean: Csr,
    back: Csr,
    users: usize,
}

impl Means {
    /// Over users and the items they met; repeats are one edge.
    pub fn new(histories: &Sequences, items: usize) -> Self {
        let users = histories.len();
        let (mut offsets, mut columns, mut row) = (vec![0], Vec::new(), Vec::new());
        for (_, history) in histories.iter() {
            row.clear();
            row.extend(history.iter().map(|i| i.0));
            row.sort_unstable();
            row.dedup();
            columns.extend_from_slice(&row);
            offsets.push(columns.len());
        }
        let ones = vec![1.0; columns.len()];
        let by_user = Csr::from_parts(items, offsets, columns, ones);
        let by_item = by_user.transpose();
        let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for (a, shift) in [(&by_user, users as u32), (&by_item, 0)] {
            for i in 0..a.rows() {
                columns.extend(a.row(i).0.iter().map(|c| c + shift));
                values.resize(columns.len(), 1.0 / a.row_len(i).max(1) as f32);
                offsets.push(columns.len());
            }
        }
        let mean = Csr::from_parts(users + items, offsets, columns, values);
        Means { back: mean.transpose(), mean, users }
    }

    /// Users and items together.
    pub fn nodes(&self) -> usize {
        self.mean.rows()
    }

    /// Users.
    pub fn users(&self) -> usize {
        self.users
    }

    /// Items that a user met, ascending.
    pub fn met(&self, user: usize) -> impl Iterator<Item = u32> {
        let shift = self.users as u32;
        self.mean.row(user).0.iter().map(move |c| c - shift)
    }
}

/// One layer.
#[derive(Debug, Clone, Copy)]
pub struct SageLayer {
    /// `W_a`, `outputs x inputs`.
    pub own: Slot,
    /// `W_b`, `outputs x inputs`.
    pub neighbours: Slot,
    /// `outputs` values.
    pub bias: Slot,
    inputs: usize,
    outputs: usize,
}

impl SageLayer {
    /// Adds `{name}.own`, `{name}.neighbours` and `{name}.bias`, started uniformly in
    /// `+-1 / sqrt(inputs)`.
    pub fn new(params: &mut Params, name: &str, inputs: usize, outputs: usize) -> Self {
        let init = Init::Uniform(1.0 / (inputs.max(1) as f32).sqrt());
        let mut add =
            |part: &str, shape: &[usize]| params.add(&format!("{name}.{part}"), shape, init);
        SageLayer {
            own: add("own", &[outputs, inputs]),
            neighbours: add("neighbours", &[outputs, inputs]),
            bias: add("bias", &[outputs]),
            inputs,
            outputs,
        }
    }

    /// `y = SAGE(x)`, shape `V x outputs`; `spare` is scratch.
    pub fn forward(
        &self,
        w: &[f32],
        x: &[f32],
        graph: &Means,
        spare: &mut [Vec<f32>; 2],
        y: &mut Vec<f32>,
    ) {
        let (i, o) = (self.inputs, self.outputs);
        let len = graph.nodes() * o;
        let [own, near] = spare;
        size(own, len);
        size(near, len);
        size(y, len);
        times(x, i, Mat::rows(self.own.of(w), i).t(), o, own);
        own.par_chunks_mut(ROWS * o).for_each(|rows| add_bias(rows, self.bias.of(w)));
        times(x, i, Mat::rows(self.neighbours.of(w), i).t(), o, near);
        graph.mean.times_f32(near, o, own, 1.0, y);
    }

    /// Sets the gradients of the layer's weights, and `dx` where it is asked for.
    pub fn backward(
        &self,
        w: &[f32],
        x: &[f32],
        graph: &Means,
        dy: &[f32],
        near: &mut Vec<f32>,
        dx: &mut [f32],
        grads: &mut [f32],
    ) {
        let (i, o) = (self.inputs, self.outputs);
        size(near, dy.len());
        graph.back.times_f32(dy, o, &[], 1.0, near);
        weight_gradient(dy, o, x, i, self.own.of_mut(grads));
        weight_gradient(near, o, x, i, self.neighbours.of_mut(grads));
        bias_gradient(dy, o, self.bias.of_mut(grads));
        let (own, neighbours) = (Mat::rows(self.own.of(w), i), Mat::rows(self.neighbours.of(w), i));
        let rows = dx.par_chunks_mut(ROWS * i).zip(dy.par_chunks(ROWS * o));
        rows.zip(near.par_chunks(ROWS * o)).for_each(|((dx, dy), near)| {
            let n = dx.len() / i;
            gemm(n, i, o, Mat::rows(dy, o), own, dx, i, Write::Set);
            gemm(n, i, o, Mat::rows(near, o), neighbours, dx, i, Write::Add);
        });
    }
}

/// `y = x b`, rows of `x` on threads.
fn times(x: &[f32], inputs: usize, b: Mat<'_>, outputs: usize, y: &mut [f32]) {
    let rows = y.par_chunks_mut(ROWS * outputs).zip(x.par_chunks(ROWS * inputs));
    rows.for_each(|(y, x)| {
        gemm(y.len() / outputs, outputs, inputs, Mat::rows(x, inputs), b, y, outputs, Write::Set);
    });
}

/// `dw = dy' x`.
fn weight_gradient(dy: &[f32], outputs: usize, x: &[f32], inputs: usize, dw: &mut [f32]) {
    let chunks = dy.par_chunks(SUMMED * outputs).zip(x.par_chunks(SUMMED * inputs));
    let parts: Vec<Vec<f32>> = chunks
        .map(|(dy, x)| {
            let mut part = vec![0.0; outputs * inputs];
            let (a, b) = (Mat::rows(dy, outputs).t(), Mat::rows(x, inputs));
            gemm(outputs, inputs, dy.len() / outputs, a, b, &mut part, inputs, Write::Set);
            part
        })
        .collect();
    dw.fill(0.0);
    parts.iter().for_each(|part| dw.iter_mut().zip(part).for_each(|(d, p)| *d += p));
}

/// `db = sum dy`.
fn bias_gradient(dy: &[f32], outputs: usize, db: &mut [f32]) {
    let sum = |dy: &[f32]| {
        let mut part = vec![0.0; outputs];
        add_rows(dy, &mut part);
        part
    };
    let parts: Vec<Vec<f32>> = dy.par_chunks(SUMMED * outputs).map(sum).collect();
    db.fill(0.0);
    parts.iter().for_each(|part| add_rows(part, db));
}

/// Widths of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SageShape {
    /// Users U.
    pub users: usize,
    /// Width of the item features.
    pub features: usize,
    /// Width of `x0` and `x1`.
    pub hidden: usize,
    /// Width of `x2`.
    pub output: usize,
}

/// User vectors, projection and two layers.
#[derive(Debug, Clone)]
pub struct Sage {
    shape: SageShape,
    params: Params,
    users: Slot,
    project: Slot,
    shift: Slot,
    layers: [SageLayer; 2],
}

/// What a pass keeps.
#[derive(Debug, Default)]
pub struct SageState {
    x0: Vec<f32>,
    /// After the activation, before dropout.
    active: Vec<f32>,
    x1: Vec<f32>,
    x2: Vec<f32>,
    spare: [Vec<f32>; 2],
    near: Vec<f32>,
    d: [Vec<f32>; 3],
}

impl SageState {
    /// `x2`, shape `V x output`: users, then items.
    pub fn output(&self) -> &[f32] {
        &self.x2
    }
}

impl Sage {
    /// Draws all parameters from `seed`; user vectors are normal with deviation 0.1 (MMGRec draws
    /// them by Xavier's rule).
    pub fn new(shape: SageShape, seed: u64) -> Self {
        let mut params = Params::new(seed);
        let users = params.add("graph.users", &[shape.users, shape.hidden], Init::Normal(0.1));
        let init = Init::Uniform(1.0 / (shape.features.max(1) as f32).sqrt());
        let project = params.add("graph.project.weight", &[shape.hidden, shape.features], init);
        let shift = params.add("graph.project.bias", &[shape.hidden], init);
        let layers = [
            SageLayer::new(&mut params, "graph.sage_0", shape.hidden, shape.hidden),
            SageLayer::new(&mut params, "graph.sage_1", shape.hidden, shape.output),
        ];
        Sage { shape, params, users, project, shift, layers }
    }

    /// Widths of the network.
    pub fn shape(&self) -> &SageShape {
        &self.shape
    }

    /// All parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// All parameters, writable.
    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// Runs all nodes; `dropout` has the rates after the layers and the pass.
    pub fn forward(
        &self,
        graph: &Means,
        features: &[f32],
        dropout: [Dropout; 2],
        s: &mut SageState,
    ) {
        let (w, h) = (self.params.values(), self.shape.hidden);
        let users = self.users.of(w);
        size(&mut s.x0, graph.nodes() * h);
        s.x0[..users.len()].copy_from_slice(users);
        let items = &mut s.x0[users.len()..];
        let f = self.shape.features;
        times(features, f, Mat::rows(self.project.of(w), f).t(), h, items);
        items.par_chunks_mut(ROWS * h).for_each(|rows| add_bias(rows, self.shift.of(w)));
        self.layers[0].forward(w, &s.x0, graph, &mut s.spare, &mut s.active);
        let leak = |v: &mut f32| *v = if *v > 0.0 { *v } else { LEAK * *v };
        s.active.par_chunks_mut(ROWS * h).for_each(|rows| rows.iter_mut().for_each(leak));
        size(&mut s.x1, s.active.len());
        s.x1.copy_from_slice(&s.active);
        drop_out(dropout[0], 0, h, &mut s.x1);
        self.layers[1].forward(w, &s.x1, graph, &mut s.spare, &mut s.x2);
        drop_out(dropout[1], 1, self.shape.output, &mut s.x2);
    }

    /// Sets all gradients from that of `x2`, which is overwritten. Follows a forward with the same
    /// arguments.
    pub fn backward(
        &self,
        graph: &Means,
        features: &[f32],
        dropout: [Dropout; 2],
        dx2: &mut [f32],
        s: &mut SageState,
        grads: &mut [f32],
    ) {
        let (w, h) = (self.params.values(), self.shape.hidden);
        drop_out(dropout[1], 1, self.shape.output, dx2);
        let [d1, d0, _] = &mut s.d;
        size(d1, s.x1.len());
        size(d0, s.x0.len());
        self.layers[1].backward(w, &s.x1, graph, dx2, &mut s.near, d1, grads);
        drop_out(dropout[0], 0, h, d1);
        d1.par_chunks_mut(ROWS * h).zip(s.active.par_chunks(ROWS * h)).for_each(|(d, a)| {
            d.iter_mut().zip(a).for_each(|(d, a)| *d *= if *a > 0.0 { 1.0 } else { LEAK });
        });
        self.layers[0].backward(w, &s.x0, graph, d1, &mut s.near, d0, grads);
        let (users, items) = d0.split_at(self.users.len);
        self.users.of_mut(grads).copy_from_slice(users);
        weight_gradient(items, h, features, self.shape.features, self.project.of_mut(grads));
        bias_gradient(items, h, self.shift.of_mut(grads));
    }
}

/// Masks rows of `width` values in chunks of fixed size.
fn drop_out(dropout: Dropout, site: u32, width: usize, x: &mut [f32]) {
    if !dropout.is_active() {
        return;
    }
    x.par_chunks_mut(ROWS * width).enumerate().for_each_init(
        || vec![0u8; ROWS * width],
        |mask, (part, x)| {
            let mask = &mut mask[..x.len()];
            dropout.mask_part(site, part as u64, mask);
            let scale = dropout.scale();
            x.iter_mut().zip(&*mask).for_each(|(x, m)| *x *= scale * f32::from(*m));
        },
    );
}

/// Rates of a pass of training with a key.
pub fn rates(rates: [f32; 2], key: u64) -> [Dropout; 2] {
    rates.map(|rate| Dropout::new(rate, Pass::Train { key }))
}
