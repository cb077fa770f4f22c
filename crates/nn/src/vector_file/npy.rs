//! NumPy's `.npy` format: reads versions 1.0, 2.0 and 3.0, writes 1.0.
//!
//! `\x93NUMPY`, two version bytes, the length of the header (2 bytes in version 1, then 4), the
//! header (a Python dictionary with exactly `descr`, `fortran_order` and `shape`), the values.
//! Read here: two axes, C order, little-endian `f2`, `f4`, `f8`, `i4` and `i8`. The header is parsed strictly,
//! and the size of the file is checked against the shape before anything is allocated.

use super::{BLOCK, Kind};
use sidereal_core::{Error, Matrix, Result, files};
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

/// First bytes of every `.npy` file.
pub const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header read; NumPy itself writes about a hundred bytes.
const MAX_HEADER: usize = 1 << 16;
/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Type of the values.
    pub kind: Kind,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
}

/// What stands before the values of a row-major matrix; `kind` is NumPy's name of their type, as
/// in `<f4`.
pub fn header_bytes(kind: &str, rows: usize, cols: usize) -> Vec<u8> {
    let mut text =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    // Magic (6), version (2), length (2), header and newline fill a multiple of 64 bytes.
    let padding = 63 - (10 + text.len()) % 64;
    text.push_str(&" ".repeat(padding));
    text.push('\n');
    let mut out = [MAGIC, &[1, 0]].concat();
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out
}

/// Writes a matrix, row-major.
pub fn save(path: &Path, matrix: &Matrix) -> Result<()> {
    files::write_atomic(path, |out| {
        out.write_all(&header_bytes("<f4", matrix.rows(), matrix.cols()))?;
        matrix.data().iter().try_for_each(|v| out.write_all(&v.to_le_bytes()))
    })
}

/// Reads a matrix, rounded to f32.
pub fn read(path: &Path) -> Result<Matrix> {
    let file = File::open(path).map_err(|e| Error::read(path, e))?;
    let size = file.metadata().map_err(|e| Error::read(path, e))?.len();
    parse(BufReader::new(file), size).map_err(|fault| fault.of(path))
}

/// Why a file was refused.
#[derive(Debug)]
pub enum Fault {
    /// The source failed.
    Read(std::io::Error),
    /// The bytes are wrong.
    Content(String),
}

impl Fault {
    /// The error that names the file.
    pub fn of(self, path: &Path) -> Error {
        match self {
            Fault::Read(e) => Error::read(path, e),
            Fault::Content(message) => Error::data(path, message),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(e: std::io::Error) -> Self {
        match e.kind() {
            std::io::ErrorKind::UnexpectedEof => Fault::Content("the file ends early".into()),
            _ => Fault::Read(e),
        }
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Content(message.into()))
}

/// Reads a matrix from `size` bytes.
pub fn parse(mut input: impl Read, size: u64) -> Result<Matrix, Fault> {
    let (header, _) = header(&mut input, size)?;
    fill(input, &header)
}

/// Reads the header of `size` bytes; gives the place where the values begin too.
pub fn header(mut input: impl Read, size: u64) -> Result<(Header, u64), Fault> {
    let mut start = [0u8; 8];
    input.read_exact(&mut start)?;
    if &start[..6] != MAGIC {
        return refuse("no .npy file: it does not start with \\x93NUMPY");
    }
    let (prefix, length) = match (start[6], start[7]) {
        (1, 0) => {
            let mut b = [0u8; 2];
            input.read_exact(&mut b)?;
            (10, u16::from_le_bytes(b) as usize)
        }
        (2 | 3, 0) => {
            let mut b = [0u8; 4];
            input.read_exact(&mut b)?;
            (12, u32::from_le_bytes(b) as usize)
        }
        (major, minor) => {
            return refuse(format!(".npy version {major}.{minor}; known: 1.0, 2.0 and 3.0"));
        }
    };
    if length > MAX_HEADER {
        return refuse(format!("the header has {length} bytes; at most {MAX_HEADER} are read"));
    }
    let mut header = vec![0u8; length];
    input.read_exact(&mut header)?;
    let header = parse_header(&header).map_err(Fault::Content)?;
    let values = header.rows.checked_mul(header.cols);
    let bytes = values.and_then(|v| v.checked_mul(header.kind.size())).map(|b| b as u64);
    let there = size.saturating_sub((prefix + length) as u64);
    match (values, bytes) {
        (Some(_), Some(bytes)) if bytes == there => Ok((header, (prefix + length) as u64)),
        _ => refuse(format!(
            "{} x {} values of {} bytes do not fit the {there} bytes after the header",
            header.rows,
            header.cols,
            header.kind.size()
        )),
    }
}

fn fill(mut input: impl Read, header: &Header) -> Result<Matrix, Fault> {
    let size = header.kind.size();
    let mut out = Matrix::zeros(header.rows, header.cols);
    let mut block = Vec::new();
    for part in out.data_mut().chunks_mut(BLOCK / size) {
        block.resize(part.len() * size, 0);
        input.read_exact(&mut block)?;
        header.kind.decode(&block, part);
    }
    Ok(out)
}

/// Parses the dictionary of a header.
pub fn parse_header(bytes: &[u8]) -> Result<Header, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the header is no text".to_string())?;
    let mut p = Parser { rest: text.trim_end_matches([' ', '\n']) };
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    p.expect('{')?;
    while !p.accept('}') {
        let name = p.string()?;
        p.expect(':')?;
        let twice = match name {
            "descr" if p.peek() == Some('[') => {
                return Err("the values are records; expected f2, f4 or f8".into());
            }
            "descr" => descr.replace(p.string()?).is_some(),
            "fortran_order" => fortran.replace(p.truth()?).is_some(),
            "shape" => shape.replace(p.shape()?).is_some(),
            other => return Err(format!("the header has an unknown key `{other}`")),
        };
        if twice {
            return Err(format!("the header has `{name}` twice"));
        }
        if !p.accept(',') {
            p.expect('}')?;
            break;
        }
    }
    if !p.rest.is_empty() {
        return Err("the header goes on after its dictionary".into());
    }
    let (Some(descr), Some(fortran), Some(shape)) = (descr, fortran, shape) else {
        return Err("the header lacks `descr`, `fortran_order` or `shape`".into());
    };
    let kind = match descr {
        "<f2" => Kind::F16,
        "<f4" => Kind::F32,
        "<f8" => Kind::F64,
        "<i4" => Kind::I32,
        "<i8" => Kind::I64,
        big if big.starts_with('>') => {
            return Err(format!("values are big-endian (`{big}`); save them as `<f4`"));
        }
        other => {
            return Err(format!("values have type `{other}`; expected <f2, <f4, <f8, <i4 or <i8"));
        }
    };
    if fortran {
        return Err("the array is in Fortran order; save numpy.ascontiguousarray(x)".into());
    }
    let [rows, cols] = shape[..] else {
        return Err(format!("the array has {} axes; expected 2: items x width", shape.len()));
    };
    Ok(Header { kind, rows, cols })
}

/// The little of Python's literals that a header may hold.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start_matches(' ');
        self.rest.chars().next()
    }

    fn accept(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.rest = &self.rest[c.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.accept(c) {
            return Ok(());
        }
        let seen: String = self.rest.chars().take(12).collect();
        Err(format!("the header has `{seen}` where `{c}` should stand"))
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.peek() == Some('"') { '"' } else { '\'' };
        self.expect(quote)?;
        let end = self.rest.find([quote, '\\']).filter(|&e| self.rest[e..].starts_with(quote));
        let Some(end) = end else {
            return Err("the header has a string without an end".into());
        };
        let (value, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        Ok(value)
    }

    fn truth(&mut self) -> Result<bool, String> {
        self.peek();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err("`fortran_order` is neither True nor False".into())
    }

    fn shape(&mut self) -> Result<Vec<usize>, String> {
        let mut axes = Vec::new();
        self.expect('(')?;
        while !self.accept(')') {
            self.peek();
            let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
            let axis = self.rest[..digits].parse().map_err(|_| {
                "`shape` must hold whole numbers that fit the address space".to_string()
            })?;
            self.rest = &self.rest[digits..];
            if axes.len() == 32 {
                return Err("`shape` has more than 32 axes".into());
            }
            axes.push(axis);
            if !self.accept(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(axes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        for (rows, cols) in [(2, 3), (1, 1), (1000, 7)] {
            let data = (0..rows * cols).map(|i| i as f32 * 0.5 - 1.0).collect();
            let matrix = Matrix::new(rows, cols, data).unwrap();
            save(&path, &matrix).unwrap();
            assert_eq!(read(&path).unwrap(), matrix);
            assert_eq!(header_bytes("<f4", rows, cols).len() % 64, 0);
        }
        let codes =
            [header_bytes("<i8", 1, 2), vec![7, 0, 0, 0, 0, 0, 0, 0], vec![255; 8]].concat();
        assert_eq!(parse(&codes[..], codes.len() as u64).unwrap().data(), [7.0, -1.0]);
    }

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend([version, 0]);
        match version {
            1 => out.extend((header.len() as u16).to_le_bytes()),
            _ => out.extend((header.len() as u32).to_le_bytes()),
        }
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }

    fn load(bytes: &[u8]) -> Result<Matrix, String> {
        parse(bytes, bytes.len() as u64).map_err(|f| match f {
            Fault::Read(e) => e.to_string(),
            Fault::Content(m) => m,
        })
    }

    fn header(descr: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}    \n")
    }

    #[test]
    fn reads_every_type_and_version() {
        let values = [1.5f32, -2.0, 0.0, 65504.0, 3.0, -0.25];
        let bytes = |kind| -> Vec<u8> {
            match kind {
                "<f2" => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
                "<f4" => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                _ => values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect(),
            }
        };
        for version in 1..=3 {
            for kind in ["<f2", "<f4", "<f8"] {
                let m = load(&file(version, &header(kind, "(3, 2)"), &bytes(kind))).unwrap();
                assert_eq!((m.rows(), m.cols(), m.data()), (3, 2, &values[..]));
            }
        }
        // Three bytes more than a block.
        let many = vec![0u8; BLOCK + 4];
        assert_eq!(load(&file(1, &header("<f4", "(262145, 1)"), &many)).unwrap().rows(), 262145);
    }

    #[test]
    fn hostile_files_are_refused_with_the_reason() {
        let d = [0u8; 8];
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (vec![], "ends early"),
            (b"\x93NUMPY\x01\x00\xff".to_vec(), "ends early"),
            (b"\x93NUMPX\x01\x00\x00\x00".to_vec(), "no .npy file"),
            (file(4, &header("<f4", "(1, 2)"), &d), "version 4.0"),
            (file(2, &" ".repeat(MAX_HEADER + 1), &d), "at most 65536"),
            (file(1, &header("<f4", "(1, 3)"), &d), "do not fit the 8 bytes"),
            (file(1, &header("<f4", "(1, 1)"), &d), "do not fit the 8 bytes"),
            (file(1, &header("<f8", "(4294967296, 4294967296)"), &d), "do not fit"),
            (file(1, &header("<f4", "(99999999999999999999, 1)"), &d), "whole numbers"),
            (file(1, &header("<f4", "(-1, 2)"), &d), "whole numbers"),
            (file(1, &header("<f4", "(2,)"), &d), "1 axes"),
            (file(1, &header("<f4", "()"), &d), "0 axes"),
            (file(1, &header(">f4", "(1, 2)"), &d), "big-endian"),
            (file(1, &header("<u4", "(1, 2)"), &d), "type `<u4`"),
            (file(1, &header("|O", "(1, 2)"), &d), "type `|O`"),
            (file(1, "{'descr': [('a', '<f4')], }", &d), "records"),
            (file(1, "{'descr': '<f4', 'descr': '<f4', }", &d), "`descr` twice"),
            (file(1, "{'descr': '<f4', 'eval': 1}", &d), "unknown key `eval`"),
            (file(1, "{'descr': '<f4'}", &d), "lacks"),
            (file(1, "{'descr': '<f4", &d), "without an end"),
            (file(1, "{'descr': '\\x3cf4'}", &d), "without an end"),
            (file(1, "__import__('os')", &d), "where `{` should stand"),
            (
                file(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2)}", &d),
                "Fortran order",
            ),
            (
                file(1, "{'descr': '<f4', 'fortran_order': 1, 'shape': (1, 2)}", &d),
                "neither True nor False",
            ),
            (
                file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)} + 1", &d),
                "goes on",
            ),
            (file(1, &header("<f4", &format!("({})", "1, ".repeat(40))), &d), "more than 32"),
        ];
        for (bytes, reason) in cases {
            let message = load(&bytes).unwrap_err();
            assert!(message.contains(reason), "{message} lacks {reason}");
        }
    }

    proptest! {
        #[test]
        fn no_change_of_bytes_panics(
            flips in proptest::collection::vec((0usize..120, any::<u8>()), 0..12), cut in 0usize..140) {
            let mut bytes = file(1, &header("<f4", "(2, 2)"), &[0u8; 16]);
            for (at, to) in flips {
                let at = at % bytes.len();
                bytes[at] = to;
            }
            bytes.truncate(cut);
            if let Ok(m) = load(&bytes) {
                prop_assert_eq!(m.data().len(), m.rows() * m.cols());
            }
        }

        #[test]
        fn no_header_panics(text in "\\PC{0,80}", tail in "[{}()',: a-z0-9]{0,60}") {
            let _ = parse_header(text.as_bytes());
            let _ = parse_header(format!("{{'descr':{tail}").as_bytes());
        }
    }
}
