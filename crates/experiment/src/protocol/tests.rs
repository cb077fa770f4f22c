use super::*;
use proptest::prelude::*;
use serde_json::json;

fn usual() -> Protocol {
    Protocol {
        split: Some(SplitUsed { name: "leave-one-out".into(), options: BTreeMap::new() }),
        ranking: Some(Ranking::Full),
        candidates: Some(Candidates::Catalogue),
        seen_items: Some(SeenItems::Kept),
        repeats: Some(Repeats::FirstPlace),
        known: Some(BTreeSet::from([Known::User, Known::History])),
        checkpoint: Some(Checkpoint::Best(Best {
            on: "valid".into(),
            by: "ndcg@10".into(),
            beam: Some(10),
            cases: Some(80),
        })),
        list_length: Some(10),
        few: Some(5),
        metrics: BTreeMap::from([(
            "recall@10".into(),
            json!({"type": "recall", "options": {"k": 10}}),
        )]),
        dataset: Some("00ff".into()),
        users: Some(80),
        items: Some(60),
        interactions: Some(400),
        training_interactions: Some(240),
        valid: Some(Cases { cases: 80, ..Cases::default() }),
        test: Some(Cases { cases: 80, invalid_candidates: 3, ..Cases::default() }),
        seed: Some(3),
        other: BTreeMap::new(),
    }
}

/// As version 0.1 wrote it.
fn old() -> Value {
    json!({
        "split": {"type": "ratio", "valid": 0.1, "test": 0.2, "targets": "all"},
        "ranking": "full",
        "candidates": "every item of the catalogue",
        "seen_items": "removed",
        "repeats": "an item counts at its first place",
        "known_of_target": "nothing: the model sees the history before it",
        "checkpoint": null,
        "list_length": 10, "few": 5, "users": 80, "items": 60, "interactions": 400,
        "training_interactions": 240,
        "valid": null,
        "test": {"cases": 80, "targets_in_history": 2, "invalid_candidates": 0},
        "seed": 0,
    })
}

#[test]
fn old_results_load_and_lose_nothing() {
    let p: Protocol = serde_json::from_value(old()).unwrap();
    let split = p.split.clone().unwrap();
    assert_eq!((split.name.as_str(), &split.options["test"]), ("ratio", &json!(0.2)));
    assert_eq!((p.seen_items, p.users), (Some(SeenItems::Removed), Some(80)));
    assert_eq!((&p.checkpoint, &p.valid, &p.known), (&None, &None, &None));
    assert_eq!(p.test.as_ref().unwrap().targets_in_history, 2);
    let again = serde_json::to_value(&p).unwrap();
    for (key, value) in old().as_object().unwrap().iter().filter(|(_, v)| !v.is_null()) {
        assert_eq!(&again[key], value, "{key}");
    }
    assert_eq!(serde_json::from_value::<Protocol>(json!({})).unwrap(), Protocol::default());
    let last = json!({"checkpoint": "last weights"});
    let last: Protocol = serde_json::from_value(last).unwrap();
    assert_eq!(last.checkpoint, Some(Checkpoint::Rule("last weights".into())));
    let wrong = serde_json::from_value::<Protocol>(json!({"seen_items": "some"})).unwrap_err();
    assert!(wrong.to_string().contains("removed"), "{wrong}");
}

#[test]
fn the_same_protocol_is_comparable() {
    let found = usual().compare(&usual());
    assert_eq!(found, Comparison::default());
    assert_eq!(found.to_string(), "comparable");
}

#[test]
fn each_decisive_field_forbids_a_common_table() {
    type Change = fn(&mut Protocol);
    let changes: [(&str, Change); 12] = [
        ("split.type", |p| p.split.as_mut().unwrap().name = "ratio".into()),
        ("ranking", |p| {
            p.ranking = Some(Ranking::Sampled { negatives: 99, drawn: "uniform".into() });
        }),
        ("candidates", |p| p.candidates = Some(Candidates::Other("items seen in training".into()))),
        ("seen_items", |p| p.seen_items = Some(SeenItems::Removed)),
        ("repeats", |p| p.repeats = Some(Repeats::Other("every place counts".into()))),
        ("known", |p| {
            p.known.as_mut().unwrap().insert(Known::TargetTime);
        }),
        ("dataset", |p| p.dataset = Some("0100".into())),
        ("items", |p| p.items = Some(61)),
        ("training_interactions", |p| p.training_interactions = Some(241)),
        ("test.cases", |p| p.test.as_mut().unwrap().cases = 79),
        ("metrics.recall@10.options.k", |p| {
            p.metrics.insert("recall@10".into(), json!({"type": "recall", "options": {"k": 20}}));
        }),
        ("checkpoint.on", |p| {
            if let Some(Checkpoint::Best(best)) = &mut p.checkpoint {
                best.on = "test".into();
            }
        }),
    ];
    for (key, change) in changes {
        let mut other = usual();
        change(&mut other);
        let found = usual().compare(&other);
        assert!(!found.comparable(), "{key}");
        assert_eq!(found.decisive.len(), 1, "{found}");
        assert_eq!(found.decisive[0].key, key);
        let text = found.to_string();
        assert!(text.starts_with(&format!("not comparable: {key}: ")), "{text}");
    }
}

#[test]
fn what_differs_between_rows_of_a_table_is_allowed() {
    let mut other = usual();
    other.seed = Some(4);
    other.list_length = Some(20);
    other.checkpoint = None;
    other.test.as_mut().unwrap().invalid_candidates = 7;
    other.metrics.insert("mrr@10".into(), json!({"type": "mrr"}));
    let found = usual().compare(&other);
    assert!(found.comparable(), "{found}");
    assert!(found.to_string().contains("seed: 3 and 4"), "{found}");
}

#[test]
fn what_one_side_does_not_record_is_named() {
    let old: Protocol = serde_json::from_value(old()).unwrap();
    let mut new = old.clone();
    new.known = usual().known;
    new.dataset = usual().dataset;
    let found = new.compare(&old);
    assert!(found.comparable());
    assert_eq!(found.unrecorded, ["known", "dataset"]);
    assert_eq!(found.to_string(), "comparable. recorded by one side only: known, dataset");
    // A hint is no small thing: who recorded nothing had none.
    new.known = Some(BTreeSet::from([Known::History, Known::TargetText]));
    let (here, there) = (new.compare(&old), old.compare(&new));
    for (found, side) in [(&here, &here.decisive[0].first), (&there, &there.decisive[0].second)] {
        assert_eq!(
            (found.decisive.len(), &found.unrecorded[..]),
            (1, &["dataset".to_string()][..])
        );
        assert_eq!(side, r#"["history","target-text"]"#);
    }
}

proptest! {
    #[test]
    fn protocols_survive_json(
        seed in proptest::option::of(any::<u64>()),
        negatives in any::<u64>(),
        words in "[a-z ]{0,12}",
        sampled in any::<bool>(),
        known in proptest::collection::btree_set(0usize..5, 0..5),
        share in 0u32..1000,
    ) {
        let all =
            [Known::User, Known::History, Known::HistoryTimes, Known::TargetTime, Known::TargetText];
        let mut p = usual();
        p.seed = seed;
        p.ranking = Some(match sampled {
            true => Ranking::Sampled { negatives, drawn: words.clone() },
            false => Ranking::Full,
        });
        p.candidates = Some(Candidates::Other(format!("x {words}")));
        p.known = Some(known.iter().map(|&k| all[k]).collect());
        p.split.as_mut().unwrap().options.insert("test".into(), json!(f64::from(share) / 1000.0));
        p.other.insert("fold".into(), json!(words));
        let text = serde_json::to_string(&p).unwrap();
        let again: Protocol = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&again, &p);
        prop_assert!(again.compare(&p).decisive.is_empty() && again.compare(&p).minor.is_empty());
    }
}
