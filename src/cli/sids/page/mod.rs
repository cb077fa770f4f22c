//! `report.html`: one page that needs nothing but itself.

mod map;

use super::super::charts::bars::{BarSeries, Bars};
use super::super::charts::lines::{Chart, Heights, Series};
use super::super::charts::page::{page as frame, section};
use super::super::charts::svg::escape;
use super::report::{Judged, Report, Row};
use super::text::number;
use map::Palette;
use sidereal_core::Result;
use sidereal_experiment::ids::Subject;
use sidereal_quantizers::report::Prefixes;

/// Sizes of buckets that have a bar of their own; larger ones go by powers of two.
const SINGLE: usize = 4;

/// Prefix lengths that curves go to.
const LENGTHS: usize = 8;
/// Figures on top of the page.
const HEADLINES: [&str; 9] = [
    "prediction.structure_bits",
    "prediction.bits",
    "prediction.recall",
    "behaviour.pmi.1",
    "nearness.auc.1",
    "taxonomy.ami.1",
    "ids.collision_rate",
    "ids.perplexity_share.1",
    "shape.gini.1",
];

/// The page.
pub fn page(subjects: &[Subject], report: &Report) -> Result<String> {
    let tables = &report.tables;
    let names: Vec<String> = tables.iter().map(|t| escape(&t.name)).collect();
    let mut body = format!(
        "<h1>Semantic IDs: {}</h1><p>{}</p>",
        names.join(", "),
        "What a set of IDs is worth, measured without a recommender. Hover for values."
    );
    let rows = report.rows();
    let first: Vec<&Row> =
        HEADLINES.iter().filter_map(|name| rows.iter().find(|r| r.name == *name)).collect();
    body.push_str(&section("At a glance", "card scroll", &grid(tables, &first)));
    body.push_str(&section("Predictability and hierarchy", "grid", &curves(tables)));
    let mut pictures = String::new();
    for (subject, judged) in subjects.iter().zip(tables) {
        let prefixes = Prefixes::of(&subject.table);
        let palette = Palette::of(subject, &prefixes);
        pictures.push_str(&map::scatter(&judged.name, subject, &prefixes, &palette)?);
        pictures.push_str(&map::treemap(&judged.name, subject, &prefixes, &palette));
    }
    body.push_str(&section("Codes", "grid wide", &pictures));
    body.push_str(&section("Use", "grid", &usage(tables)));
    if !report.stability.is_empty() {
        body.push_str(&section("Agreement of the tables", "grid", &agreement(report)));
    }
    let all: Vec<&Row> = rows.iter().collect();
    body.push_str(&section("All figures", "card scroll", &grid(tables, &all)));
    let plain: Vec<&str> = tables.iter().map(|t| t.name.as_str()).collect();
    frame(&format!("Semantic IDs: {}", plain.join(", ")), &body, report)
}

/// Figures, the best of each row marked.
fn grid(tables: &[Judged], rows: &[&Row]) -> String {
    let mut out = String::from("<table><tr><th>figure</th><th>better</th>");
    tables.iter().for_each(|t| out.push_str(&format!("<th>{}</th>", escape(&t.name))));
    for row in rows {
        out.push_str(&format!("</tr><tr><td>{}</td><td>{}</td>", escape(&row.name), row.better()));
        let best = row.best().filter(|_| tables.len() > 1);
        for value in &row.values {
            let class = if value.is_some() && *value == best { " class=\"best\"" } else { "" };
            out.push_str(&format!("<td{class}>{}</td>", value.map_or("–".into(), number)));
        }
    }
    out.push_str("</tr></table>");
    out
}

/// One line a table.
fn lines(tables: &[Judged], of: impl Fn(&Judged) -> Vec<(usize, Option<f64>)>) -> Vec<Series> {
    let series = |(color, judged): (usize, &Judged)| {
        let known = |(length, value): (usize, Option<f64>)| Some((length as f64, value?));
        let near = of(judged).into_iter().filter(|p| p.0 <= LENGTHS);
        let points = near.filter_map(known).collect();
        Series { name: judged.name.clone(), color, points, ranges: Vec::new() }
    };
    tables.iter().enumerate().map(series).collect()
}

fn curves(tables: &[Judged]) -> String {
    let shared = "shared codes, at least";
    let charts = [
        Chart {
            title: "Bits saved on the next item",
            note: "Held-out bits an item against popularity, by how much of the last item's ID the \
                   model sees.",
            x: "codes of the last item",
            series: lines(tables, |t| {
                let p = t.analysis.prediction.iter().flat_map(|p| &p.contexts);
                p.map(|c| (c.length, Some(c.bits))).collect()
            }),
            heights: Heights::Linear,
            reference: Some((0.0, "popularity")),
        },
        Chart {
            title: "Where the bits are saved",
            note: "Bits that the last item's ID saves at each code of the next item.",
            x: "code of the next item",
            series: lines(tables, |t| {
                let p = t.analysis.prediction.iter().flat_map(|p| &p.levels);
                p.map(|c| (c.length, Some(c.bits))).collect()
            }),
            heights: Heights::Linear,
            reference: Some((0.0, "none")),
        },
        Chart {
            title: "Does a shared prefix mean nearness?",
            note: "Chance that a pair that shares the prefix is nearer than one that does not.",
            x: shared,
            series: lines(tables, |t| {
                let l = t.analysis.nearness.iter().flat_map(|n| &n.lengths);
                l.map(|l| (l.length, l.auc)).collect()
            }),
            heights: Heights::Linear,
            reference: Some((0.5, "chance")),
        },
        Chart {
            title: "Mean cosine of pairs",
            note: "By the number of codes that the pair shares; 0 is any pair.",
            x: shared,
            series: lines(tables, |t| {
                let l = t.analysis.nearness.iter().flat_map(|n| &n.lengths);
                l.map(|l| (l.length, l.at_least)).collect()
            }),
            heights: Heights::Linear,
            reference: None,
        },
        Chart {
            title: "Do neighbours in histories share prefixes?",
            note: "Pointwise mutual information in bits of following each other and sharing a \
                   prefix.",
            x: shared,
            series: lines(tables, |t| {
                let l = t.analysis.behaviour.iter().flat_map(|b| &b.lengths);
                l.map(|l| (l.length, l.pmi_bits)).collect()
            }),
            heights: Heights::Linear,
            reference: Some((0.0, "chance")),
        },
        Chart {
            title: "Do prefixes follow the categories?",
            note: "Adjusted mutual information with the best fitting depth of the category paths.",
            x: "codes of the prefix",
            series: lines(tables, |t| {
                let taxonomy = t.analysis.taxonomy.as_ref();
                let best = |l| (l, taxonomy.and_then(|t| t.best(l)));
                (1..=t.analysis.shape.prefixes.len()).map(best).collect()
            }),
            heights: Heights::Linear,
            reference: Some((0.0, "chance")),
        },
    ];
    charts.iter().map(Chart::card).collect()
}

fn usage(tables: &[Judged]) -> String {
    let mut out = String::new();
    for table in tables {
        let level = |(l, counts): (usize, &Vec<u32>)| Series {
            name: format!("code {}", l + 1),
            color: l,
            points: counts
                .iter()
                .enumerate()
                .map(|(i, &c)| ((i + 1) as f64, f64::from(c)))
                .collect(),
            ranges: Vec::new(),
        };
        let chart = Chart {
            title: &format!("Use of the codes: {}", table.name),
            note: "Items on each code, on a logarithmic scale; a flat line uses all alike.",
            x: "codes, the most used first",
            series: table.usage.iter().enumerate().take(8).map(level).collect(),
            heights: Heights::Logarithmic,
            reference: None,
        };
        out.push_str(&chart.card());
    }
    out.push_str(&buckets(tables));
    let chart = Chart {
        title: "Unevenness of prefixes",
        note: "Gini coefficient of the numbers of items under prefixes: 0 when all are alike.",
        x: "codes of the prefix",
        series: lines(tables, |t| {
            t.analysis.shape.prefixes.iter().map(|p| (p.length, Some(p.gini))).collect()
        }),
        heights: Heights::Linear,
        reference: None,
    };
    out.push_str(&chart.card());
    out
}

/// IDs by the number of items that share them.
fn buckets(tables: &[Judged]) -> String {
    let class = |items: usize| match items <= SINGLE {
        true => items - 1,
        // 5 to 8, 9 to 16, ...
        false => SINGLE + (items - 1).ilog2() as usize - 2,
    };
    let sizes = || tables.iter().flat_map(|t| &t.buckets).filter(|b| b.items > 0);
    let Some(most) = sizes().map(|b| class(b.items)).max() else { return String::new() };
    let label = |c: usize| match c < SINGLE {
        true => (c + 1).to_string(),
        false => format!("{}–{}", (1 << (c - SINGLE + 2)) + 1, 1 << (c - SINGLE + 3)),
    };
    let count = |(color, t): (usize, &Judged)| {
        let mut counts = vec![0; most + 1];
        t.buckets.iter().filter(|b| b.items > 0).for_each(|b| counts[class(b.items)] += b.ids);
        let values = counts.into_iter().map(|c| Some(c as f64)).collect();
        BarSeries { name: t.name.clone(), color, values, ranges: Vec::new() }
    };
    let series: Vec<BarSeries> = tables.iter().enumerate().map(count).collect();
    let largest = series.iter().flat_map(|s| s.values.iter().flatten()).fold(0.0, |a, b| b.max(a));
    Bars {
        title: "Collisions",
        note: "Number of IDs by how many items share them.",
        x: "items on one ID",
        labels: (0..=most).map(label).collect(),
        series,
        pale: Vec::new(),
        heights: if largest > 200.0 { Heights::Logarithmic } else { Heights::Linear },
    }
    .card()
}

fn agreement(report: &Report) -> String {
    let series = |(color, pair): (usize, &super::report::Pair)| Series {
        name: format!("{} : {}", pair.a, pair.b),
        color,
        points: (1..=LENGTHS).zip(&pair.lengths).map(|(l, g)| (l as f64, g.ami)).collect(),
        ranges: Vec::new(),
    };
    Chart {
        title: "Same groups?",
        note: "Adjusted mutual information of the prefixes of two tables, whatever their codes are \
               called.",
        x: "codes of the prefix",
        series: report.stability.iter().enumerate().take(8).map(series).collect(),
        heights: Heights::Linear,
        reference: Some((0.0, "chance")),
    }
    .card()
}
