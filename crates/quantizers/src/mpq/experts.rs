//! Gates, mixtures and codes of one chunk of rows.
//!
//! A row of the encoder's output holds all experts, `N_e x c`, then the gates' logits, `M x N_e`.

use crate::autoencoder::{Bottleneck, whole_numbers};
use crate::kmeans::centroids::{Centroids, Search};
use crate::levels::check_levels;
use sidereal_core::{Code, Error, Matrix, Result};
use sidereal_nn::kernels::math::{axpy, dot, size, zeros};
use sidereal_nn::{Init, Params, Slot};

/// Weights of the terms beside the reconstruction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MpqLoss {
    /// Weight of the commitment.
    pub beta: f32,
    /// Weight of the balance between experts.
    pub balance: f32,
    /// Weight of the overlap between gates.
    pub diversity: f32,
}

/// Experts, gates and codebooks.
#[derive(Debug, Clone)]
pub struct Experts {
    widths: Vec<u32>,
    /// `N_e`.
    experts: usize,
    /// `k`.
    top: usize,
    /// `c`.
    code: usize,
    loss: MpqLoss,
    slots: Vec<Slot>,
    books: Vec<Centroids>,
}

/// Buffers of a chunk, reused.
#[derive(Debug, Default)]
pub struct State {
    /// `g`, shape `rows x M x N_e`, 0 for experts that are not mixed.
    gates: Vec<f32>,
    dgates: Vec<f32>,
    /// Codebook after codebook: `z_m`, shape `M x rows x c`.
    mixed: Vec<f32>,
    dmixed: Vec<f32>,
    /// Codebook after codebook, shape `M x rows`.
    codes: Vec<Code>,
    search: Search,
    distances: Vec<f32>,
    scores: Vec<f32>,
    balance: Vec<f32>,
}

/// Values of all codebooks, at most.
const MOST: u64 = 1 << 30;

impl Experts {
    /// `levels` codes of each codebook.
    ///
    /// Errors name the keys of [`MpqOptions`](super::MpqOptions).
    pub fn new(levels: &[u32], experts: u32, top: u32, code: u32, loss: MpqLoss) -> Result<Self> {
        check_levels(levels)?;
        let refuse = |key: &str, got: u32, allowed: String| {
            Err(Error::config(format!("quantizer.{key}"), format!("got {got}; expected {allowed}")))
        };
        if !(1..=1024).contains(&experts) {
            return refuse("experts", experts, "1 to 1024".into());
        }
        if !(1..=experts).contains(&top) {
            return refuse("top", top, format!("1 to the {experts} experts"));
        }
        let values = levels.iter().map(|&l| u64::from(l) * u64::from(code)).sum::<u64>();
        if !(1..=65536).contains(&code) || values > MOST {
            let allowed = format!("1 to 65536, and at most {MOST} values in all codebooks");
            return refuse("code_width", code, allowed);
        }
        let code = code as usize;
        let empty = |&k: &u32| Centroids::new(Matrix::zeros(k as usize, code));
        Ok(Experts {
            widths: levels.to_vec(),
            experts: experts as usize,
            top: top as usize,
            code,
            loss,
            slots: Vec::new(),
            books: levels.iter().map(empty).collect(),
        })
    }

    /// Where the codes of a codebook lie in the parameters.
    pub(super) fn slot(&self, m: usize) -> Slot {
        self.slots[m]
    }

    /// `z_m` of rows of the encoder's output, shape `rows x c`.
    pub(super) fn mixture(&self, z: &[f32], m: usize) -> Result<Matrix> {
        let mut out = Matrix::zeros(z.len() / self.inputs(), self.code);
        let mut gates = vec![0.0; self.experts];
        for (i, row) in z.chunks_exact(self.inputs()).enumerate() {
            self.gate(self.logits(row, m), &mut gates);
            self.mix(row, &gates, out.row_mut(i));
        }
        Ok(out)
    }

    fn logits<'a>(&self, row: &'a [f32], m: usize) -> &'a [f32] {
        let first = self.experts * (self.code + m);
        &row[first..first + self.experts]
    }

    /// Softmax over the largest `top` logits, the first of equals; 0 for the others.
    fn gate(&self, logits: &[f32], gates: &mut [f32]) {
        gates.fill(0.0);
        let (mut highest, mut sum) = (0.0, 0.0);
        for k in 0..self.top {
            let mut best = None;
            for (e, logit) in logits.iter().enumerate().filter(|(e, _)| gates[*e] == 0.0) {
                if best.is_none_or(|b: usize| *logit > logits[b]) {
                    best = Some(e);
                }
            }
            let Some(e) = best else { break };
            if k == 0 {
                highest = logits[e];
            }
            // Above 0, so that it marks the expert as taken.
            gates[e] = (logits[e] - highest).exp().max(f32::MIN_POSITIVE);
            sum += gates[e];
        }
        gates.iter_mut().for_each(|g| *g /= sum);
    }

    fn mix(&self, row: &[f32], gates: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        let experts = row.chunks_exact(self.code).zip(gates).filter(|(_, g)| **g > 0.0);
        experts.for_each(|(expert, gate)| axpy(*gate, expert, out));
    }

    /// `N_e sum_e F_e P_e`; fills `slopes` with its gradient in one gate of expert `e`.
    pub(super) fn balance(&self, gates: &[f32], slopes: &mut Vec<f32>) -> f64 {
        let n = self.experts;
        let pairs = (gates.len() / n).max(1) as f64;
        let (mut first, mut mean) = (vec![0u64; n], vec![0.0f64; n]);
        for gates in gates.chunks_exact(n) {
            let best = (1..n).fold(0, |b, e| if gates[e] > gates[b] { e } else { b });
            first[best] += 1;
            mean.iter_mut().zip(gates).for_each(|(m, g)| *m += f64::from(*g));
        }
        size(slopes, n);
        for (slope, first) in slopes.iter_mut().zip(&first) {
            *slope = (n as f64 * *first as f64 / (pairs * pairs)) as f32;
        }
        let product = |(f, p): (&u64, &f64)| *f as f64 * p;
        n as f64 * first.iter().zip(&mean).map(product).sum::<f64>() / (pairs * pairs)
    }

    /// `sum_{m < m'} g_m . g_m'` of one row, by `(|sum g|^2 - sum |g|^2) / 2`; adds `factor` times
    /// its gradient.
    fn overlap(&self, gates: &[f32], factor: f32, dgates: &mut [f32], sum: &mut Vec<f32>) -> f64 {
        zeros(sum, self.experts);
        let mut own = 0.0;
        for gates in gates.chunks_exact(self.experts) {
            sum.iter_mut().zip(gates).for_each(|(s, g)| *s += g);
            own += f64::from(dot(gates, gates));
        }
        let rows = gates.chunks_exact(self.experts).zip(dgates.chunks_exact_mut(self.experts));
        for (gates, dgates) in rows {
            for ((d, s), g) in dgates.iter_mut().zip(&*sum).zip(gates) {
                *d += factor * (s - g);
            }
        }
        (f64::from(dot(sum, sum)) - own) / 2.0
    }
}

impl Bottleneck for Experts {
    type State = State;
    const MARK: &'static str = "mpq";

    fn widths(&self) -> &[u32] {
        &self.widths
    }

    fn inputs(&self) -> usize {
        self.experts * (self.code + self.widths.len())
    }

    fn outputs(&self) -> usize {
        self.widths.len() * self.code
    }

    fn add_params(&mut self, params: &mut Params) {
        let code = self.code;
        let mut add = |(m, &k): (usize, &u32)| {
            let start = Init::Uniform(1.0 / k as f32);
            params.add(&format!("codebook_{m}"), &[k as usize, code], start)
        };
        self.slots = self.widths.iter().enumerate().map(&mut add).collect();
    }

    fn prepare(&mut self, weights: &[f32]) {
        for (book, slot) in self.books.iter_mut().zip(&self.slots) {
            book.update(|values| values.data_mut().copy_from_slice(slot.of(weights)));
        }
    }

    fn forward(&self, z: &[f32], rows: usize, q: &mut [f32], codes: &mut [Code], s: &mut State) {
        let (count, n, c) = (self.widths.len(), self.experts, self.code);
        size(&mut s.gates, rows * count * n);
        size(&mut s.mixed, rows * count * c);
        s.codes.resize(rows * count, 0);
        s.distances.resize(rows, 0.0);
        for (i, row) in z.chunks_exact(self.inputs()).enumerate() {
            for m in 0..count {
                let at = (i * count + m) * n;
                let gates = &mut s.gates[at..at + n];
                self.gate(self.logits(row, m), gates);
                let at = (m * rows + i) * c;
                self.mix(row, gates, &mut s.mixed[at..at + c]);
            }
        }
        for (m, book) in self.books.iter().enumerate() {
            let own = &mut s.codes[m * rows..(m + 1) * rows];
            let mixed = &s.mixed[m * rows * c..(m + 1) * rows * c];
            book.nearest(mixed, &mut s.search, own, &mut s.distances);
            for (i, &code) in own.iter().enumerate() {
                codes[i * count + m] = code;
                q[(i * count + m) * c..][..c].copy_from_slice(book.row(code));
            }
        }
    }

    fn backward(
        &self,
        z: &[f32],
        rows: usize,
        share: f32,
        dq: &[f32],
        dz: &mut [f32],
        grads: &mut [f32],
        s: &mut State,
    ) -> f64 {
        let (count, n, c) = (self.widths.len(), self.experts, self.code);
        let State { gates, dgates, mixed, dmixed, codes, balance, scores, .. } = s;
        let elements = (rows * c) as f64;
        let factor = (2.0 * f64::from(share) / elements) as f32;
        let mut square = 0.0;
        size(dmixed, mixed.len());
        for (m, (book, slot)) in self.books.iter().zip(&self.slots).enumerate() {
            let dbook = slot.of_mut(grads);
            for i in 0..rows {
                let (at, code) = ((m * rows + i) * c, codes[m * rows + i]);
                let dcode = &mut dbook[code as usize * c..][..c];
                let dq = &dq[(i * count + m) * c..][..c];
                let own = mixed[at..at + c].iter().zip(book.row(code)).zip(dq);
                for (((z, q), g), (dz, dc)) in own.zip(dmixed[at..at + c].iter_mut().zip(dcode)) {
                    let off = z - q;
                    square += f64::from(off) * f64::from(off);
                    *dz = g + self.loss.beta * factor * off;
                    *dc -= factor * off;
                }
            }
        }
        zeros(dgates, gates.len());
        let mut own = (1.0 + f64::from(self.loss.beta)) * square / elements;
        own += f64::from(self.loss.balance) * self.balance(gates, balance);
        let even = self.loss.balance * share;
        let apart = self.loss.diversity * share / rows.max(1) as f32;
        dz.fill(0.0);
        let mut overlap = 0.0;
        for (i, (row, dz)) in
            z.chunks_exact(self.inputs()).zip(dz.chunks_exact_mut(self.inputs())).enumerate()
        {
            let at = i * count * n;
            let (gates, dgates) = (&gates[at..][..count * n], &mut dgates[at..][..count * n]);
            overlap += self.overlap(gates, apart, dgates, scores);
            let (dexperts, dlogits) = dz.split_at_mut(n * c);
            for m in 0..count {
                let (gates, dgates) = (&gates[m * n..][..n], &mut dgates[m * n..][..n]);
                let dmixed = &dmixed[(m * rows + i) * c..][..c];
                let mut mean = 0.0;
                for e in (0..n).filter(|&e| gates[e] > 0.0) {
                    axpy(gates[e], dmixed, &mut dexperts[e * c..][..c]);
                    dgates[e] += dot(&row[e * c..][..c], dmixed) + even * balance[e];
                    mean += gates[e] * dgates[e];
                }
                let dlogits = &mut dlogits[m * n..][..n];
                for e in (0..n).filter(|&e| gates[e] > 0.0) {
                    dlogits[e] = gates[e] * (dgates[e] - mean);
                }
            }
        }
        own + f64::from(self.loss.diversity) * overlap / rows.max(1) as f64
    }

    fn look_up(&self, codes: &[Code], q: &mut [f32]) {
        let parts = q.chunks_exact_mut(self.code).zip(codes).zip(&self.books);
        parts.for_each(|((q, code), book)| q.copy_from_slice(book.row(*code)));
    }

    fn describe(&self) -> Matrix {
        let numbers = [self.experts as u32, self.top as u32, self.code as u32];
        let numbers = numbers.iter().chain(&self.widths);
        let mut out = Matrix::zeros(1, 3 + self.widths.len());
        out.data_mut().iter_mut().zip(numbers).for_each(|(v, n)| *v = *n as f32);
        out
    }

    /// The weights of the loss are not part of a file: a bottleneck that was read has none.
    fn from_description(description: &Matrix) -> Result<Self> {
        let numbers = whole_numbers(description.data())?;
        let [experts, top, code, levels @ ..] = &numbers[..] else {
            return Err(Error::mismatch("mpq: a description that is too short"));
        };
        let loss = MpqLoss { beta: 0.0, balance: 0.0, diversity: 0.0 };
        Experts::new(levels, *experts, *top, *code, loss)
    }
}
