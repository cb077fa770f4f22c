//! The key `device`: the same experiment as networks in candle operations.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::Place;
use serde_json::Value;

/// Stages of a run with these settings that came from the cache.
fn reused(place: &Place, out: &str, sets: &[&str]) -> Vec<String> {
    let mut args = vec!["--json", "--overwrite", "--out", out];
    sets.iter().for_each(|s| args.extend(["--set", s]));
    let tree: Value = serde_json::from_str(&place.run(&args).ok().out).unwrap();
    let stages = tree["stages"].as_array().unwrap().iter().filter(|s| s["reused"] == true);
    stages.map(|s| s["stage"].as_str().unwrap().to_string()).collect()
}

/// Weights of a run.
fn weights(place: &Place, out: &str) -> Vec<f32> {
    let bytes = place.read(&format!("{out}/model.safetensors"));
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Largest difference of the weights of two runs.
fn difference(place: &Place, a: &str, b: &str) -> f32 {
    let (a, b) = (weights(place, a), weights(place, b));
    assert_eq!(a.len(), b.len());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// An experiment trains to the same weights but for rounding, and serves its run.
fn follows_the_fused_run(device: &str) {
    let place = Place::new();
    // Six steps, so that rounding has no time to grow.
    let short = ["train.epochs=1", "train.max_steps=6", "evaluate.select=loss"];
    let on = format!("device={device}");
    for (backbone, tolerance) in [("causal", 1e-3), ("tiger", 1e-3), ("sasrec", 1e-3)] {
        let kind =
            format!("backbone={{type=\"{backbone}\", d_model=16, d_ff=16, layers=1, heads=2}}");
        let mut sets = vec![kind.as_str()];
        sets.extend(short);
        reused(&place, "fused", &sets);
        sets.push(&on);
        let found = reused(&place, "plain", &sets);
        assert!(!found.contains(&"training".to_string()), "{backbone}: {found:?}");
        let moved = difference(&place, "fused", "plain");
        assert!(moved <= tolerance, "{backbone}: weights differ by {moved}");
        let metrics = |run: &str| place.json(&format!("{run}/metrics.json"))["test"].clone();
        let (fused, plain) = (metrics("fused"), metrics("plain"));
        for (name, value) in fused.as_object().unwrap() {
            let apart = (value.as_f64().unwrap() - plain[name].as_f64().unwrap()).abs();
            assert!(apart < 0.05, "{backbone} {name}: {value} {}", plain[name]);
        }
        assert_eq!(place.json("plain/summary.json")["device"], device);
        let asked = ["recommend", "plain", "--user", "0", "--json"];
        let served = place.sidereal(&asked).ok().out;
        let fused = [&asked[..], &["--set", "device=cpu"]].concat();
        let items = |text: &str| -> Vec<Value> {
            let tree: Value = serde_json::from_str(text).unwrap();
            let list = tree["recommendations"].as_array().unwrap();
            list.iter().map(|r| r["id"].clone()).collect()
        };
        assert_eq!(items(&served), items(&place.sidereal(&fused).ok().out), "{backbone}");
    }
}

#[test]
fn networks_on_the_processor_follow_the_fused_run() {
    follows_the_fused_run("candle");
}

#[test]
fn networks_on_the_named_device_follow_the_fused_run() {
    match std::env::var("SIDEREAL_DEVICE") {
        Ok(device) => follows_the_fused_run(&device),
        Err(_) => {
            println!(
                "skipped: an experiment on a device, because no GPU is named in SIDEREAL_DEVICE"
            );
        }
    }
}

#[test]
fn the_device_is_in_the_key_as_far_as_rounding_goes() {
    let place = Place::new();
    reused(&place, "a", &["device=candle"]);
    let all = ["data", "embeddings", "sids", "training", "evaluation"];
    assert_eq!(reused(&place, "b", &["device=candle", "threads=1"]), all);
    assert_eq!(reused(&place, "c", &["device=cpu"]), all[..3]);
    assert_eq!(reused(&place, "d", &[]), all);
    // A run goes on only as what it was.
    let err = place.run(&["--out", "a", "--resume"]);
    assert!(err.code != 0 && err.err.contains("device"), "{}", err.err);
    place.run(&["--out", "a", "--resume", "--set", "device=candle"]).ok();
    place.run(&["--out", "c", "--resume"]).ok();
}

#[test]
fn wrong_devices_are_named_with_their_place() {
    let place = Place::new();
    let refused = |sets: &[&str]| {
        let args: Vec<&str> = sets.iter().flat_map(|s| ["--set", s]).collect();
        let done = place.run(&args);
        assert_eq!(done.code, 4, "{}", done.err);
        done.err
    };
    let e = refused(&["device=gpu"]);
    assert!(e.contains("device=gpu") && e.contains("cuda:N"), "{e}");
    let e = refused(&["device=7"]);
    assert!(e.contains("a name in quotes"), "{e}");
    if cfg!(not(feature = "cuda")) {
        let e = refused(&["device=cuda:1"]);
        assert!(e.contains("cuda:1") && e.contains("--features cuda"), "{e}");
    }
}
