//! What a path holds: its format, counts, lengths, times, texts.

use crate::read::json::scan;
use crate::read::lines::Lines;
use crate::sources::movielens::is_movielens;
use crate::sources::{existing, first_existing, names_in};
use crate::{Dataset, LoadReport, Source};
use serde::Serialize;
use sidereal_core::{Catalog, Error, ItemId, Result, Run, Spec};
use std::fmt;
use std::path::Path;

/// A data set at a glance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The path as given.
    pub path: String,
    /// Name of the reader that understood it, for `[data] type`.
    pub format: String,
    /// Users with at least one interaction.
    pub users: u64,
    /// Items of the catalogue.
    pub items: u64,
    /// Interactions.
    pub interactions: u64,
    /// Interactions divided by users times items, 0 to 1 without repeats.
    pub density: f64,
    /// Lengths of the histories that are not empty.
    pub lengths: Lengths,
    /// First and last time, if known.
    pub time: Option<TimeRange>,
    /// Text columns and how full they are.
    pub columns: Vec<ColumnSummary>,
    /// The first items of the catalogue.
    pub first_items: Vec<FirstItem>,
    /// What was read and dropped.
    pub report: LoadReport,
}

/// Lengths of histories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Lengths {
    /// Shortest.
    pub min: u64,
    /// Middle one; the mean of both middle ones for an even number.
    pub median: f64,
    /// Mean.
    pub mean: f64,
    /// Longest.
    pub max: u64,
}

/// First and last time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeRange {
    /// First second (Unix time).
    pub first: i64,
    /// Last second (Unix time).
    pub last: i64,
    /// Day of the first, as in `2004-01-31` (UTC).
    pub first_day: String,
    /// Day of the last.
    pub last_day: String,
}

/// A text column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnSummary {
    /// Its name.
    pub name: String,
    /// Share of items with a value, 0 to 1.
    pub filled: f64,
}

/// An item to look at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FirstItem {
    /// Source id.
    pub id: String,
    /// Title, or the id where there is none.
    pub title: String,
}

/// How many items are shown.
const SHOWN: usize = 5;

/// Finds out what `path` holds, reads it without filters (bad lines are counted) and sums it up.
pub fn inspect(path: &Path) -> Result<Inspection> {
    let (format, options) = detect(path)?;
    let mut catalog: Catalog<dyn Source> = Catalog::new("data");
    crate::register(&mut catalog)?;
    let mut spec = Spec::new("data", format)
        .with("path", path.to_string_lossy().into_owned())
        .with("bad_lines", "skip")
        .with("max_bad_lines", u64::MAX);
    for (key, value) in options {
        spec = spec.with(key, value);
    }
    let run = Run { threads: 2, ..Run::quiet(0) };
    let data = catalog.build(&spec, &())?.load(&run)?;
    Ok(summary(path, format, &data))
}

/// Format of a path, and options that go with it.
fn detect(path: &Path) -> Result<(&'static str, Vec<(&'static str, String)>)> {
    let path = existing("data.path", &path.to_string_lossy())?;
    let plain = |format| Ok((format, Vec::new()));
    let names = if path.is_dir() {
        names_in(&path)?
    } else {
        vec![path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()]
    };
    let ends = |ends: &[&str]| {
        names.iter().any(|n| {
            let n = n.strip_suffix(".gz").unwrap_or(n);
            ends.iter().any(|e| n.ends_with(e))
        })
    };
    if path.is_dir() {
        return match () {
            _ if first_existing(&path, &["interactions.tsv", "interactions.parquet"]).is_some() => {
                plain("folder")
            }
            _ if ends(&[".inter"]) => plain("recbole"),
            _ if is_movielens(&path) => plain("movielens"),
            _ if names.iter().any(|n| holds_reviews(&path.join(n))) => plain("amazon-reviews"),
            _ => Err(Error::data(
                &path,
                format!(
                    "no known layout: expected interactions.tsv.gz, a .inter file, MovieLens \
                     ratings or reviews as JSON lines; it holds: {}",
                    names.join(", ")
                ),
            )),
        };
    }
    if ends(&["ratings.dat", "u.data"]) {
        return plain("movielens");
    }
    if ends(&[".inter"]) {
        return plain("recbole");
    }
    if ends(&[".parquet"]) {
        return plain("parquet");
    }
    let run = Run::quiet(0);
    let mut lines = Lines::open(&path, &run)?;
    let first = lines.peek()?.unwrap_or_default();
    if is_review(first) {
        return plain("amazon-reviews");
    }
    if first.trim_ascii_start().starts_with(b"{") {
        return Err(Error::data_line(&path, 1, "JSON, but no review: no reviewerID, no user_id"));
    }
    let separator = crate::catalogue::guess_separator(first);
    let format = if separator == "\t" { "tsv" } else { "csv" };
    Ok((format, vec![("separator", separator.to_string())]))
}

/// Whether a line is a review of Amazon.
fn is_review(line: &[u8]) -> bool {
    let mut out = [None; 2];
    let read = scan(line, &[b"reviewerID", b"user_id"], &mut out);
    read.is_ok() && out.iter().any(Option::is_some)
}

/// Whether a file begins with a review.
fn holds_reviews(path: &Path) -> bool {
    let name = path.to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    if !path.is_file() || !(name.ends_with(".json") || name.ends_with(".jsonl")) {
        return false;
    }
    let run = Run::quiet(0);
    let Ok(mut lines) = Lines::open(path, &run) else { return false };
    lines.peek().is_ok_and(|l| l.is_some_and(is_review))
}

fn summary(path: &Path, format: &str, data: &Dataset) -> Inspection {
    let offsets = data.interactions.offsets();
    let mut lengths: Vec<u64> =
        offsets.windows(2).map(|w| w[1] - w[0]).filter(|&n| n > 0).collect();
    lengths.sort_unstable();
    let users = lengths.len() as u64;
    let (items, interactions) = (data.items.len() as u64, data.report.interactions);
    let middle = |i: usize| lengths.get(i).copied().unwrap_or(0) as f64;
    let half = lengths.len() / 2;
    let median = match lengths.len() {
        0 => 0.0,
        n if n % 2 == 1 => middle(half),
        _ => (middle(half - 1) + middle(half)) / 2.0,
    };
    let lengths = Lengths {
        min: lengths.first().copied().unwrap_or(0),
        median,
        mean: interactions as f64 / users.max(1) as f64,
        max: lengths.last().copied().unwrap_or(0),
    };
    let times = data.interactions.all_times().unwrap_or_default();
    let time = times.iter().min().zip(times.iter().max()).map(|(&first, &last)| TimeRange {
        first,
        last,
        first_day: day(first),
        last_day: day(last),
    });
    let columns = (data.items.column_names())
        .filter_map(|name| {
            let column = data.items.column(name)?;
            let filled = column.iter().filter(|v| !v.is_empty()).count();
            let filled = filled as f64 / items.max(1) as f64;
            Some(ColumnSummary { name: name.to_string(), filled })
        })
        .collect();
    let first_items = (0..data.items.len().min(SHOWN) as u32)
        .map(|i| FirstItem {
            id: data.items.id(ItemId(i)).to_string(),
            title: data.items.title(ItemId(i)).to_string(),
        })
        .collect();
    Inspection {
        path: path.display().to_string(),
        format: format.to_string(),
        users,
        items,
        interactions,
        density: interactions as f64 / (users as f64 * items as f64).max(1.0),
        lengths,
        time,
        columns,
        first_items,
        report: data.report.clone(),
    }
}

/// Day of a Unix time (UTC) in the Gregorian calendar; days are counted from 1 March of a year
/// divisible by 400, so that leap days come last.
fn day(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, in_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `1234567` as `1,234,567`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let l = &self.lengths;
        let r = &self.report;
        writeln!(f, "{}: {}", self.path, self.format)?;
        writeln!(f, "  users         {}", grouped(self.users))?;
        writeln!(f, "  items         {}", grouped(self.items))?;
        writeln!(f, "  interactions  {}", grouped(self.interactions))?;
        writeln!(f, "  density       {:.4} %", 100.0 * self.density)?;
        writeln!(
            f,
            "  history       min {}, median {}, mean {:.1}, max {}",
            l.min, l.median, l.mean, l.max
        )?;
        match &self.time {
            Some(t) => writeln!(f, "  time          {} to {}", t.first_day, t.last_day)?,
            None => writeln!(f, "  time          unknown, order of the file")?,
        }
        for (n, c) in self.columns.iter().enumerate() {
            let label = if n == 0 { "columns" } else { "" };
            writeln!(f, "  {label:<13} {:<16} {:5.1} % filled", c.name, 100.0 * c.filled)?;
        }
        for (n, i) in self.first_items.iter().enumerate() {
            let label = if n == 0 { "first items" } else { "" };
            let title: String = i.title.chars().take(70).collect();
            writeln!(f, "  {label:<13} {:<12} {title}", i.id)?;
        }
        for (count, what) in [
            (r.bad_lines, "bad lines skipped"),
            (r.users_without_interactions, "users without an interaction"),
            (r.items_without_interactions, "items without an interaction"),
            (r.items_without_text, "items without text"),
        ] {
            if count > 0 {
                writeln!(f, "  note          {} {what}", grouped(count))?;
            }
        }
        for line in r.first_bad_lines.iter().chain(&r.notes) {
            writeln!(f, "  note          {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for (seconds, want) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_393_545_600, "2014-02-28"),
            (1_709_164_800, "2024-02-29"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(seconds), want);
        }
    }

    #[test]
    fn groups_of_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
    }
}
