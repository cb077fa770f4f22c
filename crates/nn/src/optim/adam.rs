//! Adam (Kingma and Ba, arXiv 1412.6980), AdamW (Loshchilov and Hutter, arXiv 1711.05101) and SGD.
//!
//! ```text
//! m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
//! w = w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//! ```
//! Adam adds `weight_decay * w` to `g` first (L2); AdamW shrinks `w` by `lr * weight_decay` apart
//! from the gradient. One pass reads `w`, `g`, `m`, `v` and writes `w`, `m`, `v`.

use super::{Optimizer, in_range, part};
use crate::kernels::simd;
use crate::parallel;
use sidereal_core::Result;

sidereal_core::options! {
    /// Options of AdamW; defaults as in PyTorch.
    pub struct AdamWOptions {
        /// Learning rate, 0 and up.
        pub lr: f32 = 1e-3,
        /// Decay of the first moment, 0 to below 1.
        pub beta1: f32 = 0.9,
        /// Decay of the second moment, 0 to below 1.
        pub beta2: f32 = 0.999,
        /// Added to the root of the second moment, 0 and up.
        pub eps: f32 = 1e-8,
        /// Decoupled weight decay, 0 and up.
        pub weight_decay: f32 = 0.01,
    }
}

sidereal_core::options! {
    /// Options of Adam; defaults as in PyTorch.
    pub struct AdamOptions {
        /// Learning rate, 0 and up.
        pub lr: f32 = 1e-3,
        /// Decay of the first moment, 0 to below 1.
        pub beta1: f32 = 0.9,
        /// Decay of the second moment, 0 to below 1.
        pub beta2: f32 = 0.999,
        /// Added to the root of the second moment, 0 and up.
        pub eps: f32 = 1e-8,
        /// L2 added to the gradient, 0 and up (GRID's TIGER: 1e-4).
        pub weight_decay: f32 = 0.0,
    }
}

sidereal_core::options! {
    /// Options of stochastic gradient descent.
    pub struct SgdOptions {
        /// Learning rate, 0 and up.
        pub lr: f32 = 1e-2,
        /// Momentum, 0 to below 1.
        pub momentum: f32 = 0.0,
        /// L2 added to the gradient, 0 and up.
        pub weight_decay: f32 = 0.0,
    }
}

/// Moments and constants that Adam and AdamW share.
#[derive(Debug, Clone)]
struct Moments {
    m: Vec<f32>,
    v: Vec<f32>,
    steps: u64,
    beta1: f32,
    beta2: f32,
    eps: f32,
}

/// What one pass of Adam needs; all elementwise.
#[derive(Clone, Copy)]
struct Update {
    beta1: f32,
    beta2: f32,
    eps: f32,
    /// `lr / (1 - beta1^t)`.
    rate: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    root: f32,
    /// Factor on the weights: `1 - lr * weight_decay` for AdamW, 1 for Adam.
    shrink: f32,
    /// Weights added to the gradient: 0 for AdamW, `weight_decay` for Adam.
    l2: f32,
}

simd! {
    fn update(u: Update, weights: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32]) {
        let n = weights.len();
        let (grads, m, v) = (&grads[..n], &mut m[..n], &mut v[..n]);
        let (rest1, rest2) = (1.0 - u.beta1, 1.0 - u.beta2);
        for i in 0..n {
            let g = grads[i] + u.l2 * weights[i];
            let first = u.beta1 * m[i] + rest1 * g;
            let second = u.beta2 * v[i] + rest2 * g * g;
            m[i] = first;
            v[i] = second;
            weights[i] = weights[i] * u.shrink - u.rate * first / (second.sqrt() * u.root + u.eps);
        }
    }
}

impl Moments {
    fn new(section: &str, len: usize, beta1: f32, beta2: f32, eps: f32) -> Result<Self> {
        in_range(section, "beta1", beta1, 0.0, 1.0)?;
        in_range(section, "beta2", beta2, 0.0, 1.0)?;
        in_range(section, "eps", eps, 0.0, f32::INFINITY)?;
        Ok(Moments { m: vec![0.0; len], v: vec![0.0; len], steps: 0, beta1, beta2, eps })
    }

    fn step(
        &mut self,
        weights: &mut [f32],
        grads: &[f32],
        lr: f32,
        shrink: f32,
        l2: f32,
        threads: usize,
    ) {
        assert!(
            weights.len() == self.m.len() && grads.len() == self.m.len(),
            "weights, gradients and moments must have one length"
        );
        self.steps += 1;
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(self.steps as f64);
        let u = Update {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            rate: (f64::from(lr) / correction(self.beta1)) as f32,
            root: (1.0 / correction(self.beta2).sqrt()) as f32,
            shrink,
            l2,
        };
        let part = part(weights.len(), threads);
        parallel::parts([weights, &mut self.m, &mut self.v], part, &|first, [w, m, v]| {
            update(u, w, &grads[first..], m, v);
        });
    }
}

/// Adam with decoupled weight decay.
#[derive(Debug, Clone)]
pub struct AdamW {
    options: AdamWOptions,
    moments: Moments,
}

impl AdamW {
    /// For `len` parameters; `section` prefixes keys in errors.
    pub fn new(options: AdamWOptions, len: usize, section: &str) -> Result<Self> {
        in_range(section, "lr", options.lr, 0.0, f32::INFINITY)?;
        in_range(section, "weight_decay", options.weight_decay, 0.0, f32::INFINITY)?;
        let moments = Moments::new(section, len, options.beta1, options.beta2, options.eps)?;
        Ok(AdamW { options, moments })
    }
}

impl Optimizer for AdamW {
    fn base_lr(&self) -> f32 {
        self.options.lr
    }

    fn step(&mut self, weights: &mut [f32], grads: &[f32], lr: f32, threads: usize) {
        let shrink = 1.0 - lr * self.options.weight_decay;
        self.moments.step(weights, grads, lr, shrink, 0.0, threads);
    }

    fn steps(&self) -> u64 {
        self.moments.steps
    }

    fn set_steps(&mut self, steps: u64) {
        self.moments.steps = steps;
    }

    fn state(&self) -> Vec<(&'static str, &[f32])> {
        vec![("m", &self.moments.m), ("v", &self.moments.v)]
    }

    fn state_mut(&mut self) -> Vec<(&'static str, &mut [f32])> {
        vec![("m", &mut self.moments.m), ("v", &mut self.moments.v)]
    }
}

/// Adam with coupled L2.
#[derive(Debug, Clone)]
pub struct Adam {
    options: AdamOptions,
    moments: Moments,
}

impl Adam {
    /// For `len` parameters; `section` prefixes keys in errors.
    pub fn new(options: AdamOptions, len: usize, section: &str) -> Result<Self> {
        in_range(section, "lr", options.lr, 0.0, f32::INFINITY)?;
        in_range(section, "weight_decay", options.weight_decay, 0.0, f32::INFINITY)?;
        let moments = Moments::new(section, len, options.beta1, options.beta2, options.eps)?;
        Ok(Adam { options, moments })
    }
}

impl Optimizer for Adam {
    fn base_lr(&self) -> f32 {
        self.options.lr
    }

    fn step(&mut self, weights: &mut [f32], grads: &[f32], lr: f32, threads: usize) {
        self.moments.step(weights, grads, lr, 1.0, self.options.weight_decay, threads);
    }

    fn steps(&self) -> u64 {
        self.moments.steps
    }

    fn set_steps(&mut self, steps: u64) {
        self.moments.steps = steps;
    }

    fn state(&self) -> Vec<(&'static str, &[f32])> {
        vec![("m", &self.moments.m), ("v", &self.moments.v)]
    }

    fn state_mut(&mut self) -> Vec<(&'static str, &mut [f32])> {
        vec![("m", &mut self.moments.m), ("v", &mut self.moments.v)]
    }
}

/// Stochastic gradient descent: `u = momentum u + g + l2 w`, `w = w - lr u`.
#[derive(Debug, Clone)]
pub struct Sgd {
    options: SgdOptions,
    velocity: Vec<f32>,
    steps: u64,
}

impl Sgd {
    /// For `len` parameters; `section` prefixes keys in errors.
    pub fn new(options: SgdOptions, len: usize, section: &str) -> Result<Self> {
        in_range(section, "lr", options.lr, 0.0, f32::INFINITY)?;
        in_range(section, "momentum", options.momentum, 0.0, 1.0)?;
        in_range(section, "weight_decay", options.weight_decay, 0.0, f32::INFINITY)?;
        Ok(Sgd { options, velocity: vec![0.0; len], steps: 0 })
    }
}

simd! {
    fn descend(lr: f32, momentum: f32, l2: f32, weights: &mut [f32], grads: &[f32], u: &mut [f32]) {
        for ((w, g), u) in weights.iter_mut().zip(grads).zip(u.iter_mut()) {
            *u = momentum * *u + *g + l2 * *w;
            *w -= lr * *u;
        }
    }
}

impl Optimizer for Sgd {
    fn base_lr(&self) -> f32 {
        self.options.lr
    }

    fn step(&mut self, weights: &mut [f32], grads: &[f32], lr: f32, threads: usize) {
        assert!(
            weights.len() == self.velocity.len() && grads.len() == self.velocity.len(),
            "weights, gradients and velocity must have one length"
        );
        self.steps += 1;
        let (momentum, l2) = (self.options.momentum, self.options.weight_decay);
        let part = part(weights.len(), threads);
        parallel::parts([weights, &mut self.velocity], part, &|first, [w, u]| {
            descend(lr, momentum, l2, w, &grads[first..], u);
        });
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    fn state(&self) -> Vec<(&'static str, &[f32])> {
        vec![("velocity", &self.velocity)]
    }

    fn state_mut(&mut self) -> Vec<(&'static str, &mut [f32])> {
        vec![("velocity", &mut self.velocity)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f32, b: f64) {
        assert!((f64::from(a) - b).abs() < 1e-6, "{a} {b}");
    }

    #[test]
    fn two_steps_of_adamw_by_hand() {
        let o = AdamWOptions { weight_decay: 0.5, ..Default::default() };
        let mut opt = AdamW::new(o, 1, "optimizer").unwrap();
        let mut w = [2.0];
        // After the first step m / (1 - b1) = g and v / (1 - b2) = g^2: the step is lr * sign(g).
        opt.step(&mut w, &[3.0], 0.1, 1);
        near(w[0], 2.0 * (1.0 - 0.05) - 0.1);
        // m = 0.9 * 0.3 - 0.1 = 0.17, v = 0.999 * 0.009 + 0.001 = 0.009991.
        opt.step(&mut w, &[-1.0], 0.1, 1);
        let (m, v) = (0.17 / 0.19, 0.009_991 / (1.0 - 0.999f64 * 0.999));
        near(w[0], 1.8 * 0.95 - 0.1 * m / v.sqrt());
        assert_eq!(opt.steps(), 2);
    }

    #[test]
    fn l2_is_coupled_in_adam() {
        let o = AdamOptions { weight_decay: 1.0, ..Default::default() };
        let mut opt = Adam::new(o, 2, "optimizer").unwrap();
        let mut w = [2.0, 2.0];
        // g + w is 1 and -1: the first step has its sign only.
        opt.step(&mut w, &[-1.0, -3.0], 0.1, 1);
        near(w[0], 1.9);
        near(w[1], 2.1);
    }

    #[test]
    fn momentum_by_hand() {
        let o = SgdOptions { momentum: 0.5, weight_decay: 0.1, ..Default::default() };
        let mut opt = Sgd::new(o, 1, "optimizer").unwrap();
        let mut w = [1.0];
        opt.step(&mut w, &[1.0], 1.0, 2);
        near(w[0], -0.1);
        opt.step(&mut w, &[0.0], 1.0, 1);
        near(w[0], -0.1 - (0.5 * 1.1 - 0.01));
    }

    #[test]
    fn threads_change_no_bit() {
        let n = 1003;
        let g: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.01).collect();
        let run = |threads| {
            let mut w: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
            let mut opt = AdamW::new(AdamWOptions::default(), n, "optimizer").unwrap();
            for _ in 0..3 {
                opt.step(&mut w, &g, 0.01, threads);
            }
            w.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(3));
        assert_eq!(run(1), run(200));
    }

    #[test]
    fn refuses_options_out_of_range() {
        let o = AdamWOptions { beta2: 1.0, ..Default::default() };
        let e = AdamW::new(o, 1, "train.optimizer").unwrap_err().to_string();
        assert!(e.contains("train.optimizer.beta2") && e.contains("below 1"), "{e}");
        let o = SgdOptions { lr: f32::NAN, ..Default::default() };
        assert!(Sgd::new(o, 1, "optimizer").is_err());
    }
}
