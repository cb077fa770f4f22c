//! Sweeps: a table over cases and seeds, failures that stay alone, and no run twice.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::Place;
use serde_json::Value;

const SWEEP: &str = r#"
[sweep]
base = "tiny.toml"
seeds = [0, 1]

[[sweep.case]]
name = "k-means"

[[sweep.case]]
name = "chance"
quantizer = { type = "random", levels = [8, 8] }

[[sweep.case]]
name = "from a file"
identifier = { type = "table", path = "ids.tsv", then = "ordinal" }
"#;

/// Sixty items on ten codes, in a folder with the sweep.
fn place(rows: usize) -> Place {
    let place = Place::new();
    place.write("sweep.toml", SWEEP);
    let lines: String = (0..rows).map(|i| format!("{i}\t{}\t{}\n", i % 5, i % 10)).collect();
    place.write("ids.tsv", format!("item\tc0\tc1\n{lines}"));
    place
}

fn text(place: &Place, name: &str) -> String {
    String::from_utf8(place.read(name)).unwrap()
}

#[test]
fn cases_seeds_and_what_is_kept() {
    let place = place(60);
    let dry = place.sidereal(&["sweep", "sweep.toml", "--dry-run"]).ok();
    assert!(dry.out.contains("from a file") && !place.path("runs").exists());

    let done = place.sidereal(&["sweep", "sweep.toml", "--json"]).ok();
    let summary: Value = serde_json::from_str(&done.out).unwrap();
    let runs = summary["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 6);
    // The first seed gives a whole table before the second begins.
    let order: Vec<_> = runs.iter().map(|r| r["seed"].as_u64().unwrap()).collect();
    assert_eq!(order, [0, 0, 0, 1, 1, 1]);
    let of = |case: &str, what: &str| {
        let run = runs.iter().find(|r| r["case"] == case).unwrap();
        run["ids"][what].as_f64().unwrap()
    };
    // A table that is read is made unique by the digit: what stands in the file was shared.
    assert_eq!(of("from a file", "levels"), 3.0);
    assert_eq!(of("k-means", "levels"), 2.0);
    let table = text(&place, "runs/sweep/table.md");
    assert_eq!(table.lines().count(), 2 + 3);
    assert!(table.contains("| chance | 2 |"), "{table}");

    // The same command again runs nothing and says the same.
    let before = place.read("runs/sweep/chance/seed-1/log.jsonl");
    let again = place.sidereal(&["sweep", "sweep.toml", "--json"]).ok();
    assert_eq!(again.out, done.out);
    assert_eq!(place.read("runs/sweep/chance/seed-1/log.jsonl"), before);
}

#[test]
fn a_failed_run_is_a_row_and_the_others_go_on() {
    let place = place(59);
    let done = place.sidereal(&["sweep", "sweep.toml"]);
    assert_eq!(done.code, 1);
    assert!(done.out.contains("from a file, seed 0: failed: "), "{}", done.out);
    assert!(done.out.contains("no ID for item 59"), "{}", done.out);
    assert!(done.err.contains("2 of 6 runs failed"), "{}", done.err);
    let table = text(&place, "runs/sweep/table.md");
    assert!(table.contains("| from a file | 0 (2 failed) |"), "{table}");
}

#[test]
fn wrong_cases_cost_no_run() {
    let place = place(60);
    place.write("sweep.toml", SWEEP.replace("\"random\"", "\"randon\""));
    let done = place.sidereal(&["sweep", "sweep.toml"]);
    assert_eq!(done.code, 4);
    assert!(done.err.contains("case `chance`") && done.err.contains("`random`"), "{}", done.err);
    assert!(!place.path("runs").exists());
}
