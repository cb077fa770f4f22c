//! What `report.json` holds: an analysis a table, and how much tables agree.

use serde::Serialize;
use sidereal_core::{Result, Run};
use sidereal_experiment::ids::Subject;
use sidereal_experiment::report::names::shortest_ends;
use sidereal_quantizers::SidAnalysis;
use sidereal_quantizers::report::{Agreement, Direction, Prefixes, figures, stability};
use std::collections::BTreeMap;

/// Levels and prefix lengths that people are shown; the JSON has all.
pub const SHOWN: usize = 4;

/// Several sets of IDs, measured.
#[derive(Serialize)]
pub struct Report {
    /// One entry a set, in the order given.
    pub tables: Vec<Judged>,
    /// One entry a pair of sets of one catalogue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stability: Vec<Pair>,
}

/// One set of IDs, measured.
#[derive(Serialize)]
pub struct Judged {
    /// The shortest end of the path that tells it from the others.
    pub name: String,
    /// All figures.
    pub analysis: SidAnalysis,
    /// Rows on each code in use, largest first, for each level.
    pub usage: Vec<Vec<u32>>,
    /// IDs by the number of items that share them.
    pub buckets: Vec<Bucket>,
}

/// IDs that so many items share.
#[derive(Serialize)]
pub struct Bucket {
    /// Items on one ID.
    pub items: usize,
    /// IDs.
    pub ids: usize,
}

/// Agreement of two sets of IDs.
#[derive(Serialize)]
pub struct Pair {
    /// Name of one.
    pub a: String,
    /// Name of the other.
    pub b: String,
    /// At each prefix length from 1.
    pub lengths: Vec<Agreement>,
}

impl Report {
    /// Measures all subjects.
    pub fn of(subjects: &[Subject], run: &Run<'_>) -> Result<Self> {
        let paths: Vec<&str> = subjects.iter().map(|s| s.name.as_str()).collect();
        let names = shortest_ends(&paths);
        let mut tables = Vec::new();
        for (subject, name) in subjects.iter().zip(&names) {
            tables.push(Judged {
                name: name.clone(),
                analysis: subject.analyse(run)?,
                usage: usage(subject),
                buckets: buckets(&Prefixes::of(&subject.table)),
            });
        }
        let mut pairs = Vec::new();
        for (i, a) in subjects.iter().enumerate() {
            for (b, name) in subjects.iter().zip(&names).skip(i + 1) {
                if a.table.n_items() == b.table.n_items() {
                    let lengths = stability(&a.table, &b.table)?;
                    pairs.push(Pair { a: names[i].clone(), b: name.clone(), lengths });
                }
            }
        }
        Ok(Report { tables, stability: pairs })
    }
}

/// A figure of all tables.
pub struct Row {
    /// Its name.
    pub name: String,
    /// Which way is better.
    pub direction: Direction,
    /// One value a table that has it.
    pub values: Vec<Option<f64>>,
}

impl Row {
    /// `higher`, `lower` or nothing.
    pub fn better(&self) -> &'static str {
        match self.direction {
            Direction::Up => "higher",
            Direction::Down => "lower",
            Direction::Neither => "",
        }
    }

    /// The best value, where there is one.
    pub fn best(&self) -> Option<f64> {
        let values = self.values.iter().copied().flatten();
        match self.direction {
            Direction::Up => values.reduce(f64::max),
            Direction::Down => values.reduce(f64::min),
            Direction::Neither => None,
        }
    }
}

impl Report {
    /// All figures of the first levels, those of one kind together.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<(String, Direction)> = Vec::new();
        let mut columns: Vec<BTreeMap<String, f64>> = Vec::new();
        for judged in &self.tables {
            let found = figures(&judged.analysis);
            for f in &found {
                if level(&f.name) <= SHOWN && !rows.iter().any(|r| r.0 == f.name) {
                    rows.push((f.name.clone(), f.direction));
                }
            }
            columns.push(found.into_iter().map(|f| (f.name, f.value)).collect());
        }
        let kinds: Vec<String> = rows.iter().map(|r| kind(&r.0).to_string()).collect();
        rows.sort_by_key(|r| (kinds.iter().position(|k| k == kind(&r.0)), level(&r.0)));
        let row = |(name, direction): (String, Direction)| {
            let values = columns.iter().map(|c| c.get(&name).copied()).collect();
            Row { name, direction, values }
        };
        rows.into_iter().map(row).collect()
    }
}

/// The name of a figure without its level.
fn kind(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// The level of a figure, 0 where it has none.
fn level(name: &str) -> usize {
    name[kind(name).len()..].parse().unwrap_or(0)
}

/// Rows on each code in use, largest first.
fn usage(subject: &Subject) -> Vec<Vec<u32>> {
    let table = &subject.table;
    let level = |(l, &width): (usize, &u32)| {
        let mut counts = vec![0u32; width as usize];
        for row in 0..table.n_rows() {
            if let Some(&code) = table.sid(row).get(l) {
                counts[code as usize] += 1;
            }
        }
        counts.retain(|c| *c > 0);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    };
    table.widths().iter().enumerate().map(level).collect()
}

fn buckets(prefixes: &Prefixes) -> Vec<Bucket> {
    let mut sizes: Vec<usize> = prefixes.sizes(prefixes.longest()).collect();
    sizes.sort_unstable();
    let bucket = |same: &[usize]| Bucket { items: same[0], ids: same.len() };
    sizes.chunk_by(|a, b| a == b).map(bucket).collect()
}
