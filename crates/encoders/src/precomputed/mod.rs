//! Vectors from a file: `.npy` or safetensors, one row an item in item order.

pub mod tensors;

pub use sidereal_nn::vector_file::npy;

use crate::{key, rows};
use sidereal_core::{EncoderInput, Error, ItemEncoder, Matrix, Result, Run};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

sidereal_core::options! {
    /// Options of `precomputed`.
    pub struct PrecomputedOptions {
        /// The file; `.npy` (f2, f4, f8) and safetensors (F16, BF16, F32, F64) are told apart by
        /// their content. Required.
        pub path: String = String::new(),
        /// Name of the tensor in a safetensors file; may be left out when there is only one.
        pub tensor: String = String::new(),
        /// Whether rows are scaled to length 1.
        pub normalize: bool = false,
    }
}

/// Vectors made elsewhere.
#[derive(Debug, Clone)]
pub struct Precomputed {
    options: PrecomputedOptions,
    path: PathBuf,
}

impl Precomputed {
    /// Checks the options; the file is read by `encode`.
    pub fn new(options: PrecomputedOptions) -> Result<Self> {
        if options.path.is_empty() {
            return Err(Error::config(key("path"), "missing: name a .npy or safetensors file"));
        }
        let path = PathBuf::from(&options.path);
        if !path.is_file() {
            return Err(Error::config(
                key("path"),
                format!("`{}` is no file; name a .npy or safetensors file", options.path),
            ));
        }
        Ok(Precomputed { options, path })
    }
}

impl ItemEncoder for Precomputed {
    fn encode(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        run.check()?;
        let items = input.items;
        let mut vectors = if starts_as_npy(&self.path)? {
            if !self.options.tensor.is_empty() {
                return Err(Error::config(
                    key("tensor"),
                    format!(
                        "`{}`: {} is a .npy file, which holds one array without a name; leave it out",
                        self.options.tensor, self.options.path
                    ),
                ));
            }
            npy::read(&self.path)?
        } else {
            tensors::read(&self.path, &self.options.tensor)?
        };
        if vectors.rows() != items.len() {
            return Err(Error::data(
                &self.path,
                format!(
                    "{} rows for {} items; row i must be the vector of item i",
                    vectors.rows(),
                    items.len()
                ),
            ));
        }
        if vectors.cols() == 0 {
            return Err(Error::data(&self.path, "vectors have width 0; expected 1 and up"));
        }
        rows::check_finite(&self.options.path, &vectors, items)?;
        if self.options.normalize {
            rows::normalize_all(&mut vectors);
        }
        Ok(vectors)
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn seeded(&self) -> bool {
        false
    }
}

fn starts_as_npy(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    let mut file = File::open(path).map_err(|e| Error::read(path, e))?;
    file.by_ref()
        .take(npy::MAGIC.len() as u64)
        .read_to_end(&mut start)
        .map_err(|e| Error::read(path, e))?;
    Ok(start == npy::MAGIC || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")))
}
