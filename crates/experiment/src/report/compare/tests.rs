//! Against numbers worked out by hand.

use super::super::collect::{Collection, collect};
use super::super::protocol::Grounds;
use super::super::synthetic::{Fake, write};
use super::*;
use serde_json::json;

/// Systems named `a`, `b`, .. with the hits of each seed.
fn systems(hits: &[&[&[u8]]]) -> Collection {
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (s, seeds) in hits.iter().enumerate() {
        for (seed, hits) in seeds.iter().enumerate() {
            let name = format!("{}-{seed}", char::from(b'a' + s as u8));
            paths.push(dir.path().join(name));
            let fake = Fake {
                seed: seed as u64,
                width: 20 + s as u64,
                hits: hits.to_vec(),
                ..Fake::default()
            };
            write(&paths[paths.len() - 1], &fake);
        }
    }
    collect(&paths, &Run::quiet(0)).unwrap()
}

fn recall(direction: Option<Direction>) -> Vec<Wanted> {
    vec![Wanted { name: "recall@10".into(), direction }]
}

const UP: Option<Direction> = Some(Direction::HigherIsBetter);

fn table(found: &Collection, metrics: &[Wanted]) -> MetricTable {
    let rules = Rules::default();
    let grounds = Grounds::of(&found.systems);
    compare(&found.systems, &grounds, 0, metrics, &rules, &Run::quiet(0)).unwrap().remove(0)
}

fn repeat(pattern: &[u8], times: usize) -> Vec<u8> {
    pattern.iter().copied().cycle().take(pattern.len() * times).collect()
}

#[test]
fn differences_by_hand() {
    // Nine users; b finds the last three beside all that a finds.
    let found = systems(&[&[&[1, 0, 0, 0, 0, 0, 0, 0, 0]], &[&[1, 0, 0, 0, 0, 0, 1, 1, 1]]]);
    let made = table(&found, &recall(UP));
    let d = made.rows[1].difference.as_ref().unwrap();
    // Differences: six 0 and three 1. Mean 1/3, deviation sqrt((6/9 + 3 * 4/9) / 8) = 1/2.
    assert!((d.value - 1.0 / 3.0).abs() < 1e-12 && (d.relative.unwrap() - 3.0).abs() < 1e-9);
    assert!((d.effect.unwrap() - 2.0 / 3.0).abs() < 1e-12);
    // t = (1/3) / (1/2 / 3) = 2 with 8 degrees of freedom: p = 0.0805162 (tables of t).
    assert!((d.p.unwrap() - 0.080516).abs() < 1e-5, "{:?}", d.p);
    assert_eq!(d.p, d.p_holm);
    // (1.959964 + 0.841621) * 0.5 / 3.
    assert!((d.detectable.unwrap() - 0.466931).abs() < 1e-5, "{:?}", d.detectable);
    assert_eq!(d.users, Some(Users { higher: 3, lower: 0, same: 6 }));
    let interval = d.interval.unwrap();
    assert!(interval.low >= 0.0 && interval.low < d.value && d.value < interval.high);
    assert_eq!((made.rows[0].verdict, made.rows[1].verdict), (Verdict::Base, Verdict::Open));
    assert_eq!(made.winner, None);
}

#[test]
fn means_and_spreads_over_seeds() {
    let found = systems(&[&[&[1, 1, 0, 0], &[1, 0, 0, 0], &[0, 0, 0, 0]]]);
    let made = table(&found, &recall(UP));
    let row = &made.rows[0];
    // Seeds at 0.5, 0.25, 0: mean 0.25, deviation 0.25.
    assert_eq!((row.mean, row.spread), (Some(0.25), Some(0.25)));
    assert_eq!(row.seeds.iter().map(|s| s.value).collect::<Vec<_>>(), [0.5, 0.25, 0.0]);
    assert!(row.difference.is_none() && made.winner.is_none());
}

#[test]
fn a_verdict_needs_users_and_seeds() {
    let (low, high) = (repeat(&[1, 0, 0, 0], 30), repeat(&[1, 1, 0, 0], 30));
    // Users decide: 30 of 120 differ, all in one direction. With two seeds each, of no spread.
    let found = systems(&[&[&low, &low], &[&high, &high]]);
    let made = table(&found, &recall(UP));
    assert_eq!(made.rows[1].verdict, Verdict::Better);
    assert_eq!(made.winner.as_deref(), Some("b"));
    let down = table(&found, &recall(Some(Direction::LowerIsBetter)));
    assert_eq!((down.rows[1].verdict, down.winner.as_deref()), (Verdict::Worse, Some("a")));
    let unknown = table(&found, &recall(None));
    assert_eq!((unknown.rows[1].verdict, unknown.winner), (Verdict::Untested, None));
    // With a single seed of either, of these trained models only.
    for seeds in [systems(&[&[&low], &[&high, &high]]), systems(&[&[&low, &low], &[&high]])] {
        let made = table(&seeds, &recall(UP));
        let d = made.rows[1].difference.as_ref().unwrap();
        assert!(d.p_holm.unwrap() < 1e-6 && d.seeds == Ranges::Unknown);
        assert_eq!((made.rows[1].verdict, made.winner), (Verdict::BetterOnUsers, None));
        let down = table(&seeds, &recall(Some(Direction::LowerIsBetter)));
        assert_eq!((down.rows[1].verdict, down.winner), (Verdict::WorseOnUsers, None));
    }
    // The same users, but a second seed of the base is as good as one of the other: undecided.
    let found = systems(&[&[&low, &high], &[&high, &high]]);
    let made = table(&found, &recall(UP));
    let d = made.rows[1].difference.as_ref().unwrap();
    assert!(d.p_holm.unwrap() < 1e-6 && d.seeds == Ranges::Overlap);
    assert_eq!((made.rows[1].verdict, made.winner), (Verdict::Open, None));
}

#[test]
fn a_winner_beats_everyone() {
    let (low, high) = (repeat(&[1, 0, 0, 0], 30), repeat(&[1, 1, 0, 0], 30));
    let mut close = high.clone();
    close[1] = 0;
    let found = systems(&[&[&low, &low], &[&high, &high], &[&close, &close]]);
    let made = table(&found, &recall(UP));
    let verdicts: Vec<Verdict> = made.rows.iter().map(|r| r.verdict).collect();
    assert_eq!(verdicts, [Verdict::Base, Verdict::Better, Verdict::Better]);
    // One user between the first two: t = 1, no winner.
    assert_eq!(made.winner, None);
    // Holm over two: the larger p stands, the smaller is doubled.
    let p = |s: usize| made.rows[s].difference.as_ref().map(|d| (d.p.unwrap(), d.p_holm.unwrap()));
    let (b, c) = (p(1).unwrap(), p(2).unwrap());
    assert!(b.0 < c.0 && (b.1 - 2.0 * b.0).abs() < 1e-15);
    assert!((c.1 - c.0.max(2.0 * b.0)).abs() < 1e-15);
}

#[test]
fn equal_and_single_users_decide_nothing() {
    let found = systems(&[&[&[1, 0]], &[&[1, 0]]]);
    let made = table(&found, &recall(UP));
    let d = made.rows[1].difference.as_ref().unwrap();
    assert_eq!((d.p, d.value, d.detectable), (Some(1.0), 0.0, Some(0.0)));
    assert_eq!((made.rows[1].verdict, made.winner), (Verdict::Open, None));
    let one = systems(&[&[&[0]], &[&[1]]]);
    let made = table(&one, &recall(UP));
    let d = made.rows[1].difference.as_ref().unwrap();
    assert_eq!((d.value, d.relative, d.p, d.interval), (1.0, None, None, None));
    assert_eq!((made.rows[1].verdict, made.rows[1].interval), (Verdict::Untested, None));
}

#[test]
fn values_that_are_no_mean_and_other_protocols_are_not_tested() {
    let (low, high) = (repeat(&[1, 0, 0, 0], 30), repeat(&[1, 1, 0, 0], 30));
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<_> = ["a", "b"].iter().map(|n| dir.path().join(n)).collect();
    write(&paths[0], &Fake { hits: low.clone(), ..Fake::default() });
    let other = json!({"seen_items": "removed"});
    write(&paths[1], &Fake { hits: high.clone(), width: 50, protocol: other, ..Fake::default() });
    let found = collect(&paths, &Run::quiet(0)).unwrap();
    let made = table(&found, &recall(UP));
    assert_eq!((&made.rows[1].difference, made.rows[1].verdict), (&None, Verdict::Untested));
    assert_eq!(made.winner, None);
    // A metric that is not the mean of its column, as one that weighs users.
    write(&paths[1], &Fake { hits: high, width: 50, ..Fake::default() });
    let file = paths[1].join("metrics.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"recall@10\":0.5", "\"recall@10\":0.6")).unwrap();
    let found = collect(&paths, &Run::quiet(0)).unwrap();
    let made = table(&found, &recall(UP));
    let d = made.rows[1].difference.as_ref().unwrap();
    assert_eq!((d.p, made.rows[1].verdict), (None, Verdict::Untested));
    assert!((d.value - 0.35).abs() < 1e-12);
}

#[test]
fn threads_change_nothing() {
    let found = systems(&[&[&repeat(&[1, 0, 0], 40)], &[&repeat(&[1, 1, 0], 40)]]);
    let rules = Rules::default();
    let with = |threads: usize| {
        let run = Run { threads, ..Run::quiet(0) };
        let grounds = Grounds::of(&found.systems);
        compare(&found.systems, &grounds, 0, &recall(UP), &rules, &run).unwrap()
    };
    assert_eq!(with(1), with(3));
}
