//! Rows of a CSV file (RFC 4180) one by one, in bounded memory: for tables that are no interactions.

use crate::read::fields::{Format, Record, Records, text};
use crate::read::lines::Lines;
use crate::read::number::decimal;
use sidereal_core::{Result, Run};
use std::path::Path;

/// One row of a CSV file.
pub struct CsvRow<'a> {
    record: Record<'a>,
}

impl CsvRow<'_> {
    /// One-based line where the row begins.
    pub fn line(&self) -> u64 {
        self.record.line_number
    }

    /// Number of fields.
    pub fn fields(&self) -> usize {
        self.record.len()
    }

    /// Field `i` without quotes; empty where the row is too short.
    pub fn text(&self, i: usize) -> String {
        text(&self.record.get(i))
    }

    /// Field `i` as a finite number; nothing for any other text.
    pub fn number(&self, i: usize) -> Option<f64> {
        decimal(&self.record.get(i))
    }
}

/// Calls `each` with every row, the header included; blank lines are passed over.
///
/// Errors: a file that cannot be read or is empty, a quote that is never closed, errors of `each`.
pub fn csv_rows(
    path: &Path,
    run: &Run<'_>,
    mut each: impl FnMut(CsvRow<'_>) -> Result<()>,
) -> Result<()> {
    let mut records = Records::new(Lines::open(path, run)?, Format::new(",", true));
    while let Some(record) = records.next()? {
        each(CsvRow { record })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_their_lines_texts_and_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "user,x\n\"a,\"\"b\n\",0.5\nc,\n").unwrap();
        let mut seen = Vec::new();
        csv_rows(&path, &Run::quiet(0), |row| {
            seen.push((row.line(), row.fields(), row.text(0), row.number(1)));
            Ok(())
        })
        .unwrap();
        let want = [
            (1, 2, "user".to_string(), None),
            (2, 2, "a,\"b\n".to_string(), Some(0.5)),
            (4, 2, "c".to_string(), None),
        ];
        assert_eq!(seen, want);
    }
}
