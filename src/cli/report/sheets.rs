//! The tables of a report.

use super::super::charts::svg::clip_middle;
use super::sheet::{Arrow, Cell, Mark, Sheet, or_dash, probability, signed, spread, value};
use serde_json::Value;
use sidereal_experiment::report::Report;
use sidereal_experiment::report::compare::{Interval, MetricTable, Ranges, Row, Test, Verdict};
use sidereal_experiment::report::views::choice::{Candidate, Choice};
use sidereal_metrics::Direction;

/// Letters of the base's name in titles and sentences.
const NAME: usize = 48;

/// The base's name for titles and sentences.
pub fn base(report: &Report) -> String {
    clip_middle(&report.base, NAME)
}

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
    let around = row.spread.map_or(String::new(), |s| format!(" ± {}", spread(s)));
    let text = row.mean.map_or("-".into(), |m| format!("{}{around}", value(m)));
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
        Verdict::BetterOnUsers => Arrow::MaybeUp,
        Verdict::WorseOnUsers => Arrow::MaybeDown,
        _ => Arrow::None,
    }
}

/// Everything that is known of one metric.
pub fn details(report: &Report, table: &MetricTable) -> Sheet {
    let head = [
        "system",
        "mean",
        "sd",
        "95 % interval",
        "difference",
        "%",
        "95 % interval",
        "p",
        "p Holm",
        "seeds",
        "d",
        "detectable",
        "users + / -",
    ];
    let better = match table.direction {
        Some(Direction::HigherIsBetter) => "higher is better",
        Some(Direction::LowerIsBetter) => "lower is better",
        None => "direction unknown",
    };
    let mut sheet = Sheet {
        title: format!("{} ({better}), differences to {}", table.metric, base(report)),
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
            or_dash(row.spread, spread),
            or_dash(row.interval, range),
            or_dash(d.map(|d| d.value), signed),
            or_dash(d.and_then(|d| d.relative), |r| format!("{:+.1}", 100.0 * r)),
            or_dash(d.and_then(|d| d.interval), signed_range),
            or_dash(d.and_then(|d| d.p), probability),
            or_dash(d.and_then(|d| d.p_holm), probability),
            or_dash(d.map(|d| d.seeds), seeds),
            or_dash(d.and_then(|d| d.effect), |e| format!("{e:+.3}")),
            or_dash(d.and_then(|d| d.detectable), value),
            or_dash(d.and_then(|d| d.users), |u| format!("{} / {}", u.higher, u.lower)),
        ]);
    }
    sheet
}

fn range(i: Interval) -> String {
    format!("{}, {}", value(i.low), value(i.high))
}

fn signed_range(i: Interval) -> String {
    format!("{}, {}", signed(i.low), signed(i.high))
}

fn seeds(ranges: Ranges) -> String {
    match ranges {
        Ranges::Apart => "apart",
        Ranges::Overlap => "overlap",
        Ranges::Unknown => "one",
    }
    .into()
}

/// Whether any system was compared with the base.
pub fn compared(report: &Report) -> bool {
    report.metrics.iter().flat_map(|t| &t.rows).any(|r| r.difference.is_some())
}

/// How many systems are better and worse than the base, in a sentence; nothing without a test.
pub fn verdicts(report: &Report) -> String {
    let table = report.metrics.iter().find(|t| t.metric == report.metric);
    let count = |of: &[Verdict]| {
        table.map_or(0, |t| t.rows.iter().filter(|r| of.contains(&r.verdict)).count())
    };
    let better = count(&[Verdict::Better, Verdict::BetterOnUsers]);
    let worse = count(&[Verdict::Worse, Verdict::WorseOnUsers]);
    let open = count(&[Verdict::Open]);
    match better + worse + open {
        0 => String::new(),
        _ => format!(
            " Others: {better} better, {worse} worse, {open} not told apart from it, by the rules below."
        ),
    }
}

/// How to read [`factors`].
pub const FACTORS: &str = "One change is one factor: its effect is the difference. Another component \
                           is one change with all its options; those that both have stand in \
                           parentheses where they differ. Effects of several changes cannot be told \
                           apart.";

/// Each system as a change of the base, and its effect.
pub fn factors(report: &Report) -> Sheet {
    let mut sheet = Sheet {
        title: format!("What differs from {}, and its effect on {}", base(report), report.metric),
        head: ["system", "factors", "changes", "difference", "95 % interval", "p Holm"]
            .map(String::from)
            .into(),
        words: vec![2],
        ..Sheet::default()
    };
    let Some(table) = report.metrics.iter().find(|t| t.metric == report.metric) else {
        return sheet;
    };
    // One factor at a time first.
    let mut ablations: Vec<_> = report.ablations.iter().collect();
    ablations.sort_by_key(|a| a.changes.len());
    for ablation in ablations {
        let Some(row) = table.rows.iter().find(|r| r.system == ablation.system) else { continue };
        let d = row.difference.as_ref();
        let mut difference = or_dash(d.map(|d| d.value), signed);
        difference.arrow = arrow(row.verdict);
        sheet.rows.push(vec![
            row.system.as_str().into(),
            ablation.changes.len().to_string().into(),
            ablation.text().into(),
            difference,
            or_dash(d.and_then(|d| d.interval), signed_range),
            or_dash(d.and_then(|d| d.p_holm), probability),
        ]);
    }
    sheet
}

/// Systems by validation, with their test values.
pub fn choice(choice: &Choice) -> Sheet {
    let head = ["system", "validation", "place", "test", "place"];
    let row = |c: &Candidate| {
        vec![
            c.system.as_str().into(),
            value(c.valid).into(),
            c.valid_rank.to_string().into(),
            value(c.test).into(),
            c.test_rank.to_string().into(),
        ]
    };
    Sheet {
        title: format!("{} on validation and on test (means over seeds)", choice.metric),
        head: head.map(String::from).into(),
        rows: choice.systems.iter().map(row).collect(),
        ..Sheet::default()
    }
}

/// What validation chooses, and what the test says of it.
pub fn choice_text(choice: &Choice) -> String {
    let chosen: Vec<&Candidate> = choice.chosen().collect();
    let agreement = choice.agreement.map_or(String::new(), |tau| {
        format!(" The two orders agree with Kendall's tau = {tau:.2}.")
    });
    let Some(only) = chosen.first() else { return String::new() };
    let first = match chosen.len() {
        1 => String::new(),
        n => format!(", the first of {n} with this value"),
    };
    let test = match choice.best_on_test() {
        Some(best) if only.test_rank > 1 => format!(
            ", place {} of {}. The best on test is {} with {}; to report that one as chosen would be \
             to choose on the test part",
            only.test_rank,
            choice.systems.len(),
            clip_middle(&best.system, NAME),
            value(best.test)
        ),
        _ => ", the best there too".into(),
    };
    format!(
        "Chosen by validation: {} ({}{first}); its {} on test is {}{test}.{agreement}",
        clip_middle(&only.system, NAME),
        value(only.valid),
        choice.metric,
        value(only.test)
    )
}

/// A protocol in a sentence.
pub fn protocol(protocol: &Value) -> String {
    let text = |v: &Value| match v {
        Value::String(text) => text.clone(),
        Value::Array(all) => {
            all.iter().map(|v| v.as_str().unwrap_or("?")).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    let named = [
        ("split", &protocol["split"]["type"]),
        ("ranking", &protocol["ranking"]),
        ("candidates", &protocol["candidates"]),
        ("seen items", &protocol["seen_items"]),
        ("known of a case", &protocol["known"]),
        ("list length", &protocol["list_length"]),
        ("weights chosen by", &protocol["checkpoint"]["by"]),
        ("on", &protocol["checkpoint"]["on"]),
        ("items", &protocol["items"]),
        ("users", &protocol["users"]),
        ("test cases", &protocol["test"]["cases"]),
    ];
    let known = named.iter().filter(|(_, v)| !v.is_null());
    known.map(|(name, v)| format!("{name}: {}", text(v))).collect::<Vec<_>>().join("; ")
}

/// What systems cost.
pub fn costs(report: &Report) -> Sheet {
    let head = ["system", "parameters", "training s", "test users/s", "training MiB"];
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
            "▲ ▼ better or worse than {}: p Holm < {} ({test} over users, two-sided, Holm over {family} \
             comparisons), and with two seeds or more of both no seed of one within the range of the \
             other's",
            base(report),
            rules.level
        ));
        let one = |v: Verdict| matches!(v, Verdict::BetterOnUsers | Verdict::WorseOnUsers);
        if report.metrics.iter().flat_map(|t| &t.rows).any(|r| one(r.verdict)) {
            out.push(
                "△ ▽ the same p, but one of the two has a single seed: shown for these trained models \
                 only"
                    .into(),
            );
        }
        out.push(
            "bold: better than every other system by the rule of ▲ (Holm over those comparisons); no \
             bold, no winner"
                .into(),
        );
        out.push(format!(
            "seeds: apart, overlap, or one where it is not known; d: Cohen's d of paired differences; \
             detectable: smallest difference that these users \
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
    out.extend(report.choice.iter().map(choice_text));
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
