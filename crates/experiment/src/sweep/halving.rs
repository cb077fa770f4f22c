//! Successive halving: all cases with few resources, the best with more, until one is left.
//!
//! Non-stochastic Best Arm Identification and Hyperparameter Optimization (Jamieson and Talwalkar,
//! AISTATS 2016, arXiv 1502.07943); `eta` as in Hyperband (arXiv 1603.06560), of which this is one
//! bracket. Rung i has `from * eta^i` of the resource, the last one `to`; the best `1/eta` of a
//! rung, rounded down and at least one, go on. Of the last rung one case is chosen.
//!
//! Runs of a rung end with training: cases are compared by the validation metric that chooses
//! their checkpoint (`evaluate.select`), and the test cases of those that fall are never looked at.
//! Only the chosen case is evaluated. The mean over the seeds decides, ties go to the case that
//! stands first, and a case of which a run failed falls.
//!
//! Deviation: the paper goes on with the survivors' state. Here every rung trains anew, since the
//! learning rate may depend on the length of the training (warm-up, cosine, patience): the chosen
//! case is then the same as a run of its own. With eta 3 that costs a survivor at most half as
//! much again.

use super::file::{Case, Until};
use super::summary::{RunRow, State, Summary};
use super::{Job, Lookout, Place, Sweep, SweepOptions};
use crate::{Plan, Registry};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sidereal_core::{Error, Result, files};
use sidereal_metrics::Direction;

/// `[sweep.halving]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halving {
    /// One in so many cases goes on, 2 and up.
    pub eta: u64,
    /// `train.epochs` or `train.max_steps`.
    pub resource: String,
    /// Of the first rung, 1 and up.
    pub from: u64,
    /// Of the last rung, above `from`.
    pub to: u64,
}

/// A rung: what its cases have, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// Of the resource.
    pub resource: u64,
    /// Cases that come to it.
    pub cases: usize,
}

impl Halving {
    /// The rungs of so many cases, from the first on. Where one case is left, only the last rung
    /// follows.
    pub fn rungs(&self, cases: usize) -> Vec<Rung> {
        let (mut out, mut cases, mut resource) = (Vec::new(), cases.max(1), self.from);
        while resource < self.to && cases > 1 {
            out.push(Rung { resource, cases });
            cases = (cases / self.eta as usize).max(1);
            resource = resource.saturating_mul(self.eta);
        }
        out.push(Rung { resource: self.to, cases });
        out
    }
}

/// The best `keep` cases in their order; ties go to the first, cases without a value never go on.
pub fn survivors(values: &[Option<f64>], direction: Direction, keep: usize) -> Vec<usize> {
    let mut all: Vec<(usize, f64)> =
        values.iter().enumerate().filter_map(|(i, v)| Some((i, (*v)?))).collect();
    // A stable sort: among equals the first stays first.
    all.sort_by(|a, b| match direction {
        Direction::HigherIsBetter => b.1.total_cmp(&a.1),
        Direction::LowerIsBetter => a.1.total_cmp(&b.1),
    });
    let mut best: Vec<usize> = all.into_iter().take(keep).map(|(i, _)| i).collect();
    best.sort_unstable();
    best
}

/// What chooses between the cases of a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The metric on validation cases, `evaluate.select` of every case.
    pub metric: String,
    /// Whether more of it is better.
    pub higher_is_better: bool,
}

impl Choice {
    /// Of a sweep whose cases all choose by one metric on the same validation cases; none where
    /// they do not.
    pub fn of(registry: &Registry, sweep: &Sweep) -> Result<Option<Self>> {
        let mut all = Vec::new();
        for case in &sweep.cases {
            let plan = Plan::resolve(registry, &case.config)?;
            let direction = plan.evaluate.select.as_ref().map(|m| m.direction());
            let metric = plan.evaluate.select.as_ref().map_or("loss".into(), |m| m.name());
            let higher_is_better = direction == Some(Direction::HigherIsBetter);
            let on = json!([
                plan.evaluate.select_identity,
                plan.evaluate.options.exclude_seen,
                plan.model.as_ref().map(|m| (m.train.validate_width, m.train.validate_cases)),
                plan.source.identity(),
                plan.split.identity(),
            ]);
            all.push((Choice { metric, higher_is_better }, on));
        }
        all.dedup();
        Ok(if all.len() == 1 { all.pop().map(|c| c.0) } else { None })
    }

    /// The same, where there must be one.
    pub(super) fn required(registry: &Registry, sweep: &Sweep) -> Result<Self> {
        Choice::of(registry, sweep)?.ok_or_else(|| {
            let message = "cases are compared by one metric on the same validation cases; here \
                           evaluate.select, evaluate.exclude_seen, train.validate_width, \
                           train.validate_cases or [data] differ";
            Error::config("sweep.halving", message)
        })
    }

    /// Which way is better.
    pub fn direction(&self) -> Direction {
        match self.higher_is_better {
            true => Direction::HigherIsBetter,
            false => Direction::LowerIsBetter,
        }
    }
}

/// A case on a rung.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The case.
    pub case: String,
    /// Mean of the validation metric over the seeds; none where a run failed.
    pub valid: Option<f64>,
    /// Whether it went on; on the last rung, whether it was chosen.
    pub kept: bool,
}

/// A rung as it came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RungResult {
    /// Of the resource.
    pub resource: u64,
    /// Its cases in the order of the file.
    pub cases: Vec<Standing>,
}

/// All rungs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bracket {
    /// What chose.
    pub choice: Choice,
    /// The key that grows.
    pub resource: String,
    /// Rungs that are done.
    pub rungs: Vec<RungResult>,
}

impl Bracket {
    /// The case that was chosen on the last rung, once it was.
    pub fn chosen(&self) -> Option<&str> {
        let last = self.rungs.last()?;
        let mut kept = last.cases.iter().filter(|c| c.kept);
        let first = kept.next()?;
        kept.next().is_none().then_some(first.case.as_str())
    }

    /// Header and cells: of each case its value on every rung and where it fell.
    pub fn cells(&self) -> Vec<Vec<String>> {
        let short = self.resource.rsplit('.').next().unwrap_or(&self.resource);
        let mut rows = vec![vec!["case".to_string()]];
        let metric = &self.choice.metric;
        let heads = self.rungs.iter().map(|r| format!("valid {metric}, {short}={}", r.resource));
        rows[0].extend(heads);
        rows[0].push("falls at".into());
        for first in self.rungs.first().map_or(&[][..], |r| &r.cases) {
            let on = |r: &RungResult| r.cases.iter().find(|c| c.case == first.case).cloned();
            let mut row = vec![first.case.clone()];
            for rung in &self.rungs {
                row.push(match on(rung) {
                    None => "".into(),
                    Some(c) => c.valid.map_or("failed".into(), |v| format!("{v:.4}")),
                });
            }
            let fell = self.rungs.iter().find(|r| on(r).is_some_and(|c| !c.kept));
            row.push(match fell {
                Some(rung) => format!("{short}={}", rung.resource),
                None if self.chosen() == Some(&first.case) => "chosen".into(),
                None => "".into(),
            });
            rows.push(row);
        }
        rows
    }
}

impl Sweep {
    /// The sweep of a rung: its runs end with training.
    pub fn rung(&self, halving: &Halving, resource: u64) -> Result<Sweep> {
        let cases = self.with_resource(halving, resource)?;
        Ok(Sweep { cases, until: Until::Training, ..self.clone() })
    }

    /// Every case with `resource` of what is halved.
    pub fn with_resource(&self, halving: &Halving, resource: u64) -> Result<Vec<Case>> {
        let with = |case: &Case| {
            let mut case = case.clone();
            case.config.put(&halving.resource, resource.into(), "[sweep.halving]")?;
            Ok(case)
        };
        self.cases.iter().map(with).collect()
    }
}

/// Folder of a rung in the sweep's.
pub fn rung_folder(halving: &Halving, resource: u64) -> String {
    let short = halving.resource.rsplit('.').next().unwrap_or(&halving.resource);
    format!("rungs/{short}={resource}")
}

/// Goes through the rungs and evaluates the case that is left. `look` makes what tells the memory
/// of a rung's runs, `run` runs one, given the resource of its rung where it is on one, `done`
/// hears of each.
///
/// Errors: those of a sweep; a choice that the cases do not share; a rung on which every case
/// failed.
pub fn halve<'l>(
    registry: &Registry,
    sweep: &Sweep,
    halving: &Halving,
    options: &SweepOptions,
    look: impl Fn(&Sweep, &SweepOptions) -> Result<Option<Lookout<'l>>>,
    run: impl Fn(&Job<'_>, &Place<'_>, Option<u64>) -> Result<()> + Sync,
    mut done: impl FnMut(&RunRow) -> Result<()>,
) -> Result<Summary> {
    let choice = Choice::required(registry, sweep)?;
    let mut bracket = Bracket { choice, resource: halving.resource.clone(), rungs: Vec::new() };
    let mut left = sweep.clone();
    let rungs = halving.rungs(sweep.cases.len());
    for (at, rung) in rungs.iter().enumerate() {
        let on = left.rung(halving, rung.resource)?;
        let out = options.out.join(rung_folder(halving, rung.resource));
        let options_ = SweepOptions { out, ..options.clone() };
        let mut lookout = look(&on, &options_)?;
        let each = |job: &Job<'_>, place: &Place<'_>| run(job, place, Some(rung.resource));
        let summary = super::sweep(registry, &on, &options_, lookout.as_mut(), each, &mut done)?;
        let values: Vec<Option<f64>> =
            left.cases.iter().map(|c| mean(&summary, &c.name, &bracket.choice.metric)).collect();
        let keep = rungs.get(at + 1).map_or(1, |next| next.cases);
        let kept = survivors(&values, bracket.choice.direction(), keep);
        let standing = |(i, case): (usize, &Case)| Standing {
            case: case.name.clone(),
            valid: values[i],
            kept: kept.contains(&i),
        };
        let cases: Vec<Standing> = left.cases.iter().enumerate().map(standing).collect();
        bracket.rungs.push(RungResult { resource: rung.resource, cases });
        if kept.is_empty() {
            let first = summary.runs.iter().find_map(|r| match &r.state {
                State::Failed(error) => Some(format!("{}, seed {}: {error}", r.case, r.seed)),
                State::Finished => None,
            });
            return Err(Error::mismatch(format!(
                "every case failed with {}={}: {}",
                halving.resource,
                rung.resource,
                first.unwrap_or_default()
            )));
        }
        left.cases = kept.iter().map(|&i| left.cases[i].clone()).collect();
        write(options, &Summary { bracket: Some(bracket.clone()), ..Summary::new(&sweep.name) })?;
    }
    let cases = left.with_resource(halving, halving.to)?;
    let last = Sweep { cases, until: Until::Evaluation, ..left };
    let mut lookout = look(&last, options)?;
    let each = |job: &Job<'_>, place: &Place<'_>| run(job, place, None);
    let summary = super::sweep(registry, &last, options, lookout.as_mut(), each, &mut done)?;
    let summary = Summary { bracket: Some(bracket), ..summary };
    write(options, &summary)?;
    Ok(summary)
}

fn write(options: &SweepOptions, summary: &Summary) -> Result<()> {
    files::write_json(&options.out.join("summary.json"), summary)?;
    files::write_bytes(&options.out.join("table.md"), summary.to_markdown().as_bytes())
}

/// Mean of a case's validation metric over its seeds; none where a run failed.
fn mean(summary: &Summary, case: &str, metric: &str) -> Option<f64> {
    let runs: Vec<&RunRow> = summary.runs.iter().filter(|r| r.case == case).collect();
    let values: Option<Vec<f64>> = runs.iter().map(|r| r.valid.get(metric).copied()).collect();
    let values = values.filter(|v| !v.is_empty())?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{HigherIsBetter, LowerIsBetter};

    fn rungs(eta: u64, from: u64, to: u64, cases: usize) -> Vec<(u64, usize)> {
        let halving = Halving { eta, resource: "train.epochs".into(), from, to };
        halving.rungs(cases).iter().map(|r| (r.resource, r.cases)).collect()
    }

    #[test]
    fn brackets_by_hand() {
        // The first bracket of the table in the Hyperband paper: R = 81, eta = 3.
        let paper = [(1, 81), (3, 27), (9, 9), (27, 3), (81, 1)];
        assert_eq!(rungs(3, 1, 81, 81), paper);
        assert_eq!(rungs(3, 3, 81, 34), [(3, 34), (9, 11), (27, 3), (81, 1)]);
        assert_eq!(rungs(2, 5, 30, 9), [(5, 9), (10, 4), (20, 2), (30, 1)]);
        // Several cases on the last rung; rungs with a single case are passed over.
        assert_eq!(rungs(3, 4, 12, 20), [(4, 20), (12, 6)]);
        assert_eq!(rungs(4, 1, 64, 5), [(1, 5), (64, 1)]);
        assert_eq!(rungs(3, 1, 9, 1), [(9, 1)]);
    }

    #[test]
    fn the_best_go_on_in_their_order() {
        let values = [Some(0.2), None, Some(0.5), Some(0.2), Some(0.4)];
        assert_eq!(survivors(&values, HigherIsBetter, 2), [2, 4]);
        assert_eq!(survivors(&values, HigherIsBetter, 3), [0, 2, 4]);
        assert_eq!(survivors(&values, LowerIsBetter, 1), [0]);
        assert_eq!(survivors(&values, LowerIsBetter, 9), [0, 2, 3, 4]);
        assert_eq!(survivors(&[None, None], HigherIsBetter, 1), [0; 0]);
    }

    /// A case that is best on the test and nowhere on validation falls.
    #[test]
    fn the_test_has_no_say() {
        let row = |case: &str, seed, valid: f64, test: f64| RunRow {
            state: State::Finished,
            valid: [("ndcg@10".to_string(), valid)].into(),
            test: [("ndcg@10".to_string(), test)].into(),
            ..RunRow::failed(case, seed, std::path::Path::new("x"), &Error::input(""))
        };
        let runs = vec![
            row("favoured", 0, 0.10, 0.99),
            row("good", 0, 0.30, 0.20),
            row("favoured", 1, 0.30, 0.99),
            row("good", 1, 0.12, 0.20),
            row("half", 0, 0.90, 0.90),
            RunRow::failed("half", 1, std::path::Path::new("x"), &Error::input("broken")),
        ];
        let summary = Summary { runs, ..Summary::new("s") };
        let of = |case: &str| mean(&summary, case, "ndcg@10");
        assert_eq!([of("favoured"), of("good"), of("half")], [Some(0.2), Some(0.21), None]);
        let values = ["favoured", "good", "half"].map(of);
        assert_eq!(survivors(&values, HigherIsBetter, 1), [1]);
    }
}
