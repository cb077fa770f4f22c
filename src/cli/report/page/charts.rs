//! The charts of the page.

use super::super::super::charts::bars::{BarSeries, Bars};
use super::super::super::charts::forest::{Forest, ForestRow, Standing};
use super::super::super::charts::lines::{Chart, Heights, Series};
use super::super::super::charts::scatter::{Mark, Scatter};
use super::Palette;
use sidereal_experiment::report::Report;
use sidereal_experiment::report::compare::{MetricTable, Row, Verdict};
use sidereal_experiment::report::log::Point;
use sidereal_experiment::report::views::breakdown::By;
use sidereal_experiment::report::views::cost::Cost;
use sidereal_experiment::report::views::users::Curve;

fn points(points: &[Point]) -> Vec<(f64, f64)> {
    points.iter().map(|p| (p.x, p.y)).collect()
}

fn better(table: &MetricTable) -> &'static str {
    match table.direction {
        Some(d) if d.improves(1.0, 0.0) => "Higher is better.",
        Some(_) => "Lower is better.",
        None => "Which way is better is not known.",
    }
}

/// One forest a metric: means, intervals over users, marks of the seeds.
pub fn means(report: &Report) -> String {
    let card = |table: &MetricTable| {
        let row = |r: &Row| {
            Some(ForestRow {
                name: r.system.clone(),
                value: r.mean?,
                interval: r.interval.map(|i| (i.low, i.high)),
                parts: match r.seeds.len() {
                    0 | 1 => Vec::new(),
                    _ => r.seeds.iter().map(|s| s.value).collect(),
                },
                standing: match r.verdict {
                    Verdict::Base => Standing::Reference,
                    Verdict::Better => Standing::Better,
                    Verdict::Worse => Standing::Worse,
                    Verdict::Open | Verdict::Untested => Standing::Open,
                },
            })
        };
        let mut rows: Vec<ForestRow> = table.rows.iter().filter_map(row).collect();
        let lower = table.direction.is_some_and(|d| d.improves(0.0, 1.0));
        rows.sort_by(|a, b| match lower {
            true => a.value.total_cmp(&b.value),
            false => b.value.total_cmp(&a.value),
        });
        let base = table.rows.iter().find(|r| r.verdict == Verdict::Base).and_then(|r| r.mean);
        let note = format!(
            "Dots: means; lines: 95 % intervals over users; small marks: seeds. {}",
            better(table)
        );
        Forest { title: &table.metric, note: &note, x: &table.metric, rows, reference: base }.card()
    };
    report.metrics.iter().map(card).collect()
}

/// One chart an option that systems differ in alone.
pub fn responses(report: &Report) -> String {
    let mut out = String::new();
    for response in &report.responses {
        let series = response.lines.iter().enumerate().take(8);
        let series = series.map(|(color, line)| Series {
            name: line.system.clone(),
            color,
            points: points(&line.points),
        });
        out.push_str(
            &Chart {
                title: &format!("{} against {}", report.metric, response.key),
                note: "Systems that agree on everything else are one line, named after the first \
                       of them.",
                x: &response.key,
                series: series.collect(),
                heights: Heights::Linear,
                reference: None,
            }
            .card(),
        );
    }
    out
}

/// The metric against what it costs.
pub fn costs(report: &Report, palette: &Palette) -> String {
    let table = report.metrics.iter().find(|t| t.metric == report.metric);
    let mean = |system: &str| {
        table.and_then(|t| t.rows.iter().find(|r| r.system == system)).and_then(|r| r.mean)
    };
    let chart = |title: &str, x: &str, of: &dyn Fn(&Cost) -> Option<f64>| {
        let mark = |c: &Cost| {
            let (x, y) = (of(c)?, mean(&c.system)?);
            Some(Mark { name: c.system.clone(), color: palette.color(&c.system), x, y })
        };
        let marks: Vec<Mark> = report.costs.iter().filter_map(mark).collect();
        // One value for all says nothing.
        if marks.iter().all(|m| m.x == marks[0].x) {
            return String::new();
        }
        Scatter { title, note: "Means over seeds.", x, y: &report.metric, marks }.card()
    };
    [
        chart("Accuracy and training", "seconds of training", &|c| c.training_seconds),
        chart("Accuracy and decoding", "test users a second", &|c| c.users_per_second),
        chart("Accuracy and size", "parameters", &|c| c.parameters),
    ]
    .concat()
}

/// Series of the systems that have a colour.
fn colored<'a>(
    palette: &Palette,
    of: impl Iterator<Item = (&'a str, Vec<(f64, f64)>)>,
) -> Vec<Series> {
    let series = |(name, points): (&str, Vec<(f64, f64)>)| {
        Some(Series { name: name.into(), color: palette.color(name)?, points })
    };
    of.filter_map(series).collect()
}

/// Loss and validation by epoch.
pub fn curves(report: &Report, palette: &Palette) -> String {
    let note = format!("Means over seeds.{}", palette.note(report));
    let valid = Chart {
        title: &format!("Validation {}", report.metric),
        note: &note,
        x: "epoch",
        series: colored(
            palette,
            report.curves.iter().map(|c| (c.system.as_str(), points(&c.valid))),
        ),
        heights: Heights::Linear,
        reference: None,
    };
    let note = format!(
        "Means over the seeds that were trained by the run itself; other objectives and IDs have \
         other losses.{}",
        palette.note(report)
    );
    let loss = Chart {
        title: "Training loss",
        note: &note,
        x: "epoch",
        series: colored(
            palette,
            report.curves.iter().map(|c| (c.system.as_str(), points(&c.loss))),
        ),
        heights: Heights::Linear,
        reference: None,
    };
    valid.card() + &loss.card()
}

/// A metric by popularity of the target and by length of the history.
pub fn groups(report: &Report, metric: &str, palette: &Palette) -> String {
    let mut out = String::new();
    for breakdown in report.breakdowns.iter().filter(|b| b.metric == metric) {
        let (title, x) = match breakdown.by {
            By::Popularity => ("popularity of the target", "training interactions of the target"),
            By::History => ("length of the history", "items of the history"),
        };
        let title = format!("{metric} by {title}");
        let users: Vec<String> =
            breakdown.groups.iter().map(|g| format!("{}: {}", g.range, g.users)).collect();
        let note = format!("Users: {}.{}", users.join(", "), palette.note(report));
        let series = breakdown.systems.iter().filter_map(|s| {
            Some(BarSeries {
                name: s.system.clone(),
                color: palette.color(&s.system)?,
                values: s.means.clone(),
            })
        });
        out.push_str(
            &Bars {
                title: &title,
                note: &note,
                x,
                labels: breakdown.groups.iter().map(|g| g.range.clone()).collect(),
                series: series.collect(),
                heights: Heights::Linear,
            }
            .card(),
        );
    }
    out
}

/// Where targets stand, and how values are distributed.
pub fn users(report: &Report, palette: &Palette) -> String {
    let series = |curves: &[Curve]| {
        colored(palette, curves.iter().map(|c| (c.system.as_str(), points(&c.points))))
    };
    let note = format!(
        "Share of test cases whose target is among the first k items, over all seeds.{}",
        palette.note(report)
    );
    let ranks = Chart {
        title: "Found among the first k",
        note: &note,
        x: "k",
        series: series(&report.ranks),
        heights: Heights::Linear,
        reference: None,
    };
    let note = format!(
        "Share of users whose value (mean over seeds) is at least so high.{}",
        palette.note(report)
    );
    let mut out = ranks.card();
    for distribution in &report.distributions {
        out.push_str(
            &Chart {
                title: &format!("Distribution of {}", distribution.metric),
                note: &note,
                x: &distribution.metric,
                series: series(&distribution.systems),
                heights: Heights::Linear,
                reference: None,
            }
            .card(),
        );
    }
    out
}
