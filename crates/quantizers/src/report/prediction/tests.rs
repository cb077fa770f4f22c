//! Worlds whose mutual information is known.

use super::super::prefixes::tests::table;
use super::*;
use rand::Rng;
use sidereal_core::{ItemId, SidTable};

const CLUSTERS: u32 = 8;
const EACH: u32 = 200;

/// Users that step from cluster to cluster: on to the next with probability 0.7, else anywhere;
/// items of a cluster are equally likely.
fn world(users: usize) -> Sequences {
    let mut out = Sequences::default();
    let mut draws = seed::stream(7, "world", 0);
    for _ in 0..users {
        let mut cluster = draws.random_range(0..CLUSTERS);
        let mut history = Vec::new();
        for _ in 0..10 {
            history.push(ItemId(cluster * EACH + draws.random_range(0..EACH)));
            cluster = match draws.random_bool(0.7) {
                true => (cluster + 1) % CLUSTERS,
                false => draws.random_range(0..CLUSTERS),
            };
        }
        out.push(&history);
    }
    out
}

/// `log2 8` less the entropy of a step.
fn information() -> f64 {
    let (on, other) = (0.7 + 0.3 / 8.0, 0.3 / 8.0);
    3.0 + f64::log2(on) * on + 7.0 * other * f64::log2(other)
}

fn ids(of: impl Fn(u32) -> [u32; 2]) -> SidTable {
    let ids: Vec<[u32; 2]> = (0..CLUSTERS * EACH).map(of).collect();
    table(&ids.iter().map(|i| &i[..]).collect::<Vec<_>>())
}

fn report(table: &SidTable, train: &Sequences) -> PredictionReport {
    PredictionReport::of(&Prefixes::of(table), train, &Run::quiet(1)).unwrap().unwrap()
}

#[test]
fn planted_structure_has_its_mutual_information() {
    let train = world(3000);
    let r = report(&ids(|i| [i / EACH, i % EACH]), &train);
    let truth = information();
    assert!((truth - 1.0).abs() < 0.5, "{truth}");
    let off = r.bits - truth;
    assert!(off.abs() < 3.0 * r.standard_error + 0.03, "{r:?} {truth}");
    // All of it is known from the first code of both.
    assert!((r.contexts[1].bits - truth).abs() < 0.1, "{:?}", r.contexts);
    assert!(r.contexts[0].bits.abs() < 0.02);
    assert!((r.levels[0].bits - truth).abs() < 0.1 && r.levels[1].bits.abs() < 0.05);
    assert!((r.popularity_bits - 1600f64.log2()).abs() < 0.05, "{r:?}");
    // The ten best are among the 200 of the next cluster.
    assert!((r.recall - 0.7375 * 10.0 / 200.0).abs() < 0.01, "{r:?}");
    assert!(r.popularity_recall < 0.012, "{r:?}");
    // Dealt at random the same IDs are worth next to nothing: some single items are memorised.
    assert!(r.shuffled_bits.abs() < 0.06 && (r.structure_bits - truth).abs() < 0.1, "{r:?}");
    assert_eq!((r.fitted + r.held_out, r.ranked), (27_000, 4000));
}

#[test]
fn ids_that_know_nothing_save_nothing() {
    let train = world(3000);
    let random = ids(|i| {
        let h = seed::mix(u64::from(i)) as u32;
        [h % CLUSTERS, i]
    });
    let r = report(&random, &train);
    assert!(r.bits.abs() < 0.05 && r.structure_bits.abs() < 0.03, "{r:?}");
    // Half of the structure: clusters in pairs.
    let half = report(&ids(|i| [i / EACH / 2, i % (2 * EACH)]), &train);
    assert!(half.structure_bits > 0.2 && half.structure_bits < information() - 0.2, "{half:?}");
}

#[test]
fn names_of_codes_and_digits_that_split_nothing_do_not_matter() {
    let train = world(400);
    let plain = report(&ids(|i| [i / EACH, i % EACH]), &train);
    let padded: Vec<[u32; 3]> =
        (0..CLUSTERS * EACH).map(|i| [3 + 2 * (i / EACH), 5, i % EACH]).collect();
    let padded = report(&table(&padded.iter().map(|i| &i[..]).collect::<Vec<_>>()), &train);
    assert_eq!((plain.bits, plain.recall), (padded.bits, padded.recall));
    assert_eq!(padded.levels.iter().map(|l| l.length).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn threads_change_no_bit() {
    let train = world(300);
    let t = ids(|i| [i / 100, i % 100]);
    let with =
        |threads| sidereal_nn::parallel::pool(threads).unwrap().install(|| report(&t, &train));
    assert_eq!(with(1), with(4));
}

#[test]
fn little_data() {
    let t = table(&[&[0, 0], &[0, 1]]);
    let p = Prefixes::of(&t);
    let of = |train: &Sequences| PredictionReport::of(&p, train, &Run::quiet(0)).unwrap();
    assert_eq!(of(&Sequences::default()), None);
    let mut train = Sequences::default();
    for _ in 0..40 {
        train.push(&[ItemId(0), ItemId(1)]);
    }
    let r = of(&train).unwrap();
    assert_eq!((r.recall, r.popularity_recall), (1.0, 1.0));
    assert!(r.bits.is_finite() && r.standard_error.is_finite());
    // One ID for everything: nothing can be said, and nothing is.
    let one = Prefixes::of(&table(&[&[0], &[0]]));
    let r = PredictionReport::of(&one, &train, &Run::quiet(0)).unwrap().unwrap();
    assert!(r.contexts.len() == 1 && r.levels.is_empty() && r.bits <= 0.0, "{r:?}");
    let stranger = Sequences::new(vec![0, 1], vec![ItemId(9)], None).unwrap();
    assert!(PredictionReport::of(&p, &stranger, &Run::quiet(0)).is_err());
}
