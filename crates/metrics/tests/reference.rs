//! Agreement with other libraries, whose outputs `tests/reference/record.py` recorded: ranx,
//! trec_eval, ir-measures, scikit-learn, RecBole, SciPy, rouge-score.
//!
//! Where they disagree with each other: MAP is divided by the number of targets in ranx, trec_eval
//! and ir-measures (`map-trec`) and by min(targets, k) in RecBole (`map`); NDCG has linear gains in
//! ranx `ndcg`, trec_eval and scikit-learn (`ndcg-linear`), exponential ones in ranx `ndcg_burges`
//! (`ndcg-exponential`) and none in RecBole (`ndcg`).

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

use serde_json::Value;
use sidereal_core::{Catalog, ItemId, RankedLists, Spec};
use sidereal_metrics::statistics::special::{erfc, normal_quantile, normal_tail, t_two_sided};
use sidereal_metrics::statistics::{Pairs, mean_interval, paired_t, sign_test, wilcoxon};
use sidereal_metrics::{EvalContext, Metric, Score, Truth, register};

fn recorded() -> Value {
    serde_json::from_str(include_str!("reference/reference.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn close(what: &str, got: f64, expected: f64) {
    let off = (got - expected).abs();
    assert!(off <= 1e-12 * expected.abs().max(1e-290), "{what}: {got:e} for {expected:e}");
}

fn columns(case: &Value) -> (RankedLists, Truth) {
    let (mut lists, mut truth) = (RankedLists::new(), Truth::new());
    for request in case["requests"].as_array().unwrap() {
        let list = request["list"].as_array().unwrap();
        lists.push(list.iter().map(|i| ItemId(i.as_u64().unwrap() as u32)));
        let gains = request["gains"].as_array().unwrap();
        let pair =
            |p: &Value| (ItemId(p[0].as_u64().unwrap() as u32), p[1].as_f64().unwrap() as f32);
        truth.push_graded(&gains.iter().map(pair).collect::<Vec<_>>()).unwrap();
    }
    (lists, truth)
}

fn score(name: &str, case: &Value, n_items: usize) -> Score {
    let mut catalog: Catalog<dyn Metric> = Catalog::new("metric");
    register(&mut catalog).unwrap();
    let metric = catalog.build(&Spec::from_short("metric", name).unwrap(), &()).unwrap();
    let (lists, truth) = columns(case);
    metric.evaluate(&lists, &truth, &EvalContext::new(n_items, &[])).unwrap()
}

#[test]
fn rankings() {
    let recorded = recorded();
    let n_items = recorded["n_items"].as_u64().unwrap() as usize;
    let mut compared = 0;
    for case in recorded["cases"].as_array().unwrap() {
        for (library, figures) in case["per_user"].as_object().unwrap() {
            for (name, values) in figures.as_object().unwrap() {
                let got = score(name, case, n_items).per_user.unwrap();
                for (u, (got, value)) in got.iter().zip(values.as_array().unwrap()).enumerate() {
                    // scikit-learn has no value where the list is shorter than k.
                    let Some(value) = value.as_f64() else { continue };
                    let off = (got - value).abs();
                    let what = format!("{library}, {}, {name}, request {u}", case["name"]);
                    assert!(off < 1e-12, "{what}: {got} for {value}");
                    compared += 1;
                }
            }
        }
        for (library, figures) in case["means"].as_object().unwrap() {
            for (name, value) in figures.as_object().unwrap() {
                let (got, value) = (score(name, case, n_items).value, value.as_f64().unwrap());
                let what = format!("{library}, {}, {name}", case["name"]);
                assert!((got - value).abs() < 1e-12, "{what}: {got} for {value}");
                compared += 1;
            }
        }
    }
    assert!(compared > 5000, "{compared} figures were compared");
}

#[test]
fn distributions() {
    let recorded = &recorded()["statistics"];
    let rows =
        |name: &str| recorded[name].as_array().unwrap().iter().map(numbers).collect::<Vec<_>>();
    for row in rows("erfc") {
        close(&format!("erfc {}", row[0]), erfc(row[0]), row[1]);
    }
    for row in rows("normal_tail") {
        close(&format!("normal tail {}", row[0]), normal_tail(row[0]), row[1]);
    }
    for row in rows("normal_quantile") {
        close(&format!("normal quantile {}", row[0]), normal_quantile(row[0]), row[1]);
    }
    for row in rows("t_two_sided") {
        let what = format!("t {} of {}", row[0], row[1]);
        close(&what, t_two_sided(row[0], row[1]), row[2]);
    }
}

#[test]
fn tests_of_pairs() {
    let recorded = recorded();
    let mut ranked = 0;
    for (name, case) in recorded["statistics"]["tests"].as_object().unwrap() {
        let pairs = Pairs::of_differences(numbers(&case["differences"])).unwrap();
        let (t, expected) = (paired_t(&pairs).unwrap(), numbers(&case["t"]));
        close(&format!("t statistic of {name}"), t.statistic, expected[0]);
        close(&format!("t test of {name}"), t.p, expected[1]);
        let (interval, expected) =
            (mean_interval(&pairs, 0.95).unwrap(), numbers(&case["interval"]));
        close(&format!("lower end of {name}"), interval.low, expected[0]);
        close(&format!("upper end of {name}"), interval.high, expected[1]);
        if !case["wilcoxon"].is_null() {
            let (w, expected) = (wilcoxon(&pairs).unwrap(), numbers(&case["wilcoxon"]));
            assert_eq!(w.statistic, expected[0], "{name}");
            close(&format!("signed ranks of {name}"), w.p, expected[1]);
            ranked += 1;
        }
        let sign = sign_test(&pairs).unwrap();
        close(&format!("sign test of {name}"), sign.p, case["sign"].as_f64().unwrap());
    }
    assert!(ranked >= 4, "{ranked}");
}

#[test]
fn overlap_of_texts() {
    use sidereal_metrics::text::{rouge_l, rouge_n};
    for row in recorded()["rouge"].as_array().unwrap() {
        let (a, b) = (row["candidate"].as_str().unwrap(), row["reference"].as_str().unwrap());
        let ours =
            [("rouge1", rouge_n(a, b, 1)), ("rouge2", rouge_n(a, b, 2)), ("rougeL", rouge_l(a, b))];
        for (name, got) in ours {
            let expected = numbers(&row[name]);
            for (got, expected) in [got.precision, got.recall, got.f1].iter().zip(expected) {
                assert!((got - expected).abs() < 1e-12, "{name} of `{a}`: {got} for {expected}");
            }
        }
    }
}
