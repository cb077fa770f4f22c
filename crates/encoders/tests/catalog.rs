//! Encoders by name, and vectors from files.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::{catalogue, data, encode};
use sidereal_core::{Catalog, Category, ItemEncoder, Result, Run, Spec};
use sidereal_encoders::register;
use std::path::Path;

fn all() -> Catalog<dyn ItemEncoder> {
    let mut catalog = Catalog::new("encoder");
    register(&mut catalog).unwrap();
    catalog
}

fn build(spec: &Spec) -> Result<Box<dyn ItemEncoder>> {
    all().build(spec, &())
}

fn npy(path: &Path, rows: usize, cols: usize, values: &[f32]) {
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn names_are_known_and_documented() {
    let catalog = all();
    let names: Vec<_> = catalog.entries().map(|e| e.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "als",
            "fused",
            "graph-smoothed",
            "graphsage",
            "item2vec",
            "labels",
            "lightgcn",
            "lsa",
            "precomputed",
            "sentence-transformer",
            "svd"
        ]
    );
    for entry in catalog.entries() {
        assert!(!entry.doc.is_empty() && entry.options.iter().all(|o| !o.doc.is_empty()));
    }
    assert!(register(&mut all()).is_err());
}

#[test]
fn lsa_runs_by_name() {
    let spec = Spec::new("encoder", "lsa").with("dim", 2).with("min_df", 1);
    let items = catalogue(&["red shoe", "red hat", "blue hat"]);
    let got = encode(&*build(&spec).unwrap(), &items, &Run::quiet(1)).unwrap();
    assert_eq!((got.rows(), got.cols()), (3, 2));
}

#[test]
fn precomputed_checks_rows_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v.npy");
    let spec = Spec::new("encoder", "precomputed").with("path", path.to_str().unwrap());
    let items = catalogue(&["a", "b"]);
    assert!(build(&spec).err().unwrap().to_string().contains("is no file"));
    npy(&path, 2, 2, &[3.0, 4.0, 0.0, 0.0]);
    let got = encode(&*build(&spec).unwrap(), &items, &Run::quiet(1)).unwrap();
    assert_eq!(got.data(), [3.0, 4.0, 0.0, 0.0]);
    assert_eq!(build(&spec).unwrap().files(), std::slice::from_ref(&path));
    let unit = build(&spec.clone().with("normalize", true)).unwrap();
    assert_eq!(encode(&*unit, &items, &Run::quiet(1)).unwrap().row(0), [0.6, 0.8]);

    let message = |spec: &Spec| {
        encode(&*build(spec).unwrap(), &items, &Run::quiet(1)).unwrap_err().to_string()
    };
    assert!(message(&spec.clone().with("tensor", "x")).contains("leave it out"));
    npy(&path, 3, 1, &[1.0; 3]);
    assert!(message(&spec).contains("3 rows for 2 items"), "{}", message(&spec));
    for bad in [f32::NAN, f32::INFINITY] {
        npy(&path, 2, 2, &[1.0, 1.0, 1.0, bad]);
        let text = message(&spec);
        assert!(text.contains("row 1") && text.contains("item-1"), "{text}");
    }
    npy(&path, 2, 0, &[]);
    assert!(message(&spec).contains("width 0"));
    std::fs::write(&path, b"").unwrap();
    let error = encode(&*build(&spec).unwrap(), &items, &Run::quiet(1)).unwrap_err();
    assert!(error.to_string().contains("ends early"), "{error}");
    assert_eq!(error.category(), Category::Data);
    let nameless = build(&Spec::new("encoder", "precomputed")).err().unwrap();
    assert!(nameless.to_string().contains("encoder.path"));
}

#[test]
fn precomputed_reads_real_vectors() {
    let Some(path) = data("amazon2014-beauty/embeddings/text_lsa_64.npy") else { return };
    let spec = Spec::new("encoder", "precomputed").with("path", path.to_str().unwrap());
    let items = catalogue(&vec![""; 12_101]);
    let got = encode(&*build(&spec).unwrap(), &items, &Run::quiet(1)).unwrap();
    assert_eq!((got.rows(), got.cols()), (12_101, 64));
    assert!(got.data().iter().any(|v| *v != 0.0));
}
