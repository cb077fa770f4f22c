//! Tests of pairs against exhaustive search, and intervals against what they promise.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

use proptest::prelude::*;
use rand::Rng;
use sidereal_core::{Run, seed};
use sidereal_metrics::statistics::*;

fn pairs(differences: &[f64]) -> Pairs {
    Pairs::of_differences(differences.to_vec()).unwrap()
}

/// All assignments of signs to the differences that are not 0.
fn all_signs(differences: &[f64], statistic: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let sizes: Vec<f64> = differences.iter().copied().filter(|&d| d != 0.0).collect();
    let signed = |set: u32| {
        let sign = |(i, d): (usize, &f64)| if set >> i & 1 == 1 { -d } else { *d };
        statistic(&sizes.iter().enumerate().map(sign).collect::<Vec<_>>())
    };
    (0..1u32 << sizes.len()).map(signed).collect()
}

/// The sum of mean ranks of positive differences.
fn positive_ranks(differences: &[f64]) -> f64 {
    let rank = |d: &f64| {
        let below = differences.iter().filter(|x| x.abs() < d.abs()).count() as f64;
        let equal = differences.iter().filter(|x| x.abs() == d.abs()).count() as f64;
        below + (equal + 1.0) / 2.0
    };
    differences.iter().filter(|&&d| d > 0.0).map(rank).sum()
}

proptest! {
    #[test]
    fn exact_tests_by_exhaustion(whole in proptest::collection::vec(-4i32..5, 1..11)) {
        let d: Vec<f64> = whole.iter().map(|&x| f64::from(x) / 4.0).collect();
        let pairs = pairs(&d);
        let nonzero: Vec<f64> = d.iter().copied().filter(|&x| x != 0.0).collect();
        let n = nonzero.len() as f64;
        let all = all_signs(&d, positive_ranks);
        let seen = positive_ranks(&nonzero);
        let smaller = seen.min(n * (n + 1.0) / 2.0 - seen);
        let w = wilcoxon(&pairs).unwrap();
        prop_assert_eq!(w.statistic, smaller);
        let below = all.iter().filter(|&&w| w <= smaller).count() as f64;
        let expected = if n == 0.0 { 1.0 } else { (2.0 * below / all.len() as f64).min(1.0) };
        prop_assert!((w.p - expected).abs() < 1e-12, "{} for {}", w.p, expected);

        let sums = all_signs(&d, |d| d.iter().sum::<f64>().abs());
        let seen = d.iter().sum::<f64>().abs();
        let expected = sums.iter().filter(|&&s| s >= seen).count() as f64 / sums.len() as f64;
        let run = Run::quiet(0);
        let p = sign_flip_test(&pairs, &PermutationOptions::default(), &run).unwrap().p;
        prop_assert!((p - expected).abs() < 1e-12);

        let above = nonzero.iter().filter(|&&d| d > 0.0).count() as f64;
        let fewer = above.min(n - above);
        let counts = all_signs(&d, |d| d.iter().filter(|&&x| x > 0.0).count() as f64);
        let tail = counts.iter().filter(|&&c| c <= fewer).count() as f64 / counts.len() as f64;
        let sign = sign_test(&pairs).unwrap();
        prop_assert_eq!(sign.statistic, above);
        prop_assert!((sign.p - (2.0 * tail).min(1.0)).abs() < 1e-12);
        let expected = if n == 0.0 { 0.0 } else { 4.0 * positive_ranks(&nonzero) / (n * (n + 1.0)) - 1.0 };
        prop_assert!((rank_biserial(&pairs) - expected).abs() < 1e-12);
    }

    #[test]
    fn holm_against_its_definition(p in proptest::collection::vec(0.0f64..1.0, 0..8), alpha in 0.001f64..0.5) {
        let adjusted = holm(&p).unwrap();
        // Step down: reject the smallest while p <= alpha / (those left).
        let mut order: Vec<usize> = (0..p.len()).collect();
        order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
        let mut rejecting = true;
        for (i, &at) in order.iter().enumerate() {
            rejecting &= p[at] * (p.len() - i) as f64 <= alpha;
            prop_assert_eq!(adjusted[at] <= alpha, rejecting);
        }
    }
}

fn normals(seed: u64, n: usize) -> Vec<f64> {
    let mut stream = seed::stream(seed, "test-normals", 0);
    (0..n).map(|_| special::normal_quantile(stream.random_range(1e-9..1.0))).collect()
}

#[test]
fn drawn_permutations_come_near_the_t_test() {
    let d: Vec<f64> = normals(3, 200).iter().map(|x| x + 0.13).collect();
    let run = Run::quiet(4);
    let drawn = sign_flip_test(&pairs(&d), &PermutationOptions { permutations: 20_000 }, &run);
    let (drawn, t) = (drawn.unwrap().p, paired_t(&pairs(&d)).unwrap().p);
    assert!((drawn - t).abs() < 0.01, "{drawn} {t}");
}

#[test]
fn threads_change_no_draw() {
    let d = normals(5, 333);
    let run = |threads| Run { threads, ..Run::quiet(9) };
    let options = BootstrapOptions { draws: 999, ..Default::default() };
    let one = bootstrap(&pairs(&d), &options, &run(1)).unwrap();
    assert_eq!(one, bootstrap(&pairs(&d), &options, &run(3)).unwrap());
    let flips = PermutationOptions { permutations: 501 };
    let one = sign_flip_test(&pairs(&d), &flips, &run(1)).unwrap();
    assert_eq!(one, sign_flip_test(&pairs(&d), &flips, &run(5)).unwrap());
    let stopped = run(2);
    stopped.cancel.cancel();
    assert!(bootstrap(&pairs(&d), &options, &stopped).is_err());
}

#[test]
fn bootstrap_intervals_cover_and_agree() {
    // Symmetric data: both kinds come near the interval of the t test.
    let d = normals(8, 400);
    let t = mean_interval(&pairs(&d), 0.95).unwrap();
    for kind in [IntervalKind::Percentile, IntervalKind::Bca] {
        let options = BootstrapOptions { draws: 4000, kind, ..Default::default() };
        let interval = bootstrap(&pairs(&d), &options, &Run::quiet(1)).unwrap();
        assert!((interval.low - t.low).abs() < 0.015 && (interval.high - t.high).abs() < 0.015);
    }
    // Skewed data: BCa moves to the long side.
    let d: Vec<f64> = normals(9, 60).iter().map(|x| (1.5 * x).exp()).collect();
    let of = |kind| {
        let options = BootstrapOptions { draws: 4000, kind, ..Default::default() };
        bootstrap(&pairs(&d), &options, &Run::quiet(2)).unwrap()
    };
    let (plain, moved) = (of(IntervalKind::Percentile), of(IntervalKind::Bca));
    assert!(moved.low > plain.low && moved.high > plain.high, "{plain:?} {moved:?}");
    // Coverage of the mean 0 over many data sets.
    let options = BootstrapOptions { draws: 400, level: 0.8, ..Default::default() };
    let covered = (0..300u64).filter(|&s| {
        let interval = bootstrap(&pairs(&normals(1000 + s, 40)), &options, &Run::quiet(s)).unwrap();
        interval.low <= 0.0 && 0.0 <= interval.high
    });
    let share = covered.count() as f64 / 300.0;
    assert!((0.72..0.87).contains(&share), "{share}");
}

#[test]
fn degenerate_pairs() {
    assert!(Pairs::new(&[1.0], &[]).is_err());
    assert!(Pairs::new(&[], &[]).is_err());
    assert!(Pairs::new(&[f64::NAN], &[0.0]).is_err());
    let zeros = pairs(&[0.0; 4]);
    assert_eq!(paired_t(&zeros).unwrap(), Test { statistic: 0.0, p: 1.0 });
    assert_eq!(wilcoxon(&zeros).unwrap().p, 1.0);
    assert_eq!(sign_test(&zeros).unwrap().p, 1.0);
    let flips = PermutationOptions::default();
    assert_eq!(sign_flip_test(&zeros, &flips, &Run::quiet(0)).unwrap().p, 1.0);
    assert_eq!((cohens_dz(&zeros), rank_biserial(&zeros)), (0.0, 0.0));
    let equal = pairs(&[0.1; 5]);
    assert_eq!(paired_t(&equal).unwrap().p, 0.0);
    assert_eq!(cohens_dz(&equal), f64::INFINITY);
    assert_eq!(rank_biserial(&equal), 1.0);
    let point = bootstrap(&equal, &BootstrapOptions::default(), &Run::quiet(0)).unwrap();
    assert_eq!(point, Interval { low: 0.1, high: 0.1 });
    assert!(paired_t(&pairs(&[1.0])).is_err());
    assert_eq!(sign_flip_test(&equal, &flips, &Run::quiet(0)).unwrap().p, 2.0 / 32.0);
}

#[test]
fn refused_options_name_their_key() {
    let d = pairs(&[1.0, 2.0, -1.0]);
    let run = Run::quiet(0);
    let level = BootstrapOptions { level: 1.0, ..Default::default() };
    assert!(bootstrap(&d, &level, &run).unwrap_err().to_string().contains("level"));
    let draws = BootstrapOptions { draws: 1, ..Default::default() };
    assert!(bootstrap(&d, &draws, &run).unwrap_err().to_string().contains("draws"));
    let none = PermutationOptions { permutations: 0 };
    assert!(sign_flip_test(&d, &none, &run).unwrap_err().to_string().contains("permutations"));
    assert!(holm(&[0.5, 1.5]).unwrap_err().to_string().contains("p-value 1"));
    assert!(mean_interval(&d, 0.0).is_err());
    assert!(detectable(&Design { alpha: 0.0, ..Design::usual(1.0) }, 5).is_err());
    assert!(detectable(&Design::usual(f64::NAN), 5).is_err());
    assert!(detectable(&Design::usual(1.0), 0).is_err());
    assert!(requests_needed(&Design::usual(1.0), 0.0).is_err());
    assert!(power(&Design::usual(1.0), 0.1, 0).is_err());
}

#[test]
fn what_a_data_set_can_show() {
    let design = Design::usual(0.3);
    // (1.959964 + 0.841621)^2 = 7.848880 squared deviations over squared difference.
    let needed = requests_needed(&design, 0.01).unwrap();
    assert_eq!(needed, (7.848879734f64 * 900.0).ceil() as u64);
    let smallest = detectable(&design, needed as usize).unwrap();
    assert!(smallest <= 0.01 && smallest > 0.00999);
    let reached = power(&design, 0.01, needed as usize).unwrap();
    assert!((reached - 0.8).abs() < 1e-3, "{reached}");
    assert!((power(&design, 0.0, 50).unwrap() - 0.05).abs() < 1e-12);
    assert_eq!(requests_needed(&Design::usual(0.0), 0.1).unwrap(), 1);
    assert_eq!(power(&Design::usual(0.0), 0.1, 3).unwrap(), 1.0);
}

#[test]
fn detectable_differences_are_found_as_often_as_promised() {
    // Differences of hits, as two recommenders have them: -1, 0 and 1, nine in a hundred not 0.
    let (requests, trials, moved) = (2000usize, 2000u64, 0.09f64);
    let design = Design::usual(moved.sqrt());
    let smallest = detectable(&design, requests).unwrap();
    let found = |difference: f64, power: f64| {
        let (gain, loss) = ((moved + difference) / 2.0, (moved - difference) / 2.0);
        let significant = (0..trials).filter(|&trial| {
            let mut stream = seed::stream(17, "test-power", trial);
            let draw = |u: f64| if u < gain { 1.0 } else { -f64::from(u8::from(u > 1.0 - loss)) };
            let d: Vec<f64> = (0..requests).map(|_| draw(stream.random_range(0.0..1.0))).collect();
            paired_t(&pairs(&d)).unwrap().p <= 0.05
        });
        let share = significant.count() as f64 / trials as f64;
        // Three standard errors.
        assert!((share - power).abs() < 0.03, "{share} for {power} at {difference}");
    };
    found(smallest, 0.8);
    found(0.0, 0.05);
    found(smallest / 2.0, power(&design, smallest / 2.0, requests).unwrap());
}

#[test]
fn one_pair() {
    let one = pairs(&[0.25]);
    assert_eq!(wilcoxon(&one).unwrap(), Test { statistic: 0.0, p: 1.0 });
    assert_eq!(sign_test(&one).unwrap().p, 1.0);
    let flips = PermutationOptions::default();
    assert_eq!(sign_flip_test(&one, &flips, &Run::quiet(0)).unwrap().p, 1.0);
    let message = paired_t(&one).unwrap_err().to_string();
    assert!(message.contains("two pairs"), "{message}");
    assert!(mean_interval(&one, 0.95).is_err());
    let point = bootstrap(&one, &BootstrapOptions::default(), &Run::quiet(0)).unwrap();
    assert_eq!(point, Interval { low: 0.25, high: 0.25 });
}

#[test]
fn holm_by_hand() {
    assert_eq!(holm(&[0.01, 0.04, 0.03, 0.005]).unwrap(), [0.03, 0.06, 0.06, 0.02]);
    assert_eq!(holm(&[0.9, 0.8]).unwrap(), [1.0, 1.0]);
    assert!(holm(&[]).unwrap().is_empty());
}
