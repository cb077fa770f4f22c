//! Which stages run again, and which come from the cache.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::{Place, names};
use serde_json::Value;
use std::collections::BTreeMap;

/// Whether each stage of a run was reused.
fn reused(place: &Place, out: &str, sets: &[&str]) -> BTreeMap<String, bool> {
    let mut args = vec!["--json", "--overwrite", "--out", out];
    sets.iter().for_each(|s| args.extend(["--set", s]));
    let done = place.run(&args).ok();
    let tree: Value = serde_json::from_str(&done.out).unwrap();
    let stage = |s: &Value| (s["stage"].as_str().unwrap().into(), s["reused"].as_bool().unwrap());
    tree["stages"].as_array().unwrap().iter().map(stage).collect()
}

const STAGES: [&str; 5] = ["data", "embeddings", "sids", "training", "evaluation"];

/// All stages but those from `first` on (in the order of the pipeline) come from the cache.
#[track_caller]
fn expect_again_from(first: usize, found: BTreeMap<String, bool>) {
    let expected = STAGES.iter().enumerate().map(|(i, s)| (s.to_string(), i < first)).collect();
    assert_eq!(found, expected);
}

#[test]
fn only_what_a_change_concerns_runs_again() {
    let place = Place::new();
    let again = |out: &str, sets: &[&str]| reused(&place, out, sets);
    expect_again_from(0, again("a", &[]));
    expect_again_from(5, again("b", &[]));
    assert_eq!(place.read("a/metrics.json"), place.read("b/metrics.json"));
    assert_eq!(place.read("a/model.safetensors"), place.read("b/model.safetensors"));
    // Another decoder never trains again.
    expect_again_from(4, again("c", &["decoder.width=20"]));
    expect_again_from(4, again("c", &["evaluate.metrics=[\"recall@7\"]"]));
    // Another backbone never quantizes again.
    expect_again_from(3, again("d", &["backbone.d_ff=8"]));
    expect_again_from(3, again("d", &["train.epochs=2"]));
    // Another metric chooses other weights.
    expect_again_from(3, again("e", &["evaluate.select=recall@5"]));
    expect_again_from(2, again("f", &["quantizer.levels=[4, 4]"]));
    expect_again_from(1, again("g", &["encoder.dim=6"]));
    // Seeds share the data.
    expect_again_from(1, again("h", &["seed=4"]));
    expect_again_from(0, again("i", &["data.users=81"]));
    // What changes no result is in no key.
    expect_again_from(5, again("j", &["threads=1", "train.log_every=1"]));
    // Vectors from a file do not depend on the seed.
    let cache = place.path("runs/cache");
    let entry = names(&cache).into_iter().find(|n| n.starts_with("embeddings-")).unwrap();
    std::fs::copy(cache.join(entry).join("embeddings.npy"), place.path("v.npy")).unwrap();
    let file = "encoder={type=\"precomputed\", path=\"v.npy\"}";
    again("k", &[file]);
    expect_again_from(2, again("l", &[file, "seed=5"]));
}

#[test]
fn damaged_entries_are_made_again() {
    let place = Place::new();
    reused(&place, "a", &[]);
    let cache = place.path("runs/cache");
    for (stage, file) in [
        ("data-", "dataset.safetensors"),
        ("sids-", "sids.safetensors"),
        ("training-", "model.safetensors"),
        ("evaluation-", "metrics.json"),
        ("training-", "entry.json"),
    ] {
        let entry = names(&cache).into_iter().find(|n| n.starts_with(stage)).unwrap();
        let path = cache.join(&entry).join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        bytes.truncate(bytes.len() - 1);
        std::fs::write(&path, bytes).unwrap();
        let done = place.sidereal(&["run", "tiny.toml", "--overwrite", "--out", "b"]).ok();
        assert!(done.err.contains("warning: the cached"), "{stage}: {}", done.err);
        assert!(done.err.contains(stage.trim_end_matches('-')), "{stage}: {}", done.err);
        assert_eq!(place.read("a/metrics.json"), place.read("b/metrics.json"), "{stage}");
        assert_eq!(place.read("a/model.safetensors"), place.read("b/model.safetensors"));
    }
}

#[test]
fn a_folder_is_never_lost_by_accident() {
    let place = Place::new();
    place.run(&["--out", "r"]).ok();
    let refused = place.run(&["--out", "r"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("--resume") && refused.err.contains("--overwrite"));
    place.run(&["--out", "r", "--resume"]).ok();
    let other = place.run(&["--out", "r", "--resume", "--set", "train.epochs=5"]);
    assert_eq!(other.code, 4);
    assert!(other.err.contains("train.epochs: 4 -> 5"), "{}", other.err);
    place.run(&["--out", "r", "--overwrite", "--set", "train.epochs=5"]).ok();
    place.write("mine/letter.txt", "dear");
    for option in ["--overwrite", "--resume"] {
        let done = place.run(&["--out", "mine", option]);
        assert_eq!(done.code, 1);
        assert!(done.err.contains("no run folder"), "{}", done.err);
    }
    assert_eq!(place.read("mine/letter.txt"), b"dear");
    // Files that are no run's stay, and so does a run that came to nothing.
    place.write("r/letter.txt", "dear");
    place.run(&["--out", "r", "--overwrite"]).ok();
    assert_eq!(place.read("r/letter.txt"), b"dear");
    let failed = place.run(&["--out", "s", "--set", "quantizer.levels=[61]"]);
    assert_eq!(failed.code, 4);
    place.run(&["--out", "s"]).ok();
}
