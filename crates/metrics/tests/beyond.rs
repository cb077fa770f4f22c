//! Agreement with recorded outputs (`tests/reference/record_beyond.py`) of what is beyond rankings:
//! Elliot v0.3.1 and RecBole (popularity, long tail, bias, exposure, GAUC), KILT, trec_eval's order of
//! ties, SciPy's tests with ties and zeros, scikit-learn, NLTK.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

use serde_json::Value;
use sidereal_core::{Catalog, ItemId, RankedLists, Run, Sequences, Spec};
use sidereal_metrics::evidence::EvidenceSets;
use sidereal_metrics::lists::{Format, Names, join, read_lists, read_truth};
use sidereal_metrics::statistics::{Pairs, PermutationOptions, paired_t, sign_flip_test, wilcoxon};
use sidereal_metrics::text::{Rendering, Smoothing, bleu, exact_match, normalise, token_f1};
use sidereal_metrics::{EvalContext, Metric, Score, Truth, agreement, auc, register};

fn recorded() -> Value {
    serde_json::from_str(include_str!("reference/beyond.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

fn items(value: &Value) -> Vec<ItemId> {
    ids(value).into_iter().map(ItemId).collect()
}

fn near(what: &str, got: f64, expected: f64) {
    let off = (got - expected).abs();
    assert!(off <= 1e-12 * expected.abs().max(1.0), "{what}: {got:e} for {expected:e}");
}

/// `name[option=value]@k` as in a metric's own name.
fn build(name: &str) -> Box<dyn Metric> {
    let mut catalog: Catalog<dyn Metric> = Catalog::new("metric");
    register(&mut catalog).unwrap();
    let (name, k) = name.split_once('@').unwrap();
    let spec = match name.split_once('[') {
        Some((name, option)) => {
            let (key, value) = option.trim_end_matches(']').split_once('=').unwrap();
            Spec::new("metric", name).with(key, value.parse::<f64>().unwrap())
        }
        None => Spec::new("metric", name),
    };
    catalog.build(&spec.with("k", k.parse::<i64>().unwrap()), &()).unwrap()
}

#[test]
fn elliot_and_recbole() {
    let recorded = recorded();
    let n_items = recorded["n_items"].as_u64().unwrap() as usize;
    let mut compared = 0;
    for world in recorded["worlds"].as_array().unwrap() {
        let (mut train, mut histories) = (Sequences::default(), Sequences::default());
        let rows = world["train"].as_array().unwrap();
        rows.iter().for_each(|own| train.push(&items(own)));
        let (mut lists, mut truth) = (RankedLists::new(), Truth::new());
        for (request, own) in world["requests"].as_array().unwrap().iter().zip(rows) {
            lists.push(items(&request["list"]));
            let gains = request["gains"].as_array().unwrap().iter();
            let gain = |g: &Value| (ItemId(ids(g)[0]), ids(g)[1] as f32);
            truth.push_graded(&gains.map(gain).collect::<Vec<_>>()).unwrap();
            histories.push(&items(own));
        }
        let context = EvalContext {
            train: Some(&train),
            histories: Some(&histories),
            ..EvalContext::new(n_items, &[])
        };
        let score =
            |name: &str| -> Score { build(name).evaluate(&lists, &truth, &context).unwrap() };
        let what = |name: &str| format!("{name} of `{}`", world["name"]);
        for (name, values) in world["per_user"].as_object().unwrap() {
            let got = score(name).per_user.unwrap();
            for (got, expected) in got.iter().zip(numbers(values)) {
                near(&what(name), *got, expected);
                compared += 1;
            }
        }
        let whole = world["values"].as_object().unwrap().iter();
        for (name, value) in whole.chain(world["recbole"].as_object().unwrap()) {
            // Nothing was hit, or a group has nothing to find: undefined there.
            let Some(value) = value.as_f64() else { continue };
            near(&what(name), score(name).value, value);
            compared += 1;
        }
    }
    assert!(compared > 2000, "{compared} figures were compared");
}

#[test]
fn kilt() {
    let kilt = &recorded()["kilt"];
    for row in kilt["retrieval"].as_array().unwrap() {
        let sets = EvidenceSets::new(row["sets"].as_array().unwrap().iter().map(ids));
        let guesses = ids(&row["guesses"]);
        near("r-precision", sets.r_precision(&guesses), row["r-precision"].as_f64().unwrap());
        for k in [1, 2, 5] {
            let ours =
                [sets.precision(&guesses, k), sets.recall(&guesses, k), sets.success(&guesses, k)];
            assert_eq!(ours.to_vec(), numbers(&row[format!("@{k}")]), "{row} at {k}");
        }
    }
    for row in kilt["answers"].as_array().unwrap() {
        let of = |key: &str| row[key].as_str().unwrap();
        let (answer, reference) = (of("answer"), of("reference"));
        assert_eq!(normalise(answer), of("normal"));
        assert_eq!(exact_match(answer, reference), row["exact"].as_f64().unwrap(), "{row}");
        near(answer, token_f1(answer, reference), row["f1"].as_f64().unwrap());
    }
}

#[test]
fn ties_of_trec_runs() {
    let trec = &recorded()["trec"];
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, key: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, trec[key].as_str().unwrap()).unwrap();
        path
    };
    let mut names = Names::new();
    let truth = read_truth(&file("a.qrels", "qrels"), Format::Trec, &mut names).unwrap();
    let lists = read_lists(&file("a.run", "run"), Format::Trec, &mut names).unwrap();
    let joined = join(&lists, truth);
    assert_eq!(joined.users, ["q1", "q2", "q3", "q4"]);
    for (name, values) in trec["values"].as_object().unwrap() {
        let context = EvalContext::new(names.len(), &[]);
        let score = build(name).evaluate(&joined.lists, &joined.truth, &context).unwrap();
        for (got, expected) in score.per_user.unwrap().iter().zip(numbers(values)) {
            near(name, *got, expected);
        }
    }
}

#[test]
fn tests_with_ties_and_zeros() {
    for (name, case) in recorded()["scipy"].as_object().unwrap() {
        let pairs = Pairs::of_differences(numbers(&case["differences"])).unwrap();
        let (w, expected) = (wilcoxon(&pairs).unwrap(), numbers(&case["wilcoxon"]));
        near(&format!("signed ranks of {name}"), w.p, expected[1]);
        // SciPy's permutations leave the sum of positive ranks where its own test has the smaller.
        let ranks = pairs.differences().iter().filter(|&&d| d != 0.0).count() as f64;
        let other = ranks * (ranks + 1.0) / 2.0 - expected[0];
        near(&format!("statistic of {name}"), w.statistic, expected[0].min(other));
        if let Some(p) = case["sign-flip"].as_f64() {
            let flips = sign_flip_test(&pairs, &PermutationOptions::default(), &Run::quiet(0));
            near(&format!("sign flips of {name}"), flips.unwrap().p, p);
        }
        if case["t"].is_array() {
            let (t, expected) = (paired_t(&pairs).unwrap(), numbers(&case["t"]));
            near(&format!("t of {name}"), t.statistic, expected[0]);
            near(&format!("t test of {name}"), t.p, expected[1]);
        }
    }
}

#[test]
fn scores_and_judges() {
    let recorded = recorded();
    for row in recorded["scores"].as_array().unwrap() {
        let labels: Vec<bool> = ids(&row["labels"]).iter().map(|&l| l == 1).collect();
        let got = auc(&numbers(&row["scores"]), &labels).unwrap().unwrap();
        near("auc", got, row["auc"].as_f64().unwrap());
    }
    for row in recorded["agreement"]["kappa"].as_array().unwrap() {
        let got = agreement::cohens_kappa(&ids(&row["a"]), &ids(&row["b"])).unwrap().unwrap();
        near("kappa", got, row["kappa"].as_f64().unwrap());
    }
    for row in recorded["agreement"]["tau"].as_array().unwrap() {
        let got = agreement::kendall_tau(&items(&row["a"]), &items(&row["b"]), 100).unwrap();
        near("tau", got, row["tau"].as_f64().unwrap());
    }
}

#[test]
fn bleu_of_corpora() {
    for row in recorded()["bleu"].as_array().unwrap() {
        let texts: Vec<Rendering<'_>> = row["pairs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| Rendering {
                candidate: p[0].as_str().unwrap(),
                reference: p[1].as_str().unwrap(),
            })
            .collect();
        for (key, smoothing) in [("bleu", Smoothing::None), ("smoothed", Smoothing::AddOne)] {
            let got = bleu(texts.iter().copied(), smoothing);
            near(&format!("{key} of {texts:?}"), got, row[key].as_f64().unwrap());
        }
    }
}
