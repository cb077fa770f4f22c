//! Vectors of several encoders as one.
//!
//! `concat`: the vectors of each part, scaled to length 1 and by the part's weight, one after the
//! other (N x sum of widths); then principal components, if asked for.
//!
//! `aligned`: PRORec (arXiv 2502.06269 v1; v3 is named UNGER), stage I. Of the two parts the first is
//! semantic, `E_S` (N x d_s), the second collaborative, `E_C` (N x d_c). A small adapter
//! `e_t = A(e_s)` ([`adapter`]) is trained so that the two vectors of an item find each other among
//! those of the batch ([`contrast`]); the fused vector is `[e_c / |e_c| ; e_t / |e_t|]` (N x 2 d_c) or
//! the weighted mean of both (N x d_c). Then
//! `|z_i - z_j|^2 = 4 - 2 cos_c - 2 cos_t`: neither side rules the distances, as the semantic one does
//! when vectors are joined as they come ([`dominance`] measures it, and every run notes it).
//!
//! Cost of `aligned`: an epoch over N items in batches of B is
//! `N (12 d_s d_c + 6 B d_c)` operations.
//!
//! From a third party's program and summaries of the papers, the paper itself unread:
//! the adapter's form, the temperature, batch 1024, 200 epochs of AdamW (1e-3, 1e-4). Deviations and
//! what is not here:
//!
//! - `E_C` is frozen, as in that program: the next-item task that trains it beside the alignment
//!   (DIN in the paper) is left out; the collaborative part is whatever encoder stands there.
//! - Stage II, the distillation of the integrated vector into the recommender, belongs to the
//!   backbone and its objective.
//! - The gated sum is left out: the alignment gives a gate no gradient.
//! - Rows of `E_S` are scaled to length `sqrt(d_s)` before the adapter, so the scale of a text model
//!   changes nothing; the second half of the adapter starts at zero.
//! - Items without a vector on one side (all zeros) take no part in the training, and their half
//!   stays zero. Equal texts in a batch count as negatives of each other.

pub mod adapter;
pub mod align;
pub mod contrast;
pub mod dominance;

use crate::rows::normalize_all;
use crate::threads::with_threads;
use crate::{check_number, check_range, key};
use align::{Alignment, align};
use serde::{Deserialize, Serialize};
use sidereal_core::component::Inner;
use sidereal_core::{Catalog, EncoderInput, Error, Event, ItemEncoder, Matrix, Result, Run};
use sidereal_nn::algebra::pca::pca;
use std::path::PathBuf;

/// How parts become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FusedMode {
    /// One after the other.
    Concat,
    /// The first, moved into the space of the second, beside it.
    Aligned,
}

/// How aligned vectors are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fusion {
    /// One after the other, twice as wide.
    Concat,
    /// Their weighted mean, as wide as the second part.
    Mean,
}

sidereal_core::options! {
    /// Options of `fused`.
    pub struct FusedOptions {
        /// The encoders; `aligned` takes two, the semantic one first.
        pub parts: Vec<Inner> = vec![Inner::Name("lsa".into()), Inner::Name("lightgcn".into())],
        /// `concat` (one after the other) or `aligned` (arXiv 2502.06269).
        pub mode: FusedMode = FusedMode::Concat,
        /// Factor of each part, above 0; empty for 1 each.
        pub weights: Vec<f32> = vec![],
        /// Whether the vectors of each part are scaled to length 1 before they are joined.
        pub normalize: bool = true,
        /// Width after principal components, 0 to the joined width; 0 leaves it as it is.
        pub pca: usize = 0,
        /// Of `aligned`: `concat` or `mean` (of equal widths, weighted).
        pub fusion: Fusion = Fusion::Concat,
        /// Of `aligned`: temperature of the contrast, 0.01 and up (third party: 0.07).
        pub temperature: f32 = 0.07,
        /// Of `aligned`: passes over the items, 1 to 100000 (third party: 200).
        pub epochs: usize = 200,
        /// Of `aligned`: items of a step, 2 to 65536 (third party: 1024).
        pub batch: usize = 1024,
        /// Of `aligned`: learning rate of AdamW, above 0 (third party: 1e-3).
        pub lr: f32 = 1e-3,
        /// Of `aligned`: weight decay of AdamW, 0 and up (third party: 1e-4).
        pub weight_decay: f32 = 1e-4,
    }
}

/// Several encoders as one.
pub struct Fused {
    options: FusedOptions,
    parts: Vec<Box<dyn ItemEncoder>>,
}

impl Fused {
    /// Checks the options and builds the parts from `all`.
    pub fn new(options: FusedOptions, all: &Catalog<dyn ItemEncoder>) -> Result<Self> {
        let build = |part: &Inner| all.build(&part.spec(&key("parts"))?, &());
        let parts = options.parts.iter().map(build).collect::<Result<Vec<_>>>()?;
        Fused::of(options, parts)
    }

    /// Checks the options for parts that are built already; `options.parts` is not read.
    pub fn of(options: FusedOptions, parts: Vec<Box<dyn ItemEncoder>>) -> Result<Self> {
        let count = parts.len();
        if count == 0 {
            return Err(Error::config(key("parts"), "[] names no encoder; name at least one"));
        }
        if options.mode == FusedMode::Aligned && count != 2 {
            let message = format!("{count} parts; `aligned` takes two, the semantic one first");
            return Err(Error::config(key("parts"), message));
        }
        let weights = &options.weights;
        if !weights.is_empty() && weights.len() != count {
            let message = format!("{} weights for {count} parts", weights.len());
            return Err(Error::config(key("weights"), message));
        }
        for &w in weights {
            check_number("weights", w, f32::MIN_POSITIVE, f32::MAX)?;
        }
        check_range("pca", options.pca, 0, 1 << 16)?;
        check_number("temperature", options.temperature, 0.01, f32::MAX)?;
        check_range("epochs", options.epochs, 1, 100_000)?;
        check_range("batch", options.batch, 2, 1 << 16)?;
        check_number("lr", options.lr, f32::MIN_POSITIVE, f32::MAX)?;
        check_number("weight_decay", options.weight_decay, 0.0, f32::MAX)?;
        Ok(Fused { options, parts })
    }

    fn weight(&self, part: usize) -> f32 {
        self.options.weights.get(part).copied().unwrap_or(1.0)
    }

    /// The vectors to be joined, in the order in which they stand in the result, with their weights.
    fn pieces(&self, mut parts: Vec<Matrix>, run: &Run<'_>) -> Result<Vec<Piece>> {
        let o = &self.options;
        if o.mode == FusedMode::Aligned {
            let alignment = Alignment {
                temperature: o.temperature,
                epochs: o.epochs,
                batch: o.batch,
                lr: o.lr,
                weight_decay: o.weight_decay,
            };
            parts[0] = align(&parts[0], &parts[1], &alignment, run)?;
        }
        if o.normalize {
            parts.iter_mut().for_each(normalize_all);
        }
        let pieces = parts.into_iter().enumerate();
        let mut pieces: Vec<_> =
            pieces.map(|(i, vectors)| Piece { vectors, weight: self.weight(i) }).collect();
        if o.mode == FusedMode::Aligned {
            pieces.reverse();
        }
        Ok(pieces)
    }

    fn join(&self, parts: Vec<Matrix>, n: usize, run: &Run<'_>) -> Result<Matrix> {
        let o = &self.options;
        let pieces = self.pieces(parts, run)?;
        let joined = if o.mode == FusedMode::Aligned && o.fusion == Fusion::Mean {
            mean(&pieces, n)
        } else {
            concat(&pieces, n)
        };
        for (i, piece) in pieces.iter().enumerate() {
            let part = if o.mode == FusedMode::Aligned { pieces.len() - 1 - i } else { i };
            if let Some(rho) = dominance::dominance(&joined, &piece.vectors, run.seed) {
                run.emit(Event::Note(&format!(
                    "fused: distances follow those of part {part} with correlation {rho:.3}"
                )));
            }
        }
        if o.pca == 0 {
            return Ok(joined);
        }
        let most = joined.cols().min(n);
        let out = pca(&joined, o.pca)?;
        if o.pca > most || o.pca > out.rank {
            let message = format!(
                "{} is outside 0..={}: the joined vectors have width {} and rank {}",
                o.pca,
                out.rank.min(most),
                joined.cols(),
                out.rank
            );
            return Err(Error::config(key("pca"), message));
        }
        run.emit(Event::Note(&format!("fused: {:.1} % of the variance stays", 100.0 * out.kept)));
        Ok(out.rows)
    }
}

/// Vectors with a factor.
struct Piece {
    vectors: Matrix,
    weight: f32,
}

fn concat(pieces: &[Piece], n: usize) -> Matrix {
    let width = pieces.iter().map(|p| p.vectors.cols()).sum();
    let mut out = Matrix::zeros(n, width);
    for i in 0..n {
        let mut rest = out.row_mut(i);
        for p in pieces {
            let (here, behind) = rest.split_at_mut(p.vectors.cols());
            here.iter_mut().zip(p.vectors.row(i)).for_each(|(o, v)| *o = p.weight * v);
            rest = behind;
        }
    }
    out
}

fn mean(pieces: &[Piece], n: usize) -> Matrix {
    let total: f32 = pieces.iter().map(|p| p.weight).sum();
    let mut out = Matrix::zeros(n, pieces.first().map_or(0, |p| p.vectors.cols()));
    for p in pieces {
        let sums = out.data_mut().iter_mut().zip(p.vectors.data());
        sums.for_each(|(o, v)| *o += p.weight / total * v);
    }
    out
}

impl ItemEncoder for Fused {
    fn encode(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        let n = input.items.len();
        let parts =
            self.parts.iter().map(|p| p.encode(input, run)).collect::<Result<Vec<Matrix>>>()?;
        for (i, part) in parts.iter().enumerate() {
            if part.rows() != n || part.cols() == 0 {
                return Err(Error::mismatch(format!(
                    "part {i} gave {} vectors of width {} for {n} items",
                    part.rows(),
                    part.cols()
                )));
            }
            if part.view().first_not_finite().is_some() {
                return Err(Error::mismatch(format!("part {i} gave a vector that is not finite")));
            }
        }
        with_threads(run.threads, || self.join(parts, n, run))
    }

    fn files(&self) -> Vec<PathBuf> {
        self.parts.iter().flat_map(|p| p.files()).collect()
    }

    fn seeded(&self) -> bool {
        self.options.mode == FusedMode::Aligned || self.parts.iter().any(|p| p.seeded())
    }
}
