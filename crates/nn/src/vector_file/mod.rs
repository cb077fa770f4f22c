//! Matrices in files, read in blocks of rows: `.npy` and safetensors.
//!
//! A file is opened by its header alone; rows are read on demand through a buffer of one MiB, so
//! what is in memory is what the caller asks for. Values are rounded to f32.

pub mod npy;

use half::{bf16, f16};
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensors};
use sidereal_core::{Error, Matrix, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes read at a time; a multiple of every value size.
const BLOCK: usize = 1 << 20;
/// Longest header of a safetensors file, as in the format's own crate.
const MAX_HEADER: u64 = 100_000_000;

/// Type of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Half precision.
    F16,
    /// Half the bits of single precision.
    BF16,
    /// Single precision.
    F32,
    /// Double precision, rounded to single.
    F64,
    /// Whole numbers, exact up to 2^24.
    I32,
    /// Whole numbers, exact up to 2^24.
    I64,
}

impl Kind {
    /// Bytes of a value.
    pub fn size(self) -> usize {
        match self {
            Kind::F16 | Kind::BF16 => 2,
            Kind::F32 | Kind::I32 => 4,
            Kind::F64 | Kind::I64 => 8,
        }
    }

    /// Little-endian values as f32; `out` has one place for each.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        let (two, four, eight) =
            (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0, bytes.as_chunks::<8>().0);
        match self {
            Kind::F16 => {
                out.iter_mut().zip(two).for_each(|(o, b)| *o = f16::from_le_bytes(*b).to_f32())
            }
            Kind::BF16 => {
                out.iter_mut().zip(two).for_each(|(o, b)| *o = bf16::from_le_bytes(*b).to_f32())
            }
            Kind::F32 => out.iter_mut().zip(four).for_each(|(o, b)| *o = f32::from_le_bytes(*b)),
            Kind::F64 => {
                out.iter_mut().zip(eight).for_each(|(o, b)| *o = f64::from_le_bytes(*b) as f32)
            }
            Kind::I32 => {
                out.iter_mut().zip(four).for_each(|(o, b)| *o = i32::from_le_bytes(*b) as f32)
            }
            Kind::I64 => {
                out.iter_mut().zip(eight).for_each(|(o, b)| *o = i64::from_le_bytes(*b) as f32)
            }
        }
    }
}

/// A matrix in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorFile {
    path: PathBuf,
    kind: Kind,
    rows: usize,
    cols: usize,
    /// Where the values begin, in bytes.
    offset: u64,
}

impl VectorFile {
    /// Reads the header of `.npy` or safetensors, told apart by their content. `tensor` names the
    /// one in a safetensors file; it may be empty when there is only one, and must be for `.npy`.
    ///
    /// Errors: no such file or tensor, neither format, no matrix of floating-point values, a size
    /// of the file that does not fit.
    pub fn open(path: &Path, tensor: &str) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| Error::read(path, e))?;
        let size = file.metadata().map_err(|e| Error::read(path, e))?.len();
        let mut start = Vec::new();
        let magic = npy::MAGIC.len() as u64;
        file.by_ref().take(magic).read_to_end(&mut start).map_err(|e| Error::read(path, e))?;
        file.seek(SeekFrom::Start(0)).map_err(|e| Error::read(path, e))?;
        if start == npy::MAGIC {
            if !tensor.is_empty() {
                let message = format!("a .npy file holds one array without a name, not `{tensor}`");
                return Err(Error::data(path, message));
            }
            let (header, offset) = npy::header(file, size).map_err(|f| f.of(path))?;
            let npy::Header { kind, rows, cols } = header;
            return Ok(VectorFile { path: path.into(), kind, rows, cols, offset });
        }
        Self::open_tensor(path, file, size, tensor)
    }

    fn open_tensor(path: &Path, mut file: File, size: u64, name: &str) -> Result<Self> {
        let wrong = |message: String| Error::data(path, message);
        let mut length = [0u8; 8];
        let neither = |why: String| wrong(format!("neither .npy nor safetensors: {why}"));
        file.read_exact(&mut length).map_err(|e| neither(e.to_string()))?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER || length.saturating_add(8) > size {
            return Err(neither(format!("a header of {length} bytes in a file of {size}")));
        }
        let mut header = vec![0u8; length as usize];
        file.read_exact(&mut header).map_err(|e| Error::read(path, e))?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|e| neither(e.to_string()))?;
        let tensors = metadata.tensors();
        let mut names: Vec<&str> = tensors.keys().map(String::as_str).collect();
        names.sort_unstable();
        let name = match (name, &names[..]) {
            ("", [only]) => only,
            ("", _) => return Err(wrong(format!("tensors: {}; name one", names.join(", ")))),
            (name, _) => name,
        };
        let Some(info) = tensors.get(name) else {
            return Err(wrong(format!("no tensor `{name}`; it holds {}", names.join(", "))));
        };
        let kind = match info.dtype {
            Dtype::F16 => Kind::F16,
            Dtype::BF16 => Kind::BF16,
            Dtype::F32 => Kind::F32,
            Dtype::F64 => Kind::F64,
            other => {
                let message = format!("tensor `{name}` has type {other:?}");
                return Err(wrong(format!("{message}; expected F16, BF16, F32 or F64")));
            }
        };
        let &[rows, cols] = &info.shape[..] else {
            let message = format!("tensor `{name}` has shape {:?}", info.shape);
            return Err(wrong(format!("{message}; expected rows x width")));
        };
        let bytes = rows.checked_mul(cols).and_then(|v| v.checked_mul(kind.size()));
        let (start, end) = info.data_offsets;
        let offset = (8 + length).saturating_add(start as u64);
        let last = tensors.values().map(|t| t.data_offsets.1 as u64).max().unwrap_or(0);
        let whole = (8 + length).checked_add(last) == Some(size);
        if end.checked_sub(start) != bytes || bytes.is_none() || end as u64 > last || !whole {
            return Err(wrong(format!("tensor `{name}` does not fit the file's {size} bytes")));
        }
        Ok(VectorFile { path: path.into(), kind, rows, cols, offset })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Type of the values.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// A reader with a place in the file.
    pub fn reader(&self) -> Result<RowReader<'_>> {
        let file = File::open(&self.path).map_err(|e| Error::read(&self.path, e))?;
        Ok(RowReader { of: self, file, bytes: Vec::new() })
    }

    /// The whole matrix.
    pub fn read(&self) -> Result<Matrix> {
        let mut out = Matrix::zeros(self.rows, self.cols);
        self.reader()?.read(0, out.data_mut())?;
        Ok(out)
    }
}

/// Reads rows of a [`VectorFile`].
pub struct RowReader<'a> {
    of: &'a VectorFile,
    file: File,
    bytes: Vec<u8>,
}

impl RowReader<'_> {
    /// Fills `out` with as many whole rows as it holds, from row `first`.
    ///
    /// Errors: rows behind the end, a file that became shorter.
    pub fn read(&mut self, first: usize, out: &mut [f32]) -> Result<()> {
        let VectorFile { path, kind, rows, cols, offset } = self.of;
        let count = out.len() / (*cols).max(1);
        if first.checked_add(count).is_none_or(|end| end > *rows) {
            let message = format!("rows {first} and {count} more of {rows}");
            return Err(Error::data(path, message));
        }
        let at = offset + (first * cols * kind.size()) as u64;
        self.file.seek(SeekFrom::Start(at)).map_err(|e| Error::read(path, e))?;
        for part in out.chunks_mut(BLOCK / kind.size()) {
            self.bytes.resize(part.len() * kind.size(), 0);
            self.file.read_exact(&mut self.bytes).map_err(|e| Error::read(path, e))?;
            kind.decode(&self.bytes, part);
        }
        Ok(())
    }
}

/// Values of a tensor as f32; `None` for types other than floating-point ones.
pub fn tensor_values(file: &SafeTensors<'_>, name: &str) -> Option<Vec<f32>> {
    let tensor = file.tensor(name).ok()?;
    let kind = match tensor.dtype() {
        Dtype::F16 => Kind::F16,
        Dtype::BF16 => Kind::BF16,
        Dtype::F32 => Kind::F32,
        Dtype::F64 => Kind::F64,
        _ => return None,
    };
    let mut out = vec![0.0; tensor.data().len() / kind.size()];
    kind.decode(tensor.data(), &mut out);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    fn npy(descr: &str, rows: usize, cols: usize, data: &[u8]) -> Vec<u8> {
        let header = format!(
            "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {cols}), }}\n"
        );
        let mut out = npy::MAGIC.to_vec();
        out.extend([1, 0]);
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }

    #[test]
    fn blocks_and_rows_of_every_type_equal_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (rows, cols) = (700, 3);
        // Quarters are exact in every type.
        let values: Vec<f32> = (0..rows * cols).map(|i| (i % 97) as f32 / 4.0 - 9.0).collect();
        let half = |f: fn(f32) -> [u8; 2]| values.iter().flat_map(|&v| f(v)).collect::<Vec<u8>>();
        let f16 = half(|v| f16::from_f32(v).to_le_bytes());
        let bf16 = half(|v| bf16::from_f32(v).to_le_bytes());
        let f32: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let f64: Vec<u8> = values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
        let one = |kind, bytes: &[u8]| {
            let view = TensorView::new(kind, vec![rows, cols], bytes).unwrap();
            let other = TensorView::new(Dtype::U8, vec![5], &[1, 2, 3, 4, 5]).unwrap();
            safetensors::serialize([("a", other), ("b", view)], None).unwrap()
        };
        let files = [
            ("b", Kind::F16, one(Dtype::F16, &f16)),
            ("b", Kind::BF16, one(Dtype::BF16, &bf16)),
            ("b", Kind::F32, one(Dtype::F32, &f32)),
            ("b", Kind::F64, one(Dtype::F64, &f64)),
            ("", Kind::F16, npy("<f2", rows, cols, &f16)),
            ("", Kind::F32, npy("<f4", rows, cols, &f32)),
            ("", Kind::F64, npy("<f8", rows, cols, &f64)),
        ];
        let path = dir.path().join("x");
        for (tensor, kind, bytes) in files {
            std::fs::write(&path, &bytes).unwrap();
            let file = VectorFile::open(&path, tensor).unwrap();
            assert_eq!((file.kind(), file.rows(), file.cols()), (kind, rows, cols));
            assert_eq!(file.read().unwrap().data(), values);
            let mut reader = file.reader().unwrap();
            let mut part = vec![0.0; 4 * cols];
            for first in [696, 0, 13] {
                reader.read(first, &mut part).unwrap();
                assert_eq!(part, values[first * cols..(first + 4) * cols]);
            }
            assert!(reader.read(697, &mut part).is_err());
            std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
            assert!(VectorFile::open(&path, tensor).is_err());
        }
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.bin");
        let message = |bytes: &[u8], tensor: &str| {
            std::fs::write(&path, bytes).unwrap();
            let message = VectorFile::open(&path, tensor).unwrap_err().to_string();
            assert!(message.contains("x.bin"), "{message}");
            message
        };
        let view = |kind, shape, bytes| TensorView::new(kind, shape, bytes).unwrap();
        let two = safetensors::serialize(
            [
                ("a", view(Dtype::F32, vec![1, 1], &[0; 4])),
                ("b", view(Dtype::I32, vec![1, 1], &[0; 4])),
                ("c", view(Dtype::F32, vec![1], &[0; 4])),
            ],
            None,
        )
        .unwrap();
        assert!(message(&two, "").contains("a, b, c; name one"));
        assert!(message(&two, "d").contains("no tensor `d`"));
        assert!(message(&two, "b").contains("type I32"));
        assert!(message(&two, "c").contains("shape [1]"));
        assert!(message(b"", "").contains("neither"));
        assert!(message(&[0xff; 64], "").contains("neither"));
        assert!(message(&npy("<f4", 1, 1, &[0; 4]), "a").contains("without a name"));
        assert!(VectorFile::open(&dir.path().join("none"), "").is_err());
    }
}
