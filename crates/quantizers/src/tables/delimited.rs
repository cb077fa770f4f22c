//! Tables as delimited text: a header, then an item a line.

use super::Row;
use sidereal_core::{Error, Result, SidTable, files};
use std::io::Write;
use std::path::Path;

/// Keys and codes of every line. A table with one column beside the key may hold whole IDs, words
/// with spaces between them.
pub(super) fn rows(path: &Path, text: &str, separator: char) -> Result<Vec<Row>> {
    let mut lines = text.lines().zip(1u64..);
    let Some((header, _)) = lines.next() else {
        return Err(Error::data_line(path, 1, "expected a header, then an item a line"));
    };
    let columns = header.split(separator).count();
    let mut rows = Vec::new();
    for (line, number) in lines.filter(|(line, _)| !line.trim().is_empty()) {
        let mut cells = line.split(separator).map(str::trim);
        let key = cells.next().unwrap_or_default().to_string();
        let mut codes: Vec<String> = match columns {
            2 => cells.clone().take(1).flat_map(str::split_whitespace).map(Into::into).collect(),
            _ => cells.clone().map(Into::into).collect(),
        };
        let found = 1 + cells.count();
        if found > columns {
            let message = format!("{found} cells under a header of {columns}");
            return Err(Error::data_line(path, number, message));
        }
        codes.truncate(codes.iter().rposition(|c| !c.is_empty()).map_or(0, |last| last + 1));
        if let Some(hole) = codes.iter().position(String::is_empty) {
            let message = format!("`{key}` has no code {hole} but later ones");
            return Err(Error::data_line(path, number, message));
        }
        rows.push((key, codes));
    }
    Ok(rows)
}

/// Writes keys and codes; short IDs leave cells empty.
pub(super) fn write(path: &Path, table: &SidTable) -> Result<()> {
    super::one_id_each(table)?;
    files::write_atomic(path, |out| {
        write!(out, "item")?;
        (0..table.max_len()).try_for_each(|l| write!(out, "\tc{l}"))?;
        writeln!(out)?;
        for r in 0..table.n_rows() {
            write!(out, "{}", table.item(r).0)?;
            for l in 0..table.max_len() {
                match table.sid(r).get(l) {
                    Some(code) => write!(out, "\t{code}")?,
                    None => write!(out, "\t")?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    })
}
