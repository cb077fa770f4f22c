//! The charts of the page.

use super::super::super::charts::bars::{BarSeries, Bars};
use super::super::super::charts::forest::{Forest, ForestRow, Standing};
use super::super::super::charts::lines::{Chart, Heights, Series};
use super::super::super::charts::scatter::{Good, Mark, Scatter};
use super::super::sheets;
use super::Palette;
use sidereal_experiment::report::Report;
use sidereal_experiment::report::compare::{MetricTable, Row, Verdict};
use sidereal_experiment::report::log::Point;
use sidereal_experiment::report::views::breakdown::By;
use sidereal_experiment::report::views::choice::Choice;
use sidereal_experiment::report::views::cost::Cost;
use sidereal_experiment::report::views::responses::{Response, ResponsePoint};
use sidereal_experiment::report::views::users::{Curve, Distribution};
use sidereal_metrics::Direction;

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

fn standing(verdict: Verdict) -> Standing {
    match verdict {
        Verdict::Base => Standing::Reference,
        Verdict::Better => Standing::Better,
        Verdict::Worse => Standing::Worse,
        Verdict::BetterOnUsers => Standing::MaybeBetter,
        Verdict::WorseOnUsers => Standing::MaybeWorse,
        Verdict::Open | Verdict::Untested => Standing::Open,
    }
}

/// The metric that views show.
fn shown(report: &Report) -> Option<&MetricTable> {
    report.metrics.iter().find(|t| t.metric == report.metric)
}

/// The better end of a metric's axis.
fn good(table: Option<&MetricTable>) -> Option<Good> {
    match table?.direction? {
        Direction::HigherIsBetter => Some(Good::High),
        Direction::LowerIsBetter => Some(Good::Low),
    }
}

/// Differences to the base, with their own intervals: users are paired, so these are shorter than
/// those of the means, and they are what the tests see.
pub fn differences(report: &Report) -> Vec<String> {
    let card = |table: &MetricTable| {
        let row = |r: &Row| {
            let d = r.difference.as_ref()?;
            Some(ForestRow {
                name: r.system.clone(),
                value: d.value,
                interval: d.interval.map(|i| (i.low, i.high)),
                parts: Vec::new(),
                standing: standing(r.verdict),
            })
        };
        let mut rows: Vec<ForestRow> = table.rows.iter().filter_map(row).collect();
        rows.sort_by(|a, b| b.value.total_cmp(&a.value));
        if good(Some(table)) == Some(Good::Low) {
            rows.reverse();
        }
        let title = format!("{} minus that of {}", table.metric, sheets::base(report));
        let note = format!("Lines: 95 % intervals over paired users. {}", better(table));
        Forest { title: &title, note: &note, x: "difference", rows, reference: Some(0.0) }.card()
    };
    report.metrics.iter().map(card).collect()
}

/// Validation against test.
pub fn choice(report: &Report, choice: &Choice, palette: &Palette) -> String {
    let mark = |c: &sidereal_experiment::report::views::choice::Candidate| Mark {
        name: c.system.clone(),
        color: palette.color(&c.system),
        x: c.valid,
        y: c.test,
    };
    let good = good(shown(report));
    Scatter {
        title: &format!("{} on both parts", choice.metric),
        note: "Means over seeds.",
        x: &format!("{} on validation", choice.metric),
        y: &format!("{} on test", choice.metric),
        marks: choice.systems.iter().map(mark).collect(),
        good: good.map(|g| [g, g]),
    }
    .card()
}

/// One forest a metric: means, intervals over users, marks of the seeds.
pub fn means(report: &Report) -> Vec<String> {
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
                standing: standing(r.verdict),
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

/// Lines of a chart of options; more would not be told apart.
const LINES: usize = 6;

/// Two charts an option that systems differ in alone: the metric, and the speed where it is known.
pub fn responses(report: &Report) -> String {
    let table = shown(report);
    let interval = |p: &ResponsePoint| {
        let row = table?.rows.iter().find(|r| r.system == p.system)?;
        row.interval.map(|i| (i.low, i.high))
    };
    let speed = |p: &ResponsePoint| {
        let cost = report.costs.iter().find(|c| c.system == p.system)?;
        Some((p.x, cost.users_per_second?))
    };
    let mut out = String::new();
    for response in &report.responses {
        let left_out = match response.lines.len().saturating_sub(LINES) {
            0 => String::new(),
            more => format!(" {more} more lines are in the JSON only."),
        };
        let note = format!(
            "Systems that agree on everything else are one line, named after the first of \
             them.{left_out}"
        );
        let metric = |p: &ResponsePoint| Some(Dot { at: (p.x, p.y), range: interval(p) });
        let title = format!("{} against {}", report.metric, response.key);
        let with = format!("{note} Bars: 95 % intervals over users.");
        out.push_str(&response_chart(response, &title, &with, &metric));
        let speeds = |p: &ResponsePoint| speed(p).map(|at| Dot { at, range: None });
        let title = format!("Test users a second against {}", response.key);
        let with = format!("{note} Speeds are of the machine and moment of each run.");
        out.push_str(&response_chart(response, &title, &with, &speeds));
    }
    out
}

/// A point of a line, and how far it may be off.
struct Dot {
    at: (f64, f64),
    range: Option<(f64, f64)>,
}

fn response_chart(
    response: &Response,
    title: &str,
    note: &str,
    dot: &dyn Fn(&ResponsePoint) -> Option<Dot>,
) -> String {
    let series = response.lines.iter().enumerate().take(LINES).map(|(color, line)| {
        let dots: Vec<Dot> = line.points.iter().filter_map(dot).collect();
        Series {
            name: line.system.clone(),
            color,
            points: dots.iter().map(|d| d.at).collect(),
            ranges: dots.iter().map(|d| d.range).collect(),
        }
    });
    Chart {
        title,
        note,
        x: &response.key,
        // One point is no line.
        series: series.filter(|s| s.points.len() > 1).collect(),
        heights: Heights::Linear,
        reference: None,
    }
    .card()
}

/// The metric against what it costs.
pub fn costs(report: &Report, palette: &Palette) -> String {
    let table = shown(report);
    let mean = |system: &str| {
        table.and_then(|t| t.rows.iter().find(|r| r.system == system)).and_then(|r| r.mean)
    };
    let times = "Means over seeds; times are of the machine and moment of each run.";
    let chart = |x: &str, note: &str, cheap: Good, of: &dyn Fn(&Cost) -> Option<f64>| {
        let mark = |c: &Cost| {
            let (x, y) = (of(c)?, mean(&c.system)?);
            Some(Mark { name: c.system.clone(), color: palette.color(&c.system), x, y })
        };
        let marks: Vec<Mark> = report.costs.iter().filter_map(mark).collect();
        // One value for all says nothing.
        if marks.iter().all(|m| m.x == marks[0].x) {
            return String::new();
        }
        let title = format!("{} against {x}", report.metric);
        let good = good(table).map(|g| [cheap, g]);
        Scatter { title: &title, note, x, y: &report.metric, marks, good }.card()
    };
    [
        chart("seconds of training", times, Good::Low, &|c| c.training_seconds),
        chart("test users a second", times, Good::High, &|c| c.users_per_second),
        chart("parameters", "Means over seeds.", Good::Low, &|c| c.parameters),
    ]
    .concat()
}

/// Series of the systems that have a colour.
fn colored<'a>(
    palette: &Palette,
    of: impl Iterator<Item = (&'a str, Vec<(f64, f64)>)>,
) -> Vec<Series> {
    let series = |(name, points): (&str, Vec<(f64, f64)>)| {
        let color = palette.color(name)?;
        Some(Series { name: name.into(), color, points, ranges: Vec::new() })
    };
    of.filter_map(series).collect()
}

/// Loss and validation by epoch.
pub fn curves(report: &Report, palette: &Palette) -> String {
    let seeds = report.curves.iter().any(|c| !c.valid_seeds.is_empty());
    let seeds = if seeds { "; lines: from the lowest to the highest seed" } else { "" };
    let note = format!("Means over seeds{seeds}.{}", palette.note(report));
    let series = report.curves.iter().filter_map(|c| {
        Some(Series {
            name: c.system.clone(),
            color: palette.color(&c.system)?,
            points: points(&c.valid),
            ranges: c.valid_seeds.iter().map(|i| Some((i.low, i.high))).collect(),
        })
    });
    let valid = Chart {
        title: &format!("Validation {}", report.metric),
        note: &note,
        x: "epoch",
        series: series.collect(),
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

/// Groups of fewer users are pale.
const SMALL: usize = 30;

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
        let known = breakdown.systems.iter().flat_map(|s| &s.intervals).any(Option::is_some);
        let note = format!(
            "Users: {}.{}{}",
            users.join(", "),
            if known {
                " Lines: 95 % intervals over users, those of few users cut off."
            } else {
                ""
            },
            palette.note_of_few(report)
        );
        let small = |g: &usize| breakdown.groups[*g].users < SMALL;
        let pale: Vec<usize> = (0..breakdown.groups.len()).filter(small).collect();
        let note = match pale.is_empty() {
            true => note,
            false => format!("{note} Pale: fewer than {SMALL} users."),
        };
        let series = breakdown.systems.iter().filter_map(|s| {
            Some(BarSeries {
                name: s.system.clone(),
                color: palette.color_of_few(&s.system)?,
                values: s.means.clone(),
                ranges: s.intervals.iter().map(|i| i.map(|i| (i.low, i.high))).collect(),
            })
        });
        out.push_str(
            &Bars {
                title: &title,
                note: &note,
                x,
                labels: breakdown.groups.iter().map(|g| g.range.clone()).collect(),
                series: series.collect(),
                pale,
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
    for distribution in report.distributions.iter().filter(|d| !all_or_nothing(report, d)) {
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

/// Whether each seed gives a user everything or nothing: the shares then have as many steps as there
/// are seeds, and say no more than the mean.
fn all_or_nothing(report: &Report, distribution: &Distribution) -> bool {
    let seeds = |name: &str| {
        let system = report.systems.iter().find(|s| s.name == name);
        system.map_or(1, |s| s.runs.len())
    };
    distribution.systems.iter().all(|curve| {
        let mut steps: Vec<f64> = curve.points.iter().map(|p| p.y).collect();
        steps.dedup();
        steps.len() <= seeds(&curve.system)
    })
}
