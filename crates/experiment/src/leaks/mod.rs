//! Whether anything of the targets reached what was trained: every run asks, and says so in
//! `metrics.json` (`leak_check`).
//!
//! | check | question | how |
//! |---|---|---|
//! | `training-not-in-data` | does training hold interactions that its users never had? | counts |
//! | `held-out-in-training` | does a target of validation or test train? | counts |
//! | `valid-is-test` | does a test target choose the checkpoint? | counts |
//! | `target-in-history` | is the model shown its target? | counts |
//! | `later-of-the-user` | does a user train on what came after a target? | places |
//! | `future-in-training` | does a split in time train on the future? | times |
//! | `popularity` | do counts of items hold held-out interactions? | counts |
//! | `read-by-STAGE` | what did the stage read when it worked? | [`provenance`] |
//! | `copied-runs`, `same-users` | do other users repeat the test cases? | statistics |
//! | `item-numbers`, `ties` | do ties by score favour the targets? | statistics |
//! | `texts` | do texts name the targets or their users? | statistics |
//!
//! What is counted or compared is certain: it ends the run (`evaluate.leak_check`). What is
//! statistics is a warning. [`counterfactual`] asks the general question of whole stages: with other
//! test targets, does anything upstream change?

mod content;
mod copies;
pub mod counterfactual;
mod mentions;
mod numbering;
pub mod provenance;
mod roles;
mod times;

pub use content::Content;
pub use provenance::{Expected, Input, Provenance};

use crate::results::Results;
use crate::stages::Context;
use crate::stages::data::Data;
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, Event, ItemId, Result};
use sidereal_data::TimeOrder;
use std::fmt;

/// What a leak does to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeakPolicy {
    /// It ends the run; suspicions are warnings.
    #[default]
    Error,
    /// It is a warning.
    Warn,
    /// Nothing is checked.
    Off,
}

/// Answer to one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing was found.
    Clean,
    /// It cannot be told; the text says why.
    Unknown,
    /// More than chance explains.
    Suspicious,
    /// Certain.
    Leak,
}

/// One check and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check, as in `target-in-history`.
    pub check: String,
    /// The answer.
    pub verdict: Verdict,
    /// Figures, and the first case.
    pub text: String,
}

impl Finding {
    /// A finding of `check`.
    pub fn new(check: &str, verdict: Verdict, text: impl Into<String>) -> Self {
        Finding { check: check.into(), verdict, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.text)
    }
}

/// All findings of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakCheck {
    /// What a leak was allowed to do.
    pub policy: LeakPolicy,
    /// In the order of the stages; none where nothing was checked.
    pub findings: Vec<Finding>,
}

impl LeakCheck {
    /// Findings with a verdict.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |f| f.verdict == verdict)
    }

    /// The gravest verdict; none where nothing was checked.
    pub fn worst(&self) -> Option<Verdict> {
        self.findings.iter().map(|f| f.verdict).max()
    }
}

impl fmt::Display for LeakCheck {
    /// One line, as in `leak check: clean (14 checks)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.findings.is_empty() {
            return f.write_str("leak check: off");
        }
        let names = |v| self.with(v).map(|f| f.check.as_str()).collect::<Vec<_>>();
        let mut parts = Vec::new();
        for (verdict, what) in [(Verdict::Leak, "LEAK"), (Verdict::Suspicious, "suspicious")] {
            let found = names(verdict);
            if !found.is_empty() {
                parts.push(format!("{what}: {}", found.join(", ")));
            }
        }
        if parts.is_empty() {
            parts.push("clean".into());
        }
        write!(f, "leak check: {} ({} checks", parts.join("; "), self.findings.len())?;
        match names(Verdict::Unknown) {
            unknown if unknown.is_empty() => f.write_str(")"),
            unknown => write!(f, ", not told: {})", unknown.join(", ")),
        }
    }
}

/// Collects findings while a run goes on.
pub struct Guard<'a> {
    cx: &'a Context<'a>,
    policy: LeakPolicy,
    expected: Option<Expected>,
    provenance: Vec<Provenance>,
    check: LeakCheck,
}

impl<'a> Guard<'a> {
    /// Checks data and split.
    ///
    /// Errors: a leak, where `evaluate.leak_check = "error"`; a split with items or users that the
    /// data do not have.
    pub fn new(cx: &'a Context<'a>, data: &Data) -> Result<Self> {
        let policy = cx.plan.evaluate.options.leak_check;
        let check = LeakCheck { policy, findings: Vec::new() };
        let mut guard = Guard { cx, policy, expected: None, provenance: Vec::new(), check };
        if policy == LeakPolicy::Off {
            return Ok(guard);
        }
        guard.expected = Some(Expected::of(data));
        for finding in of_data(data, cx.plan.split.built.order())? {
            guard.add(finding)?;
        }
        Ok(guard)
    }

    /// Checks what a stage read.
    pub fn stage(&mut self, provenance: Provenance) -> Result<()> {
        let finding = self.expected.as_ref().map(|e| e.judge(&provenance));
        self.provenance.push(provenance);
        finding.map_or(Ok(()), |f| self.add(f))
    }

    /// Checks how many of the test lists are ordered by item numbers alone.
    pub fn lists(&mut self, results: &Results) -> Result<()> {
        let test = results.protocol.test.clone().unwrap_or_default();
        match self.policy {
            LeakPolicy::Off => Ok(()),
            _ => self.add(numbering::ties(test.tied_lists, test.cases)),
        }
    }

    /// All findings, and what the stages read.
    pub fn finish(self) -> (LeakCheck, Vec<Provenance>) {
        (self.check, self.provenance)
    }

    fn add(&mut self, finding: Finding) -> Result<()> {
        match (finding.verdict, self.policy) {
            (Verdict::Leak, LeakPolicy::Error) => {
                return Err(Error::input(format!(
                    "leak check, {finding}; the figures of the test would mean nothing. \
                     evaluate.leak_check = \"warn\" goes on all the same"
                )));
            }
            (Verdict::Leak | Verdict::Suspicious, _) => {
                self.cx.run.emit(Event::Warning(&format!("leak check, {finding}")));
            }
            _ => {}
        }
        self.check.findings.push(finding);
        Ok(())
    }
}

/// Checks of data and split.
///
/// Errors: a split with items or users that the data do not have.
pub fn of_data(data: &Data, order: TimeOrder) -> Result<Vec<Finding>> {
    in_range(data)?;
    let mut findings = roles::roles(data);
    findings.extend(times::times(data, order));
    findings.push(popularity(data));
    findings.extend(copies::copies(data));
    findings.push(numbering::numbering(data));
    findings.push(mentions::mentions(data));
    Ok(findings)
}

fn popularity(data: &Data) -> Finding {
    let n = data.dataset.items.len();
    let check = "popularity";
    if data.popularity == data.train.popularity(n) {
        return Finding::new(check, Verdict::Clean, "counts of items are those of training");
    }
    let text = match data.popularity == data.dataset.interactions.popularity(n) {
        true => "counts of items are those of all interactions, test included",
        false => "counts of items are not those of training",
    };
    Finding::new(check, Verdict::Leak, text)
}

/// Splits of other crates are held to the trait's promise.
fn in_range(data: &Data) -> Result<()> {
    let (n, users) = (data.dataset.items.len(), data.dataset.interactions.len());
    let sets = [&data.splits.valid, &data.splits.test];
    let item = |i: &&ItemId| i.index() >= n;
    let held_out =
        sets.iter().flat_map(|s| s.histories.all_items().iter().chain(s.targets.iter().flatten()));
    if let Some(bad) = data.train.all_items().iter().chain(held_out).find(item) {
        return Err(Error::mismatch(format!("the split holds item {} of {n}", bad.0)));
    }
    if data.train.len() > users {
        return Err(Error::mismatch(format!(
            "the split has {} training histories for {users} users",
            data.train.len()
        )));
    }
    let user = sets.iter().flat_map(|s| &s.users).find(|u| u.index() >= users);
    match user {
        Some(bad) => Err(Error::mismatch(format!("the split holds user {} of {users}", bad.0))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
