//! Tensors of safetensors files, read one at a time into f32, so that loading a model takes its
//! own size and little more. Files are read in blocks and never mapped: a mapped file counts as
//! resident memory, and one that shrinks kills the process.

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use sidereal_core::{Error, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Longest header, as the format's own crate has it.
const LONGEST_HEADER: u64 = 100_000_000;
/// Bytes read at once; a multiple of every element's size.
const BLOCK: usize = 1 << 18;

/// Open files and where their tensors are.
#[derive(Debug)]
pub struct Weights {
    files: Vec<(PathBuf, File)>,
    tensors: HashMap<String, Place>,
    block: Vec<u8>,
}

/// Where a tensor is.
#[derive(Debug)]
struct Place {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    start: u64,
}

/// How elements are stored: bytes of one, and how it is read.
struct Stored {
    bytes: usize,
    read: fn(&[u8]) -> f32,
}

fn stored(dtype: Dtype) -> Option<Stored> {
    let (bytes, read): (usize, fn(&[u8]) -> f32) = match dtype {
        Dtype::F16 => (2, |b| f16::from_le_bytes([b[0], b[1]]).to_f32()),
        Dtype::BF16 => (2, |b| bf16::from_le_bytes([b[0], b[1]]).to_f32()),
        Dtype::F32 => (4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        Dtype::F64 => {
            (8, |b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32)
        }
        _ => return None,
    };
    Some(Stored { bytes, read })
}

impl Weights {
    /// Reads the headers of all files; old names of layer norms (`gamma`, `beta`) are made new.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut all = Weights { files: Vec::new(), tensors: HashMap::new(), block: Vec::new() };
        for path in paths {
            let failed = |e| Error::read(path, e);
            let wrong = |e: String| Error::data(path, format!("not a safetensors file: {e}"));
            let mut file = File::open(path).map_err(failed)?;
            let size = file.metadata().map_err(failed)?.len();
            let mut length = [0; 8];
            file.read_exact(&mut length).map_err(|e| wrong(e.to_string()))?;
            let header = u64::from_le_bytes(length);
            if header > LONGEST_HEADER || header + 8 > size {
                return Err(wrong(format!("a header of {header} bytes in a file of {size}")));
            }
            let mut bytes = vec![0; header as usize];
            file.read_exact(&mut bytes).map_err(failed)?;
            let header: Metadata =
                serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
            let data = 8 + bytes.len() as u64;
            for (name, info) in header.tensors() {
                let (start, end) = info.data_offsets;
                let values = info.shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
                let bits = values.and_then(|n| n.checked_mul(info.dtype.bitsize()));
                if start > end || end as u64 > size - data || bits != (end - start).checked_mul(8) {
                    return Err(wrong(format!("tensor `{name}` does not lie in the file")));
                }
                let place = Place {
                    file: all.files.len(),
                    dtype: info.dtype,
                    shape: info.shape.clone(),
                    start: data + start as u64,
                };
                all.tensors.insert(renamed(name), place);
            }
            all.files.push((path.clone(), file));
        }
        Ok(all)
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Values of all tensors together.
    pub fn values(&self) -> usize {
        self.tensors.values().map(|t| t.shape.iter().product::<usize>()).sum()
    }

    /// Appends the values of tensor `name`, which must have this shape.
    pub fn append(&mut self, name: &str, shape: &[usize], out: &mut Vec<f32>) -> Result<()> {
        let Some(place) = self.tensors.get(name) else {
            return Err(match self.files.first() {
                Some((path, _)) => Error::data(path, format!("no tensor `{name}` here")),
                None => Error::mismatch(format!("no file that could hold tensor `{name}`")),
            });
        };
        let (path, file) = &mut self.files[place.file];
        if place.shape != shape {
            return Err(Error::data(
                path,
                format!("tensor `{name}` has shape {:?}, the model needs {shape:?}", place.shape),
            ));
        }
        let Some(Stored { bytes, read }) = stored(place.dtype) else {
            return Err(Error::data(
                path,
                format!(
                    "tensor `{name}` has type {:?}; expected F16, BF16, F32 or F64",
                    place.dtype
                ),
            ));
        };
        file.seek(SeekFrom::Start(place.start)).map_err(|e| Error::read(&*path, e))?;
        let mut left = shape.iter().product::<usize>() * bytes;
        out.reserve(left / bytes);
        while left > 0 {
            self.block.resize(left.min(BLOCK), 0);
            file.read_exact(&mut self.block).map_err(|e| Error::read(&*path, e))?;
            out.extend(self.block.chunks_exact(bytes).map(read));
            left -= self.block.len();
        }
        Ok(())
    }
}

fn renamed(name: String) -> String {
    match (name.strip_suffix(".gamma"), name.strip_suffix(".beta")) {
        (Some(stem), _) => format!("{stem}.weight"),
        (_, Some(stem)) => format!("{stem}.bias"),
        _ => name,
    }
}

/// Matrices for products from the left: `outputs x inputs` as files have them becomes
/// `inputs x outputs`, several matrices side by side. Products then read whole rows.
#[derive(Debug, Default)]
pub struct Flat {
    /// All values.
    pub values: Vec<f32>,
    scratch: Vec<f32>,
}

impl Flat {
    /// Room for `n` values.
    pub fn with_capacity(n: usize) -> Self {
        Flat { values: Vec::with_capacity(n), scratch: Vec::new() }
    }

    /// Adds a tensor as it is; gives its first index.
    pub fn tensor(&mut self, from: &mut Weights, name: &str, shape: &[usize]) -> Result<usize> {
        let start = self.values.len();
        from.append(name, shape, &mut self.values)?;
        Ok(start)
    }

    /// Adds matrices of one input, transposed and side by side; gives the first index.
    pub fn products(
        &mut self,
        from: &mut Weights,
        names: &[String],
        inputs: usize,
        outputs: usize,
    ) -> Result<usize> {
        let start = self.values.len();
        let width = outputs * names.len();
        for (n, name) in names.iter().enumerate() {
            self.scratch.clear();
            from.append(name, &[outputs, inputs], &mut self.scratch)?;
            // Only now are the sizes known to be true.
            self.values.resize(start + inputs * width, 0.0);
            let rows = self.values[start..].chunks_exact_mut(width);
            for (i, row) in rows.enumerate() {
                for (o, v) in row[n * outputs..][..outputs].iter_mut().enumerate() {
                    *v = self.scratch[o * inputs + i];
                }
            }
        }
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;

    fn write(
        dir: &std::path::Path,
        name: &str,
        kind: Dtype,
        shape: &[usize],
        bytes: &[u8],
    ) -> PathBuf {
        let view = TensorView::new(kind, shape.to_vec(), bytes).unwrap();
        let path = dir.join("w.safetensors");
        std::fs::write(&path, safetensors::serialize([(name, view)], None).unwrap()).unwrap();
        path
    }

    #[test]
    fn every_type_and_blocks_that_do_not_divide() {
        let dir = tempfile::tempdir().unwrap();
        let n = BLOCK / 4 + 3;
        let values: Vec<f32> = (0..n).map(|i| (i % 251) as f32 - 125.0).collect();
        let cases: [(Dtype, Vec<u8>); 4] = [
            (Dtype::F16, values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()),
            (Dtype::BF16, values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect()),
            (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            (Dtype::F64, values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect()),
        ];
        for (kind, bytes) in cases {
            let path = write(dir.path(), "a.gamma", kind, &[n], &bytes);
            let mut out = vec![7.0];
            Weights::open(&[path]).unwrap().append("a.weight", &[n], &mut out).unwrap();
            assert_eq!(out[0], 7.0);
            assert!(out[1..] == values, "{kind:?}");
        }
    }

    #[test]
    fn products_lie_transposed_side_by_side() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..6).flat_map(|v| (v as f32).to_le_bytes()).collect();
        let path = write(dir.path(), "w", Dtype::F32, &[2, 3], &bytes);
        let mut weights = Weights::open(&[path]).unwrap();
        let mut flat = Flat::default();
        let twice = ["w".to_string(), "w".to_string()];
        assert_eq!(flat.products(&mut weights, &twice, 3, 2).unwrap(), 0);
        assert_eq!(flat.values, [0., 3., 0., 3., 1., 4., 1., 4., 2., 5., 2., 5.]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "w", Dtype::I32, &[2], &[0; 8]);
        let mut weights = Weights::open(&[path]).unwrap();
        let mut fails = |name: &str, shape: &[usize]| {
            weights.append(name, shape, &mut Vec::new()).unwrap_err().to_string()
        };
        assert!(fails("v", &[2]).contains("no tensor `v`"));
        assert!(fails("w", &[3]).contains("shape [2], the model needs [3]"));
        assert!(fails("w", &[2]).contains("type I32"));
    }

    proptest! {
        #[test]
        fn no_change_of_bytes_panics(
            flips in proptest::collection::vec((0usize..120, any::<u8>()), 0..8), cut in 0usize..120) {
            let dir = tempfile::tempdir().unwrap();
            let path = write(dir.path(), "w", Dtype::F32, &[2, 2], &[0; 16]);
            let mut bytes = std::fs::read(&path).unwrap();
            for (at, to) in flips {
                let at = at % bytes.len();
                bytes[at] = to;
            }
            bytes.truncate(cut);
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(mut weights) = Weights::open(&[path]) {
                let _ = weights.append("w", &[2, 2], &mut Vec::new());
            }
        }
    }
}
