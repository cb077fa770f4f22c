//! `--html FILE`: one page that needs nothing but itself.

mod charts;
mod people;

use super::super::charts::page::{page as frame, section};
use super::super::charts::svg::escape;
use super::forms::html;
use super::sheets;
use sidereal_core::Result;
use sidereal_experiment::report::Report;
use std::fmt::Write;

/// Systems with a colour of their own; more would not be told apart.
const COLORED: usize = 6;
/// Systems in charts that have a mark for each of them in every group.
const FEW: usize = 4;
/// Metrics with charts of their own before the others are folded.
const SHOWN: usize = 3;

/// Systems that charts with colours show, in the order of the tables.
pub struct Palette(Vec<Colored>);

struct Colored {
    system: String,
    /// 0 for the base, then from the best to the worst.
    place: usize,
}

impl Palette {
    /// The base and the best others.
    fn of(report: &Report) -> Self {
        let mut names = vec![report.base.clone()];
        let table = report.metrics.iter().find(|t| t.metric == report.metric);
        let mut rows: Vec<_> = table.iter().flat_map(|t| &t.rows).collect();
        let lower = table.and_then(|t| t.direction).is_some_and(|d| d.improves(0.0, 1.0));
        let key = |v: Option<f64>| match (v, lower) {
            (Some(v), true) => v,
            (Some(v), false) => -v,
            (None, _) => f64::INFINITY,
        };
        rows.sort_by(|a, b| key(a.mean).total_cmp(&key(b.mean)));
        names.extend(rows.iter().map(|r| r.system.clone()).filter(|n| *n != report.base));
        names.truncate(COLORED);
        // In the order of the tables.
        let order = report.systems.iter().map(|s| s.name.clone());
        let colored = |system: String| {
            let place = names.iter().position(|n| *n == system)?;
            Some(Colored { system, place })
        };
        Palette(order.filter_map(colored).collect())
    }

    /// The colour of a system; none where it is not among the shown ones.
    pub fn color(&self, system: &str) -> Option<usize> {
        self.0.iter().position(|c| c.system == system)
    }

    /// The same for charts with room for few.
    pub fn color_of_few(&self, system: &str) -> Option<usize> {
        self.color(system).filter(|c| self.0[*c].place < FEW)
    }

    /// A sentence where some are not shown.
    pub fn note(&self, report: &Report) -> String {
        shown(report, self.0.len())
    }

    /// The same for charts with room for few.
    pub fn note_of_few(&self, report: &Report) -> String {
        shown(report, self.0.len().min(FEW))
    }
}

fn shown(report: &Report, systems: usize) -> String {
    match report.systems.len() > systems {
        true if systems == 2 => " Shown: the base and the best other.".into(),
        true => format!(" Shown: the base and the {} best others.", systems.saturating_sub(1)),
        false => String::new(),
    }
}

/// The page.
pub fn page(report: &Report) -> Result<String> {
    let palette = Palette::of(report);
    let title = format!("Report: {}", report.metric);
    let runs: usize = report.systems.iter().map(|s| s.runs.len()).sum();
    let users = report.users.map_or(String::new(), |u| format!(", {u} test users"));
    let mut body = format!(
        "<h1>{} on {}</h1><p>{}{users}. Base: {}.{} Hover for values; numbers stand below the charts, \
         and all of them as JSON inside of the page.</p>",
        counted(report.systems.len(), "system"),
        escape(&report.metric),
        counted(runs, "run"),
        escape(&sheets::base(report)),
        escape(&sheets::verdicts(report))
    );
    let warning = sheets::warning(report);
    if let Some((first, rest)) = warning.split_first() {
        let lines: String = rest.iter().map(|l| format!("<li>{}</li>", escape(l))).collect();
        let _ = write!(
            body,
            "<div class=\"card warning\"><p>{}</p><ul>{lines}</ul></div>",
            escape(first)
        );
    }
    let lines = sheets::legend(report);
    let notes: String =
        lines.iter().chain(&report.notes).map(|l| format!("<li>{}</li>", escape(l))).collect();
    let glance = format!("{}<ul class=\"note\">{notes}</ul>", html(&sheets::overview(report)));
    body.push_str(&section("At a glance", "card", &glance));
    body.push_str(&section("Means and intervals", "", &folded(&charts::means(report))));
    if let Some(choice) = &report.choice {
        let table = format!(
            "<p>{}</p>{}",
            escape(&sheets::choice_text(choice)),
            html(&sheets::choice(choice))
        );
        let chart = charts::choice(report, choice, &palette);
        let content = format!("{chart}<section class=\"card\">{table}</section>");
        body.push_str(&section("Validation beside test", "grid wide aside", &content));
    }
    if report.systems.len() > 1 {
        let mut details = String::new();
        for table in &report.metrics {
            let sheet = sheets::details(report, table);
            let open = if table.metric == report.metric { " open" } else { "" };
            let _ = write!(
                details,
                "<details{open}><summary>{}</summary>{}</details>",
                escape(&sheet.title),
                html(&sheet)
            );
        }
        if sheets::compared(report) {
            body.push_str(&section("Tests", "card", &details));
        }
        let factors = sheets::factors(report);
        let content = format!(
            "{}<div class=\"card\" style=\"margin-top:14px\"><p>{}</p>{}</div>",
            folded(&charts::differences(report)),
            escape(sheets::FACTORS),
            html(&factors)
        );
        body.push_str(&section(&factors.title, "", &content));
    }
    body.push_str(&section("Options with a number", "grid", &charts::responses(report)));
    let cost = format!(
        "<div class=\"grid\">{}</div><div class=\"card\" style=\"margin-top:14px\">{}</div>",
        charts::costs(report, &palette),
        html(&sheets::costs(report))
    );
    body.push_str(&section("Cost", "", &cost));
    body.push_str(&section("Learning curves", "grid", &charts::curves(report, &palette)));
    body.push_str(&section("Groups of users", "", &groups(report, &palette)));
    body.push_str(&section("Users", "grid", &charts::users(report, &palette)));
    body.push_str(&section("In whom systems differ", "", &people::pairs(report, &palette)));
    body.push_str(&section("Recommendations", "grid wide", &people::examples(report, &palette)));
    body.push_str(&section("Protocol and runs", "card", &people::protocol(report)));
    frame(&title, &body, report)
}

/// Cards in a grid, those of the first metrics; the others are to be unfolded.
fn folded(cards: &[String]) -> String {
    let (first, others) = cards.split_at(cards.len().min(SHOWN));
    if first.is_empty() {
        return String::new();
    }
    let mut out = format!("<div class=\"grid\">{}</div>", first.concat());
    if !others.is_empty() {
        let name = counted(others.len(), "more metric");
        let cards = others.concat();
        let _ = write!(
            out,
            "<details><summary>{name}</summary><div class=\"grid\">{cards}</div></details>"
        );
    }
    out
}

fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Groups of users: the first metric, and the others to be unfolded.
fn groups(report: &Report, palette: &Palette) -> String {
    let grid = |content: String| match content.is_empty() {
        true => content,
        false => format!("<div class=\"grid\">{content}</div>"),
    };
    let mut out = grid(charts::groups(report, &report.metric, palette));
    for table in report.metrics.iter().filter(|t| t.metric != report.metric) {
        let content = grid(charts::groups(report, &table.metric, palette));
        if !content.is_empty() {
            let name = escape(&table.metric);
            let _ = write!(out, "<details><summary>{name}</summary>{content}</details>");
        }
    }
    out
}
