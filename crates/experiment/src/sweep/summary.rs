//! What a sweep found: a row a run, a line a case.

use super::halving::{Bracket, Choice, survivors};
use crate::Protocol;
use crate::protocol::Difference;
use crate::results::Results;
use crate::run::Validated;
use crate::stages::sids;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sidereal_core::{Error, Result, files};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// With results.
    Finished,
    /// With this error.
    Failed(String),
}

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// Name of the case.
    pub case: String,
    /// Seed of the run.
    pub seed: u64,
    /// The run folder.
    pub folder: PathBuf,
    /// How it ended.
    pub state: State,
    /// Metrics on the validation cases.
    pub valid: BTreeMap<String, f64>,
    /// Metrics on the test cases.
    pub test: BTreeMap<String, f64>,
    /// Figures of the IDs, where the run has any.
    pub ids: BTreeMap<String, f64>,
    /// Seconds of the run as it was first done.
    pub seconds: Option<f64>,
    /// What the figures mean; none in summaries of earlier versions.
    #[serde(default)]
    pub protocol: Option<Protocol>,
}

impl RunRow {
    /// Reads a finished run's folder.
    pub fn finished(case: &str, seed: u64, folder: &Path) -> Result<Self> {
        let results: Results = files::read_json(&folder.join("metrics.json"))?;
        let report: Option<Value> = match folder.join(sids::REPORT) {
            path if path.is_file() => Some(files::read_json(&path)?),
            _ => None,
        };
        let times: Option<Value> = files::read_json(&folder.join("summary.json")).ok();
        Ok(RunRow {
            case: case.into(),
            seed,
            folder: folder.into(),
            state: State::Finished,
            valid: results.valid,
            test: results.test,
            ids: report.as_ref().map(figures).unwrap_or_default(),
            seconds: times.and_then(|t| t["seconds"].as_f64()),
            protocol: Some(results.protocol),
        })
    }

    /// Reads the folder of a run that ended with training.
    pub fn validated(case: &str, seed: u64, folder: &Path) -> Result<Self> {
        let found: Validated = files::read_json(&folder.join(Validated::FILE))?;
        Ok(RunRow {
            state: State::Finished,
            valid: BTreeMap::from([(found.metric, found.value)]),
            seconds: Some(found.seconds),
            ..RunRow::failed(case, seed, folder, &Error::input(""))
        })
    }

    /// A run that came to nothing.
    pub fn failed(case: &str, seed: u64, folder: &Path, error: &Error) -> Self {
        RunRow {
            case: case.into(),
            seed,
            folder: folder.into(),
            state: State::Failed(error.to_string()),
            valid: BTreeMap::new(),
            test: BTreeMap::new(),
            ids: BTreeMap::new(),
            seconds: None,
            protocol: None,
        }
    }
}

/// Figures of `sid_report.json` that a table has room for.
fn figures(report: &Value) -> BTreeMap<String, f64> {
    let mut out = BTreeMap::new();
    // Codes before a digit that only tells items apart, where they are known.
    let codes = if report["codes"].is_object() { &report["codes"] } else { &report["ids"] };
    let mut add = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            out.insert(name.to_string(), value);
        }
    };
    let levels = codes["levels"].as_array().map_or(&[][..], Vec::as_slice);
    add("levels", (!levels.is_empty()).then_some(levels.len() as f64));
    add("collisions", codes["collision_rate"].as_f64());
    add("largest bucket", codes["largest_bucket"].as_f64());
    let even = |l: &Value| {
        let width = l["width"].as_f64()?;
        let entropy = l["entropy"].as_f64()?;
        Some(if width > 1.0 { entropy / width.ln() } else { 1.0 })
    };
    let each: Option<Vec<f64>> = levels.iter().map(even).collect();
    let mean = each.filter(|e| !e.is_empty()).map(|e| e.iter().sum::<f64>() / e.len() as f64);
    add("evenness", mean);
    add("residual", levels.last().and_then(|l| l["relative_residual"].as_f64()));
    add("structure bits", report["prediction"]["structure_bits"].as_f64());
    out
}

/// Everything a sweep found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the sweep.
    pub name: String,
    /// Runs in the order of the work.
    pub runs: Vec<RunRow>,
    /// What chooses between the cases of a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// The rungs of successive halving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bracket: Option<Bracket>,
}

/// The case of a search that validation chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The case.
    pub case: String,
    /// The choosing metric.
    pub metric: String,
    /// Its mean on validation cases.
    pub valid: f64,
    /// Means on test cases.
    pub test: BTreeMap<String, f64>,
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let test: Vec<String> = self.test.iter().map(|(n, v)| format!("{n} {v:.4}")).collect();
        let (case, metric, valid) = (&self.case, &self.metric, self.valid);
        write!(
            f,
            "chosen on validation: {case} ({metric} {valid:.4}); its test {}",
            test.join(", ")
        )
    }
}

/// A column of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name of the figure.
    pub name: String,
    /// What it shows.
    pub kind: Kind,
}

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The choosing metric on the validation cases.
    Valid,
    /// A metric on the test cases.
    Metric,
    /// A figure of the IDs.
    Ids,
}

impl Kind {
    fn of(self, run: &RunRow) -> &BTreeMap<String, f64> {
        match self {
            Kind::Valid => &run.valid,
            Kind::Metric => &run.test,
            Kind::Ids => &run.ids,
        }
    }
}

/// A line of the table: one case over its seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseRow {
    /// Name of the case.
    pub case: String,
    /// Runs that finished.
    pub runs: usize,
    /// Runs that failed.
    pub failed: usize,
    /// Values of each column over the seeds.
    pub values: Vec<Vec<f64>>,
}

impl Column {
    fn head(&self) -> String {
        match self.kind {
            Kind::Valid => format!("valid {}", self.name),
            _ => self.name.clone(),
        }
    }
}

impl Summary {
    /// No run yet.
    pub fn new(name: &str) -> Self {
        Summary { name: name.into(), runs: Vec::new(), choice: None, bracket: None }
    }

    /// Columns in the order of the table: what chooses in a search, metrics, figures of the IDs.
    pub fn columns(&self) -> Vec<Column> {
        let mut out: Vec<Column> = Vec::new();
        if let Some(choice) = &self.choice {
            let known = self.runs.iter().any(|r| r.valid.contains_key(&choice.metric));
            out.extend(known.then(|| Column { name: choice.metric.clone(), kind: Kind::Valid }));
        }
        for kind in [Kind::Metric, Kind::Ids] {
            for run in &self.runs {
                for name in kind.of(run).keys() {
                    let column = Column { name: name.clone(), kind };
                    if !out.contains(&column) {
                        out.push(column);
                    }
                }
            }
        }
        out
    }

    /// A line a case, in the order of the file.
    pub fn cases(&self, columns: &[Column]) -> Vec<CaseRow> {
        let mut out: Vec<CaseRow> = Vec::new();
        for run in &self.runs {
            let at = out.iter().position(|c| c.case == run.case).unwrap_or_else(|| {
                out.push(CaseRow {
                    case: run.case.clone(),
                    runs: 0,
                    failed: 0,
                    values: vec![Vec::new(); columns.len()],
                });
                out.len() - 1
            });
            match run.state {
                State::Finished => out[at].runs += 1,
                State::Failed(_) => out[at].failed += 1,
            }
            for (values, column) in out[at].values.iter_mut().zip(columns) {
                values.extend(column.kind.of(run).get(&column.name));
            }
        }
        out
    }

    /// Header and cells of the table: mean, and ± standard deviation over several seeds.
    pub fn cells(&self) -> Vec<Vec<String>> {
        let columns = self.columns();
        let mut rows = vec![vec!["case".to_string(), "seeds".into()]];
        rows[0].extend(columns.iter().map(Column::head));
        for case in self.cases(&columns) {
            let seeds = match case.failed {
                0 => case.runs.to_string(),
                failed => format!("{} ({failed} failed)", case.runs),
            };
            let mut row = vec![case.case, seeds];
            row.extend(case.values.iter().map(|v| cell(v)));
            rows.push(row);
        }
        rows
    }

    /// The case that is best on validation, by the mean over its seeds; the first of several. Cases
    /// with fewer finished runs than others are left out. None where nothing is chosen, and where
    /// the choosing metric is none of `evaluate.metrics`.
    pub fn chosen(&self) -> Option<Chosen> {
        let choice = self.choice.as_ref()?;
        let (metric, direction) = (choice.metric.clone(), choice.direction());
        let columns = [Column { name: metric.clone(), kind: Kind::Valid }];
        let cases = self.cases(&columns);
        let most = cases.iter().map(|c| c.values[0].len()).max().filter(|n| *n > 0)?;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let values: Vec<Option<f64>> =
            cases.iter().map(|c| (c.values[0].len() == most).then(|| mean(&c.values[0]))).collect();
        let best = *survivors(&values, direction, 1).first()?;
        let case = cases[best].case.clone();
        let columns: Vec<Column> =
            self.columns().into_iter().filter(|c| c.kind == Kind::Metric).collect();
        let rows = self.cases(&columns);
        let row = rows.iter().find(|r| r.case == case)?;
        let named = columns.iter().zip(&row.values).filter(|(_, v)| !v.is_empty());
        let test = named.map(|(c, v)| (c.name.clone(), mean(v))).collect();
        Some(Chosen { case, metric, valid: values[best]?, test })
    }

    /// What stands under the table of a search.
    pub fn verdict(&self) -> Option<String> {
        let choice = self.choice.as_ref()?;
        Some(match self.chosen() {
            Some(chosen) => chosen.to_string(),
            None => format!("nothing is chosen: no run has {} on validation cases", choice.metric),
        })
    }

    /// Cases whose figures may not stand beside those of the first run that finished, with the
    /// reasons.
    pub fn mixed(&self) -> Vec<Mixed> {
        let of = |run: &&RunRow| run.protocol.is_some();
        let Some(first) = self.runs.iter().find(of) else { return Vec::new() };
        let mut out: Vec<Mixed> = Vec::new();
        for run in self.runs.iter().filter(of) {
            let (Some(a), Some(b)) = (&first.protocol, &run.protocol) else { continue };
            let found = a.compare(b);
            if !found.comparable() && out.iter().all(|m| m.case != run.case) {
                let (case, first) = (run.case.clone(), first.case.clone());
                out.push(Mixed { case, first, differences: found.decisive });
            }
        }
        out
    }

    /// The table as Markdown, after that of the rungs; what was chosen, and what may not be
    /// compared.
    pub fn to_markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let table = |rows: Vec<Vec<String>>| {
            let mut out = line(&rows[0]);
            out.push_str(&format!("|---|{}\n", "--:|".repeat(rows[0].len() - 1)));
            rows[1..].iter().for_each(|row| out.push_str(&line(row)));
            out
        };
        let mut out = String::new();
        if let Some(bracket) = &self.bracket {
            out.push_str(&format!("{}\n", table(bracket.cells())));
        }
        out.push_str(&table(self.cells()));
        if let Some(verdict) = self.verdict() {
            out.push_str(&format!("\n{verdict}\n"));
        }
        for mixed in self.mixed() {
            out.push_str(&format!("\n{mixed}\n"));
        }
        out
    }
}

/// A case of another protocol than the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mixed {
    /// The case.
    pub case: String,
    /// The case that it was held against.
    pub first: String,
    /// What forbids the comparison; the first's value comes first.
    pub differences: Vec<Difference>,
}

impl fmt::Display for Mixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<String> = self.differences.iter().map(ToString::to_string).collect();
        write!(f, "not comparable: `{}` and `{}` ({})", self.first, self.case, list.join("; "))
    }
}

/// Mean, and the spread where there is one.
fn cell(values: &[f64]) -> String {
    let n = values.len() as f64;
    if values.is_empty() {
        return "-".into();
    }
    let mean = values.iter().sum::<f64>() / n;
    let spread = match values.len() {
        1 => 0.0,
        _ => (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt(),
    };
    let number = |v: f64| {
        if v.fract() == 0.0 && v.abs() >= 1.0 { format!("{v}") } else { format!("{v:.4}") }
    };
    match values.iter().all(|v| *v == values[0]) {
        true => number(mean),
        false => format!("{mean:.4} ± {spread:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::SeenItems;

    fn run(case: &str, seed: u64, recall: Option<f64>) -> RunRow {
        match recall {
            None => RunRow::failed(case, seed, Path::new("x"), &Error::input("broken")),
            Some(r) => RunRow {
                state: State::Finished,
                test: BTreeMap::from([("recall@10".into(), r)]),
                ids: BTreeMap::from([("levels".into(), 3.0)]),
                ..RunRow::failed(case, seed, Path::new("x"), &Error::input(""))
            },
        }
    }

    #[test]
    fn means_spreads_and_failures() {
        let runs = vec![
            run("a", 0, Some(0.1)),
            run("b", 0, None),
            run("a", 1, Some(0.2)),
            run("b", 1, Some(0.4)),
        ];
        let summary = Summary { runs, ..Summary::new("s") };
        assert_eq!(
            summary.cells(),
            [
                ["case", "seeds", "recall@10", "levels"],
                ["a", "2", "0.1500 ± 0.0707", "3"],
                ["b", "1 (1 failed)", "0.4000", "3"],
            ]
        );
        assert!(
            summary
                .to_markdown()
                .starts_with("| case | seeds | recall@10 | levels |\n|---|--:|--:|--:|\n")
        );
    }

    /// Validation and test disagree: validation chooses, by the mean over the same seeds.
    #[test]
    fn a_search_chooses_on_validation() {
        let row = |case: &str, seed, valid: f64, test: f64| RunRow {
            valid: BTreeMap::from([("recall@10".into(), valid)]),
            ..run(case, seed, Some(test))
        };
        let runs = vec![
            row("test's", 0, 0.1, 0.9),
            row("valid's", 0, 0.4, 0.3),
            row("lucky", 0, 0.8, 0.8),
            row("test's", 1, 0.3, 0.9),
            row("valid's", 1, 0.2, 0.1),
            run("lucky", 1, None),
        ];
        let choice = Choice { metric: "recall@10".into(), higher_is_better: true };
        let mut summary = Summary { runs, choice: Some(choice), ..Summary::new("s") };
        assert_eq!(summary.cells()[0], ["case", "seeds", "valid recall@10", "recall@10", "levels"]);
        let verdict = "chosen on validation: valid's (recall@10 0.3000); its test recall@10 0.2000";
        assert_eq!(summary.verdict().unwrap(), verdict);
        assert!(summary.to_markdown().contains(verdict));
        let lower = Choice { metric: "recall@10".into(), higher_is_better: false };
        summary.choice = Some(lower);
        assert_eq!(summary.chosen().unwrap().case, "test's");
        summary.choice = Some(Choice { metric: "loss".into(), higher_is_better: false });
        assert!(summary.chosen().is_none() && summary.verdict().unwrap().contains("loss"));
        summary.choice = None;
        assert!(summary.verdict().is_none());
    }

    #[test]
    fn other_protocols_are_named_under_the_table() {
        let seen = |seen_items| {
            Some(Protocol { seen_items: Some(seen_items), seed: Some(1), ..Protocol::default() })
        };
        let of = |case: &str, seen_items| RunRow {
            protocol: seen(seen_items),
            ..run(case, 0, Some(0.5))
        };
        let (kept, removed) = (SeenItems::Kept, SeenItems::Removed);
        let mut summary = Summary {
            runs: vec![run("x", 0, None), of("a", kept), of("b", removed), of("b", removed)],
            ..Summary::new("s")
        };
        let text = summary.to_markdown();
        let note = "not comparable: `a` and `b` (seen_items: \"kept\" and \"removed\")\n";
        assert!(text.ends_with(note), "{text}");
        assert_eq!(summary.mixed().len(), 1);
        summary.runs[2].protocol = seen(kept);
        summary.runs[3].protocol = None;
        assert!(summary.mixed().is_empty());
    }

    #[test]
    fn figures_of_codes_come_before_those_of_ids() {
        let level = |w: f64, h: f64| serde_json::json!({"width": w, "entropy": h});
        let of = |rate: f64| {
            serde_json::json!({"collision_rate": rate, "largest_bucket": 2,
            "levels": [level(4.0, 4f64.ln() / 2.0), level(1.0, 0.0)]})
        };
        let got = figures(&serde_json::json!({"codes": of(0.5), "ids": of(0.0)}));
        assert_eq!((got["collisions"], got["levels"], got["evenness"]), (0.5, 2.0, 0.75));
        assert!(!got.contains_key("residual"));
        assert_eq!(figures(&serde_json::json!({"ids": of(0.25)}))["collisions"], 0.25);
    }
}
