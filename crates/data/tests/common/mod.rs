//! Shared by the tests: files in a fresh folder, sources by name, the shared real data.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used)]

use sidereal_core::{Catalog, Result, Run, Spec, UserId};
use sidereal_data::{Dataset, Source};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Loads with a reader by name; `path` is set.
pub fn load(name: &str, path: &Path, options: &[(&str, serde_json::Value)]) -> Result<Dataset> {
    load_with(name, path, options, 1)
}

pub fn load_with(
    name: &str,
    path: &Path,
    options: &[(&str, serde_json::Value)],
    threads: usize,
) -> Result<Dataset> {
    let mut catalog: Catalog<dyn Source> = Catalog::new("data");
    sidereal_data::register(&mut catalog)?;
    let mut spec = Spec::new("data", name).with("path", path.to_string_lossy().into_owned());
    for (key, value) in options {
        spec = spec.with(key, value.clone());
    }
    let source = catalog.build(&spec, &())?;
    assert!(source.files().iter().all(|f| f.is_file()), "{:?}", source.files());
    source.load(&Run { threads, ..Run::quiet(0) })
}

/// Text of the error of a reader.
pub fn fails(name: &str, path: &Path, options: &[(&str, serde_json::Value)]) -> String {
    load(name, path, options).expect_err("expected an error").to_string()
}

/// Source ids of a user's items, oldest first.
pub fn history<'a>(data: &'a Dataset, user: &str) -> Vec<&'a str> {
    let u = data.user_ids.iter().position(|u| u == user).expect("no such user");
    let items = data.interactions.items(UserId(u as u32));
    items.iter().map(|&i| data.items.id(i)).collect()
}

pub fn times<'a>(data: &'a Dataset, user: &str) -> &'a [i64] {
    let u = data.user_ids.iter().position(|u| u == user).expect("no such user");
    data.interactions.times(UserId(u as u32)).expect("no times")
}

/// Value of a text column for the item with a source id.
pub fn value<'a>(data: &'a Dataset, column: &str, item: &str) -> &'a str {
    let i = data.items.ids().iter().position(|i| i == item).expect("no such item");
    data.items.column(column).expect("no such column").get(i)
}

/// A fresh folder with the given files; names that end in `.gz` are compressed.
pub fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        if name.ends_with(".gz") {
            std::fs::write(path, gzip(bytes)).unwrap();
        } else {
            std::fs::write(path, bytes).unwrap();
        }
    }
    dir
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A folder of the shared real data, or `None` after saying why.
pub fn real(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SIDEREAL_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = root.join(name);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {name} because {} is not there", path.display());
    None
}
