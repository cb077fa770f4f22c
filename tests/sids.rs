//! `sidereal sids`: runs and tables judged, compared, validated.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::{Place, names};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_run_is_judged_as_its_stage_judged_it() {
    let place = Place::new();
    place.run(&["--out", "r"]).ok();
    let written = place.json("r/sid_report.json");
    let keys: Vec<&String> = written.as_object().unwrap().keys().collect();
    let expected = ["behaviour", "codes", "ids", "nearness", "prediction", "shape", "taxonomy"];
    assert_eq!(keys, expected);
    let done = place.sidereal(&["sids", "r", "--json"]).ok();
    let report = json(&done.out);
    assert_eq!(report["tables"][0]["analysis"], written);
    assert_eq!(report["tables"][0]["name"], "r");
    // Every used code of the first level is in the usage, most used first.
    let usage = report["tables"][0]["usage"][0].as_array().unwrap();
    assert_eq!(usage.len() as u64, written["ids"]["levels"][0]["used"].as_u64().unwrap());
    let text = place.sidereal(&["sids", "r", "-q"]).ok().out;
    let line = text.lines().find(|l| l.starts_with("prediction.structure_bits")).unwrap();
    assert_eq!(line.split_whitespace().nth(1), Some("higher"), "{text}");
}

#[test]
fn tables_are_compared_and_drawn() {
    let place = Place::new();
    place.run(&["--out", "a"]).ok();
    place.run(&["--out", "b", "--set", "quantizer.type=random"]).ok();
    // The same IDs under other names, as a file of another program.
    let index = place.json("a/sids.json");
    let renamed: Value = index
        .as_object()
        .unwrap()
        .iter()
        .map(|(item, codes)| {
            let rename = |t: &Value| {
                let text = t.as_str().unwrap().trim_end_matches('>');
                let (level, code) = text.rsplit_once('_').unwrap();
                Value::from(format!("{level}_{}>", 40 - code.parse::<i32>().unwrap()))
            };
            (item.clone(), codes.as_array().unwrap().iter().map(rename).collect::<Value>())
        })
        .collect();
    place.write("<c>.json", renamed.to_string());
    let args = ["sids", "a", "b", "<c>.json", "--config", "tiny.toml", "--out", "o", "-q"];
    let text = place.sidereal(&args).ok().out;
    assert!(text.contains("same groups?") && text.contains("o/report.html"), "{text}");
    assert_eq!(names(&place.path("o")), ["report.html", "report.json"]);
    let report = place.json("o/report.json");
    let pairs = report["stability"].as_array().unwrap();
    let same = pairs.iter().find(|p| p["a"] == "a" && p["b"] == "<c>.json").unwrap();
    for level in same["lengths"].as_array().unwrap() {
        assert!((level["ami"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{same}");
    }
    let other = pairs.iter().find(|p| p["a"] == "a" && p["b"] == "b").unwrap();
    assert!(other["lengths"][0]["ami"].as_f64().unwrap() < 0.3, "{other}");
    // Names of codes change no figure of the order of groups; behaviour does not see them at all.
    let part = |i: usize, key: &str| report["tables"][i]["analysis"][key].clone();
    assert_eq!(part(0, "behaviour"), part(2, "behaviour"));
    let page = String::from_utf8(place.read("o/report.html")).unwrap();
    for needed in ["Map of a", "Prefixes of b", "Bits saved on the next item", "&lt;c&gt;.json"] {
        assert!(page.contains(needed), "{needed}");
    }
    assert!(!page.contains("NaN") && !page.contains("<c>.json: "));
    for outside in ["http://", "https://", "src=", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    // A table alone has what needs no data.
    let alone = place.sidereal(&["sids", "<c>.json", "--json"]).ok().out;
    let keys: Vec<String> =
        json(&alone)["tables"][0]["analysis"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["ids", "shape"]);
}

#[test]
fn figures_are_validated_by_runs() {
    let place = Place::new();
    for (i, levels) in ["[8, 8]", "[4, 4]", "[2, 32]"].iter().enumerate() {
        let levels = format!("quantizer.levels={levels}");
        place.run(&["--out", &format!("runs/{i}"), "--set", &levels]).ok();
    }
    let folders = ["runs/0", "runs/1", "runs/2"];
    let args = |more: &[&'static str]| {
        let all = [&["sids"], &folders[..], &["--validate"], more].concat();
        place.sidereal(&all)
    };
    let found = json(&args(&["--json"]).ok().out);
    let found = found.as_array().unwrap();
    let bits = found.iter().find(|c| c["figure"] == "prediction.bits").unwrap();
    assert_eq!(bits["runs"], 3);
    let rho = bits["rho"].as_f64().unwrap();
    assert!((-1.0..=1.0).contains(&rho));
    let text = args(&["--metric", "ndcg@10"]).ok().out;
    assert!(text.contains("test ndcg@10 over 3 runs"), "{text}");
    let wrong = args(&["--metric", "recall@7"]);
    assert_eq!(wrong.code, 3);
    assert!(wrong.err.contains("known: ") && wrong.err.contains("recall@10"), "{}", wrong.err);
    // The same from a list; recall may come from elsewhere.
    let entry = |i: usize| {
        format!(r#"{{"name": "{i}", "report": "runs/{i}", "recall": {}}}"#, 0.1 * i as f64)
    };
    let list: Vec<String> = (0..3).map(entry).collect();
    place.write("list.json", format!("[{}]", list.join(",")));
    let listed = json(&place.sidereal(&["sids", "list.json", "--validate", "--json"]).ok().out);
    assert_eq!(listed.as_array().unwrap().len(), found.len());
    let few = place.sidereal(&["sids", "runs/0", "--validate"]);
    assert_eq!(few.code, 3);
    assert!(few.err.contains("at least 3"), "{}", few.err);
}

#[test]
fn what_has_no_ids_is_named() {
    let place = Place::new();
    let error = |args: &[&str], code: i32| {
        let done = place.sidereal(&[&["sids"], args].concat());
        assert_eq!(done.code, code, "{}", done.err);
        done.err
    };
    assert!(error(&["nowhere.json"], 3).contains("nowhere.json"));
    place.write("x.txt", "");
    assert!(error(&["x.txt"], 3).contains("expected .safetensors"));
    std::fs::create_dir(place.path("empty")).unwrap();
    assert!(error(&["empty"], 3).contains("config.toml is missing"));
    place.write(
        "pop.toml",
        "[data]\ntype = \"synthetic\"\nusers = 80\n[recommender]\ntype = \"most-pop\"\n",
    );
    place.sidereal(&["run", "pop.toml", "--out", "p", "-q"]).ok();
    assert!(error(&["p"], 3).contains("no semantic IDs"));
    place.write("t.json", r#"{"0": [1], "100000": [2]}"#);
    assert!(error(&["t.json"], 3).contains("item 100000"));
    place.write("u.json", r#"{"0": [1], "9999": [2]}"#);
    assert!(error(&["u.json", "--config", "tiny.toml"], 3).contains("is no item of the catalogue"));
}

#[test]
fn ids_go_to_other_programs_and_come_back() {
    let place = Place::new();
    place.run(&["--out", "r"]).ok();
    for file in ["x.json", "x.tsv", "x.npy", "x.safetensors"] {
        place.sidereal(&["sids", "r", "--export", file, "-q"]).ok();
        let identifier = format!("identifier={{type=\"table\", path=\"{file}\"}}");
        place.run(&["--out", "b", "--overwrite", "--set", &identifier]).ok();
        assert_eq!(place.read("b/sids.json"), place.read("r/sids.json"), "{file}");
    }
    let done = place.sidereal(&["sids", "r", "x.json", "--export", "y.json", "-q"]);
    assert_eq!(done.code, 4);
    assert!(done.err.contains("2 tables"), "{}", done.err);
}
