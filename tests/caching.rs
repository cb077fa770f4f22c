//! Which stages run again, and which come from the cache.

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

fn expect(found: BTreeMap<String, bool>, data: bool, sids: bool, training: bool, evaluation: bool) {
    let expected =
        [("data", data), ("sids", sids), ("training", training), ("evaluation", evaluation)];
    let expected: BTreeMap<String, bool> =
        expected.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
    assert_eq!(found, expected);
}

#[test]
fn only_what_a_change_concerns_runs_again() {
    let place = Place::new();
    expect(reused(&place, "a", &[]), false, false, false, false);
    expect(reused(&place, "b", &[]), true, true, true, true);
    assert_eq!(place.read("a/metrics.json"), place.read("b/metrics.json"));
    assert_eq!(place.read("a/model.safetensors"), place.read("b/model.safetensors"));
    // Another decoder never trains again.
    expect(reused(&place, "c", &["decoder.width=20"]), true, true, true, false);
    expect(reused(&place, "c", &["evaluate.metrics=[\"recall@7\"]"]), true, true, true, false);
    // Another backbone never quantizes again.
    expect(reused(&place, "d", &["backbone.d_ff=8"]), true, true, false, false);
    expect(reused(&place, "d", &["train.epochs=2"]), true, true, false, false);
    // Another metric chooses other weights.
    expect(reused(&place, "e", &["evaluate.select=recall@5"]), true, true, false, false);
    expect(reused(&place, "f", &["quantizer.levels=[4, 4]"]), true, false, false, false);
    expect(reused(&place, "g", &["encoder.dim=6"]), true, false, false, false);
    // Seeds share the data.
    expect(reused(&place, "h", &["seed=4"]), true, false, false, false);
    expect(reused(&place, "i", &["data.users=81"]), false, false, false, false);
    // What changes no result is in no key.
    expect(reused(&place, "j", &["threads=1", "train.log_every=1"]), true, true, true, true);
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
}
