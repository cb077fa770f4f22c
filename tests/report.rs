//! `sidereal report`: systems out of runs, every form, what must not be compared.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::Place;
use serde_json::Value;

/// Two seeds of k-means, two of chance, in two ways of storing them.
fn place() -> Place {
    let place = Place::new();
    place.write(
        "sweep.toml",
        "[sweep]\nbase = \"tiny.toml\"\nseeds = [0, 1]\n[[sweep.case]]\nname = \"k & <means>\"\n",
    );
    place.sidereal(&["sweep", "sweep.toml", "-q"]).ok();
    let random = "quantizer={type=\"random\", levels=[8, 8]}";
    for seed in ["0", "1"] {
        let (seed_of, out) = (format!("seed={seed}"), format!("runs/random_{seed}"));
        place.run(&["--set", random, "--set", &seed_of, "--out", &out]).ok();
    }
    place
}

const RUNS: [&str; 4] = ["report", "runs/sweep", "runs/random_0", "runs/random_1"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn systems_tables_and_a_page() {
    let place = place();
    let with = |more: &[&str]| place.sidereal(&[&RUNS[..], more].concat()).ok().out;
    let report = json(&with(&["--json"]));
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    let expected = [
        "ablations",
        "base",
        "breakdowns",
        "choice",
        "costs",
        "curves",
        "distributions",
        "examples",
        "format",
        "metric",
        "metrics",
        "mixed",
        "notes",
        "pairs",
        "protocol",
        "ranks",
        "responses",
        "rules",
        "systems",
        "users",
    ];
    assert_eq!(keys, expected);
    assert_eq!((&report["format"], &report["users"]), (&2.into(), &80.into()));
    assert_eq!(report["base"], "k & <means>");
    let names: Vec<&str> =
        report["systems"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["k & <means>", "random"]);
    // The metric that chose the checkpoint comes first; means are those of the runs.
    assert_eq!(report["metric"], "ndcg@10");
    let of = |name: &str| {
        let tables = report["metrics"].as_array().unwrap();
        tables.iter().find(|t| t["metric"] == name).unwrap().clone()
    };
    for name in ["ndcg@10", "recall@5"] {
        let row = of(name)["rows"][1].clone();
        let value = |i: u32| {
            place.json(&format!("runs/random_{i}/metrics.json"))["test"][name].as_f64().unwrap()
        };
        let mean = (value(0) + value(1)) / 2.0;
        assert!((row["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
        let spread = (value(0) - value(1)).abs() / 2f64.sqrt();
        assert!((row["spread"].as_f64().unwrap() - spread).abs() < 1e-12);
        let d = &row["difference"];
        let users = ["higher", "lower", "same"].map(|k| d["users"][k].as_u64().unwrap());
        assert_eq!(users.iter().sum::<u64>(), 80);
        assert!(d["p"].as_f64().unwrap() <= d["p_holm"].as_f64().unwrap());
    }
    assert_eq!(of("recall@5")["direction"], "higher-is-better");
    let keys: Vec<String> =
        of("recall@5")["rows"][1].as_object().unwrap().keys().cloned().collect();
    let expected = ["difference", "interval", "mean", "seeds", "spread", "system", "verdict"];
    assert_eq!(keys, expected);
    let change = &report["ablations"][0]["changes"][0];
    assert_eq!((&change["key"], &change["value"]), (&"quantizer".into(), &"random".into()));
    // Validation beside test: the figures of both parts, the best by validation first.
    let choice = &report["choice"];
    assert_eq!(choice["metric"], "ndcg@10");
    let chosen = &choice["systems"][0];
    assert_eq!(chosen["system"], "k & <means>");
    for part in ["valid", "test"] {
        let value = |i: usize| {
            let folder = report["systems"][0]["runs"][i]["folder"].as_str().unwrap();
            place.json(&format!("{folder}/metrics.json"))[part]["ndcg@10"].as_f64().unwrap()
        };
        let mean = (value(0) + value(1)) / 2.0;
        assert!((chosen[part].as_f64().unwrap() - mean).abs() < 1e-12);
    }
    let groups: u64 = report["breakdowns"][1]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["users"].as_u64().unwrap())
        .sum();
    assert_eq!((&report["breakdowns"][1]["by"], groups), (&"history".into(), 80));
    // Every user of the examples stands before both systems.
    let examples = report["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 6);
    assert!(examples.iter().all(|e| e["lists"].as_array().unwrap().len() == 2));
    assert_eq!(report["curves"].as_array().unwrap().len(), 2);
    assert!(report["costs"][0]["parameters"].as_f64().unwrap() > 1000.0);

    let text = with(&["-q", "--html", "page.html"]);
    for needed in [
        "k & <means> (base)",
        "quantizer: rq-kmeans -> random",
        "paired t",
        "Chosen by validation: k & <means>",
        "page.html",
    ] {
        assert!(text.contains(needed), "{needed}\n{text}");
    }
    let page = String::from_utf8(place.read("page.html")).unwrap();
    for needed in [
        "k &amp; &lt;means&gt;",
        "Training loss",
        "Found among the first k",
        "ndcg@10 on both parts",
        "User user-",
    ] {
        assert!(page.contains(needed), "{needed}");
    }
    let body = page.split("<script").next().unwrap();
    assert!(!body.contains("NaN") && !body.contains("<means>"));
    for outside in ["http://", "https://", "src=", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let start = page.find("id=\"report\">").unwrap() + "id=\"report\">".len();
    let inside = json(page[start..].split("</script>").next().unwrap());
    assert_eq!(inside, report);

    let markdown = with(&["-q", "--markdown", "--metric", "recall@5"]);
    assert!(markdown.contains("| system | seeds | recall@5 |\n|---|--:|--:|\n"), "{markdown}");
    assert!(markdown.contains("k &amp; &lt;means&gt; (base)") && !markdown.contains("ndcg"));
    let latex = with(&["-q", "--latex", "--base", "random"]);
    assert!(latex.contains("k \\& \\textless{}means\\textgreater{}"), "{latex}");
    assert!(latex.contains("random (base)") && latex.contains("\\bottomrule"));
    // Nothing depends on the order of the work, and tests can be chosen.
    assert_eq!(json(&with(&["--json"])), report);
    let signs = json(&with(&["--json", "--test", "wilcoxon", "--level", "0.01"]));
    assert_eq!(
        (&signs["rules"]["test"], &signs["rules"]["level"]),
        (&"wilcoxon".into(), &0.01.into())
    );
}

#[test]
fn what_must_not_be_compared() {
    let place = Place::new();
    place.run(&["--out", "a"]).ok();
    place.run(&["--out", "b", "--set", "evaluate.exclude_seen=true"]).ok();
    let refused = place.sidereal(&["report", "a", "b"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("seen_items: kept (a) | removed (b)"), "{}", refused.err);
    assert!(refused.err.contains("--mixed"), "{}", refused.err);
    let mixed = place.sidereal(&["report", "a", "b", "--mixed", "-q", "--html", "m.html"]).ok().out;
    assert!(mixed.starts_with("!! NOT COMPARABLE"), "{mixed}");
    assert!(String::from_utf8(place.read("m.html")).unwrap().contains("NOT COMPARABLE"));
    let report = json(&place.sidereal(&["report", "a", "b", "--mixed", "--json"]).ok().out);
    assert_eq!(report["mixed"][0]["key"], "seen_items");
    let row = &report["metrics"][0]["rows"][1];
    assert_eq!((&row["difference"], &row["verdict"]), (&Value::Null, &"untested".into()));

    let error = |args: &[&str], code: i32| {
        let done = place.sidereal(&[&["report"], args].concat());
        assert_eq!(done.code, code, "{}", done.err);
        done.err
    };
    assert!(error(&["a", "--base", "aa"], 4).contains("did you mean `a`"));
    assert!(error(&["a", "--metric", "recall@11"], 4).contains("recall@10"));
    assert!(error(&["a", "--level", "1.5"], 4).contains("--level"));
    assert!(error(&["a", "--resamples", "5"], 4).contains("100 and up"));
    assert!(error(&["nowhere"], 3).contains("nowhere"));
    // One run is a report too.
    let one = place.sidereal(&["report", "a", "-q", "--html", "one.html"]).ok().out;
    assert!(one.contains("1 of 1 systems have one seed"), "{one}");
}
