//! The tables of a report.

use super::sheet::{Arrow, Cell, Mark, Sheet, or_dash, probability, signed, value};
use sidereal_experiment::report::Report;
use sidereal_experiment::report::compare::{Interval, MetricTable, Row, Test, Verdict};
use sidereal_metrics::Direction;

/// Systems by metrics: mean and spread over seeds, winners bold.
pub fn overview(report: &Report) -> Sheet {
    let mut sheet = Sheet { title: "Overview".into(), ..Sheet::default() };
    sheet.head = vec!["system".into(), "seeds".into()];
    sheet.head.extend(report.metrics.iter().map(|t| t.metric.clone()));
    for (s, system) in report.systems.iter().enumerate() {
        let name = match system.name == report.base {
            true => format!("{} (base)", system.name),
            false => system.name.clone(),
        };
        let mut row: Vec<Cell> = vec![name.into(), system.runs.len().to_string().into()];
        row.extend(report.metrics.iter().map(|t| mean_cell(t, &t.rows[s])));
        sheet.rows.push(row);
    }
    sheet
}

fn mean_cell(table: &MetricTable, row: &Row) -> Cell {
    let spread = row.spread.map_or(String::new(), |s| format!(" ± {}", value(s)));
    let text = row.mean.map_or("-".into(), |m| format!("{}{spread}", value(m)));
    let mark = match table.winner.as_ref() == Some(&row.system) {
        true => Mark::Winner,
        false => Mark::Plain,
    };
    Cell { text, mark, arrow: arrow(row.verdict) }
}

fn arrow(verdict: Verdict) -> Arrow {
    match verdict {
        Verdict::Better => Arrow::Up,
        Verdict::Worse => Arrow::Down,
        _ => Arrow::None,
    }
}

/// Everything that is known of one metric.
pub fn details(report: &Report, table: &MetricTable) -> Sheet {
    let head = [
        "system",
        "mean",
        "seeds sd",
        "95 % users",
        "difference",
        "%",
        "95 % users",
        "p",
        "p Holm",
        "d",
        "detectable",
        "users +",
        "users -",
    ];
    let better = match table.direction {
        Some(Direction::HigherIsBetter) => "higher is better",
        Some(Direction::LowerIsBetter) => "lower is better",
        None => "direction unknown",
    };
    let mut sheet = Sheet {
        title: format!("{} ({better}), differences to {}", table.metric, report.base),
        head: head.map(String::from).into(),
        ..Sheet::default()
    };
    for row in &table.rows {
        let d = row.difference.as_ref();
        let mut mean = mean_cell(table, row);
        mean.text = row.mean.map_or("-".into(), value);
        sheet.rows.push(vec![
            row.system.as_str().into(),
            mean,
            or_dash(row.spread, value),
            or_dash(row.interval, range),
            or_dash(d.map(|d| d.value), signed),
            or_dash(d.and_then(|d| d.relative), |r| format!("{:+.1}", 100.0 * r)),
            or_dash(d.and_then(|d| d.interval), signed_range),
            or_dash(d.and_then(|d| d.p), probability),
            or_dash(d.and_then(|d| d.p_holm), probability),
            or_dash(d.and_then(|d| d.effect), |e| format!("{e:+.3}")),
            or_dash(d.and_then(|d| d.detectable), value),
            or_dash(d.and_then(|d| d.users), |u| u.higher.to_string()),
            or_dash(d.and_then(|d| d.users), |u| u.lower.to_string()),
        ]);
    }
    sheet
}

fn range(i: Interval) -> String {
    format!("{} to {}", value(i.low), value(i.high))
}

fn signed_range(i: Interval) -> String {
    format!("{} to {}", signed(i.low), signed(i.high))
}

/// Each system as a change of the base, and its effect.
pub fn factors(report: &Report) -> Sheet {
    let mut sheet = Sheet {
        title: format!("What differs from {}, and its effect on {}", report.base, report.metric),
        head: ["system", "changes", "difference", "95 % users", "p Holm"].map(String::from).into(),
        words: vec![1],
        ..Sheet::default()
    };
    let Some(table) = report.metrics.iter().find(|t| t.metric == report.metric) else {
        return sheet;
    };
    for ablation in &report.ablations {
        let Some(row) = table.rows.iter().find(|r| r.system == ablation.system) else { continue };
        let changes: Vec<String> = ablation.changes.iter().map(|c| c.text()).collect();
        let changes = match changes.is_empty() {
            true => "nothing but data or protocol".into(),
            false => changes.join("; "),
        };
        let d = row.difference.as_ref();
        let mut difference = or_dash(d.map(|d| d.value), signed);
        difference.arrow = arrow(row.verdict);
        sheet.rows.push(vec![
            row.system.as_str().into(),
            changes.into(),
            difference,
            or_dash(d.and_then(|d| d.interval), signed_range),
            or_dash(d.and_then(|d| d.p_holm), probability),
        ]);
    }
    sheet
}

/// What systems cost.
pub fn costs(report: &Report) -> Sheet {
    let head = ["system", "parameters", "training s", "test users/s", "peak MiB"];
    let whole = |v: f64| format!("{v:.0}");
    let row = |c: &sidereal_experiment::report::views::cost::Cost| {
        vec![
            c.system.as_str().into(),
            or_dash(c.parameters, whole),
            or_dash(c.training_seconds, |v| format!("{v:.1}")),
            or_dash(c.users_per_second, whole),
            or_dash(c.peak_memory_mib, whole),
        ]
    };
    Sheet {
        title: "Cost (means over seeds; times are of the machine and moment of each run)".into(),
        head: head.map(String::from).into(),
        rows: report.costs.iter().map(row).collect(),
        ..Sheet::default()
    }
}

/// How the tables are to be read, a sentence a line.
pub fn legend(report: &Report) -> Vec<String> {
    let rules = &report.rules;
    let test = match rules.test {
        Test::PairedT => "paired t test",
        Test::Wilcoxon => "Wilcoxon signed-rank test",
        Test::Permutation => "sign-flip permutation test",
    };
    let tested = report.metrics.iter().flat_map(|t| &t.rows);
    let family = tested.filter(|r| r.difference.as_ref().is_some_and(|d| d.p.is_some())).count();
    let mut out = vec![format!(
        "mean ± standard deviation over seeds; intervals over test users (bootstrap BCa of values \
         averaged over seeds, {} resamples)",
        rules.resamples
    )];
    if family > 0 {
        out.push(format!(
            "▲ ▼ better or worse than {}: p < {} ({test} over users, two-sided, Holm over {family} \
             comparisons) and no seed of one system within the range of the other's seeds",
            report.base, rules.level
        ));
        out.push(
            "bold: better than every other system by the same rule (Holm over those comparisons); \
             no bold, no winner"
                .into(),
        );
        out.push(format!(
            "d: Cohen's d of paired differences; detectable: smallest difference that these users \
             show with a chance of {:.0} % at level {}, before Holm",
            100.0 * rules.power,
            rules.level
        ));
        out.push("a p over users says nothing of other trainings; only seeds do".into());
    } else if report.systems.len() > 1 {
        out.push(
            "no test: no two systems have values of the same users, at least two of them".into(),
        );
    }
    out
}

/// What must not be overlooked: other data or another protocol.
pub fn warning(report: &Report) -> Vec<String> {
    if report.mixed.is_empty() {
        return Vec::new();
    }
    let mut out = vec![
        "NOT COMPARABLE: the runs differ in data or protocol; no test between them".to_string(),
    ];
    out.extend(report.mixed.iter().map(|m| m.text()));
    out
}
