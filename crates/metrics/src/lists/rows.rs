//! Lines with their numbers, and fields of lines.

use flate2::bufread::MultiGzDecoder;
use sidereal_core::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The text of a file, plain or compressed with gzip (told by its first bytes).
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let mut file = BufReader::new(File::open(path).map_err(|e| Error::read(path, e))?);
    let start = file.fill_buf().map_err(|e| Error::read(path, e))?;
    Ok(match start.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        false => Box::new(file),
    })
}

/// Calls `row` with number and text of each line that is not blank; line ends and a byte-order mark
/// are taken off.
pub(super) fn each_line(path: &Path, mut row: impl FnMut(u64, &str) -> Result<()>) -> Result<()> {
    let mut file = open(path)?;
    let (mut bytes, mut number) = (Vec::new(), 0);
    loop {
        bytes.clear();
        if file.read_until(b'\n', &mut bytes).map_err(|e| Error::read(path, e))? == 0 {
            return Ok(());
        }
        number += 1;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::data_line(path, number, "the line is not UTF-8"))?;
        let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text };
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.trim().is_empty() {
            row(number, text)?;
        }
    }
}

/// The first line, empty for an empty file. Only its beginning is read.
pub(super) fn first_line(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    std::io::Read::take(open(path)?, 1 << 12)
        .read_until(b'\n', &mut bytes)
        .map_err(|e| Error::read(path, e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Fields of a line of comma-separated values (RFC 4180, without line breaks in quotes). None for a
/// quote that does not end, or text behind one.
pub(super) fn csv_fields(line: &str) -> Option<Vec<String>> {
    let (mut fields, mut rest) = (Vec::new(), line);
    loop {
        let mut field = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let end = quoted.find('"')?;
                field.push_str(&quoted[..end]);
                quoted = &quoted[end + 1..];
                match quoted.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        quoted = more;
                    }
                    None => break,
                }
            }
            rest = quoted;
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        if rest.is_empty() {
            return Some(fields);
        }
        rest = rest.strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_by_hand() {
        let fields = |line| csv_fields(line).map(|f| f.join("|"));
        assert_eq!(fields("a,,\"b,\"\"c\"\"\",").unwrap(), "a||b,\"c\"|");
        assert_eq!(fields("").unwrap(), "");
        assert!(fields("\"a").is_none() && fields("\"a\"b,c").is_none());
    }

    proptest! {
        #[test]
        fn fields_come_back(fields in proptest::collection::vec("[a\", é]{0,6}", 1..6)) {
            let quoted: Vec<String> =
                fields.iter().map(|f| format!("\"{}\"", f.replace('"', "\"\""))).collect();
            prop_assert_eq!(csv_fields(&quoted.join(",")), Some(fields));
        }

        #[test]
        fn nothing_panics(line in "[a\",]{0,20}") {
            csv_fields(&line);
        }
    }
}
