//! Figures that others computed on real data, reached from the raw files by one command.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::Place;
use std::path::Path;

/// Popularity under leave-one-out with full ranking, seen items removed: recall@5, ndcg@5,
/// recall@10 and ndcg@10 as the data folders' own notes give them.
#[test]
fn popularity_on_real_data() {
    let fallback = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data").to_string();
    let root = std::env::var("SIDEREAL_DATA").unwrap_or(fallback);
    for (folder, anchors) in [
        ("amazon2014-beauty", [0.007468, 0.004144, 0.011537, 0.005456]),
        ("ml-latest-small", [0.022951, 0.013106, 0.040984, 0.018810]),
    ] {
        let path = Path::new(&root).join(folder);
        if !path.exists() {
            println!("skipped: {folder}, because {} is not here", path.display());
            continue;
        }
        let place = Place::new();
        let text = format!(
            "[data]\ntype = \"folder\"\npath = {path:?}\n[recommender]\ntype = \"most-pop\"\n\
             [evaluate]\nmetrics = [\"recall@5\", \"ndcg@5\", \"recall@10\", \"ndcg@10\"]\n\
             exclude_seen = true\n"
        );
        place.write("pop.toml", text);
        place.sidereal(&["run", "pop.toml", "-q", "--out", "out", "--cache", "cache"]).ok();
        let metrics = place.json("out/metrics.json");
        for (name, want) in ["recall@5", "ndcg@5", "recall@10", "ndcg@10"].iter().zip(anchors) {
            let got = metrics["test"][name].as_f64().unwrap();
            assert!((got - want).abs() < 1e-6, "{folder} {name}: {got}, expected {want}");
        }
    }
}
