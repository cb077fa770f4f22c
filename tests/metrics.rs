//! Metrics beyond accuracy in a run, and ranked lists of other programs.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

mod common;

use common::{Done, Place};
use serde_json::Value;

fn tree(done: Done) -> Value {
    serde_json::from_str(&done.ok().out).unwrap()
}

#[test]
fn a_run_has_all_kinds() {
    let place = Place::new();
    let names = [
        "ndcg@10",
        "epc@10",
        "pop-reo@10",
        "gini@10",
        "ild-vectors@10",
        "history-distance@10",
        "arp@5",
        "map@5",
    ];
    let set = format!("evaluate.metrics={}", serde_json::to_string(&names).unwrap());
    let done = tree(place.run(&["--set", &set, "--json"]));
    for name in names {
        let value = done["results"]["test"][name].as_f64();
        assert!(value.is_some_and(f64::is_finite), "{name}: {done}");
    }
}

#[test]
fn lists_beside_their_truth() {
    let place = Place::new();
    place.write("a.run", "u1 Q0 x 1 2 t\nu1 Q0 y 2 1 t\nu9 Q0 x 1 1 t\n");
    place.write("a.qrels", "u1 0 y 1\nu2 0 x 1\n");
    let asked = ["evaluate", "--lists", "a.run", "--truth", "a.qrels", "--metrics"];
    let done = tree(place.sidereal(&[&asked[..], &["recall@2,mrr@2", "--json"]].concat()));
    assert_eq!(done["metrics"]["recall@2"], 0.5);
    assert_eq!(done["metrics"]["mrr@2"], 0.25);
    assert_eq!(done["users"], 2);
    assert_eq!((&done["without_list"], &done["without_truth"]), (&1.into(), &1.into()));
    let shown = place.sidereal(&[&asked[..], &["recall@2"]].concat()).ok();
    assert!(shown.out.contains("recall@2") && shown.out.contains("0.5"), "{}", shown.out);
}

#[test]
fn files_of_recbole_and_minionerec() {
    let place = Place::new();
    let metrics = |lists: &str, truth: &str| {
        let asked = ["evaluate", "--lists", lists, "--truth", truth, "--json", "--metrics"];
        tree(place.sidereal(&[&asked[..], &["recall@1,mrr@3"]].concat()))["metrics"].clone()
    };
    let head = "user_id:token\titem_id:token";
    place.write("top.inter", format!("{head}\tscore:float\n7\ta\t0.1\n7\tb\t0.9\n8\ta\t3\n"));
    place.write("test.inter", format!("{head}\n7\ta\n8\ta\n"));
    let found = metrics("top.inter", "test.inter");
    assert_eq!((&found["recall@1"], &found["mrr@3"]), (&0.5.into(), &0.75.into()));
    let text = r#"[{"input": "h", "output": "<a_1><b_2>\n", "predict": ["<a_9><b_9>", "<a_1><b_2>"]},
                   {"input": "h", "output": ["\"<a_1><b_3>\"\n"], "predict": ["<a_1><b_3>"]}]"#;
    place.write("result.json", text);
    let found = metrics("result.json", "result.json");
    assert_eq!((&found["recall@1"], &found["mrr@3"]), (&0.5.into(), &0.75.into()));
}

#[test]
fn lists_beside_an_experiment() {
    let place = Place::new();
    place.write("b.csv", "user,item\nnobody,nothing\n");
    let asked = ["evaluate", "--lists", "b.csv", "--data", "tiny.toml", "--json", "--metrics"];
    let done = tree(place.sidereal(&[&asked[..], &["recall@5,epc@5,ild-vectors@5"]].concat()));
    assert_eq!(done["metrics"]["epc@5"], 0.0);
    assert_eq!((&done["users"], &done["unknown_items"]), (&80.into(), &1.into()));
    assert_eq!(done["without_list"], 80);
}

#[test]
fn what_does_not_fit_is_refused() {
    let place = Place::new();
    place.write("a.run", "u1 Q0 x 1 2 t\nu1 Q0 x\n");
    place.write("a.qrels", "u1 0 y 1\n");
    let refused = |args: &[&str], code: i32, text: &str| {
        let done = place.sidereal(args);
        assert!(done.code == code && done.err.contains(text), "{}: {}", done.code, done.err);
    };
    refused(&["evaluate", "--lists", "a.run", "--truth", "a.qrels"], 3, "a.run:2");
    refused(&["evaluate", "--lists", "a.run"], 4, "--truth");
    refused(&["evaluate"], 2, "RUN");
    refused(&["evaluate", "run", "--lists", "a.run"], 2, "--lists");
}
