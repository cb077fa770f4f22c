//! Published code tables of Amazon Beauty: the report gives the figures their publisher gives.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use flate2::read::GzDecoder;
use serde_json::Value;
use sidereal_core::Codes;
use sidereal_quantizers::SidReport;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

fn folder() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root = std::env::var("SIDEREAL_DATA").unwrap_or_else(|_| default.into());
    let path = Path::new(&root).join("amazon2014-beauty/semantic_ids");
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: published_tables because {} is no folder", path.display());
    None
}

fn text(path: &Path) -> String {
    let mut out = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut out).unwrap();
    out
}

/// The first `levels` columns after the item.
fn codes(path: &Path, levels: usize) -> Codes {
    let mut data = Vec::new();
    let mut rows = 0;
    for line in text(path).lines().skip(1) {
        let columns = line.split('\t').skip(1).take(levels);
        data.extend(columns.map(|c| c.parse::<u32>().unwrap()));
        rows += 1;
    }
    Codes::new(rows, levels, data).unwrap()
}

#[test]
fn figures_agree_to_nine_digits() {
    let Some(folder) = folder() else { return };
    let metrics: Value =
        serde_json::from_str(&text(&folder.join("unigenrec_metrics.json.gz"))).unwrap();
    let near = |got: f64, want: &Value, what: &str| {
        let want = want.as_f64().unwrap();
        assert!((got - want).abs() < 1e-9, "{what}: {got}, published {want}");
    };
    let tables = metrics.as_object().unwrap();
    assert_eq!(tables.len(), 11);
    for (name, want) in tables {
        let layers = want["layers"].as_array().unwrap();
        let codes = codes(&folder.join(format!("unigenrec_{name}.tsv.gz")), layers.len());
        let widths: Vec<u32> =
            layers.iter().map(|l| l["codebook_size"].as_u64().unwrap() as u32).collect();
        let report = SidReport::of_codes(&codes, &widths).unwrap();
        near(report.rows as f64, &want["num_items"], name);
        near(report.distinct as f64, &want["sid"]["unique_count"], name);
        near(1.0 - report.distinct_share, &want["sid"]["duplicate_rate"], name);
        for (got, want) in report.levels.iter().zip(layers) {
            near(f64::from(got.used), &want["used_tokens"], name);
            near(got.usage, &want["utilization"], name);
            near(got.entropy, &want["entropy"], name);
        }
        let mean = report.levels.iter().map(|l| l.entropy).sum::<f64>() / layers.len() as f64;
        near(mean, &want["averages"]["entropy"], name);
    }
}
