//! `per_user.csv`: one row a test case.

use super::super::Context;
use super::super::data::Data;
use super::Measured;
use crate::scoring::Cases;
use sidereal_core::{Result, files};
use std::io::Write;
use std::path::Path;

/// Name of the file with one row a test case.
pub const PER_USER: &str = "per_user.csv";
/// Columns of `per_user.csv` before those of the metrics.
pub const PER_USER_COLUMNS: [&str; 4] = ["user", "rank", "history", "popularity"];

/// One row a test case: ranks count from 1, an empty rank means that the list misses all targets;
/// `popularity` is the number of training interactions of the rarest target.
pub(super) fn per_user(
    path: &Path,
    cx: &Context<'_>,
    data: &Data,
    measured: &Measured,
) -> Result<()> {
    let columns: Vec<(&String, &Vec<f64>)> = measured
        .names
        .iter()
        .zip(&measured.scores)
        .filter_map(|(name, score)| score.per_user.as_ref().map(|v| (name, v)))
        .collect();
    let cases = Cases::all(&data.splits.test, cx.plan.evaluate.options.exclude_seen);
    files::write_atomic(path, |out| {
        write!(out, "{}", PER_USER_COLUMNS.join(","))?;
        columns.iter().try_for_each(|(name, _)| write!(out, ",{}", field(name)))?;
        writeln!(out)?;
        for c in 0..measured.truth.len() {
            let user = data.splits.test.user(c);
            write!(out, "{},", field(data.dataset.user_ids.get(user.index())))?;
            let (list, targets) = (measured.lists.get(c), measured.truth.get(c));
            if let Some(rank) = list.iter().position(|i| targets.contains(i)) {
                write!(out, "{}", rank + 1)?;
            }
            let counts = targets.iter().filter_map(|t| data.popularity.get(t.index()));
            let history = cases.request(c).history.len();
            write!(out, ",{history},{}", counts.min().copied().unwrap_or(0))?;
            columns.iter().try_for_each(|(_, values)| write!(out, ",{}", values[c]))?;
            writeln!(out)?;
        }
        Ok(())
    })
}

/// A field of a CSV file (RFC 4180).
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}
