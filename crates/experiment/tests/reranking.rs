//! `[[reranker]]` sections from the file to the metrics, and in a served run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use sidereal_core::{Cancel, Result, Run};
use sidereal_experiment::{
    Asker, Cache, Config, Existing, Finished, Outcome, Plan, Registry, RunOptions, plan_of, run,
};
use std::collections::BTreeMap;
use std::path::Path;

const TINY: &str = include_str!("../../../tests/tiny.toml");

/// With lists that are long enough to be ordered again.
fn plan(text: &str) -> Result<Plan> {
    let mut config = Config::parse(text, "x.toml")?;
    config.set("decoder.width=30")?;
    Plan::resolve(&Registry::builtin().unwrap(), &config)
}

fn go(folder: &Path, name: &str, text: &str) -> Result<Outcome> {
    let options = RunOptions {
        out: folder.join(name),
        existing: Existing::Overwrite,
        cache: folder.join("cache"),
    };
    run(&Registry::builtin().unwrap(), &plan(text)?, &options, Vec::new(), Cancel::default())
}

fn error(text: &str) -> String {
    plan(text).err().expect("refused").to_string()
}

#[test]
fn only_the_evaluation_changes() {
    let place = tempfile::tempdir().unwrap();
    let reused = |o: &Outcome| -> BTreeMap<&str, bool> {
        o.stages.iter().map(|s| (s.stage, s.reused)).collect()
    };
    let plain = go(place.path(), "plain", TINY).unwrap();
    assert!(!plain.results.protocol.other.contains_key("rerankers"));

    // All weight on the decoder leaves every list alone.
    let same = "[[reranker]]\ntype = \"score-fusion\"\nweights = [1.0, 0.0]\ncandidates = 20\n";
    let same = go(place.path(), "same", &format!("{TINY}{same}")).unwrap();
    assert_eq!(same.results.test, plain.results.test);
    assert_eq!(same.results.valid, plain.results.valid);
    let reused = reused(&same);
    assert!(reused["training"] && reused["sids"] && !reused["evaluation"], "{reused:?}");
    let costs = &same.results.protocol.other["rerankers"][0]["test"];
    assert_eq!((&costs["lists"], &costs["calls"]), (&80.into(), &0.into()));
    let looked = costs["candidates"].as_u64().unwrap();
    assert!((1..=80 * 20).contains(&looked), "{looked}");

    // A chain that does something, over vectors, categories and popularity; twice the same bytes.
    let chain = r#"
        [[reranker]]
        type = "score-fusion"
        signals = ["decoder", "similarity", "category", "popularity"]
        weights = [0.1, 0.4, 0.4, 0.1]
        candidates = 30

        [[reranker]]
        type = "mmr"
        lambda = 0.3
        candidates = 20

        [[reranker]]
        type = "calibrated-popularity"
        candidates = 20
    "#;
    let a = go(place.path(), "a", &format!("{TINY}{chain}")).unwrap();
    let b = tempfile::tempdir().unwrap();
    let b = go(b.path(), "b", &format!("threads = 2\n{TINY}{chain}")).unwrap();
    assert_eq!(a.results, b.results);
    assert_ne!(a.results.test, plain.results.test);

    // The resolved file says the same again.
    let written = std::fs::read_to_string(place.path().join("a/config.toml")).unwrap();
    assert_eq!(written.matches("[[reranker]]").count(), 3, "{written}");
    let (again, first) = (plan(&written).unwrap(), plan(&format!("{TINY}{chain}")).unwrap());
    assert_eq!(again.resolved(), first.resolved());
}

#[test]
fn a_served_run_reranks_too() {
    let place = tempfile::tempdir().unwrap();
    go(place.path(), "r", TINY).unwrap();
    let (registry, folder) = (Registry::builtin().unwrap(), place.path().join("r"));
    let cache = Cache::new(place.path().join("cache"));
    let titles = |changes: &[&str]| {
        let changes: Vec<String> = changes.iter().map(|c| c.to_string()).collect();
        let plan = plan_of(&registry, &folder, &changes).unwrap();
        let finished = Finished::open(&registry, &plan, &cache, &folder, Run::quiet(0)).unwrap();
        let shown = finished.recommend(&Asker::User("0".into()), 30).unwrap();
        shown.recommendations.into_iter().map(|r| (r.id, r.score.unwrap())).collect::<Vec<_>>()
    };
    let (plain, by) = (titles(&[]), titles(&["reranker={type=\"verifier\", candidates=30}"]));
    assert!(by.windows(2).all(|w| w[0].1 >= w[1].1), "by popularity");
    assert_ne!(plain, by);
    let ids = |list: &[(String, f64)]| {
        let mut ids: Vec<String> = list.iter().map(|x| x.0.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&plain), ids(&by));
}

#[test]
fn recommenders_without_training_are_reranked() {
    let place = tempfile::tempdir().unwrap();
    let world = &TINY[..TINY.find("[encoder]").unwrap()];
    let text = |reranker: &str| {
        format!("{world}[recommender]\ntype = \"oracle\"\n[[reranker]]\ntype = {reranker}\n")
    };
    let plain = go(place.path(), "plain", &format!("{world}[recommender]\ntype = \"oracle\"\n"));
    let popular = go(place.path(), "popular", &text("\"verifier\"")).unwrap();
    assert!(plain.unwrap().results.test["ndcg@10"] > popular.results.test["ndcg@10"]);
    let e = go(place.path(), "mmr", &text("\"mmr\"")).err().unwrap().to_string();
    assert!(e.contains("item vectors"), "{e}");
}

#[test]
fn another_run_verifies() {
    let place = tempfile::tempdir().unwrap();
    let world = &TINY[..TINY.find("[encoder]").unwrap()];
    let oracle = format!("{world}[recommender]\ntype = \"oracle\"\n");
    let best = go(place.path(), "oracle", &oracle).unwrap();
    let text = |path: &Path| {
        format!(
            "{TINY}[[reranker]]\ntype = \"verifier\"\nrun_path = {path:?}\ndepth = 60\n\
             candidates = 30\n"
        )
    };
    let plain = go(place.path(), "plain", TINY).unwrap();
    let verified = go(place.path(), "verified", &text(&place.path().join("oracle"))).unwrap();
    let ndcg = |o: &Outcome| o.results.test["ndcg@10"];
    assert!(ndcg(&verified) > ndcg(&plain), "{} {}", ndcg(&verified), ndcg(&plain));
    assert!(ndcg(&verified) <= ndcg(&best) + 0.05);
    assert!(verified.results.protocol.other["rerankers"][0]["test"]["calls"].as_u64() > Some(0));
    // A verifier on other data, and one that does not exist.
    let other = oracle.replace("users = 80", "users = 81");
    go(place.path(), "other", &other).unwrap();
    let e = go(place.path(), "x", &text(&place.path().join("other"))).err().unwrap().to_string();
    assert!(e.contains("run_path") && e.contains("other data"), "{e}");
    let e = error(&text(Path::new("/nowhere")));
    assert!(e.contains("run_path") && e.contains("no finished run"), "{e}");
}

#[test]
fn errors_say_which_section() {
    let two = "[[reranker]]\ntype = \"mmr\"\n[[reranker]]\ntype = \"mmr\"\n";
    let e = error(&format!("{two}lambda = 2.0\n"));
    assert!(e.starts_with("x.toml:5: ") && e.contains("reranker[1].lambda"), "{e}");
    let e = error(&format!("{two}lamda = 0.5\n"));
    assert!(e.starts_with("x.toml:5: ") && e.contains("did you mean `lambda`"), "{e}");
    let e = error(&format!("{two}candidates = 51\n"));
    assert!(e.contains("allowed: 1 to 50"), "{e}");
    let e = error("[[reranker]]\ntype = \"mrm\"\n");
    assert!(e.contains("did you mean `mmr`"), "{e}");
    let e = error("[[reranker]]\nlambda = 0.5\n");
    assert!(e.starts_with("x.toml:1: ") && e.contains("name the component"), "{e}");
}
