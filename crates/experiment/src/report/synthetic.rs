//! Run folders made up for tests, with as little in them as a report needs.

use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

/// A run: `hits` is recall@10 of each user.
#[derive(Debug, Clone)]
pub struct Fake {
    /// Seed of the run.
    pub seed: u64,
    /// `decoder.width`: stands for any option.
    pub width: u64,
    /// Hit or miss of each user.
    pub hits: Vec<u8>,
    /// Protocol over the usual one.
    pub protocol: Value,
    /// Hash of the data set.
    pub data: String,
}

impl Default for Fake {
    fn default() -> Self {
        Fake {
            seed: 0,
            width: 20,
            hits: vec![1, 0, 1, 0],
            protocol: json!({}),
            data: "d".repeat(64),
        }
    }
}

/// Writes the folder.
pub fn write(folder: &Path, fake: &Fake) {
    std::fs::create_dir_all(folder).unwrap();
    let file = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    let (seed, width) = (fake.seed, fake.width);
    file(
        "config.toml",
        format!(
            "seed = {seed}\n[data]\ntype = \"synthetic\"\n[decoder]\ntype = \"beam\"\nwidth = \
             {width}\n[evaluate]\nmetrics = [\"recall@10\"]\n"
        ),
    );
    let users = fake.hits.len();
    let recall = fake.hits.iter().map(|h| f64::from(*h)).sum::<f64>() / users as f64;
    let mut protocol = json!({
        "split": {"type": "leave-one-out"}, "ranking": "full", "seen_items": "kept",
        "users": users, "seed": seed, "test": {"cases": users, "invalid_candidates": seed},
        "checkpoint": {"on": "valid", "by": "recall@10"}, "list_length": 10,
    });
    if let (Some(all), Some(own)) = (protocol.as_object_mut(), fake.protocol.as_object()) {
        all.extend(own.clone());
    }
    let results = json!({
        "valid": {}, "test": {"recall@10": recall, "coverage@10": 0.25}, "protocol": protocol,
    });
    file("metrics.json", results.to_string());
    file("data.json", json!({"identity": {"dataset": fake.data}}).to_string());
    let mut csv = String::from("user,rank,history,popularity,recall@10\n");
    for (u, hit) in fake.hits.iter().enumerate() {
        let rank = if *hit > 0 { (u % 10 + 1).to_string() } else { String::new() };
        let _ = writeln!(csv, "u{u},{rank},{},{},{hit}", u % 30 + 1, u % 7);
    }
    file("per_user.csv", csv);
}
