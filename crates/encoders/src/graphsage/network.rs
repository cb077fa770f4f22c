//! Two GraphSAGE layers over the graph of users and items, forward and backward.
//!
//! With `M = D^-1 A` (a row is the mean of its neighbours, or zero):
//!
//! ```text
//! X_0 = [P ; F W_0^T + b_0]                       (U + N) x h, P free, F the features of items
//! X_1 = drop(LeakyReLU(X_0 A_1^T + M X_0 B_1^T + b_1))    (U + N) x h
//! X_2 = drop(X_1 A_2^T + M X_1 B_2^T + b_2)               (U + N) x d
//! ```
//!
//! LeakyReLU has slope 0.01 below zero. Cost of a pass: `4 (U + N) h (h + d)` operations for the
//! weights, `8 nnz(R) h` for the neighbours, `2 N f h` for the features; backward twice that.

use super::linear::{Linear, ROWS, bias, bias_gradient};
use rayon::prelude::*;
use sidereal_nn::algebra::sparse::Csr;
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::gemm::Write;
use sidereal_nn::{Init, Params, Slot};

const SLOPE: f32 = 0.01;

/// One layer: weights for the node itself and for the mean of its neighbours.
#[derive(Debug, Clone, Copy)]
pub struct SageLayer {
    /// `A`.
    pub own: Linear,
    /// `B`.
    pub near: Linear,
    /// `b`.
    pub bias: Slot,
}

impl SageLayer {
    /// Adds `{name}.own.weight`, `{name}.near.weight` and `{name}.bias`.
    pub fn new(params: &mut Params, name: &str, inputs: usize, outputs: usize) -> Self {
        let start = Init::Uniform(1.0 / (inputs.max(1) as f32).sqrt());
        let mut weight = |part: &str| {
            let weight = params.add(&format!("{name}.{part}.weight"), &[outputs, inputs], start);
            Linear { weight, inputs, outputs }
        };
        let (own, near) = (weight("own"), weight("near"));
        SageLayer { own, near, bias: params.add(&format!("{name}.bias"), &[outputs], Init::Zeros) }
    }

    /// `y = x A^T + mean B^T + b`.
    pub fn forward(&self, weights: &[f32], x: &[f32], mean: &[f32], y: &mut [f32]) {
        self.own.forward(weights, x, y, Write::Set);
        self.near.forward(weights, mean, y, Write::Add);
        bias(weights, self.bias, y);
    }

    /// Adds the gradients of the weights; sets those of `x` and `mean`.
    pub fn backward(
        &self,
        weights: &[f32],
        x: &[f32],
        mean: &[f32],
        dy: &[f32],
        grads: &mut [f32],
        dx: &mut [f32],
        dmean: &mut [f32],
    ) {
        self.own.weight_gradient(x, dy, grads);
        self.near.weight_gradient(mean, dy, grads);
        bias_gradient(self.bias, dy, grads);
        self.own.input_gradient(weights, dy, dx, Write::Set);
        self.near.input_gradient(weights, dy, dmean, Write::Set);
    }
}

/// `D^-1 A` and its transpose over users, then items.
#[derive(Debug, Clone)]
pub struct Means {
    rows: Csr,
    columns: Csr,
}

impl Means {
    /// Over the user-item matrix (U x N), whose values are not read.
    pub fn new(user_items: &Csr) -> Self {
        let (u, n) = (user_items.rows(), user_items.cols());
        let item_users = user_items.transpose();
        let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for (a, shift) in [(user_items, u as u32), (&item_users, 0)] {
            for row in 0..a.rows() {
                let met = a.row(row).0;
                columns.extend(met.iter().map(|c| c + shift));
                values.extend(met.iter().map(|_| 1.0 / met.len() as f32));
                offsets.push(columns.len());
            }
        }
        let rows = Csr::from_parts(u + n, offsets, columns, values);
        Means { columns: rows.transpose(), rows }
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.rows.rows()
    }

    /// `out = M x`.
    pub fn of(&self, x: &[f32], width: usize, out: &mut [f32]) {
        self.rows.times_f32(x, width, &[], 1.0, out);
    }

    /// `out = base + M^T x`.
    pub fn back(&self, x: &[f32], width: usize, base: &[f32], out: &mut [f32]) {
        self.columns.times_f32(x, width, base, 1.0, out);
    }
}

/// Shape and places of the weights.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    users: Slot,
    project: Linear,
    project_bias: Slot,
    layers: [SageLayer; 2],
}

/// What a forward keeps for the backward; buffers are reused.
#[derive(Debug, Default)]
pub struct State {
    x: [Vec<f32>; 3],
    means: [Vec<f32>; 2],
    grads: [Vec<f32>; 4],
}

impl State {
    /// `X_2` of the last forward.
    pub fn output(&self) -> &[f32] {
        &self.x[2]
    }
}

/// Dropout after the first and the second layer.
pub type Drops = [Dropout; 2];

impl Network {
    /// Adds the weights for `users` users, features of `features` values, `hidden` and `dim`.
    pub fn new(
        params: &mut Params,
        users: usize,
        features: usize,
        hidden: usize,
        dim: usize,
    ) -> Self {
        let start = Init::Uniform(1.0 / (features.max(1) as f32).sqrt());
        let weight = params.add("graphsage.project.weight", &[hidden, features], start);
        let project = Linear { weight, inputs: features, outputs: hidden };
        let project_bias = params.add("graphsage.project.bias", &[hidden], Init::Zeros);
        let layers = [
            SageLayer::new(params, "graphsage.layers.0", hidden, hidden),
            SageLayer::new(params, "graphsage.layers.1", hidden, dim),
        ];
        let users = params.add("graphsage.users", &[users, hidden], Init::Normal(0.1));
        Network { users, project, project_bias, layers }
    }

    /// Runs all nodes; the result is [`State::output`].
    pub fn forward(
        &self,
        weights: &[f32],
        features: &[f32],
        means: &Means,
        drops: Drops,
        state: &mut State,
    ) {
        let (h, d) = (self.project.outputs, self.layers[1].own.outputs);
        let nodes = means.nodes();
        for (x, width) in state.x.iter_mut().zip([h, h, d]) {
            x.resize(nodes * width, 0.0);
        }
        state.means.iter_mut().for_each(|m| m.resize(nodes * h, 0.0));
        let [x0, x1, x2] = &mut state.x;
        let (users, items) = x0.split_at_mut(self.users.len);
        users.copy_from_slice(self.users.of(weights));
        self.project.forward(weights, features, items, Write::Set);
        bias(weights, self.project_bias, items);
        means.of(x0, h, &mut state.means[0]);
        self.layers[0].forward(weights, x0, &state.means[0], x1);
        each(x1, h, |piece, block| {
            block.iter_mut().for_each(|v| *v = v.max(SLOPE * *v));
            drops[0].apply(2 * piece, block);
        });
        means.of(x1, h, &mut state.means[1]);
        self.layers[1].forward(weights, x1, &state.means[1], x2);
        each(x2, d, |piece, block| drops[1].apply(2 * piece + 1, block));
    }

    /// Adds the gradients of all weights from `dout`, that of `X_2`, which is overwritten. Follows a
    /// forward with the same arguments.
    pub fn backward(
        &self,
        weights: &[f32],
        features: &[f32],
        means: &Means,
        drops: Drops,
        state: &mut State,
        dout: &mut [f32],
        grads: &mut [f32],
    ) {
        let (h, d) = (self.project.outputs, self.layers[1].own.outputs);
        state.grads.iter_mut().for_each(|g| g.resize(means.nodes() * h, 0.0));
        let [x0, x1, _] = &state.x;
        let [dx, dmean, da, db] = &mut state.grads;
        each(dout, d, |piece, block| drops[1].apply(2 * piece + 1, block));
        self.layers[1].backward(weights, x1, &state.means[1], dout, grads, dx, dmean);
        means.back(dmean, h, dx, da);
        each(da, h, |piece, block| {
            drops[0].apply(2 * piece, block);
            // What is kept has the sign that it had before; what is dropped has no gradient.
            let x = &x1[piece as usize * ROWS * h..];
            block.iter_mut().zip(x).for_each(|(g, x)| *g *= if *x > 0.0 { 1.0 } else { SLOPE });
        });
        self.layers[0].backward(weights, x0, &state.means[0], da, grads, dx, dmean);
        means.back(dmean, h, dx, db);
        let (users, items) = db.split_at(self.users.len);
        self.users.of_mut(grads).iter_mut().zip(users).for_each(|(g, v)| *g += v);
        self.project.weight_gradient(features, items, grads);
        bias_gradient(self.project_bias, items, grads);
    }
}

/// Calls `work` on every piece of rows with its number.
fn each(x: &mut [f32], width: usize, work: impl Fn(u32, &mut [f32]) + Sync) {
    x.par_chunks_mut(ROWS * width).enumerate().for_each(|(i, block)| work(i as u32, block));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collaborative::{Triple, bpr};
    use rand::Rng;
    use sidereal_core::seed::stream;
    use sidereal_nn::Pass;
    use sidereal_nn::kernels::math::dot;

    fn values(n: usize, index: u64) -> Vec<f32> {
        let mut rng = stream(4, "graphsage-test", index);
        (0..n).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect()
    }

    /// u0 met i0 and i1, u1 met i1; i2 nobody.
    fn toy() -> Csr {
        Csr::from_parts(3, vec![0, 2, 3], vec![0, 1, 1], vec![1.0; 3])
    }

    #[test]
    fn a_layer_of_neighbours_alone_gives_their_means() {
        let mut params = Params::new(1);
        let layer = SageLayer::new(&mut params, "layer", 1, 1);
        let mut weights = vec![0.0; params.len()];
        layer.near.weight.of_mut(&mut weights)[0] = 1.0;
        let x = [1.0, 2.0, 3.0, 5.0, 7.0];
        let (mut mean, mut y) = ([0.0; 5], [0.0; 5]);
        Means::new(&toy()).of(&x, 1, &mut mean);
        layer.forward(&weights, &x, &mean, &mut y);
        assert_eq!(y, [4.0, 5.0, 1.0, 1.5, 0.0]);
        // The transpose: i1 is half of u0's mean and all of u1's.
        let mut back = [0.0; 5];
        Means::new(&toy()).back(&x, 1, &[], &mut back);
        assert_eq!(back, [3.0 + 2.5, 2.5, 0.5, 2.5, 0.0]);
    }

    #[test]
    fn gradients_equal_differences() {
        let (r, features) = (toy(), values(3 * 4, 0));
        let means = Means::new(&r);
        let mut params = Params::new(2);
        let network = Network::new(&mut params, 2, 4, 5, 3);
        let weights = values(params.len(), 1);
        let t = |user, liked, other| Triple { user, liked, other };
        let triples = [t(0, 2, 4), t(1, 3, 2), t(0, 3, 4)];
        for rate in [0.0, 0.4] {
            let drops = [3, 9].map(|key| Dropout::new(rate, Pass::Train { key }));
            let mut state = State::default();
            let mut dout = vec![0.0; 5 * 3];
            let loss = |w: &[f32], state: &mut State, dout: &mut [f32]| {
                network.forward(w, &features, &means, drops, state);
                bpr(state.output(), 3, &triples, dout)
            };
            loss(&weights, &mut state, &mut dout);
            let mut grads = vec![0.0; weights.len()];
            network.backward(&weights, &features, &means, drops, &mut state, &mut dout, &mut grads);
            for info in params.infos() {
                let g = info.slot.of(&grads);
                let norm = dot(g, g).sqrt();
                let mut at = |step: f32| {
                    let mut moved = weights.clone();
                    let place = info.slot.of_mut(&mut moved);
                    place.iter_mut().zip(g).for_each(|(w, g)| *w += step * g / norm);
                    loss(&moved, &mut state, &mut [0.0; 15])
                };
                let slope = (at(2e-3) - at(-2e-3)) / 4e-3;
                let off = (slope - f64::from(norm)).abs();
                assert!(norm > 0.0 && off < 3e-3 * (1.0 + slope), "{}: {slope} {norm}", info.name);
            }
        }
    }
}
