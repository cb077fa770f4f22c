//! Balanced assignment by Sinkhorn's iteration (arXiv 1306.0895), as LC-Rec (arXiv 2311.09049) and
//! MiniOneRec (arXiv 2510.24431) give codes to a batch.
//!
//! For distances `d` of B rows to K codes, `d' = (d - mid) / (max - mid + 1e-5)` with
//! `mid = (max + min) / 2` over all of them, and `Q = exp(-d' / eps)`. Then T times: rows are scaled
//! to the sum `1 / B`, columns to `1 / K`. A row takes the code with the largest share, ties to the
//! lowest. Every code then gets about as many rows as every other.
//!
//! `exp(-d' / eps)` leaves f64 below `eps = 0.0014` and f32 at 0.003, so potentials `f`, `g` carry
//! the scales: `Q_ij = exp(f_i + g_j - d'_ij / eps)`. Between two exponentials an iteration is two
//! sums of products; where a scale leaves a wide range it goes into the potentials and the iteration
//! is done with logarithms (arXiv 1610.06519, section 3). Deviation: the first step of the published
//! code, a total of 1, is left out, because scaling the rows undoes it.
//!
//! Cost: `4 B K` operations and one pass over `8 B K` bytes an iteration. Partial sums are added in
//! the order of fixed chunks of rows: the number of threads changes no bit.

use rayon::prelude::*;
use sidereal_core::{Code, MatrixRef};

/// Rows that one task works on.
const CHUNK: usize = 64;

/// Scales outside `1 / WIDE..WIDE` go into the potentials.
const WIDE: f64 = 1e40;

/// Balanced codes of all rows: shape B of `distances`, `B x K`.
///
/// `epsilon` is the published code's `sk_epsilon`; 0 and below gives the nearest code of each row,
/// and so do 0 iterations. Distances that are not finite count as the largest finite one. Without
/// codes (K = 0) there is nothing to assign and the result is empty.
pub fn assign(distances: MatrixRef<'_>, epsilon: f64, iterations: u32) -> Vec<Code> {
    Plan::new(distances, epsilon, iterations).codes()
}

/// How much of each row goes to each code.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Codes K.
    codes: usize,
    /// `d' / eps`, shape `B x K`.
    costs: Vec<f64>,
    /// Potentials of the rows.
    f: Vec<f64>,
    /// Potentials of the codes.
    g: Vec<f64>,
}

impl Plan {
    /// Runs the iteration; see [`assign`].
    pub fn new(distances: MatrixRef<'_>, epsilon: f64, iterations: u32) -> Self {
        let (rows, codes) = (distances.rows(), distances.cols());
        let iterations = if epsilon > 0.0 { iterations } else { 0 };
        let mut plan = Plan {
            codes,
            costs: costs(distances.data(), if epsilon > 0.0 { epsilon } else { 1.0 }),
            f: vec![0.0; rows],
            g: vec![0.0; codes],
        };
        if rows > 0 && codes > 0 && iterations > 0 {
            plan.run(iterations);
        }
        plan
    }

    /// Share of row `i` that goes to each code, K values; they add up to about 1 and, over all rows,
    /// to `B / K` a code.
    pub fn row(&self, i: usize) -> Vec<f64> {
        let b = self.f.len() as f64;
        let costs = &self.costs[i * self.codes..(i + 1) * self.codes];
        costs.iter().zip(&self.g).map(|(c, g)| b * (self.f[i] + g - c).exp()).collect()
    }

    /// The code with the largest share of each row, ties to the lowest.
    pub fn codes(&self) -> Vec<Code> {
        let rows = self.costs.par_chunks(self.codes.max(1));
        let best = |costs: &[f64]| {
            let score = |k: usize| self.g[k] - costs[k];
            let higher = |best: usize, k: usize| if score(k) > score(best) { k } else { best };
            (0..costs.len()).fold(0, higher) as Code
        };
        rows.map(best).collect()
    }

    fn run(&mut self, iterations: u32) {
        let (rows, k) = (self.f.len(), self.codes);
        let mut s = Scales {
            kernel: vec![0.0; rows * k],
            u: vec![1.0; rows],
            v: vec![1.0; k],
            partial: vec![0.0; rows.div_ceil(CHUNK) * k],
        };
        self.with_logarithms(&mut s);
        for _ in 1..iterations {
            let before = (s.u.clone(), s.v.clone());
            if !s.iterate(rows as f64) {
                (s.u, s.v) = before;
                self.absorb(&s);
                self.with_logarithms(&mut s);
            }
        }
        self.absorb(&s);
    }

    /// Takes the scales into the potentials.
    fn absorb(&mut self, s: &Scales) {
        self.f.iter_mut().zip(&s.u).for_each(|(f, u)| *f += u.ln());
        self.g.iter_mut().zip(&s.v).for_each(|(g, v)| *g += v.ln());
    }

    /// One iteration with logarithms, then the kernel at the new potentials and scales of 1.
    fn with_logarithms(&mut self, s: &mut Scales) {
        let (rows, k) = (self.f.len() as f64, self.codes);
        let (costs, g) = (&self.costs, &mut self.g);
        let chunks = self.f.par_chunks_mut(CHUNK).zip(costs.par_chunks(CHUNK * k));
        // The rows' potentials, and the largest exponent of each column in each chunk.
        chunks.zip(s.partial.par_chunks_mut(k)).for_each(|((f, costs), high)| {
            high.fill(f64::NEG_INFINITY);
            for (f, costs) in f.iter_mut().zip(costs.chunks_exact(k)) {
                let at = || costs.iter().zip(&*g).map(|(c, g)| g - c);
                let top = at().fold(f64::NEG_INFINITY, f64::max);
                *f = -top - at().map(|x| (x - top).exp()).sum::<f64>().ln() - rows.ln();
                high.iter_mut().zip(costs).for_each(|(h, c)| *h = h.max(*f - c));
            }
        });
        let mut high = vec![f64::NEG_INFINITY; k];
        for part in s.partial.chunks_exact(k) {
            high.iter_mut().zip(part).for_each(|(h, p)| *h = h.max(*p));
        }
        let chunks = self.f.par_chunks(CHUNK).zip(costs.par_chunks(CHUNK * k));
        chunks.zip(s.partial.par_chunks_mut(k)).for_each(|((f, costs), sums)| {
            sums.fill(0.0);
            for (f, costs) in f.iter().zip(costs.chunks_exact(k)) {
                let terms = costs.iter().zip(&high).map(|(c, h)| (f - c - h).exp());
                sums.iter_mut().zip(terms).for_each(|(s, t)| *s += t);
            }
        });
        let sums = add_up(&s.partial, k);
        for ((g, high), sum) in g.iter_mut().zip(high).zip(sums) {
            *g = -high - sum.ln() - (k as f64).ln();
        }
        let kernel = s.kernel.par_chunks_exact_mut(k).zip(costs.par_chunks_exact(k));
        kernel.zip(&self.f).for_each(|((kernel, costs), f)| {
            let terms = costs.iter().zip(&*g).map(|(c, g)| (f + g - c).exp());
            kernel.iter_mut().zip(terms).for_each(|(k, t)| *k = t);
        });
        s.u.fill(1.0);
        s.v.fill(1.0);
    }
}

/// `Q_ij = u_i kernel_ij v_j`.
struct Scales {
    kernel: Vec<f64>,
    u: Vec<f64>,
    v: Vec<f64>,
    /// Column sums of each chunk of rows.
    partial: Vec<f64>,
}

impl Scales {
    /// One iteration; whether all scales stayed in range.
    fn iterate(&mut self, rows: f64) -> bool {
        let k = self.v.len();
        let (kernel, v) = (&self.kernel, &self.v);
        let chunks = self.u.par_chunks_mut(CHUNK).zip(kernel.par_chunks(CHUNK * k));
        chunks.zip(self.partial.par_chunks_mut(k)).for_each(|((u, kernel), sums)| {
            sums.fill(0.0);
            for (u, kernel) in u.iter_mut().zip(kernel.chunks_exact(k)) {
                *u = 1.0 / (rows * dot(kernel, v));
                sums.iter_mut().zip(kernel).for_each(|(s, q)| *s += *u * q);
            }
        });
        for (v, sum) in self.v.iter_mut().zip(add_up(&self.partial, k)) {
            *v = 1.0 / (k as f64 * sum);
        }
        self.u.iter().chain(&self.v).all(|s| (1.0 / WIDE..WIDE).contains(s))
    }
}

/// Sums rows of `k` values, in their order.
fn add_up(partial: &[f64], k: usize) -> Vec<f64> {
    let mut sums = vec![0.0; k];
    for part in partial.chunks_exact(k) {
        sums.iter_mut().zip(part).for_each(|(s, p)| *s += p);
    }
    sums
}

/// Sum of products in eight fixed lanes.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, rest_a) = a.as_chunks::<8>();
    let (b, rest_b) = b.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (x, y) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += x[i] * y[i];
        }
    }
    lanes.iter().sum::<f64>() + rest_a.iter().zip(rest_b).map(|(x, y)| x * y).sum::<f64>()
}

/// `d' / eps`.
fn costs(distances: &[f32], epsilon: f64) -> Vec<f64> {
    let finite = || distances.iter().copied().filter(|d| d.is_finite());
    let high = f64::from(finite().fold(f32::NEG_INFINITY, f32::max));
    let low = f64::from(finite().fold(f32::INFINITY, f32::min));
    if low > high {
        return vec![0.0; distances.len()]; // not one finite distance
    }
    let middle = (high + low) / 2.0;
    let scale = (high - middle + 1e-5) * epsilon;
    let cost = |d: &f32| {
        let d = if d.is_finite() { f64::from(*d) } else { high };
        (d - middle) / scale
    };
    distances.par_iter().map(cost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::Rng;
    use sidereal_core::{Matrix, seed};

    fn distances(rows: usize, codes: usize, s: u64) -> Matrix {
        let mut rng = seed::stream(s, "test", 0);
        let data = (0..rows * codes).map(|_| rng.random_range(0.0..4.0)).collect();
        Matrix::new(rows, codes, data).unwrap()
    }

    /// The published code, step by step in f64, without potentials.
    fn plain(d: &Matrix, epsilon: f64, iterations: u32) -> Vec<f64> {
        let (b, k) = (d.rows(), d.cols());
        let wide: Vec<f64> = d.data().iter().map(|v| f64::from(*v)).collect();
        let high = wide.iter().copied().fold(f64::MIN, f64::max);
        let low = wide.iter().copied().fold(f64::MAX, f64::min);
        let middle = (high + low) / 2.0;
        let scaled = |d: &f64| (d - middle) / (high - middle + 1e-5);
        let mut q: Vec<f64> = wide.iter().map(|d| (-scaled(d) / epsilon).exp()).collect();
        let total: f64 = q.iter().sum();
        q.iter_mut().for_each(|q| *q /= total);
        for _ in 0..iterations {
            for i in 0..b {
                let sum: f64 = q[i * k..(i + 1) * k].iter().sum();
                q[i * k..(i + 1) * k].iter_mut().for_each(|q| *q /= sum * b as f64);
            }
            for j in 0..k {
                let sum: f64 = (0..b).map(|i| q[i * k + j]).sum();
                (0..b).for_each(|i| q[i * k + j] /= sum * k as f64);
            }
        }
        q.iter_mut().for_each(|q| *q *= b as f64);
        q
    }

    fn rows(plan: &Plan) -> Vec<f64> {
        (0..plan.f.len()).flat_map(|i| plan.row(i)).collect()
    }

    #[test]
    fn equals_the_published_steps_in_f64() {
        for (b, k, epsilon, iterations) in
            [(150, 12, 0.05, 50), (9, 30, 0.3, 3), (7, 5, 0.003, 50), (70, 16, 0.003, 1)]
        {
            let d = distances(b, k, 3);
            let got = rows(&Plan::new(d.view(), epsilon, iterations));
            for (g, w) in got.iter().zip(plain(&d, epsilon, iterations)) {
                assert!((g - w).abs() <= 1e-7 * w + 1e-12, "{b} x {k}, {epsilon}: {g} {w}");
            }
        }
    }

    #[test]
    fn converged_plans_are_balanced() {
        let (b, k) = (130, 10);
        let plan = Plan::new(distances(b, k, 5).view(), 0.05, 3000);
        let q = rows(&plan);
        for j in 0..k {
            let column: f64 = (0..b).map(|i| q[i * k + j]).sum();
            assert!((column - b as f64 / k as f64).abs() < 1e-6, "{column}");
        }
        assert!(q.chunks(k).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-6));
        let mut counts = vec![0; k];
        plan.codes().iter().for_each(|c| counts[*c as usize] += 1);
        assert!(counts.iter().all(|n| (9..=17).contains(n)), "{counts:?}");
    }

    /// Sum of the distances of a one-to-one assignment, smallest over all of them.
    fn best_matching(d: &Matrix) -> f64 {
        fn go(d: &Matrix, row: usize, taken: &mut Vec<bool>) -> f64 {
            if row == d.rows() {
                return 0.0;
            }
            let mut best = f64::INFINITY;
            for k in 0..d.cols() {
                if !taken[k] {
                    taken[k] = true;
                    best = best.min(f64::from(d.row(row)[k]) + go(d, row + 1, taken));
                    taken[k] = false;
                }
            }
            best
        }
        go(d, 0, &mut vec![false; d.cols()])
    }

    #[test]
    fn a_small_epsilon_finds_the_best_matching() {
        for s in 0..20 {
            let d = distances(6, 6, 100 + s);
            let codes = assign(d.view(), 2e-3, 5000);
            let mut sorted = codes.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5], "{s}");
            let cost: f64 =
                codes.iter().enumerate().map(|(i, c)| f64::from(d.row(i)[*c as usize])).sum();
            assert!((cost - best_matching(&d)).abs() < 1e-5, "{s}: {cost}");
        }
        // Nearest codes would send both rows to code 0.
        let d = Matrix::new(2, 2, vec![1.0, 2.0, 1.0, 9.0]).unwrap();
        assert_eq!(assign(d.view(), 1e-5, 100), [1, 0]);
        assert_eq!(assign(d.view(), 0.0, 100), [0, 0]);
        assert_eq!(assign(d.view(), 0.1, 0), [0, 0]);
    }

    #[test]
    fn degenerate_distances() {
        let assign = |b, k, d: &[f32]| assign(MatrixRef::new(b, k, d).unwrap(), 0.003, 50);
        assert_eq!(assign(3, 2, &[7.0; 6]), [0, 0, 0]);
        assert_eq!(assign(1, 3, &[2.0, 1.0, 3.0]).len(), 1);
        assert_eq!(assign(4, 1, &[1.0, 2.0, 3.0, 4.0]), [0; 4]);
        assert!(assign(0, 3, &[]).is_empty());
        assert!(assign(3, 0, &[]).is_empty());
        assert_eq!(assign(2, 2, &[f32::NAN; 4]), [0, 0]);
        let inf = f32::INFINITY;
        assert_eq!(assign(2, 2, &[1.0, inf, f32::NAN, 0.0]), [0, 1]);
    }

    #[test]
    fn threads_change_no_bit() {
        let d = distances(1000, 40, 8);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Plan::new(d.view(), 0.003, 60))
        };
        let one = on(1);
        assert!(on(2) == one && on(5) == one);
    }

    proptest! {
        #[test]
        fn plans_stay_numbers(
            (b, k, d) in (1usize..20, 1usize..12).prop_flat_map(|(b, k)| {
                (Just(b), Just(k), prop::collection::vec(-1e6f32..1e6, b * k))
            }),
            exponent in -6f64..1.0,
        ) {
            let d = Matrix::new(b, k, d).unwrap();
            let plan = Plan::new(d.view(), 10f64.powf(exponent), 40);
            for j in 0..k {
                let column: f64 = (0..b).map(|i| plan.row(i)[j]).sum();
                prop_assert!((column - b as f64 / k as f64).abs() < 1e-6, "{}", column);
            }
            prop_assert!(plan.codes().iter().all(|c| (*c as usize) < k));
        }
    }
}
