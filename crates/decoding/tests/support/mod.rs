//! A scorer whose logits are a function of request and prefix, and a naive search over it.

// Each test file uses its part.
#![allow(dead_code)]

pub mod catalogues;

use sidereal_core::seed::mix;
use sidereal_core::{Code, Result};
use sidereal_decoding::{CodeScorer, Hypothesis, Row};
use std::collections::BTreeSet;

/// Logit of `code` after `prefix` for the request with this key.
pub type Logit = fn(u64, &[Code], Code) -> f32;

/// Logits by [`Logit`]; checks that the decoder keeps to the contract of [`CodeScorer`].
pub struct TableScorer {
    /// Key of each request: the same key gives the same logits wherever the request stands.
    pub keys: Vec<u64>,
    pub widths: Vec<usize>,
    pub logit: Logit,
    rows: Vec<(u32, Vec<Code>)>,
}

impl TableScorer {
    pub fn new(keys: &[u64], widths: &[usize], logit: Logit) -> Self {
        TableScorer { keys: keys.into(), widths: widths.into(), logit, rows: Vec::new() }
    }

    pub fn random(keys: &[u64], widths: &[usize]) -> Self {
        TableScorer::new(keys, widths, random_logit)
    }
}

/// Spread over -4 to 4 by a hash of everything.
pub fn random_logit(key: u64, prefix: &[Code], code: Code) -> f32 {
    let mut h = mix(key ^ 0x5eed);
    for &c in prefix {
        h = mix(h.wrapping_add(u64::from(c) + 1));
    }
    h = mix(h ^ (u64::from(code) << 32));
    (h >> 40) as f32 / (1u64 << 24) as f32 * 8.0 - 4.0
}

/// Three values only: many equal scores.
pub fn coarse_logit(key: u64, prefix: &[Code], code: Code) -> f32 {
    (random_logit(key, prefix, code) / 3.0).round()
}

impl CodeScorer for TableScorer {
    fn requests(&self) -> usize {
        self.keys.len()
    }

    fn levels(&self) -> usize {
        self.widths.len()
    }

    fn width(&self, level: usize) -> usize {
        self.widths[level]
    }

    fn advance(&mut self, level: usize, rows: &[Row], logits: &mut Vec<f32>) -> Result<()> {
        assert!(rows.windows(2).all(|w| w[0].request <= w[1].request), "request order");
        let next: Vec<(u32, Vec<Code>)> = if level == 0 {
            assert_eq!(rows.len(), self.keys.len(), "one row a request at level 0");
            rows.iter().enumerate().for_each(|(i, r)| assert_eq!(r.request, i as u32));
            rows.iter().map(|r| (r.request, vec![])).collect()
        } else {
            rows.iter()
                .map(|r| {
                    let (request, prefix) = &self.rows[r.parent as usize];
                    assert_eq!(*request, r.request, "a row extends a row of its own request");
                    (r.request, [prefix, &[r.code][..]].concat())
                })
                .collect()
        };
        let distinct: BTreeSet<_> = next.iter().collect();
        assert_eq!(distinct.len(), next.len(), "a prefix is scored once");
        self.rows = next;
        logits.clear();
        for (request, prefix) in &self.rows {
            let key = self.keys[*request as usize];
            assert_eq!(prefix.len(), level);
            logits.extend((0..self.widths[level]).map(|c| (self.logit)(key, prefix, c as Code)));
        }
        Ok(())
    }
}

/// Log-probability of `code` among `among`, in f64.
fn log_prob(logit: Logit, key: u64, prefix: &[Code], code: Code, among: &BTreeSet<Code>) -> f64 {
    let total: f64 = among.iter().map(|&c| f64::from(logit(key, prefix, c)).exp()).sum();
    f64::from(logit(key, prefix, code)) - total.ln()
}

/// (full, masked) sums of one identifier of a set, by definition.
pub fn naive_sums(
    logit: Logit,
    key: u64,
    widths: &[usize],
    set: &BTreeSet<Vec<Code>>,
    sid: &[Code],
) -> (f64, f64) {
    let (mut full, mut masked) = (0.0, 0.0);
    for d in 0..sid.len() {
        let prefix = &sid[..d];
        let children: BTreeSet<Code> =
            set.iter().filter(|s| s.len() > d && s.starts_with(prefix)).map(|s| s[d]).collect();
        let all: BTreeSet<Code> = (0..widths[d] as Code).collect();
        full += log_prob(logit, key, prefix, sid[d], &all);
        masked += log_prob(logit, key, prefix, sid[d], &children);
    }
    (full, masked)
}

/// All identifiers of the set with their sums, best first by the full sum.
pub fn brute_force(
    logit: Logit,
    key: u64,
    widths: &[usize],
    set: &BTreeSet<Vec<Code>>,
) -> Vec<(Vec<Code>, f64, f64)> {
    let mut all: Vec<_> = set
        .iter()
        .map(|s| {
            let (full, masked) = naive_sums(logit, key, widths, set, s);
            (s.clone(), full, masked)
        })
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

/// Every sequence over the widths.
pub fn all_sequences(widths: &[usize]) -> BTreeSet<Vec<Code>> {
    let mut all = vec![vec![]];
    for &w in widths {
        all = all
            .iter()
            .flat_map(|p: &Vec<Code>| (0..w as Code).map(move |c| [&p[..], &[c]].concat()))
            .collect();
    }
    all.into_iter().collect()
}

pub fn codes(list: &[Hypothesis]) -> Vec<Vec<Code>> {
    list.iter().map(|h| h.codes.clone()).collect()
}
