//! Histories to training sequences and evaluation cases.
//!
//! | name | cut |
//! |---|---|
//! | `leave-one-out` | last item of a user tests, the one before validates |
//! | `ratio` | shares of each user's history, in order |
//! | `global-time` | two points in time for all users |
//! | `given` | the split that the data came with |

pub mod given;
pub mod global_time;
pub mod leave_one_out;
pub mod ratio;

use crate::{Dataset, Part};
use serde::{Deserialize, Serialize};
use sidereal_core::{Catalog, Error, ItemId, RankedLists, Request, Result, Sequences, UserId};

/// Cuts a data set.
pub trait Splitter: Send + Sync {
    /// Training sequences of all U users and the evaluation cases.
    fn split(&self, data: &Dataset) -> Result<Splits>;

    /// What the split promises of times; leak checks hold it to that.
    fn order(&self) -> TimeOrder {
        TimeOrder::PerUser
    }
}

/// What trains before what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeOrder {
    /// No user trains on what came after one of the user's own targets.
    #[default]
    PerUser,
    /// No training interaction of anyone is as late as any target.
    Global,
    /// Nothing: parts were drawn or given.
    Free,
}

/// Registers every split of this crate.
pub fn register_splits(catalog: &mut Catalog<dyn Splitter>) -> Result<()> {
    leave_one_out::register(catalog)?;
    ratio::register(catalog)?;
    global_time::register(catalog)?;
    given::register(catalog)
}

/// Training sequences and evaluation cases.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Splits {
    /// Training histories of all U users, empty for some.
    pub train: Sequences,
    /// Cases for choosing a checkpoint.
    pub valid: EvalSet,
    /// Cases for the final figures.
    pub test: EvalSet,
    /// What was cut and what was left out.
    pub report: SplitReport,
}

/// What a split made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SplitReport {
    /// Interactions to train on.
    pub train_interactions: u64,
    /// Validation cases.
    pub valid_cases: u64,
    /// Test cases.
    pub test_cases: u64,
    /// Users in neither validation nor test.
    pub train_only_users: u64,
    /// Cases left out because the user has no history before them.
    pub cold_cases: u64,
}

/// C evaluation cases as columns: who, what they had before, what they took next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvalSet {
    /// User of each case.
    pub users: Vec<UserId>,
    /// History of each case, oldest first; row `c` belongs to case `c`, whatever its user.
    pub histories: Sequences,
    /// Relevant items of each case, distinct, in the order they were taken.
    pub targets: RankedLists,
}

impl EvalSet {
    /// Number of cases C.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no case.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// User of case `c`.
    pub fn user(&self, c: usize) -> UserId {
        self.users[c]
    }

    /// History of case `c`, oldest first.
    pub fn history(&self, c: usize) -> &[ItemId] {
        self.histories.items(UserId(c as u32))
    }

    /// Times of the history of case `c`, if known.
    pub fn times(&self, c: usize) -> Option<&[i64]> {
        self.histories.times(UserId(c as u32))
    }

    /// Relevant items of case `c`.
    pub fn target(&self, c: usize) -> &[ItemId] {
        self.targets.get(c)
    }

    /// Case `c` as a request that excludes nothing.
    pub fn request(&self, c: usize) -> Request<'_> {
        Request {
            user: Some(self.user(c)),
            history: self.history(c),
            times: self.times(c),
            ..Request::default()
        }
    }
}

/// Which items of a part are relevant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Targets {
    /// All items of the part, as a set.
    #[default]
    All,
    /// The first item of the part.
    Next,
}

/// Builds an [`EvalSet`] case by case.
struct Cases<'a> {
    from: &'a Sequences,
    users: Vec<UserId>,
    offsets: Vec<u64>,
    items: Vec<ItemId>,
    times: Option<Vec<i64>>,
    targets: RankedLists,
}

impl<'a> Cases<'a> {
    fn new(from: &'a Sequences) -> Self {
        Cases {
            from,
            users: Vec::new(),
            offsets: vec![0],
            items: Vec::new(),
            times: from.all_times().map(|_| Vec::new()),
            targets: RankedLists::new(),
        }
    }

    /// The first `history` items of the user lead to `targets`.
    fn push(&mut self, user: UserId, history: usize, targets: impl IntoIterator<Item = ItemId>) {
        self.users.push(user);
        self.items.extend_from_slice(&self.from.items(user)[..history]);
        if let (Some(all), Some(times)) = (&mut self.times, self.from.times(user)) {
            all.extend_from_slice(&times[..history]);
        }
        self.offsets.push(self.items.len() as u64);
        self.targets.push(targets);
    }

    fn finish(self) -> Result<EvalSet> {
        Ok(EvalSet {
            users: self.users,
            histories: Sequences::new(self.offsets, self.items, self.times)?,
            targets: self.targets,
        })
    }
}

/// Splits every history into a beginning to train on, a validation part, and an end that tests.
/// `cut(user)` gives the lengths of training and of training plus validation.
fn in_order(
    all: &Sequences,
    items_known: usize,
    targets: Targets,
    mut cut: impl FnMut(UserId) -> (usize, usize),
) -> Result<Splits> {
    let mut report = SplitReport::default();
    let (mut valid, mut test) = (Cases::new(all), Cases::new(all));
    let mut offsets = Vec::with_capacity(all.len() + 1);
    offsets.push(0u64);
    let mut items: Vec<ItemId> = Vec::with_capacity(all.all_items().len());
    let mut times = all.all_times().map(|t| Vec::with_capacity(t.len()));
    let mut seen = Distinct::new(items_known);
    for (user, history) in all.iter() {
        let (train, known) = cut(user);
        items.extend_from_slice(&history[..train]);
        if let (Some(out), Some(t)) = (&mut times, all.times(user)) {
            out.extend_from_slice(&t[..train]);
        }
        offsets.push(items.len() as u64);
        let mut cases = 0;
        for (set, from, to) in [(&mut valid, train, known), (&mut test, known, history.len())] {
            if from == to {
                continue;
            }
            if from == 0 {
                report.cold_cases += 1;
                continue;
            }
            cases += 1;
            match targets {
                Targets::All => set.push(user, from, seen.of(&history[from..to])),
                Targets::Next => set.push(user, from, [history[from]]),
            }
        }
        report.train_only_users += u64::from(cases == 0);
    }
    let splits = Splits {
        train: Sequences::new(offsets, items, times)?,
        valid: valid.finish()?,
        test: test.finish()?,
        report,
    };
    counted(splits)
}

/// Fills the counts; a split that tests nobody is an error.
fn counted(mut splits: Splits) -> Result<Splits> {
    let r = &mut splits.report;
    r.train_interactions = splits.train.all_items().len() as u64;
    r.valid_cases = splits.valid.len() as u64;
    r.test_cases = splits.test.len() as u64;
    if r.test_cases == 0 {
        return Err(Error::input(format!(
            "the split leaves no test case: {} users with {} training interactions, {} cases \
             without a history before them",
            splits.train.len(),
            r.train_interactions,
            r.cold_cases
        )));
    }
    Ok(splits)
}

/// Distinct items of short lists, in O(length) each.
struct Distinct {
    stamp: Vec<u32>,
    now: u32,
    out: Vec<ItemId>,
}

impl Distinct {
    fn new(items: usize) -> Self {
        Distinct { stamp: vec![0; items], now: 0, out: Vec::new() }
    }

    fn of(&mut self, items: &[ItemId]) -> std::iter::Copied<std::slice::Iter<'_, ItemId>> {
        self.now += 1;
        self.out.clear();
        for &i in items {
            if self.stamp[i.index()] != self.now {
                self.stamp[i.index()] = self.now;
                self.out.push(i);
            }
        }
        self.out.iter().copied()
    }
}

/// A share of a whole, refused outside `[0, 1)`.
fn share(key: &str, value: f64) -> Result<f64> {
    if (0.0..1.0).contains(&value) {
        return Ok(value);
    }
    Err(Error::config(key, format!("{value}: expected a share from 0 to below 1")))
}

/// Both shares, which must leave something to train on.
fn shares(valid: f64, test: f64) -> Result<(f64, f64)> {
    let (valid, test) = (share("data.split.valid", valid)?, share("data.split.test", test)?);
    if valid + test >= 1.0 {
        return Err(Error::config(
            "data.split",
            format!("valid = {valid} and test = {test} leave nothing to train on"),
        ));
    }
    Ok((valid, test))
}

/// Parts of a user's history must follow each other for a split in order.
fn parts_in_order(parts: &[Part]) -> bool {
    parts.windows(2).all(|w| w[0] as u8 <= w[1] as u8)
}

#[cfg(test)]
mod tests;
