//! Several heads' hypotheses as one list (multi-head decoding with human priors, arXiv 2511.10492).
//!
//! A head is a decoder with a scorer and a compatibility mask, which is a [`Constraint`]: it decodes
//! inside its own identifiers alone. `combine` joins the heads' lists, sorts by `s_h + ln w_h` and
//! keeps an identifier's first place; with lists of `width` each this is the best `width` by
//! `max over compatible heads h of (s_h + ln w_h)`, exactly so where each head's own search is
//! exact, because what is among the best of all is among the best of the head that it has its score
//! from. `average` takes the mean over the heads that found an identifier, exact where they find all.
//!
//! [`MultiHead::decode_heads`] is the paper's case, a scorer (an output head of the model) and a
//! mask for each. As the decoder `multi-head` all heads share one scorer, which begins anew for
//! each, and the request's constraint: an ensemble of searches. The paper merges scores of items by
//! dense heads; `MultiHead` of the crate `sidereal-rerank` does that, here it is carried over to
//! identifiers. The paper has no weights in the merge: `w_h = 1` is its rule, others are priors of a
//! mixture. Nothing calibrates heads against each other. Training of heads is not here.
//!
//! [`Provenance::Head`] takes the place of what the head said itself. Ties: code order, then the
//! first head. Cost: that of all heads, and a sort of their hypotheses.

use crate::ranking::Ranking;
use crate::{CodeScorer, Constraint, Decoder, Hypothesis, Provenance, ScoreRule};
use serde::{Deserialize, Serialize};
use sidereal_core::{Catalog, Code, Entry, Error, Inner, Result, Run, seed};
use std::collections::{BTreeMap, BTreeSet};

/// How scores of several heads for one identifier become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadMerge {
    /// The largest.
    #[default]
    Combine,
    /// The mean over heads that found it.
    Average,
}

sidereal_core::options! {
    /// Options of the merge of several heads.
    pub struct MultiHeadOptions {
        /// Hypotheses returned, 1 to 1048576.
        pub width: u32 = 50,
        /// The heads' decoders, names or tables with a `type`; at least one.
        pub heads: Vec<Inner> = vec![Inner::Name("beam".into()), Inner::Name("ancestral".into())],
        /// Prior of each head, above 0; its logarithm is added to the head's scores. Empty: 1 each,
        /// the paper's rule.
        pub weights: Vec<f64> = vec![],
        /// `combine` takes the largest score of an identifier, `average` the mean over the heads
        /// that found it.
        pub merge: HeadMerge = HeadMerge::Combine,
    }
}

/// Merges what its heads find.
pub struct MultiHead {
    heads: Vec<Box<dyn Decoder>>,
    priors: Vec<f64>,
    merge: HeadMerge,
    width: usize,
}

impl MultiHead {
    /// From options and the decoders that they name.
    ///
    /// Errors: no head, an option outside its range.
    pub fn new(options: MultiHeadOptions, heads: Vec<Box<dyn Decoder>>) -> Result<Self> {
        let MultiHeadOptions { width, weights, merge, .. } = options;
        if heads.is_empty() {
            return Err(Error::config("decoder.heads", "empty; allowed: at least one decoder"));
        }
        let positive = |w: &f64| *w > 0.0 && w.is_finite();
        if !(weights.is_empty() || weights.len() == heads.len()) || !weights.iter().all(positive) {
            let n = heads.len();
            let message = format!("{weights:?}; allowed: none, or {n} numbers above 0");
            return Err(Error::config("decoder.weights", message));
        }
        let mut priors: Vec<f64> = weights.iter().map(|w| w.ln()).collect();
        priors.resize(heads.len(), 0.0);
        let width = Ranking::new(width, ScoreRule::Full, 0.0)?.width;
        Ok(MultiHead { heads, priors, merge, width })
    }

    /// Lists of each head with its own scorer and constraints (one a request, or one for all),
    /// merged.
    ///
    /// Errors: not one scorer and one mask a head; those of the heads.
    pub fn decode_heads(
        &self,
        scorers: &mut [&mut dyn CodeScorer],
        constraints: &[&[&dyn Constraint]],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        let n = self.heads.len();
        if scorers.len() != n || constraints.len() != n {
            return Err(Error::mismatch(format!(
                "{} scorers and {} masks for {n} heads",
                scorers.len(),
                constraints.len()
            )));
        }
        let mut merged = Vec::new();
        for (h, scorer) in scorers.iter_mut().enumerate() {
            self.ask(h, *scorer, constraints[h], run, &mut merged)?;
        }
        Ok(self.merge(merged))
    }

    /// Adds one head's lists, a list a request.
    fn ask(
        &self,
        head: usize,
        scorer: &mut dyn CodeScorer,
        constraints: &[&dyn Constraint],
        run: &Run<'_>,
        merged: &mut Vec<Vec<Hypothesis>>,
    ) -> Result<()> {
        run.check()?;
        // The first head alone is its decoder alone.
        let own = match head {
            0 => run.clone(),
            _ => Run { seed: seed::key(run.seed, "head", head as u64), ..run.clone() },
        };
        let lists = self.heads[head].decode(scorer, constraints, &own)?;
        if head == 0 {
            merged.resize_with(lists.len(), Vec::new);
        }
        if lists.len() != merged.len() {
            let (got, want) = (lists.len(), merged.len());
            return Err(Error::mismatch(format!("head {head} answers {got} of {want} requests")));
        }
        for (all, list) in merged.iter_mut().zip(lists) {
            all.extend(list.into_iter().map(|h| Hypothesis {
                score: h.score + self.priors[head],
                provenance: Provenance::Head { head: head as u32 },
                ..h
            }));
        }
        Ok(())
    }

    fn merge(&self, mut lists: Vec<Vec<Hypothesis>>) -> Vec<Vec<Hypothesis>> {
        for list in &mut lists {
            if self.merge == HeadMerge::Average {
                average(list);
            }
            // Stable: of equal places the first head's stays.
            list.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.codes.cmp(&b.codes)));
            let mut seen: BTreeSet<Vec<Code>> = BTreeSet::new();
            list.retain(|h| seen.insert(h.codes.clone()));
            list.truncate(self.width);
        }
        lists
    }
}

/// Gives every hypothesis the mean score of its identifier.
fn average(list: &mut [Hypothesis]) {
    let mut scores: BTreeMap<Vec<Code>, Vec<f64>> = BTreeMap::new();
    for h in list.iter() {
        scores.entry(h.codes.clone()).or_default().push(h.score);
    }
    for h in list {
        if let Some(all) = scores.get(&h.codes) {
            h.score = all.iter().sum::<f64>() / all.len() as f64;
        }
    }
}

impl Decoder for MultiHead {
    fn decode(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: &[&dyn Constraint],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        let mut merged = Vec::new();
        for head in 0..self.heads.len() {
            self.ask(head, scorer, constraints, run, &mut merged)?;
        }
        Ok(self.merge(merged))
    }

    /// Not more than all heads can give.
    fn width(&self) -> usize {
        self.width.min(self.heads.iter().map(|h| h.width()).sum())
    }
}

/// Registers `multi-head`.
pub fn register(catalog: &mut Catalog<dyn Decoder>) -> Result<()> {
    catalog.add(Entry::composite(
        "multi-head",
        env!("CARGO_PKG_NAME"),
        "Merges the hypotheses of several decoders (the merge of arXiv 2511.10492).",
        |o: MultiHeadOptions, _: &(), all: &Catalog<dyn Decoder>| {
            let build = |head: &Inner| all.build(&head.spec("decoder.heads")?, &());
            let heads = o.heads.iter().map(build).collect::<Result<_>>()?;
            Ok(Box::new(MultiHead::new(o, heads)?) as Box<dyn Decoder>)
        },
    ))
}
