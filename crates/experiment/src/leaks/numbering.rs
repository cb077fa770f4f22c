//! Whether item numbers know the targets: ties by score go to the lower number.
//!
//! Numbers by popularity in the whole data, test included, turn a recommender that gives all items
//! of a kind the same score into one that knows which of them test. Among items with the same number
//! of training interactions, where training cannot tell them apart, numbers should say nothing:
//!
//! `A = P(a target has a lower number than another item with as many training interactions)`
//!
//! which is 1/2 for numbers without knowledge, with the variance of Mann and Whitney. Numbers in order
//! of first appearance are between 1/2 and about 2/3, since items with more interactions appear
//! earlier; numbers by popularity in the whole data give 1. Items without any interaction are
//! left out.

use super::{Finding, Verdict};
use crate::stages::data::Data;

/// From here on numbers know more than an order of appearance does.
const SUSPICIOUS: f64 = 0.8;
/// Standard deviations from 1/2.
const SIGMAS: f64 = 4.0;
/// Fewest pairs of a target and another item.
const PAIRS: f64 = 50.0;

/// The finding `item-numbers`.
pub fn numbering(data: &Data) -> Finding {
    let check = "item-numbers";
    let n = data.dataset.items.len();
    let mut target = vec![false; n];
    data.splits.test.targets.iter().flatten().for_each(|i| target[i.index()] = true);
    let whole = data.dataset.interactions.popularity(n);
    // Ascending by popularity, items of equal popularity by number.
    let trained = data.train.popularity(n);
    let mut order: Vec<usize> = (0..n).filter(|&i| whole[i] > 0).collect();
    order.sort_by_key(|&i| trained[i]);
    let (mut lower, mut pairs, mut variance) = (0.0, 0.0, 0.0);
    for group in order.chunk_by(|&a, &b| trained[a] == trained[b]) {
        let targets = group.iter().filter(|&&i| target[i]).count() as f64;
        let others = group.len() as f64 - targets;
        let mut others_left = others;
        for &i in group {
            match target[i] {
                true => lower += others_left,
                false => others_left -= 1.0,
            }
        }
        pairs += targets * others;
        variance += targets * others * (targets + others + 1.0) / 12.0;
    }
    if pairs < PAIRS {
        return Finding::new(check, Verdict::Unknown, "too few items to tell");
    }
    let share = lower / pairs;
    let sigmas = (lower - pairs / 2.0) / variance.sqrt();
    let verdict = match share >= SUSPICIOUS && sigmas >= SIGMAS {
        true => Verdict::Suspicious,
        false => Verdict::Clean,
    };
    let knows = match verdict {
        Verdict::Suspicious => {
            "; numbers by popularity in the whole data give ties the order of the test"
        }
        _ => "",
    };
    let text = format!(
        "test targets have a lower number than {:.1} % of the items with as many training \
         interactions ({sigmas:+.1} standard deviations from 50 %){knows}",
        100.0 * share
    );
    Finding::new(check, verdict, text)
}

/// The finding `ties`: lists in which every item has the same score are ordered by number.
pub fn ties(tied: u64, lists: u64) -> Finding {
    let verdict = match lists > 0 && tied * 10 >= lists {
        true => Verdict::Suspicious,
        false => Verdict::Clean,
    };
    let text = format!(
        "{tied} of {lists} test lists have one score for all of their items, so that item numbers \
         order them"
    );
    Finding::new("ties", verdict, text)
}
