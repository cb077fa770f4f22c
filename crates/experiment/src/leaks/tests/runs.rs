//! Leaks in what stages read, and whole runs of leaky components.

use super::*;
use crate::leaks::counterfactual::{Made, counterfactual, of_plan, other_targets};
use crate::leaks::provenance::{PROVENANCE, of_folder};
use crate::stages::{embeddings, sids, training};
use crate::{Cache, Config, Existing, Plan, Registry, RunOptions};
use sidereal_core::{Cancel, Entry, Run, options};
use std::path::Path;

const TINY: &str = r#"
[data]
type = "synthetic"
users = 80
departments = 2
categories = 2
styles = 3
leaf_items = 5
[encoder]
type = "svd"
dim = 4
[quantizer]
type = "rq-kmeans"
levels = [4, 4]
[backbone]
type = "causal"
d_model = 8
d_ff = 8
layers = 1
heads = 1
d_kv = 8
[train]
max_steps = 3
[evaluate]
metrics = ["recall@10"]
"#;

options! {
    /// Options of a split that leaks.
    struct LeakyOptions {
        /// What is wrong with it.
        kind: String = "training".to_string(),
    }
}

/// Leave-one-out with something wrong.
struct Leaky(LeakyOptions);

impl Splitter for Leaky {
    fn split(&self, data: &Dataset) -> Result<Splits> {
        let mut splits = splitter("leave-one-out").built.split(data)?;
        match self.0.kind.as_str() {
            "training" => splits.train = data.interactions.clone(),
            "history" => {
                let set = splits.test.clone();
                splits.test = with_histories(&set, |c| [set.history(c), set.target(c)].concat());
            }
            "choice" => splits.valid = splits.test.clone(),
            // Nothing that can be counted: users train only where the test target is even.
            "selection" => {
                let mut train = Sequences::default();
                for (user, items) in splits.train.iter() {
                    let last = data.interactions.items(user).last().map_or(0, |i| i.0);
                    train.push(if last % 2 == 0 { items } else { &[] });
                }
                splits.train = train;
            }
            _ => {}
        }
        Ok(splits)
    }
}

fn registry() -> Registry {
    let mut registry = Registry::builtin().unwrap();
    let leaky = |o: LeakyOptions, _: &()| Ok(Box::new(Leaky(o)) as Box<dyn Splitter>);
    registry.splits.add(Entry::new("leaky", "here", "Leaks.", leaky)).unwrap();
    registry
}

fn plan(registry: &Registry, changes: &[&str]) -> Plan {
    let mut config = Config::parse(TINY, "tiny.toml").unwrap();
    changes.iter().for_each(|c| config.set(c).unwrap());
    Plan::resolve(registry, &config).unwrap()
}

/// Work with the tiny plan in a folder of its own.
fn within<T>(changes: &[&str], work: impl FnOnce(&Context<'_>, Data, &Path) -> T) -> T {
    let (registry, dir) = (registry(), tempfile::tempdir().unwrap());
    let plan = plan(&registry, changes);
    let cache = Cache::new(dir.path().join("cache"));
    let cx = Context { registry: &registry, plan: &plan, cache: &cache, run: Run::quiet(0) };
    let data = crate::stages::data::data(&cx).unwrap();
    work(&cx, data, dir.path())
}

/// The data with all interactions for training, as a stage with a fault would hand them on.
fn whole(data: &Data) -> Data {
    Data {
        train: Arc::new(data.dataset.interactions.clone()),
        popularity: data.dataset.interactions.popularity(data.dataset.items.len()),
        dataset: data.dataset.clone(),
        splits: data.splits.clone(),
        files: Vec::new(),
        identity: serde_json::json!("whole"),
        reused: false,
    }
}

/// Leaks 5, 6, 7 and 11: stages that are given the whole data, the test to choose by, or vectors of
/// other data. Twin: the same stages with what is theirs.
#[test]
fn stages_record_what_they_read() {
    within(&[], |cx, data, dir| {
        let expected = Expected::of(&data);
        let generative = cx.plan.model.as_ref().unwrap().generative.as_ref().unwrap();
        let judge = |p: &Provenance| expected.judge(p);
        let encoded = |data: &Data| embeddings::embeddings(cx, &generative.encoder, data).unwrap();
        let own = judge(&encoded(&data).provenance().unwrap());
        assert_eq!((own.verdict, own.check.as_str()), (Verdict::Clean, "read-by-embeddings"));
        let leaky = whole(&data);
        let found = judge(&encoded(&leaky).provenance().unwrap());
        assert_eq!(found.verdict, Verdict::Leak);
        assert!(
            found.text.contains("validation and test included instead of the training"),
            "{found}"
        );

        // A key that forgets the data takes the vectors of other data from the cache.
        let mut other = other_targets(&data.dataset, &data.splits, 1).unwrap();
        other.items = ItemTable::new(other.items.ids().iter().map(|i| format!("x{i}")).collect());
        let other = Data::of(other, &cx.plan.split, data.identity.clone()).unwrap();
        let stale = encoded(&other);
        assert!(stale.reused());
        let found = Expected::of(&other).judge(&stale.provenance().unwrap());
        assert_eq!(found.verdict, Verdict::Leak);
        assert!(found.text.contains("other data (60 items) instead of the catalogue"), "{found}");

        // Vectors of the training part, popularity of the whole data.
        let mut counted = whole(&data);
        counted.train = data.train.clone();
        let vectors = sids::Vectors::encode(cx, generative, &data).unwrap();
        let made = sids::sids(cx, generative, &counted, vectors.as_ref()).unwrap();
        let found = judge(&made.provenance().unwrap());
        assert_eq!(found.verdict, Verdict::Leak);
        assert!(found.text.contains("instead of the training counts"), "{found}");
        let own = sids::sids(cx, generative, &data, vectors.as_ref()).unwrap();
        assert_eq!(judge(&own.provenance().unwrap()).verdict, Verdict::Clean);

        // The checkpoint by the test cases.
        let mut chosen = whole(&data);
        chosen.train = data.train.clone();
        chosen.splits.valid = data.splits.test.clone();
        let model = cx.plan.model.as_ref().unwrap();
        let train = |data: &Data, name: &str| {
            let table = Some(own.table.clone());
            let made = training::training(cx, model, data, table, &dir.join(name)).unwrap();
            judge(&made.provenance().unwrap())
        };
        let found = train(&chosen, "a");
        assert_eq!(found.verdict, Verdict::Leak);
        assert!(found.text.contains("read the test cases instead of the validation"), "{found}");
        let found = train(&data, "b");
        assert_eq!((found.verdict, found.check.as_str()), (Verdict::Clean, "read-by-training"));
        assert_eq!(judge(&Provenance::new("old")).verdict, Verdict::Unknown);
    });
}

/// With other targets nothing upstream changes, whatever encodes.
#[test]
fn counterfactual_of_the_pipeline() {
    for changes in [
        &[][..],
        &["encoder={type=\"lsa\", dim=4}"],
        &["encoder={type=\"item2vec\", dim=4}", "train.max_steps=1"],
    ] {
        within(changes, |cx, data, dir| {
            let findings = of_plan(cx, &data, &dir.join("work")).unwrap();
            assert_eq!(findings.len(), 7, "{findings:?}");
            assert!(findings.iter().all(|f| f.verdict == Verdict::Clean), "{findings:?}");
        });
    }
}

/// And whatever depends on them changes, also where nothing can be counted.
#[test]
fn counterfactual_of_what_leaks() {
    let split = "data.split={type=\"leaky\", kind=\"selection\"}";
    within(&[split], |cx, data, _| {
        let findings = counterfactual(cx, &data, |_| Ok(Made::new())).unwrap();
        let found = found(findings, "targets-change-training-histories");
        assert_eq!(found.verdict, Verdict::Leak);
    });
    // Numbers in order of first appearance, as in P5: in all interactions, and in training.
    let numbered = |of: &Sequences| {
        let mut order: Vec<u32> = Vec::new();
        of.all_items().iter().for_each(|i| {
            if !order.contains(&i.0) {
                order.push(i.0);
            }
        });
        Content::of_counts(&order).sum
    };
    within(&[], |cx, data, _| {
        let of = |work: &dyn Fn(&Data) -> String| {
            let made = |d: &Data| Ok(Made::from([("ids".to_string(), work(d))]));
            found(counterfactual(cx, &data, made).unwrap(), "targets-change-ids").verdict
        };
        assert_eq!(of(&|d| numbered(&d.dataset.interactions)), Verdict::Leak);
        assert_eq!(of(&|d| numbered(&d.train)), Verdict::Clean);
    });
}

#[test]
fn only_targets_are_replaced() {
    let data = usual();
    let other = other_targets(&data.dataset, &data.splits, 0).unwrap();
    let (a, b) = (&data.dataset.interactions, &other.interactions);
    for (user, items) in a.iter() {
        let changed = b.items(user);
        assert_eq!(items[..7], changed[..7]);
        assert!(!items.contains(&changed[7]), "user {}", user.0);
    }
    assert_eq!(a.all_times(), b.all_times());
    // An item that the history has already stays there.
    let mut again = histories();
    again.iter_mut().for_each(|h| h[7] = h[0]);
    let data = data_of(dataset(&again), "leave-one-out");
    let other = other_targets(&data.dataset, &data.splits, 0).unwrap();
    assert!(other.interactions.iter().all(|(u, i)| i[0] == again[u.index()][0] && i[7] != i[0]));
}

/// A whole run of a leaky component: it ends by default, and goes on when told to.
#[test]
fn runs_end_on_a_leak() {
    let (registry, dir) = (registry(), tempfile::tempdir().unwrap());
    let run = |name: &str, changes: &[&str]| {
        let options = RunOptions {
            out: dir.path().join(name),
            existing: Existing::Refuse,
            cache: dir.path().join("cache"),
        };
        crate::run(&registry, &plan(&registry, changes), &options, Vec::new(), Cancel::default())
    };
    for (kind, check) in [
        ("training", "held-out-in-training"),
        ("history", "target-in-history"),
        ("choice", "valid-is-test"),
    ] {
        let split = format!("data.split={{type=\"leaky\", kind=\"{kind}\"}}");
        let error = run(kind, &[&split]).unwrap_err().to_string();
        assert!(error.contains(check) && error.contains("leak_check = \"warn\""), "{error}");
        assert!(!dir.path().join(kind).join("metrics.json").exists());
    }
    let split = "data.split={type=\"leaky\", kind=\"choice\"}";
    let outcome = run("warn", &[split, "evaluate.leak_check=warn"]).unwrap();
    let check = outcome.results.leak_check.unwrap();
    assert_eq!((check.policy, check.worst()), (LeakPolicy::Warn, Some(Verdict::Leak)));
    assert!(check.to_string().contains("LEAK: valid-is-test"), "{check}");
    let outcome = run("off", &[split, "evaluate.leak_check=off"]).unwrap();
    assert_eq!(outcome.results.leak_check.unwrap().to_string(), "leak check: off");

    let outcome = run("clean", &["data.split={type=\"leaky\", kind=\"none\"}"]).unwrap();
    let check = outcome.results.leak_check.clone().unwrap();
    assert!(check.with(Verdict::Leak).next().is_none(), "{check}");
    let stages: Vec<_> =
        check.findings.iter().filter(|f| f.check.starts_with("read-by-")).collect();
    assert_eq!(stages.len(), 3);
    assert!(stages.iter().all(|f| f.verdict == Verdict::Clean), "{stages:?}");
    let folder = dir.path().join("clean");
    let records = of_folder(&folder).unwrap();
    assert_eq!(
        records.iter().map(|p| p.stage.as_str()).collect::<Vec<_>>(),
        ["embeddings", "sids", "training"]
    );
    let written: crate::Results =
        sidereal_core::files::read_json(&folder.join("metrics.json")).unwrap();
    assert_eq!(written, outcome.results);
    assert!(folder.join(PROVENANCE).is_file());
}

#[test]
fn one_line_says_it() {
    let f = |check: &str, verdict| Finding::new(check, verdict, "why");
    let findings = vec![f("a", Verdict::Clean), f("b", Verdict::Clean)];
    let mut check = LeakCheck { policy: LeakPolicy::Error, findings };
    assert_eq!(check.to_string(), "leak check: clean (2 checks)");
    check.findings.push(f("c", Verdict::Unknown));
    assert_eq!(check.to_string(), "leak check: clean (3 checks, not told: c)");
    check.findings.push(f("d", Verdict::Suspicious));
    check.findings.push(f("e", Verdict::Leak));
    assert_eq!(check.to_string(), "leak check: LEAK: e; suspicious: d (5 checks, not told: c)");
    let tree = serde_json::to_value(&check).unwrap();
    assert_eq!(tree["findings"][4]["verdict"], "leak");
    assert_eq!(serde_json::from_value::<LeakCheck>(tree).unwrap(), check);
}
