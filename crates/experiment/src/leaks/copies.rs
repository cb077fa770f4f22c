//! Users that occur twice: a test case whose last items and target stand in another user's training
//! history word for word can be answered by memory.
//!
//! A run is the last [`RUN`] - 1 items of a history and the target, all distinct. Short common runs
//! are what every sequence model learns; five items in the same order are rare by chance and common
//! where accounts were merged, exported twice or made up. It is a suspicion, never an error: there
//! are data (albums, courses) in which everybody takes the same things in the same order.

use super::{Finding, Verdict};
use crate::stages::data::Data;
use sidereal_core::seed::mix;
use sidereal_core::{ItemId, UserId};

/// Items of a run, the target included.
const RUN: usize = 5;
/// From this share of the cases on, copies are worth a warning.
const SHARE: f64 = 0.01;
/// And from this number of cases on.
const CASES: usize = 5;

/// The findings `copied-runs` and `same-users`.
pub fn copies(data: &Data) -> Vec<Finding> {
    vec![copied_runs(data), same_users(data)]
}

fn sum(items: impl Iterator<Item = ItemId>) -> u64 {
    items.fold(0x5eed, |h, i| mix(h ^ u64::from(i.0)).rotate_left(5))
}

fn distinct(run: &[ItemId]) -> bool {
    run.iter().enumerate().all(|(i, a)| !run[..i].contains(a))
}

fn copied_runs(data: &Data) -> Finding {
    let check = "copied-runs";
    let set = &data.splits.test;
    let mut runs: Vec<(u64, UserId, u32)> = Vec::new();
    for c in 0..set.len() {
        let (history, Some(&target)) = (set.history(c), set.target(c).first()) else { continue };
        let Some(start) = history.len().checked_sub(RUN - 1) else { continue };
        let run = &history[start..];
        if distinct(run) && !run.contains(&target) {
            let key = sum(run.iter().copied().chain([target]));
            runs.push((key, set.user(c), c as u32));
        }
    }
    if runs.is_empty() {
        let text = format!("no test case has {} distinct items before its target", RUN - 1);
        return Finding::new(check, Verdict::Unknown, text);
    }
    runs.sort_unstable();
    // A bit for each run turns most windows away before the search.
    let bits = (runs.len() * 16).next_power_of_two().max(64);
    let mut known = vec![0u64; bits / 64];
    let bit = |key: u64| ((key as usize % bits) / 64, 1u64 << (key % 64));
    for (key, _, _) in &runs {
        let (word, mask) = bit(*key);
        known[word] |= mask;
    }
    let mut found = vec![false; set.len()];
    for (user, items) in data.train.iter() {
        for window in items.windows(RUN) {
            let key = sum(window.iter().copied());
            let (word, mask) = bit(key);
            if known[word] & mask == 0 {
                continue;
            }
            let start = runs.partition_point(|r| r.0 < key);
            let same = runs[start..].iter().take_while(|r| r.0 == key);
            same.filter(|r| r.1 != user).for_each(|r| found[r.2 as usize] = true);
        }
    }
    let copied = found.iter().filter(|f| **f).count();
    let share = copied as f64 / runs.len() as f64;
    let verdict = match copied >= CASES && share >= SHARE {
        true => Verdict::Suspicious,
        false => Verdict::Clean,
    };
    let text = format!(
        "{copied} of {} test cases end with {RUN} items that another user's training has in the \
         same order",
        runs.len()
    );
    Finding::new(check, verdict, text)
}

/// Users with the very same history.
fn same_users(data: &Data) -> Finding {
    let all = &data.dataset.interactions;
    let mut sums: Vec<u64> = all
        .iter()
        .filter(|(_, items)| items.len() >= RUN)
        .map(|(_, items)| sum(items.iter().copied()))
        .collect();
    let total = sums.len();
    sums.sort_unstable();
    sums.dedup();
    let twins = total - sums.len();
    let verdict = match twins >= CASES && twins as f64 >= SHARE * total as f64 {
        true => Verdict::Suspicious,
        false => Verdict::Clean,
    };
    let text =
        format!("{twins} of {total} users with {RUN} items and more repeat another user's history");
    Finding::new("same-users", verdict, text)
}
