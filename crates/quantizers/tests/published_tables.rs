//! Published tables of codes: all are read, and the report gives the figures that their publisher
//! gives.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use flate2::read::GzDecoder;
use serde_json::Value;
use sidereal_core::{ItemTable, SidTable, StringColumn};
use sidereal_quantizers::{Keys, SidReport, import};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

fn folder(data: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root = std::env::var("SIDEREAL_DATA").unwrap_or_else(|_| default.into());
    let path = Path::new(&root).join(data).join("semantic_ids");
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: published tables of {data} because {} is no folder", path.display());
    None
}

fn text(path: &Path) -> String {
    let mut out = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut out).unwrap();
    out
}

/// The first `levels` codes, 0 for all, of a table of `n` items.
fn table(path: &Path, n: usize, levels: usize) -> SidTable {
    let items = ItemTable::new((0..n).map(|i| i.to_string()).collect::<StringColumn>());
    import(path, &items, Keys::Number, levels).unwrap()
}

#[test]
fn figures_agree_to_nine_digits() {
    let Some(folder) = folder("amazon2014-beauty") else { return };
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
        let path = folder.join(format!("unigenrec_{name}.tsv.gz"));
        let report = SidReport::of_table(&table(&path, 12_101, layers.len())).unwrap();
        near(report.rows as f64, &want["num_items"], name);
        near(report.distinct as f64, &want["sid"]["unique_count"], name);
        near(1.0 - report.distinct_share, &want["sid"]["duplicate_rate"], name);
        for (got, want) in report.levels.iter().zip(layers) {
            near(f64::from(got.used), &want["used_tokens"], name);
            // A table does not tell codes that no item has; the publisher's width does.
            let width = want["codebook_size"].as_f64().unwrap();
            near(f64::from(got.used) / width, &want["utilization"], name);
            near(got.entropy, &want["entropy"], name);
        }
        let mean = report.levels.iter().map(|l| l.entropy).sum::<f64>() / layers.len() as f64;
        near(mean, &want["averages"]["entropy"], name);
    }
}

/// Counts that the publishers or the data sets' notes give: items with IDs, levels, distinct IDs.
const PUBLISHED: [(&str, &str, usize, usize, usize); 7] = [
    ("amazon2014-beauty", "letter", 12_101, 4, 12_088),
    ("amazon2014-beauty", "gram_hierarchical", 12_101, 8, 12_101),
    ("amazon2014-sports", "gram_hierarchical", 18_357, 8, 18_357),
    ("amazon2014-phones", "colarec", 10_429, 3, 10_429),
    ("amazon2018-industrial", "minionerec", 3_686, 3, 3_670),
    ("amazon2018-office", "minionerec", 3_459, 3, 3_444),
    ("foursquare-nyc", "gnpr", 4_276, 4, 4_276),
];

#[test]
fn tables_of_six_data_sets_are_read() {
    for (data, name, items, levels, distinct) in PUBLISHED {
        let Some(folder) = folder(data) else { continue };
        // Not every item of a catalogue has an ID.
        let table = table(&folder.join(format!("{name}.tsv.gz")), 2 * items, 0);
        let report = SidReport::of_table(&table).unwrap();
        let got = (report.rows, report.levels.len(), report.distinct);
        assert_eq!(got, (items, levels, distinct), "{data}/{name}");
    }
}
