//! Users, their recommendations, and where the figures come from.

use super::super::super::charts::bars::{BarSeries, Bars};
use super::super::super::charts::lines::Heights;
use super::super::super::charts::svg::{card, clip, clip_middle, escape};
use super::super::forms::html;
use super::super::sheet::{Cell, Sheet, or_dash, signed};
use super::super::sheets;
use super::Palette;
use sidereal_experiment::report::Report;
use sidereal_experiment::report::views::examples::UserExample;
use sidereal_experiment::report::views::users::{Pair, UserRow};
use sidereal_experiment::serve::ShownItem;
use std::fmt::Write;

/// Letters of a system's name in a heading.
const NAME: usize = 48;
/// Letters of a title.
const TITLE: usize = 60;
/// Items of a list.
const ITEMS: usize = 5;

/// The base beside the best other system, and beside the others that have a colour.
pub fn pairs(report: &Report, palette: &Palette) -> String {
    let table = report.metrics.iter().find(|t| t.metric == report.metric);
    let lower = table.and_then(|t| t.direction).is_some_and(|d| d.improves(0.0, 1.0));
    let key = |p: &&Pair| {
        let row = table.and_then(|t| t.rows.iter().find(|r| r.system == p.system));
        let mean = row.and_then(|r| r.mean).unwrap_or(f64::NEG_INFINITY);
        if lower { mean } else { -mean }
    };
    let mut shown: Vec<&Pair> =
        report.pairs.iter().filter(|p| palette.color(&p.system).is_some()).collect();
    shown.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let Some((best, others)) = shown.split_first() else { return String::new() };
    let mut out = pair(report, best);
    for other in others {
        let name = escape(&other.system);
        let _ = write!(out, "<details><summary>{name}</summary>{}</details>", pair(report, other));
    }
    out
}

fn pair(report: &Report, pair: &Pair) -> String {
    let count = |of: &dyn Fn(usize) -> bool| {
        let bins = pair.bins.iter().enumerate().filter(|(i, _)| of(*i));
        bins.map(|(_, b)| b.users).sum::<usize>()
    };
    let middle = pair.bins.len() / 2;
    let title =
        format!("{} minus {}", clip_middle(&pair.system, NAME), clip_middle(&report.base, NAME));
    let note = format!(
        "Users by the difference of their values (means over seeds), on a logarithmic scale: {} \
         lower, {} the same, {} higher.",
        count(&|i| i < middle),
        count(&|i| i == middle),
        count(&|i| i > middle)
    );
    let bars = Bars {
        title: &title,
        note: &note,
        x: &report.metric,
        labels: pair.bins.iter().map(|b| b.range.clone()).collect(),
        series: vec![BarSeries {
            name: "users".into(),
            color: 0,
            values: pair.bins.iter().map(|b| Some(b.users as f64)).collect(),
            ranges: Vec::new(),
        }],
        pale: Vec::new(),
        heights: Heights::Logarithmic,
    };
    let mut tables = String::new();
    for (rows, better) in [(&pair.higher, &pair.system), (&pair.lower, &report.base)] {
        if rows.is_empty() {
            continue;
        }
        let note = format!(
            "The largest differences, of equal ones the first users. Ranks of the target under the \
             base and under {}, by the first seeds; a dash is a miss.",
            clip_middle(&pair.system, NAME)
        );
        let heading = format!("Higher under {}", clip_middle(better, NAME));
        tables.push_str(&card(&heading, &note, &html(&user_sheet(rows))));
    }
    let bars = bars.card();
    format!("<div class=\"grid\">{bars}</div><div class=\"grid wide\">{tables}</div>")
}

fn user_sheet(rows: &[UserRow]) -> Sheet {
    let number = |v: Option<u32>| or_dash(v, |v| v.to_string());
    // Runs that are too old to have a column have no column here.
    let history = rows.iter().any(|u| u.history.is_some());
    let popularity = rows.iter().any(|u| u.popularity.is_some());
    let mut head = vec!["user".to_string()];
    head.extend(history.then(|| "history".into()));
    head.extend(popularity.then(|| "popularity".into()));
    head.extend(["rank, base", "rank", "difference"].map(String::from));
    let row = |u: &UserRow| {
        let mut cells: Vec<Cell> = vec![u.user.as_str().into()];
        cells.extend(history.then(|| number(u.history)));
        cells.extend(popularity.then(|| number(u.popularity)));
        cells.extend([number(u.base_rank), number(u.rank), signed(u.difference).into()]);
        cells
    };
    Sheet { head, rows: rows.iter().map(row).collect(), ..Sheet::default() }
}

/// The same users before the systems that have a colour.
pub fn examples(report: &Report, palette: &Palette) -> String {
    report.examples.iter().map(|e| example(e, &report.base, palette)).collect()
}

fn title(item: &ShownItem) -> String {
    let text = item.title.split_whitespace().collect::<Vec<_>>().join(" ");
    escape(&clip(&text, TITLE))
}

fn example(user: &UserExample, base: &str, palette: &Palette) -> String {
    let titles = |items: &[ShownItem]| items.iter().map(title).collect::<Vec<_>>().join(" · ");
    let mut content = format!(
        "<p>Last of {} items: {}</p><p>Taken next: <span class=\"hit\">{}</span></p>",
        user.history_length,
        titles(&user.history),
        titles(&user.targets)
    );
    for list in user.lists.iter().filter(|l| palette.color(&l.system).is_some()) {
        let hit = list.items.iter().any(|i| i.hit == Some(true));
        let _ = write!(
            content,
            "<details{}><summary>{}{}</summary><ol>",
            if hit || list.system == base { " open" } else { "" },
            escape(&list.system),
            if hit { " <span class=\"up\">✓</span>" } else { "" }
        );
        for item in list.items.iter().take(ITEMS) {
            let class = if item.hit == Some(true) { " class=\"hit\"" } else { "" };
            let sid =
                item.sid.as_ref().map_or(String::new(), |s| format!(" <code>{}</code>", escape(s)));
            let _ = write!(content, "<li{class}>{}{sid}</li>", title(item));
        }
        content.push_str("</ol></details>");
    }
    card(&format!("User {}", user.user), "", &content)
}

/// The protocol of the base, and all run folders.
pub fn protocol(report: &Report) -> String {
    let protocol = serde_json::to_string_pretty(&report.protocol).unwrap_or_default();
    let mut out = format!(
        "<p>{}</p><details><summary>protocol of {} as recorded</summary><pre>{}</pre></details>",
        escape(&sheets::protocol(&report.protocol)),
        escape(&report.base),
        escape(&protocol)
    );
    let row = |system: &str, folder: String, seed: u64| {
        vec![system.into(), seed.to_string().into(), folder.into()]
    };
    let runs = report.systems.iter().flat_map(|s| {
        s.runs.iter().map(move |r| row(&s.name, r.folder.display().to_string(), r.seed))
    });
    let sheet = Sheet {
        head: ["system", "seed", "folder"].map(String::from).into(),
        rows: runs.collect(),
        words: vec![2],
        ..Sheet::default()
    };
    let _ = write!(out, "<details><summary>runs</summary>{}</details>", html(&sheet));
    out
}
