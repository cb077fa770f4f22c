use super::*;
use sidereal_core::{ItemId, Recommender, Request, Spec};

fn request(history: &[ItemId]) -> Request<'_> {
    Request { history, ..Request::default() }
}

#[test]
fn no_list_beats_the_oracle_in_expectation() {
    let options = SyntheticOptions {
        departments: 2,
        categories: 1,
        styles: 3,
        leaf_items: 2,
        max_length: 6,
        users: 20,
        ..SyntheticOptions::default()
    };
    let world = World::new(options).unwrap();
    let oracle = Oracle::new(world.clone());
    for (_, history) in world.interactions().unwrap().iter() {
        for length in 0..=3 {
            let history = &history[..length];
            let p = world.next_distribution(history).unwrap();
            // All lists of three distinct items of twelve.
            let (mut recall, mut ndcg) = (0.0f64, 0.0f64);
            for a in 0..12 {
                for b in (0..12).filter(|&b| b != a) {
                    for c in (0..12).filter(|&c| c != a && c != b) {
                        recall = recall.max(p[a] + p[b] + p[c]);
                        ndcg = ndcg.max(p[a] + p[b] / 3f64.log2() + p[c] / 2.0);
                    }
                }
            }
            let best = oracle.recommend(&[request(history)], 3, &Run::quiet(0)).unwrap();
            let q: Vec<f64> = best[0].items.iter().map(|r| p[r.item.index()]).collect();
            assert!((q.iter().sum::<f64>() - recall).abs() < 1e-12);
            assert!((q[0] + q[1] / 3f64.log2() + q[2] / 2.0 - ndcg).abs() < 1e-12);
        }
    }
}

#[test]
fn the_optimum_is_what_the_oracle_scores() {
    let world = World::new(SyntheticOptions::default()).unwrap();
    let interactions = world.interactions().unwrap();
    let oracle = Oracle::new(world.clone());
    let best = optimum(&world, &interactions, Holdout::Test).unwrap();
    let (mut expected, mut realised) = ([0.0; 4], [0.0; 4]);
    for (_, items) in interactions.iter() {
        let (target, history) = items.split_last().unwrap();
        let list = oracle.recommend(&[request(history)], 20, &Run::quiet(0)).unwrap();
        for (c, k) in optimum::CUT_OFFS.iter().enumerate() {
            let head = &list[0].items[..*k];
            expected[c] += head.iter().map(|r| r.score).sum::<f64>();
            realised[c] += f64::from(head.iter().any(|r| r.item == *target));
        }
    }
    let n = interactions.len() as f64;
    for (c, k) in optimum::CUT_OFFS.iter().enumerate() {
        let b = best[&format!("recall@{k}")];
        assert!((b.expected - expected[c] / n).abs() < 1e-9);
        assert_eq!(b.realised, realised[c] / n);
        assert_eq!(b.cases, interactions.len() as u64);
    }
}

#[test]
fn luck_stays_within_its_error() {
    for number in 0..4 {
        let world =
            World::new(SyntheticOptions { world: number, ..SyntheticOptions::default() }).unwrap();
        let interactions = world.interactions().unwrap();
        for holdout in [Holdout::Test, Holdout::Valid] {
            for (name, b) in optimum(&world, &interactions, holdout).unwrap() {
                assert!(b.standard_error > 0.0 && b.standard_error < 0.01, "{name} {b:?}");
                assert!(
                    (b.realised - b.expected).abs() <= 4.0 * b.standard_error,
                    "world {number} {holdout:?} {name}: {b:?}"
                );
            }
        }
    }
}

#[test]
fn lists_are_cut_ordered_and_without_what_is_excluded() {
    let world = World::new(SyntheticOptions::default()).unwrap();
    let history = world.interactions().unwrap().items(sidereal_core::UserId(0)).to_vec();
    let oracle = Oracle::new(world.clone());
    let run = Run::quiet(0);
    let full = oracle.recommend(&[request(&history)], usize::MAX, &run).unwrap();
    assert_eq!(full[0].items.len(), world.tree().n_items() - history.len());
    let better = |a: &sidereal_core::Recommendation, b: &sidereal_core::Recommendation| {
        a.score > b.score || a.score == b.score && a.item < b.item
    };
    assert!(full[0].items.windows(2).all(|w| better(&w[0], &w[1])));
    let exclude = [full[0].items[0].item, ItemId(u32::MAX)];
    let without = Request { exclude: &exclude, ..request(&history) };
    let next = oracle.recommend(&[without, request(&history)], 2, &run).unwrap();
    assert_eq!(next[0].items[0], full[0].items[1]);
    assert_eq!(next[1].items[..], full[0].items[..2]);
    assert!(oracle.recommend(&[request(&history)], 0, &run).unwrap()[0].items.is_empty());
    run.cancel.cancel();
    assert!(oracle.recommend(&[request(&history)], 2, &run).is_err());
}

#[test]
fn the_source_reports_world_and_optimum() {
    let mut catalog: Catalog<dyn Source> = Catalog::new("data");
    register(&mut catalog).unwrap();
    let spec = Spec::new("data", "synthetic").with("users", 200);
    let load = |seed| catalog.build(&spec, &()).unwrap().load(&Run::quiet(seed)).unwrap();
    let data = load(1);
    assert_eq!(data, load(2), "the seed of a run does not change the data");
    assert_eq!(data.report.users, 200);
    assert_eq!(data.report.items_without_text, 0);
    let extras = &data.report.extras;
    assert_eq!(extras["world"]["users"], 200);
    for key in ["optimum", "optimum_valid"] {
        let expected = extras[key]["recall@10"]["expected"].as_f64().unwrap();
        assert!((0.0..1.0).contains(&expected));
        assert_eq!(extras[key]["ndcg@20"]["cases"], 200);
    }
}

#[test]
fn the_default_world_has_the_promised_shape() {
    let world = World::new(SyntheticOptions::default()).unwrap();
    let interactions = world.interactions().unwrap();
    let best = optimum(&world, &interactions, Holdout::Test).unwrap()["recall@10"].expected;
    assert!((0.35..0.6).contains(&best), "best possible recall@10 {best}");
    let mut counts = vec![0u32; world.tree().n_items()];
    for (_, items) in interactions.iter() {
        items[..items.len() - 2].iter().for_each(|i| counts[i.index()] += 1);
    }
    // Items with few interactions make a good share of the targets, and most are in reach.
    let oracle = Oracle::new(world);
    let (mut few, mut few_found) = (0.0, 0.0);
    for (_, items) in interactions.iter() {
        let (target, history) = items.split_last().unwrap();
        if counts[target.index()] <= 5 {
            let list = oracle.recommend(&[request(history)], 10, &Run::quiet(0)).unwrap();
            few += 1.0;
            few_found += f64::from(list[0].items.iter().any(|r| r.item == *target));
        }
    }
    let share = few / interactions.len() as f64;
    assert!(share >= 0.2, "share of targets with at most 5 interactions: {share}");
    assert!(few_found / few >= 0.25, "found by the oracle: {}", few_found / few);
}

#[test]
fn options_outside_their_range_are_named() {
    let refuse = |o: SyntheticOptions| Synthetic::new(o).unwrap_err().to_string();
    let base = SyntheticOptions::default;
    assert!(refuse(SyntheticOptions { users: 0, ..base() }).contains("data.users"));
    let err = refuse(SyntheticOptions { min_length: 9, max_length: 8, ..base() });
    assert!(err.contains("data.max_length") && err.contains("8: expected 9 to"), "{err}");
    assert!(refuse(SyntheticOptions { styles: 1001, ..base() }).contains("data.styles"));
    assert!(refuse(SyntheticOptions { stay: f64::NAN, ..base() }).contains("data.stay"));
    assert!(refuse(SyntheticOptions { stay: 0.9, step: 0.2, ..base() }).contains("data.step"));
    assert!(refuse(SyntheticOptions { jump: 0.9, ..base() }).contains("data.jump"));
    assert!(refuse(SyntheticOptions { momentum: -0.1, ..base() }).contains("data.momentum"));
    let huge = SyntheticOptions { departments: 1000, categories: 1000, styles: 1000, ..base() };
    assert!(refuse(huge).contains("data.leaf_items"));
    // Shares that sum to 1 in decimals do so here.
    let full = SyntheticOptions { stay: 0.6, step: 0.3, jump: 0.1, ..base() };
    assert!(Synthetic::new(full).is_ok());
}
