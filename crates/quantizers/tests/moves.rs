//! Identifiers that move items to other codes: `second-best` and `sinkhorn`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use proptest::prelude::*;
use rand::Rng;
use serde_json::json;
use sidereal_core::{
    Catalog, Codebook, Codes, Matrix, MatrixRef, Quantized, Quantizer, QuantizerInput, Result, Run,
    Spec, seed,
};
use sidereal_quantizers::{
    Keep, Popularity, Pq, PqOptions, ResidualCodebook, ResidualScale, RqVae, RqVaeOptions,
    SecondBest, SecondBestOptions, Sinkhorn, SinkhornOptions, register,
};
use std::collections::BTreeSet;
use std::time::Instant;

fn matrix(rows: usize, cols: usize, data: &[f32]) -> Matrix {
    Matrix::new(rows, cols, data.to_vec()).unwrap()
}

fn random(rows: usize, cols: usize, index: u64) -> Matrix {
    let mut rng = seed::stream(7, "moves-test", index);
    let data = (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect();
    Matrix::new(rows, cols, data).unwrap()
}

fn book(widths: &[usize], dim: usize, scale: ResidualScale) -> ResidualCodebook {
    let level = |(l, &w): (usize, &usize)| random(w, dim, 100 + l as u64);
    ResidualCodebook::new(widths.iter().enumerate().map(level).collect(), scale).unwrap()
}

fn codes_of(book: &dyn Codebook, x: &Matrix) -> Codes {
    book.quantize(&QuantizerInput::vectors(x.view())).unwrap()
}

fn separate(book: &dyn Codebook, x: &Matrix, keep: Keep, popularity: &[u32]) -> Result<Codes> {
    let codes = codes_of(book, x);
    let from = Quantized { codes: &codes, codebook: book, vectors: x.view() };
    SecondBest::new(SecondBestOptions { keep }).separate(&from, popularity, &Run::quiet(1))
}

fn distinct(codes: &Codes) -> usize {
    (0..codes.rows()).map(|i| codes.row(i)).collect::<BTreeSet<_>>().len()
}

/// The nearest code of each level, by the distances, is the code that `quantize` gives; and a
/// distance is what it says where codes carry vectors.
fn check_distances(book: &dyn Codebook, x: &Matrix) {
    let codes = codes_of(book, x);
    for level in 0..book.widths().len() {
        let d = book.distances(x.view(), &codes, level).unwrap().unwrap();
        assert_eq!((d.rows(), d.cols()), (x.rows(), book.widths()[level] as usize));
        for i in 0..x.rows() {
            let low = d.row(i).iter().copied().fold(f32::INFINITY, f32::min);
            let own = d.row(i)[codes.row(i)[level] as usize];
            assert!(own - low <= 1e-4 * (1.0 + low), "level {level}, row {i}: {own} {low}");
        }
    }
}

#[test]
fn distances_agree_with_the_codes() {
    let x = random(1200, 8, 1);
    let run = Run::quiet(3);
    let input = QuantizerInput::vectors(x.view());
    for scale in [ResidualScale::Raw, ResidualScale::Normalized] {
        check_distances(&book(&[16, 5, 9], 8, scale), &x);
    }
    let pq = PqOptions { levels: vec![8, 6, 4], ..Default::default() };
    check_distances(&Pq::new(pq).unwrap().fit_pq(&input, &run).unwrap(), &x);
    let rq_vae = RqVaeOptions { levels: vec![8, 4], epochs: 1, ..Default::default() };
    check_distances(RqVae::new(rq_vae).unwrap().fit(&input, &run).unwrap().as_ref(), &x);
    let mut all: Catalog<dyn Quantizer> = Catalog::new("quantizer");
    register(&mut all).unwrap();
    let two = |levels: [u32; 2]| json!({"type": "rq-kmeans", "levels": levels});
    let spec = |name: &str| Spec::new("quantizer", name);
    for spec in [
        spec("opq").with("levels", json!([8, 6, 4])),
        spec("grouped").with("parts", json!([two([5, 4]), two([6, 3])])),
        spec("residual").with("levels", json!([two([5, 4]), two([6, 3])])),
    ] {
        let book = all.build(&spec, &()).unwrap().fit(&input, &run).unwrap();
        check_distances(book.as_ref(), &x);
    }
}

#[test]
fn residual_distances_written_out() {
    let (x, book) = (random(30, 4, 2), book(&[5, 7], 4, ResidualScale::Raw));
    let codes = codes_of(&book, &x);
    let d = book.distances(x.view(), &codes, 1).unwrap().unwrap();
    for i in 0..30 {
        for k in 0..7 {
            let sum: f32 = (0..4)
                .map(|j| {
                    let below = book.level(0).row(codes.row(i)[0] as usize)[j];
                    (x.row(i)[j] - below - book.level(1).row(k)[j]).powi(2)
                })
                .sum();
            assert!((d.row(i)[k] - sum).abs() < 1e-5);
        }
    }
    let wrong = |codes: &Codes, level| book.distances(x.view(), codes, level).is_err();
    assert!(wrong(&codes, 2));
    assert!(wrong(&Codes::new(30, 1, vec![5; 30]).unwrap(), 1));
    assert!(wrong(&Codes::new(29, 1, vec![0; 29]).unwrap(), 1));
}

/// One level of three codes at 0, 10 and 30.
fn line() -> ResidualCodebook {
    ResidualCodebook::new(vec![matrix(3, 1, &[0.0, 10.0, 30.0])], ResidualScale::Raw).unwrap()
}

#[test]
fn the_nearest_keeps_the_others_take_what_is_free() {
    // All three are nearest to 0. 1 keeps it, 2 chooses before 4.
    let x = matrix(3, 1, &[4.0, 1.0, 2.0]);
    let codes = separate(&line(), &x, Keep::Nearest, &[0; 3]).unwrap();
    assert_eq!(codes.data(), [2, 0, 1]);
    // The most popular keeps it, the next popular chooses first.
    let codes = separate(&line(), &x, Keep::Popular, &[5, 1, 9]).unwrap();
    assert_eq!(codes.data(), [1, 2, 0]);
    // An item that is alone never moves.
    let x = matrix(3, 1, &[1.0, 2.0, 9.0]);
    assert_eq!(separate(&line(), &x, Keep::Nearest, &[0; 3]).unwrap().data(), [0, 2, 1]);
    let x = matrix(4, 1, &[1.0; 4]);
    let message = separate(&line(), &x, Keep::Nearest, &[0; 4]).unwrap_err().to_string();
    assert!(message.contains("4 items") && message.contains("3 free tuples"), "{message}");
}

#[test]
fn full_prefixes_are_left_on_the_level_before() {
    // Two levels: 0, 100 and 50; then +0, +1.
    let levels = vec![matrix(3, 1, &[0.0, 100.0, 50.0]), matrix(2, 1, &[0.0, 1.0])];
    let book = ResidualCodebook::new(levels, ResidualScale::Raw).unwrap();
    let x = matrix(5, 1, &[0.1, 0.2, 0.3, 0.9, 100.0]);
    let codes = separate(&book, &x, Keep::Nearest, &[0; 5]).unwrap();
    let ids: Vec<_> = (0..5).map(|i| codes.row(i)).collect();
    // (0,0) is 0.1's, (0,1) is 0.9's; 0.2 and 0.3 go to 50, where +1 is nearer to neither, and the
    // one that chooses first has the nearer of the two.
    assert_eq!(ids, [[0, 0], [2, 0], [2, 1], [0, 1], [1, 0]]);
}

#[test]
fn all_tuples_can_be_used_up() {
    let book = book(&[3, 2, 4], 2, ResidualScale::Raw);
    let same = Matrix::new(24, 2, vec![0.3; 48]).unwrap();
    assert_eq!(distinct(&separate(&book, &same, Keep::Nearest, &[0; 24]).unwrap()), 24);
    assert_eq!(distinct(&separate(&book, &random(24, 2, 5), Keep::Nearest, &[]).unwrap()), 24);
    assert!(separate(&book, &random(25, 2, 5), Keep::Nearest, &[]).is_err());
    assert_eq!(separate(&book, &random(1, 2, 5), Keep::Nearest, &[]).unwrap().rows(), 1);
}

#[test]
fn a_quantizer_without_distances_is_named() {
    struct Blind;
    impl Codebook for Blind {
        fn widths(&self) -> &[u32] {
            &[9]
        }
        fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
            Codes::new(input.vectors.rows(), 1, vec![0; input.vectors.rows()])
        }
        fn reconstruct(&self, _: &Codes, _: usize) -> Option<Matrix> {
            None
        }
        fn tensors(&self) -> Vec<(String, Matrix)> {
            vec![]
        }
    }
    let x = matrix(2, 1, &[1.0, 2.0]);
    let message = separate(&Blind, &x, Keep::Nearest, &[]).unwrap_err().to_string();
    assert!(message.contains("no distances") && message.contains("ordinal"), "{message}");
    // Nothing is shared: no distance is needed.
    assert_eq!(separate(&Blind, &matrix(1, 1, &[1.0]), Keep::Nearest, &[]).unwrap().rows(), 1);
    let codes = Codes::new(1, 1, vec![Codes::NONE]).unwrap();
    let x = MatrixRef::new(1, 1, &[1.0]).unwrap();
    let from = Quantized { codes: &codes, codebook: &Blind, vectors: x };
    let run = Run::quiet(1);
    assert!(SecondBest::new(SecondBestOptions::default()).separate(&from, &[], &run).is_err());
}

/// Vectors over three levels of 256, each finer than the one before: of 200,000 a tenth share.
fn many(n: usize) -> (Matrix, ResidualCodebook) {
    let dim = 12;
    let level = |l: usize| {
        let mut m = random(256, dim, 100 + l as u64);
        m.data_mut().iter_mut().for_each(|v| *v *= [1.0, 0.7, 0.5][l]);
        m
    };
    let levels = (0..3).map(level).collect();
    (random(n, dim, 9), ResidualCodebook::new(levels, ResidualScale::Raw).unwrap())
}

fn time_second_best(n: usize) {
    let (x, book) = many(n);
    let codes = codes_of(&book, &x);
    let moving = n - distinct(&codes);
    let start = Instant::now();
    let out = separate(&book, &x, Keep::Nearest, &vec![0; n]).unwrap();
    println!("second-best: {n} items, {moving} move, {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!(distinct(&out), n);
    let kept = (0..n).filter(|&i| out.row(i) == codes.row(i)).count();
    assert_eq!(kept, n - moving);
}

fn time_sinkhorn(n: usize) {
    let (x, book) = many(n);
    let before = distinct(&codes_of(&book, &x));
    let start = Instant::now();
    let out = repair(&book, &x, SinkhornOptions::default()).unwrap();
    let after = distinct(&out);
    println!(
        "sinkhorn: {n} items, {before} distinct before, {after} after, {:.2} s",
        start.elapsed().as_secs_f64()
    );
    assert!(after > before);
}

fn time_digits(n: usize) {
    let (x, book) = many(n);
    let codes = codes_of(&book, &x);
    let start = Instant::now();
    let ranked = Popularity.append(&codes, &vec![1; n]).unwrap();
    println!("popularity: {n} items, {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!(distinct(&ranked), n);
}

#[test]
fn two_hundred_thousand_items() {
    time_digits(200_000);
    time_second_best(200_000);
    time_sinkhorn(200_000);
}

#[test]
#[ignore = "half a minute"]
fn a_million_items() {
    time_digits(1_000_000);
    time_second_best(1_000_000);
    time_sinkhorn(1_000_000);
}

fn repair(book: &dyn Codebook, x: &Matrix, options: SinkhornOptions) -> Result<Codes> {
    let codes = codes_of(book, x);
    let from = Quantized { codes: &codes, codebook: book, vectors: x.view() };
    Sinkhorn::new(options)?.repair(&from, &Run::quiet(1))
}

#[test]
fn sinkhorn_moves_on_the_last_level() {
    let (n, book) = (300, book(&[6, 64], 4, ResidualScale::Raw));
    let x = random(n, 4, 4);
    let codes = codes_of(&book, &x);
    let out = repair(&book, &x, SinkhornOptions::default()).unwrap();
    assert!(distinct(&out) > distinct(&codes));
    assert!((0..n).all(|i| out.row(i)[0] == codes.row(i)[0]));
    // Equal vectors are told apart by nothing.
    let same = Matrix::new(3, 4, vec![1.0; 12]).unwrap();
    assert_eq!(distinct(&repair(&book, &same, SinkhornOptions::default()).unwrap()), 1);
}

/// The same repair, group by group over plain matrices, as the published code goes.
#[test]
fn sinkhorn_rounds_written_out() {
    let (n, book) = (400, book(&[6, 16], 4, ResidualScale::Raw));
    let x = random(n, 4, 3);
    let codes = codes_of(&book, &x);
    for rounds in [1, 2, 20] {
        let mut plain: Vec<Vec<u32>> = (0..n).map(|i| codes.row(i).to_vec()).collect();
        for _ in 0..rounds {
            let mut tuples: Vec<Vec<u32>> = plain.clone();
            tuples.sort();
            tuples.dedup();
            let before = plain.clone();
            for tuple in tuples {
                let group: Vec<usize> = (0..n).filter(|&i| before[i] == tuple).collect();
                if group.len() < 2 {
                    continue;
                }
                let rows: Vec<f32> = group.iter().flat_map(|&i| x.row(i).to_vec()).collect();
                let of_group: Vec<u32> = group.iter().flat_map(|_| tuple.clone()).collect();
                let of_group = Codes::new(group.len(), 2, of_group).unwrap();
                let rows = matrix(group.len(), 4, &rows);
                let d = book.distances(rows.view(), &of_group, 1).unwrap().unwrap();
                let codes = sidereal_quantizers::sinkhorn::assign(d.view(), 0.003, 50);
                group.iter().zip(codes).for_each(|(&i, c)| plain[i][1] = c);
            }
        }
        let out = repair(&book, &x, SinkhornOptions { rounds, ..Default::default() }).unwrap();
        assert_eq!(out.data(), plain.concat(), "{rounds} rounds");
    }
}

#[test]
fn sinkhorn_options_are_checked() {
    let message = |options| Sinkhorn::new(options).unwrap_err().to_string();
    let options = SinkhornOptions { rounds: 0, ..Default::default() };
    assert!(message(options).contains("identifier.rounds"));
    for epsilon in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = SinkhornOptions { epsilon, ..Default::default() };
        assert!(message(options).contains("identifier.epsilon"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn all_ids_are_distinct_and_each_tuple_keeps_an_item(
        n in 1usize..60, seed in 0u64..1000, threads in 1usize..4, popular in any::<bool>(),
    ) {
        let book = book(&[4, 3, 5], 3, ResidualScale::Raw);
        let x = random(n, 3, seed);
        let keep = if popular { Keep::Popular } else { Keep::Nearest };
        let counts: Vec<u32> = (0..n as u32).map(|i| i % 5).collect();
        let codes = codes_of(&book, &x);
        let out = separate(&book, &x, keep, &counts).unwrap();
        prop_assert_eq!(distinct(&out), n);
        let kept: BTreeSet<_> =
            (0..n).filter(|&i| out.row(i) == codes.row(i)).map(|i| codes.row(i)).collect();
        prop_assert_eq!(kept.len(), distinct(&codes));
        let pool = sidereal_nn::parallel::pool(threads).unwrap();
        let again = pool.install(|| separate(&book, &x, keep, &counts)).unwrap();
        prop_assert_eq!(again, out);
    }
}
