//! What a draw at one prefix is drawn from.
//!
//! From the logits x of the allowed codes, in this order:
//! 1. Temperature: `x / T`. At T = 0 all mass goes to the largest logit, ties to the smaller code.
//! 2. Top-k: the k largest stay, ties by the smaller code.
//! 3. Top-p: of the renormalised rest, from the largest down, as many stay as are needed to reach
//!    the mass p (Holtzman et al., arXiv 1904.09751); at least one. Sums within 1e-6 of p reach it.
//! 4. What stays is renormalised.
//!
//! **Ending.** A prefix can be an identifier and go on (an identifier that is a prefix of another).
//! Models here have no token for the end, so ending is one more branch: as probable as the mean of
//! the m codes that stay, `1 / (m + 1)`, and the codes share the rest. That makes every draw one
//! identifier and the law sum to 1. It is a choice of this crate; with identifiers of one length it
//! never matters. At T = 0 a prefix that is an identifier ends, as the greedy beam prefers it.
//!
//! Cost: one exponential an allowed code (two with top-p, and a sort).

use crate::frontier::Choices;
use crate::softmax::log_sum_exp;
use sidereal_core::{Error, Result};

/// Sums of f32 exponentials are this exact.
const MASS_TOLERANCE: f64 = 1e-6;

/// Temperature and cuts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    temperature: f64,
    /// 0 keeps all.
    top_k: usize,
    top_p: f64,
}

impl Shape {
    /// Checks the options that samplers share.
    pub fn new(temperature: f64, top_k: u32, top_p: f64) -> Result<Self> {
        if !(0.0..=1e6).contains(&temperature) {
            return Err(Error::config(
                "decoder.temperature",
                format!("got {temperature}; allowed: 0 (greedy) to 1000000"),
            ));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(Error::config(
                "decoder.top_p",
                format!("got {top_p}; allowed: above 0 up to 1 (off)"),
            ));
        }
        Ok(Shape { temperature, top_k: top_k as usize, top_p })
    }

    /// Nothing is cut.
    pub fn at(temperature: f64) -> Self {
        Shape { temperature, top_k: 0, top_p: 1.0 }
    }

    fn is_plain(&self) -> bool {
        self.temperature == 1.0 && self.top_k == 0 && self.top_p == 1.0
    }
}

/// The law at one prefix. Choice 0 is to end, choice `i + 1` is branch `i`.
#[derive(Debug, Default)]
pub(crate) struct Law {
    /// Log-probability of every choice; minus infinity for what cannot be drawn.
    log_probs: Vec<f64>,
    scaled: Vec<f32>,
    order: Vec<u32>,
    cumulative: Vec<f64>,
}

impl Law {
    /// The law over branches for which `open` holds, and over ending where `ends` holds; false when
    /// nothing can be drawn.
    pub fn set(
        &mut self,
        choices: &Choices,
        shape: &Shape,
        ends: bool,
        open: impl Fn(usize) -> bool,
    ) -> bool {
        let n = choices.branches.len();
        self.log_probs.clear();
        self.log_probs.resize(n + 1, f64::NEG_INFINITY);
        let mut cut = false;
        self.scaled.clear();
        self.scaled.extend(choices.allowed.iter().enumerate().map(|(i, &x)| {
            let stays = choices.any() && open(i);
            cut |= !stays;
            if stays { x } else { f32::NEG_INFINITY }
        }));
        if !cut && shape.is_plain() {
            for i in 0..n {
                self.log_probs[i + 1] = choices.masked(i);
            }
        } else {
            self.reshape(shape);
        }
        let left = self.log_probs[1..].iter().filter(|&&p| p > f64::NEG_INFINITY).count();
        if ends && shape.temperature == 0.0 {
            self.log_probs.fill(f64::NEG_INFINITY);
            self.log_probs[0] = 0.0;
        } else if ends {
            self.log_probs[0] = -((left + 1) as f64).ln();
            let rest = (left as f64 / (left + 1) as f64).ln();
            self.log_probs[1..].iter_mut().for_each(|p| *p += rest);
        }
        self.cumulative.clear();
        let mut sum = 0.0;
        self.cumulative.extend(self.log_probs.iter().map(|p| {
            sum += p.exp();
            sum
        }));
        left > 0 || ends
    }

    /// Temperature and cuts over `scaled`.
    fn reshape(&mut self, shape: &Shape) {
        let max = self.scaled.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if max == f32::NEG_INFINITY {
            return;
        }
        if shape.temperature == 0.0 {
            if let Some(first) = self.scaled.iter().position(|&x| x == max) {
                self.log_probs[first + 1] = 0.0;
            }
            return;
        }
        for x in &mut self.scaled {
            *x = (f64::from(*x - max) / shape.temperature) as f32;
        }
        let n = self.scaled.len();
        if shape.top_k > 0 && shape.top_k < n {
            self.sort_partly(shape.top_k);
            for &i in &self.order[shape.top_k..] {
                self.scaled[i as usize] = f32::NEG_INFINITY;
            }
        }
        if shape.top_p < 1.0 {
            let lse = log_sum_exp(&self.scaled).unwrap_or(f64::NEG_INFINITY);
            self.sort_partly(n);
            let mut mass = 0.0;
            for (rank, &i) in self.order.iter().enumerate() {
                let x = &mut self.scaled[i as usize];
                if rank > 0 && mass >= shape.top_p - MASS_TOLERANCE {
                    *x = f32::NEG_INFINITY;
                } else {
                    mass += (f64::from(*x) - lse).exp();
                }
            }
        }
        let lse = log_sum_exp(&self.scaled).unwrap_or(f64::NEG_INFINITY);
        for (p, &x) in self.log_probs[1..].iter_mut().zip(&self.scaled) {
            *p = f64::from(x) - lse;
        }
    }

    /// Puts the `k` largest first in `order`, ties by the smaller code; sorted when `k` is all.
    fn sort_partly(&mut self, k: usize) {
        let x = &self.scaled;
        let larger =
            |a: &u32, b: &u32| x[*b as usize].total_cmp(&x[*a as usize]).then_with(|| a.cmp(b));
        self.order.clear();
        self.order.extend(0..x.len() as u32);
        if k < x.len() {
            self.order.select_nth_unstable_by(k, larger);
        } else {
            self.order.sort_unstable_by(larger);
        }
    }

    /// Log-probability of every choice.
    pub fn log_probs(&self) -> &[f64] {
        &self.log_probs
    }

    /// The choice at `u` in (0, 1); never one of probability 0.
    pub fn pick(&self, u: f64) -> usize {
        let target = u * self.cumulative.last().copied().unwrap_or(0.0);
        let at = self.cumulative.partition_point(|&c| c <= target);
        if at < self.cumulative.len() {
            return at;
        }
        // The product was rounded up to the sum.
        self.log_probs.iter().rposition(|&p| p > f64::NEG_INFINITY).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Branch, State};
    use proptest::prelude::*;

    fn choices(logits: &[f32]) -> Choices {
        let mut c = Choices::default();
        c.branches.extend((0..logits.len()).map(|i| Branch { code: i as u32, state: State(0) }));
        c.read(logits, 0, 0).unwrap();
        c
    }

    /// Probabilities of the choices.
    fn probabilities(p: &[f32], shape: Shape, ends: bool) -> Vec<f64> {
        let logits: Vec<f32> = p.iter().map(|p| p.ln()).collect();
        let mut law = Law::default();
        assert!(law.set(&choices(&logits), &shape, ends, |_| true));
        law.log_probs().iter().map(|p| p.exp()).collect()
    }

    fn assert_law(got: &[f64], want: &[f64]) {
        assert_eq!(got.len(), want.len() + 1);
        for (g, w) in got[1..].iter().zip(want) {
            assert!((g - w).abs() < 1e-6, "{got:?} for {want:?}");
        }
    }

    #[test]
    fn cuts_by_hand() {
        let p = [0.1f32, 0.4, 0.2, 0.3];
        let law = |t, k, mass| probabilities(&p, Shape::new(t, k, mass).unwrap(), false);
        assert_law(&law(1.0, 0, 1.0), &[0.1, 0.4, 0.2, 0.3]);
        assert_law(&law(1.0, 2, 1.0), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        // .4 + .3 reaches .7 exactly, .71 needs the next.
        assert_law(&law(1.0, 0, 0.7), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        assert_law(&law(1.0, 0, 0.71), &[0.0, 4.0 / 9.0, 2.0 / 9.0, 3.0 / 9.0]);
        assert_law(&law(1.0, 0, 0.01), &[0.0, 1.0, 0.0, 0.0]);
        // Temperature 1/2 squares: .01, .16, .04, .09 of .30; the largest alone holds .53.
        assert_law(&law(0.5, 0, 1.0), &[1.0 / 30.0, 16.0 / 30.0, 4.0 / 30.0, 9.0 / 30.0]);
        assert_law(&law(0.5, 0, 0.53), &[0.0, 1.0, 0.0, 0.0]);
        // Top-k before top-p: of .4 and .3 the first holds 4/7 = .57; without top-k .4 < .5.
        assert_law(&law(1.0, 2, 0.5), &[0.0, 1.0, 0.0, 0.0]);
        assert_law(&law(1.0, 0, 0.5), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        assert_law(&law(0.0, 0, 1.0), &[0.0, 1.0, 0.0, 0.0]);
        assert_law(&law(1e6, 0, 1.0), &[0.25; 4]);
    }

    #[test]
    fn equal_logits_stay_by_code() {
        let p = [0.25f32; 4];
        let law = |t, k, mass| probabilities(&p, Shape::new(t, k, mass).unwrap(), false);
        assert_law(&law(1.0, 2, 1.0), &[0.5, 0.5, 0.0, 0.0]);
        assert_law(&law(1.0, 0, 0.75), &[1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0]);
        assert_law(&law(0.0, 0, 1.0), &[1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn ending_is_one_more_branch() {
        let law = |t, k| probabilities(&[0.5, 0.3, 0.2], Shape::new(t, k, 1.0).unwrap(), true);
        let want = |got: Vec<f64>, want: [f64; 4]| {
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6), "{got:?}");
        };
        want(law(1.0, 0), [0.25, 0.375, 0.225, 0.15]);
        want(law(1.0, 2), [1.0 / 3.0, 5.0 / 12.0, 0.25, 0.0]);
        want(law(0.0, 0), [1.0, 0.0, 0.0, 0.0]);
        // Nothing may follow: the end is all that is left.
        let mut law = Law::default();
        let none = choices(&[f32::NEG_INFINITY; 2]);
        assert!(law.set(&none, &Shape::at(1.0), true, |_| true));
        assert_eq!((law.log_probs()[0], law.pick(0.999)), (0.0, 0));
        assert!(!law.set(&none, &Shape::at(1.0), false, |_| true));
        assert!(!law.set(&choices(&[1.0, 2.0]), &Shape::at(1.0), false, |_| false));
    }

    #[test]
    fn picks_follow_the_cumulated_law() {
        let mut law = Law::default();
        let c = choices(&[0.5f32.ln(), f32::NEG_INFINITY, 0.25f32.ln(), 0.25f32.ln()]);
        assert!(law.set(&c, &Shape::at(1.0), false, |_| true));
        let picks: Vec<_> =
            [1e-17, 0.49, 0.51, 0.74, 0.76, 1.0 - 1e-16].map(|u| law.pick(u)).to_vec();
        assert_eq!(picks, [1, 1, 3, 3, 4, 4]);
        // A closed branch leaves its mass to the others.
        assert!(law.set(&c, &Shape::at(1.0), false, |i| i != 0));
        assert!((law.log_probs()[3].exp() - 0.5).abs() < 1e-6 && law.pick(1e-17) == 3);
    }

    #[test]
    fn refused_options() {
        for t in [-0.1, f64::NAN, f64::INFINITY] {
            let e = Shape::new(t, 0, 1.0).unwrap_err().to_string();
            assert!(e.contains("decoder.temperature") && e.contains("0 (greedy)"), "{e}");
        }
        for p in [0.0, 1.1, f64::NAN] {
            let e = Shape::new(1.0, 0, p).unwrap_err().to_string();
            assert!(e.contains("decoder.top_p") && e.contains("above 0"), "{e}");
        }
    }

    proptest! {
        #[test]
        fn every_law_sums_to_one(
            logits in proptest::collection::vec(
                prop_oneof![Just(f32::NEG_INFINITY), -30f32..30.0], 1..40),
            t in 0f64..3.0,
            k in 0u32..45,
            p in 0.01f64..1.0,
            ends: bool,
        ) {
            let mut law = Law::default();
            let c = choices(&logits);
            let some = law.set(&c, &Shape::new(t, k, p).unwrap(), ends, |_| true);
            prop_assert_eq!(some, ends || c.any());
            if some {
                let sum: f64 = law.log_probs().iter().map(|p| p.exp()).sum();
                prop_assert!((sum - 1.0).abs() < 1e-5, "{sum}");
                let best = (0..logits.len()).fold(0, |b, i| if logits[i] > logits[b] { i } else { b });
                let greedy = ends && t == 0.0;
                prop_assert!(!c.any() || greedy || law.log_probs()[best + 1] > f64::NEG_INFINITY);
                let left = law.log_probs()[1..].iter().filter(|p| p.is_finite()).count();
                prop_assert!(k == 0 || left <= k as usize);
            }
        }
    }
}
