//! The quickstart comes close to the best that is possible in its world, and it is the content of
//! the codes that makes items with few interactions findable.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::Place;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/quickstart.toml");

/// `metrics.json` of the quickstart with changes.
fn metrics(place: &Place, out: &str, more: &[&str]) -> serde_json::Value {
    let args = [&["run", FILE, "-q", "--out", out, "--cache", "cache"][..], more].concat();
    place.sidereal(&args).ok();
    place.json(&format!("{out}/metrics.json"))
}

/// Test recall@10 on targets with at most five training interactions.
fn recall_of_few(metrics: &serde_json::Value) -> f64 {
    let group = &metrics["groups"]["test"][0];
    assert_eq!(group["items"], "0-5");
    group["values"]["recall@10"].as_f64().unwrap()
}

#[test]
fn nears_the_optimum_and_random_codes_lose_the_tail() {
    let place = Place::new();
    let learned = metrics(&place, "learned", &[]);
    let test = learned["test"]["recall@10"].as_f64().unwrap();
    let best = learned["optimum"]["test"]["recall@10"]["expected"].as_f64().unwrap();
    assert!(test >= 0.8 * best, "recall@10 {test} of {best}");
    let random = metrics(&place, "random", &["--set", "quantizer.type=random"]);
    let (content, control) = (recall_of_few(&learned), recall_of_few(&random));
    assert!(content > control + 0.1, "with content {content}, at random {control}");
}
