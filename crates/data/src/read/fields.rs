//! Fields of a delimited line: any separator, with or without quotes.

use crate::read::lines::Lines;
use memchr::{memchr, memmem};
use sidereal_core::{Error, Result};
use std::borrow::Cow;
use std::ops::Range;

/// How a line falls into fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    separator: Vec<u8>,
    quotes: bool,
}

impl Format {
    /// `quotes`: fields may stand in double quotes, doubled inside (RFC 4180).
    pub(crate) fn new(separator: &str, quotes: bool) -> Self {
        Format { separator: separator.as_bytes().to_vec(), quotes }
    }

    /// Ranges of the fields of `line`, into a reused buffer.
    #[inline]
    pub(crate) fn split(&self, line: &[u8], out: &mut Vec<Range<usize>>) {
        out.clear();
        let mut start = 0;
        loop {
            let end = self.end(line, start);
            out.push(start..end);
            if end >= line.len() {
                return;
            }
            start = end + self.separator.len();
        }
    }

    /// End of the field that begins at `start`.
    #[inline]
    fn end(&self, line: &[u8], start: usize) -> usize {
        let mut from = start;
        if self.quotes && line.get(start) == Some(&b'"') {
            from += 1;
            // Past the closing quote; a doubled one is a character of the field.
            loop {
                let Some(n) = memchr(b'"', &line[from..]) else { return line.len() };
                from += n + 1;
                if line.get(from) != Some(&b'"') {
                    break;
                }
                from += 1;
            }
        }
        let rest = &line[from..];
        let found = match self.separator[..] {
            [byte] => memchr(byte, rest),
            _ => memmem::find(rest, &self.separator),
        };
        found.map_or(line.len(), |n| from + n)
    }

    /// A field without its quotes.
    #[inline]
    pub(crate) fn unquote<'a>(&self, field: &'a [u8]) -> Cow<'a, [u8]> {
        let inner = match field {
            [b'"', inner @ .., b'"'] if self.quotes => inner,
            _ => return Cow::Borrowed(field),
        };
        if memchr(b'"', inner).is_none() {
            return Cow::Borrowed(inner);
        }
        let mut out = Vec::with_capacity(inner.len());
        let mut quoted = false;
        for &b in inner {
            quoted = b == b'"' && !quoted;
            if !quoted {
                out.push(b);
            }
        }
        Cow::Owned(out)
    }

    /// Whether a quoted field of `line` goes on in the next line.
    #[inline]
    fn open(&self, line: &[u8]) -> bool {
        self.quotes && memchr::memchr_iter(b'"', line).count() % 2 == 1
    }
}

/// A quoted field over more lines than this is a stray quote.
const LONGEST_RECORD: usize = 1 << 20;

/// Records of a delimited file: lines, or several of them where a quoted field holds a newline.
pub(crate) struct Records<'a> {
    lines: Lines<'a>,
    format: Format,
    joined: Vec<u8>,
    fields: Vec<Range<usize>>,
    line: u64,
}

impl<'a> Records<'a> {
    pub(crate) fn new(lines: Lines<'a>, format: Format) -> Self {
        Records { lines, format, joined: Vec::new(), fields: Vec::new(), line: 0 }
    }

    /// The next record; blank lines are passed over.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Record<'_>>> {
        loop {
            let Some(line) = self.lines.next()? else { return Ok(None) };
            if !line.is_empty() {
                self.joined.clear();
                if self.format.open(line) {
                    self.joined.extend_from_slice(line);
                    break;
                }
                self.format.split(line, &mut self.fields);
                // Ends the borrow of the loop; the line is looked up again below.
                self.line = self.lines.number();
                let line = self.lines.last();
                return Ok(Some(Record {
                    line,
                    fields: &self.fields,
                    format: &self.format,
                    line_number: self.line,
                }));
            }
        }
        self.line = self.lines.number();
        loop {
            let Some(more) = self.lines.next()? else {
                return Err(Error::data_line(
                    self.lines.path(),
                    self.line,
                    "a quote is opened here and never closed",
                ));
            };
            self.joined.push(b'\n');
            self.joined.extend_from_slice(more);
            if self.format.open(more) {
                break;
            }
            if self.joined.len() > LONGEST_RECORD {
                return Err(Error::data_line(
                    self.lines.path(),
                    self.line,
                    "a quote is opened here and not closed within 1 MiB",
                ));
            }
        }
        self.format.split(&self.joined, &mut self.fields);
        Ok(Some(Record {
            line: &self.joined,
            fields: &self.fields,
            format: &self.format,
            line_number: self.line,
        }))
    }
}

/// One record.
pub(crate) struct Record<'a> {
    line: &'a [u8],
    fields: &'a [Range<usize>],
    format: &'a Format,
    /// Line where the record begins.
    pub(crate) line_number: u64,
}

impl<'a> Record<'a> {
    /// Number of fields.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Field `i` without quotes; empty where the record is too short.
    #[inline]
    pub(crate) fn get(&self, i: usize) -> Cow<'a, [u8]> {
        match self.fields.get(i) {
            Some(r) => self.format.unquote(&self.line[r.clone()]),
            None => Cow::Borrowed(&[]),
        }
    }

    /// All fields as text; bytes that are not UTF-8 are taken as Latin-1, one character each.
    pub(crate) fn texts(&self) -> Vec<String> {
        (0..self.len()).map(|i| text(&self.get(i))).collect()
    }
}

/// Bytes as text; where they are not UTF-8, as Latin-1.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(s) => s.to_string(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sidereal_core::Run;

    fn split(format: &Format, line: &str) -> Vec<String> {
        let mut fields = Vec::new();
        format.split(line.as_bytes(), &mut fields);
        let record = Record { line: line.as_bytes(), fields: &fields, format, line_number: 1 };
        record.texts()
    }

    #[test]
    fn hand_cases() {
        let csv = Format::new(",", true);
        assert_eq!(split(&csv, r#"1,"a, ""b""",,"#), ["1", "a, \"b\"", "", ""]);
        assert_eq!(split(&csv, "\"\"\",\"\"\",x"), ["\",\"", "x"]);
        assert_eq!(split(&csv, r#""open,x"#), ["\"open,x"]);
        assert_eq!(split(&Format::new("\t", false), "\"a\tb\""), ["\"a", "b\""]);
        assert_eq!(split(&Format::new("::", false), "1::2::x:y"), ["1", "2", "x:y"]);
        assert_eq!(text(b"caf\xe9"), "café");
    }

    proptest! {
        #[test]
        fn reads_back_what_a_csv_writer_writes(
            rows in prop::collection::vec(prop::collection::vec("[ab,\"\n é]{0,6}", 2..5), 1..8)
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.csv");
            let quote = |f: &String| format!("\"{}\"", f.replace('"', "\"\""));
            let text: String = rows
                .iter()
                .map(|r| r.iter().map(quote).collect::<Vec<_>>().join(",") + "\n")
                .collect();
            std::fs::write(&path, text).unwrap();
            let run = Run::quiet(0);
            let lines = Lines::open(&path, &run).unwrap();
            let mut records = Records::new(lines, Format::new(",", true));
            for row in &rows {
                prop_assert_eq!(&records.next().unwrap().unwrap().texts(), row);
            }
            prop_assert!(records.next().unwrap().is_none());
        }
    }
}
