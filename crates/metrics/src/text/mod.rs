//! Text against reference texts: answers ([`exact_match`], [`token_f1`]) and overlap
//! ([`rouge_n`], [`rouge_l`], [`bleu`]). Plain functions over strings; with several references take
//! the best ([`best`]).

mod answers;
mod bleu;
mod rouge;

pub use answers::{exact_match, normalise, token_f1};
pub use bleu::{Rendering, Smoothing, bleu};
pub use rouge::{Overlap, rouge_l, rouge_n};

/// The best value over references, as KILT and SQuAD have it; 0 without any.
pub fn best<'a>(references: impl IntoIterator<Item = &'a str>, value: impl Fn(&str) -> f64) -> f64 {
    references.into_iter().map(value).fold(0.0, f64::max)
}
