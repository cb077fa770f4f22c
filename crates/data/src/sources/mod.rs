//! Readers, one format a file.

pub mod amazon;
pub mod delimited;
pub mod folder;
pub mod movielens;
mod options;
pub mod parquet;
pub mod recbole;

use sidereal_core::{Error, Result};
use std::path::{Path, PathBuf};

/// A path option that must be set and exist.
pub(crate) fn existing(key: &str, path: &str) -> Result<PathBuf> {
    if path.is_empty() {
        return Err(Error::config(key, "missing: the path of the data"));
    }
    let path = PathBuf::from(path);
    match std::fs::metadata(&path) {
        Ok(_) => Ok(path),
        Err(e) => Err(Error::read(&path, e)),
    }
}

/// Names of the files of a folder, sorted; a lone file stands for itself.
pub(crate) fn names_in(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::read(folder, e))? {
        let entry = entry.map_err(|e| Error::read(folder, e))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The first of `names` that exists in `folder`, plain or with `.gz`.
pub(crate) fn first_existing(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    names
        .iter()
        .flat_map(|n| [folder.join(format!("{n}.gz")), folder.join(n)])
        .find(|p| p.is_file())
}
