//! No interaction plays two roles: what is held out neither trains nor stands in the history that
//! it follows, and what chooses the checkpoint does not test.
//!
//! Looking for the target among a user's training items would take a second purchase of the same
//! item for a leak. So occurrences are counted: where a user of the data took an item `n` times,
//! training, validation targets and test targets together have it at most `n` times. That holds for
//! any split, in any order, and needs no times. Cost: one pass over interactions and cases.

use super::{Finding, Verdict};
use crate::stages::data::Data;
use sidereal_core::{ItemId, UserId};
use sidereal_data::EvalSet;

/// Cases that break a rule, and the first of them for people.
#[derive(Default)]
struct Broken {
    cases: u64,
    first: Option<(UserId, ItemId)>,
}

impl Broken {
    fn add(&mut self, user: UserId, item: ItemId) {
        self.cases += 1;
        self.first.get_or_insert((user, item));
    }

    /// A finding of these cases; `what` goes on after their number.
    fn finding(self, check: &str, data: &Data, what: &str, clean: &str) -> Finding {
        let Some((user, item)) = self.first else {
            return Finding::new(check, Verdict::Clean, clean);
        };
        let user = data.dataset.user_ids.get(user.index());
        let item = data.dataset.items.id(item);
        let text = format!("{} {what}, the first: user {user}, item {item}", self.cases);
        Finding::new(check, Verdict::Leak, text)
    }
}

/// Numbers of the cases of a set, by user.
struct ByUser<'a> {
    set: &'a EvalSet,
    order: Vec<u32>,
    at: usize,
}

impl<'a> ByUser<'a> {
    fn new(set: &'a EvalSet) -> Self {
        let mut order: Vec<u32> = (0..set.len() as u32).collect();
        order.sort_by_key(|&c| set.user(c as usize));
        ByUser { set, order, at: 0 }
    }

    /// The cases of `user`; users must be asked for in order.
    fn next(&mut self, user: UserId) -> std::ops::Range<usize> {
        let before = |o: &u32| self.set.user(*o as usize) < user;
        let start = self.at + self.order[self.at..].partition_point(before);
        let same = |o: &u32| self.set.user(*o as usize) <= user;
        self.at = start + self.order[start..].partition_point(same);
        start..self.at
    }
}

/// Occurrences of items in one user's rows.
struct Counts {
    of: Vec<i64>,
    touched: Vec<ItemId>,
}

impl Counts {
    fn add(&mut self, item: ItemId, n: i64) -> i64 {
        self.touched.push(item);
        let count = &mut self.of[item.index()];
        *count += n;
        *count
    }

    fn clear(&mut self) {
        self.touched.drain(..).for_each(|i| self.of[i.index()] = 0);
    }
}

/// The findings `held-out-in-training`, `training-not-in-data`, `valid-is-test` and
/// `target-in-history`.
pub fn roles(data: &Data) -> Vec<Finding> {
    let all = &data.dataset.interactions;
    let n_items = data.dataset.items.len();
    let (mut trained, mut foreign, mut twice, mut shown) =
        (Broken::default(), Broken::default(), Broken::default(), Broken::default());
    let mut left = Counts { of: vec![0; n_items], touched: Vec::new() };
    let (mut valid_targets, mut test_targets) = (Vec::<ItemId>::new(), Vec::<ItemId>::new());
    let (mut valid, mut test) = (ByUser::new(&data.splits.valid), ByUser::new(&data.splits.test));
    for (user, items) in all.iter() {
        for &i in items {
            left.add(i, 1);
        }
        let trains = user.index() < data.train.len();
        for &i in if trains { data.train.items(user) } else { &[] } {
            if left.add(i, -1) < 0 {
                foreign.add(user, i);
            }
        }
        // A set of cases may ask for one interaction several times; it counts once.
        let distinct = |set: &ByUser<'_>, range: std::ops::Range<usize>, out: &mut Vec<ItemId>| {
            out.clear();
            for &c in &set.order[range] {
                out.extend_from_slice(set.set.target(c as usize));
            }
            out.sort_unstable();
            out.dedup();
        };
        let range = valid.next(user);
        distinct(&valid, range, &mut valid_targets);
        for &i in &valid_targets {
            if left.of[i.index()] <= 0 {
                trained.add(user, i);
            }
        }
        let range = test.next(user);
        distinct(&test, range, &mut test_targets);
        for &i in &test_targets {
            let validates = i64::from(valid_targets.binary_search(&i).is_ok());
            match left.of[i.index()] {
                ..=0 => trained.add(user, i),
                1 if validates == 1 => twice.add(user, i),
                _ => {}
            }
        }
        left.clear();
    }
    histories(data, &mut left, &mut shown);
    vec![
        foreign.finding(
            "training-not-in-data",
            data,
            "training interactions that their user never had",
            "every training interaction is one of the data",
        ),
        trained.finding(
            "held-out-in-training",
            data,
            "validation or test targets are training interactions too",
            "no target of validation or test trains",
        ),
        twice.finding(
            "valid-is-test",
            data,
            "test targets are validation targets too, so that the test chooses the checkpoint",
            "no test target chooses the checkpoint",
        ),
        shown.finding(
            "target-in-history",
            data,
            "cases have their target in the history that the model is shown",
            "no history holds the interaction that follows it",
        ),
    ]
}

/// Cases whose history has all occurrences of a target.
fn histories(data: &Data, left: &mut Counts, shown: &mut Broken) {
    let all = &data.dataset.interactions;
    for set in [&data.splits.valid, &data.splits.test] {
        for c in 0..set.len() {
            let user = set.user(c);
            for &i in all.items(user) {
                left.add(i, 1);
            }
            for &i in set.history(c) {
                left.add(i, -1);
            }
            if let Some(&i) = set.target(c).iter().find(|i| left.of[i.index()] <= 0) {
                shown.add(user, i);
            }
            left.clear();
        }
    }
}
