//! From a short file to metrics and recommendations, through the binary.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::{Place, names};
use serde_json::Value;

#[test]
fn a_run_ends_with_a_table_and_a_folder_that_holds_everything() {
    let place = Place::new();
    let done = place.run(&[]).ok();
    for text in
        ["recall@10", "optimum", "leak check: ", "user user-", "runs/tiny", "training interactions"]
    {
        assert!(done.out.contains(text), "no `{text}` in\n{}", done.out);
    }
    let expected = [
        "codebook.safetensors",
        "config.json",
        "config.toml",
        "data.json",
        "examples.json",
        "log.jsonl",
        "metrics.json",
        "model.safetensors",
        "per_user.csv",
        "provenance.json",
        "sid_report.json",
        "sids.json",
        "sids.safetensors",
        "summary.json",
        "tensorboard",
        "training.json",
        "versions.json",
    ];
    assert_eq!(names(&place.path("runs/tiny")), expected);

    let metrics = place.json("runs/tiny/metrics.json");
    for part in ["valid", "test"] {
        for name in ["recall@5", "recall@10", "ndcg@10"] {
            let value = metrics[part][name].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&value), "{part} {name} {value}");
        }
    }
    let protocol = &metrics["protocol"];
    assert_eq!(protocol["split"]["type"], "leave-one-out");
    assert_eq!(protocol["seen_items"], "kept");
    assert_eq!(metrics["leak_check"]["policy"], "error");
    assert_eq!(protocol["checkpoint"]["by"], "ndcg@10");
    assert_eq!((&protocol["users"], &protocol["items"]), (&80.into(), &60.into()));

    // The metrics are the means of the rows for each user.
    let text = String::from_utf8(place.read("runs/tiny/per_user.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("user,rank,history,popularity,recall@5,recall@10,ndcg@10"));
    let ranks: Vec<Option<u32>> =
        lines.map(|l| l.split(',').nth(1).and_then(|r| r.parse().ok())).collect();
    assert_eq!(ranks.len(), 80);
    let hits = ranks.iter().flatten().filter(|r| **r <= 5).count();
    assert_eq!(metrics["test"]["recall@5"].as_f64().unwrap(), hits as f64 / 80.0);

    let sids = place.json("runs/tiny/sids.json");
    assert_eq!(sids.as_object().unwrap().len(), 60);
    assert!(sids["0"][0].as_str().unwrap().starts_with("<a_"));
    let log = String::from_utf8(place.read("runs/tiny/log.jsonl")).unwrap();
    assert!(log.lines().all(|l| serde_json::from_str::<Value>(l).is_ok()) && log.contains("loss"));
}

#[test]
fn other_targets_change_nothing_upstream() {
    let place = Place::new();
    let done = place.sidereal(&["leaks", "tiny.toml", "-q", "--steps", "2", "--json"]).ok();
    let findings: Value = serde_json::from_str(&done.out).unwrap();
    let found = |check: &str| {
        let all = findings.as_array().unwrap();
        all.iter().find(|f| f["check"] == check).unwrap()["verdict"].clone()
    };
    for check in ["held-out-in-training", "targets-change-ids", "targets-change-weights"] {
        assert_eq!(found(check), "clean", "{check}");
    }
}

#[test]
fn json_is_for_programs() {
    let place = Place::new();
    let done = place.run(&["--json"]).ok();
    let tree: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(tree["folder"], "runs/tiny");
    assert_eq!(tree["results"], place.json("runs/tiny/metrics.json"));
    assert_eq!(tree["examples"].as_array().unwrap().len(), 6);
    assert_eq!(tree["stages"][0]["stage"], "data");
}

#[test]
fn every_kind_of_part_runs_by_name() {
    let place = Place::new();
    let metrics = |out: &str, sets: &[&str]| {
        let mut args = vec!["--out", out];
        sets.iter().for_each(|s| args.extend(["--set", s]));
        place.run(&args).ok();
        place.json(&format!("{out}/metrics.json"))
    };
    let tiger = [
        "backbone={type=\"tiger\", d_model=16, d_ff=16, layers=1, decoder_layers=1, heads=2, d_kv=8}",
        "train.epochs=1",
    ];
    let tree = metrics("tiger", &tiger);
    assert!(tree["test"]["recall@10"].is_f64());
    let config = String::from_utf8(place.read("tiger/config.toml")).unwrap();
    assert!(config.contains("augmentation = \"contiguous\""), "{config}");

    let sasrec = ["backbone={type=\"sasrec\", d_model=16, d_ff=16, layers=1}", "train.epochs=1"];
    assert!(metrics("sasrec", &sasrec)["test"]["recall@10"].is_f64());
    assert!(!place.path("sasrec/sids.json").exists());
    let config = String::from_utf8(place.read("sasrec/config.toml")).unwrap();
    assert!(config.contains("full-softmax") && !config.contains("[quantizer]"), "{config}");

    assert!(metrics("pop", &["recommender=most-pop"])["test"]["recall@10"].is_f64());
    assert!(!place.path("pop/model.safetensors").exists());

    let tree = metrics("oracle", &["recommender=oracle"]);
    let (found, best) = (&tree["test"]["recall@10"], &tree["optimum"]["test"]["recall@10"]);
    assert_eq!(found, &best["realised"]);

    let others = [
        "quantizer={type=\"random\", levels=[8, 8]}",
        "identifier=tolerate",
        "decoder={type=\"free-beam\", width=30}",
        "data.split={type=\"ratio\", valid=0.2, test=0.3}",
        "evaluate.select=loss",
        "evaluate.exclude_seen=true",
    ];
    let tree = metrics("others", &others);
    assert_eq!(tree["protocol"]["seen_items"], "removed");
    assert_eq!(tree["protocol"]["checkpoint"]["by"], "loss");
    assert!(tree["protocol"]["test"]["invalid_candidates"].as_u64().unwrap() > 0);
    assert!(tree.get("optimum").is_none(), "it holds for leave-one-out only");
}

#[test]
fn every_decoder_measures_a_finished_run() {
    let place = Place::new();
    place.run(&[]).ok();
    for decoder in [
        "type=\"diverse-beam\", groups=10",
        "type=\"ancestral\"",
        "type=\"ancestral\", replacement=\"without\", temperature=0.8, top_k=20, top_p=0.95",
        "type=\"stochastic-beam\"",
        "type=\"annealed\"",
        "type=\"best-of-n\", draws={type=\"ancestral\", width=100}",
    ] {
        let set = format!("decoder={{{decoder}}}");
        let measure = || {
            let done = place.sidereal(&["evaluate", "runs/tiny", "-q", "--json", "--set", &set]);
            serde_json::from_str::<Value>(&done.ok().out).unwrap()
        };
        let tree = measure();
        let recall = tree["test"]["recall@10"].as_f64().unwrap();
        assert!(recall > 0.0 && recall <= 1.0, "{decoder}: {recall}");
        assert_eq!(tree["protocol"]["test"]["invalid_candidates"], 0, "{decoder}");
        assert_eq!(measure(), tree, "{decoder}");
    }
}

#[test]
fn a_finished_run_is_measured_again_without_training() {
    let place = Place::new();
    place.run(&[]).ok();
    let before = place.json("runs/tiny/metrics.json");
    let same = place.sidereal(&["evaluate", "runs/tiny", "-q", "--json"]).ok();
    assert_eq!(serde_json::from_str::<Value>(&same.out).unwrap(), before);
    // Without the cache too: the folder is enough.
    let args = ["evaluate", "runs/tiny", "-q", "--json", "--cache", "other"];
    let same = place.sidereal(&args).ok();
    assert_eq!(serde_json::from_str::<Value>(&same.out).unwrap(), before);
    assert!(!names(&place.path("other")).iter().any(|n| n.starts_with("training")));

    let wide = ["evaluate", "runs/tiny", "-q", "--json", "--set", "decoder.width=60", "--set"];
    let wide = [&wide[..], &["evaluate.metrics=[\"recall@60\"]"]].concat();
    let wide = place.sidereal(&wide).ok();
    let tree: Value = serde_json::from_str(&wide.out).unwrap();
    assert_eq!(tree["test"]["recall@60"], 1.0, "a beam as wide as the catalogue finds everything");

    let done = place.sidereal(&["evaluate", "runs/tiny", "--set", "quantizer=random"]);
    assert_eq!(done.code, 4);
    assert!(done.err.contains("after training"), "{}", done.err);
}

#[test]
fn recommendations_show_titles_and_ids() {
    let place = Place::new();
    place.run(&[]).ok();
    let run = |args: &[&str]| place.sidereal(&[&["recommend", "runs/tiny"], args].concat());
    let by_id = run(&["--user", "user-00", "-k", "3"]).ok();
    let by_number = run(&["--user", "0", "-k", "3"]).ok();
    assert_eq!(by_id.out, by_number.out);
    assert!(by_id.out.contains("history of") && by_id.out.contains("<a_"), "{}", by_id.out);
    assert_eq!(by_id.out.lines().count(), 6);
    let done = run(&["--history", "item-00,1,2", "-k", "60", "--json"]).ok();
    let tree: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(tree["recommendations"].as_array().unwrap().len(), 60);
    assert_eq!(tree["history"][1]["id"], "item-01");

    for (args, code, text) in [
        (&["--user", "nobody"][..], 3, "no user `nobody`"),
        (&["--history", "0,99"], 3, "no item `99`"),
        (&["--user", "0", "-k", "0"], 2, "0"),
        (&[], 2, "--user"),
        (&["--user", "0", "--history", "1"], 2, "cannot be used"),
    ] {
        let done = run(args);
        assert_eq!(done.code, code, "{args:?}: {}", done.err);
        assert!(done.err.contains(text), "{args:?}: {}", done.err);
    }
}

#[test]
fn a_replay_is_equal_and_a_changed_run_is_not() {
    let place = Place::new();
    place.run(&[]).ok();
    let done = place.sidereal(&["replay", "runs/tiny", "-q"]).ok();
    assert!(done.out.contains("equal"), "{}", done.out);
    assert_eq!(place.read("runs/tiny/metrics.json"), place.read("runs/tiny/replay/metrics.json"));
    assert_eq!(
        place.read("runs/tiny/model.safetensors"),
        place.read("runs/tiny/replay/model.safetensors")
    );

    let mut tree = place.json("runs/tiny/metrics.json");
    tree["test"]["recall@10"] = 2.0.into();
    place.write("runs/tiny/metrics.json", tree.to_string());
    let done = place.sidereal(&["replay", "runs/tiny", "-q", "--out", "again", "--json"]);
    assert_eq!(done.code, 1);
    let tree: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(tree["equal"], false);
    assert!(tree["differences"][0].as_str().unwrap().starts_with("test.recall@10: 2.0 -> "));
}

#[test]
fn components_and_data_are_described() {
    let place = Place::new();
    let all = place.sidereal(&["components"]).ok().out;
    for name in ["tiger", "rq-kmeans", "leave-one-out", "most-pop", "recall", "synthetic", "beam"] {
        assert!(all.contains(name), "{name}");
    }
    let page = place.sidereal(&["components", "rq-kmeans"]).ok().out;
    assert!(page.contains("levels = [256,256,256]") && page.contains("list of whole number"));
    let train = place.sidereal(&["components", "train"]).ok().out;
    assert!(train.contains("augmentation") && train.contains("max_minutes"));
    let json = place.sidereal(&["components", "beam", "--json"]).ok().out;
    let tree: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(tree[0]["options"][0]["name"], "width");
    let wrong = place.sidereal(&["components", "beem"]);
    assert_eq!(wrong.code, 4);
    assert!(wrong.err.contains("did you mean `beam`"), "{}", wrong.err);

    place.write("ratings.csv", "user,item,timestamp\na,x,1\na,y,2\nb,x,3\n");
    let shown = place.sidereal(&["data", "inspect", "ratings.csv"]).ok().out;
    assert!(shown.contains('2') && shown.contains('3'), "{shown}");
    let json = place.sidereal(&["data", "inspect", "ratings.csv", "--json"]).ok().out;
    let tree: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&tree["users"], &tree["interactions"]), (&2.into(), &3.into()));
}

#[test]
fn relative_paths_are_found_beside_the_file() {
    let place = Place::new();
    let mut rows = String::from("user,item,timestamp\n");
    for user in 0..30 {
        for step in 0..5 {
            rows.push_str(&format!("u{user},i{},{step}\n", (user + step) % 20));
        }
    }
    place.write("sub/ratings.csv", rows);
    let config =
        "[data]\ntype = \"csv\"\npath = \"ratings.csv\"\n\n[recommender]\ntype = \"most-pop\"\n";
    place.write("sub/pop.toml", config);
    place.sidereal(&["run", "sub/pop.toml", "-q"]).ok();
    assert_eq!(place.json("runs/pop/metrics.json")["protocol"]["users"], 30);
    let data = place.json("runs/pop/data.json");
    assert_eq!(data["files"][0]["sha256"].as_str().unwrap().len(), 64);
    // The folder's own configuration leads to the same files.
    place.sidereal(&["replay", "runs/pop", "-q"]).ok();
    place.write("sub/ratings.csv", "user,item,timestamp\na,x,1\na,y,2\na,z,3\n");
    let done = place.sidereal(&["evaluate", "runs/pop", "-q"]);
    assert_eq!(done.code, 3);
    assert!(done.err.contains("changed since the run"), "{}", done.err);
}

/// Every file in `experiments/` names known parts and valid options.
#[test]
fn the_experiments_resolve() {
    let registry = sidereal::Registry::builtin().unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["experiments", "examples/plugin"] {
        let files = names(&root.join(folder));
        for name in files.iter().filter(|n| n.ends_with(".toml") && *n != "Cargo.toml") {
            let config = sidereal::Config::load(&root.join(folder).join(name)).unwrap();
            match sidereal::Plan::resolve(&registry, &config) {
                Ok(plan) => {
                    let again = sidereal::Config::parse(&plan.to_toml(), name).unwrap();
                    let again = sidereal::Plan::resolve(&registry, &again).unwrap();
                    assert_eq!(plan.resolved(), again.resolved(), "{name}");
                }
                Err(sidereal::core::Error::Read { path, .. }) => {
                    println!("skipped: {name}, because {} is not there", path.display());
                }
                // The plugin's own quantizer is known to its own program only.
                Err(e) => assert!(e.to_string().contains("`lsh`"), "{name}: {e}"),
            }
        }
    }
}

/// Every sweep names known parts and valid options, and no two have one name: a sweep's folder is
/// named after its file.
#[test]
fn the_sweeps_resolve() {
    let registry = sidereal::Registry::builtin().unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let mut seen = std::collections::BTreeSet::new();
    for folder in names(&root).iter().filter(|n| root.join(n).is_dir()) {
        let bases = names(&root.join(folder).join("bases"));
        for name in names(&root.join(folder)).iter().filter(|n| n.ends_with(".toml")) {
            let sweep = sidereal::experiment::Sweep::load(&root.join(folder).join(name)).unwrap();
            assert!(seen.insert(sweep.name.clone()), "{folder}/{name}: that name is taken");
            match sidereal::experiment::sweep::check(&registry, &sweep) {
                Err(sidereal::core::Error::Read { path, .. }) => {
                    println!("skipped: {folder}/{name}, because {} is not there", path.display());
                }
                other => other.unwrap_or_else(|e| panic!("{folder}/{name}: {e}")),
            }
        }
        for name in &bases {
            sidereal::Config::load(&root.join(folder).join("bases").join(name)).unwrap();
        }
    }
    assert!(seen.len() >= 18, "{seen:?}");
}
