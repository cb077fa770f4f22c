//! Text vectors by TF-IDF and SVD, on small catalogues and on the Beauty data set.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Listener, catalogue, data, distance, encode};
use flate2::read::GzDecoder;
use sidereal_core::{Cancel, ItemId, ItemTable, Matrix, Run, StringColumn};
use sidereal_encoders::{Lsa, LsaOptions};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Instant;

fn small(dim: usize) -> LsaOptions {
    LsaOptions { dim, min_df: 1, ngrams: 1, ..Default::default() }
}

fn refusal(options: LsaOptions, items: &ItemTable) -> String {
    let run = Run::quiet(1);
    Lsa::new(options).and_then(|e| encode(&e, items, &run)).unwrap_err().to_string()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[test]
fn full_width_keeps_every_cosine() {
    // With as many directions as the matrix has, dot products of rows are those of TF-IDF.
    let items = catalogue(&["red shoe", "red hat", "hat", "blue coat", "coat shoe hat"]);
    let encoder = Lsa::new(small(5)).unwrap();
    let got = encode(&encoder, &items, &Run::quiet(3)).unwrap();
    let idf = |df: f64| (6.0 / (1.0 + df)).ln() + 1.0;
    let (red, shoe, hat) = (idf(2.0), idf(2.0), idf(3.0));
    let want = red * red / ((red * red + shoe * shoe) * (red * red + hat * hat)).sqrt();
    assert!((f64::from(dot(got.row(0), got.row(1))) - want).abs() < 1e-6);
    assert!(dot(got.row(0), got.row(3)).abs() < 1e-6);
    for i in 0..5 {
        assert!((dot(got.row(i), got.row(i)) - 1.0).abs() < 1e-6);
    }
}

#[test]
fn synonyms_meet_through_their_company() {
    // `sofa` and `couch` never share an item, but they share all of their neighbours.
    let items = catalogue(&[
        "sofa leather seat",
        "couch leather seat",
        "sofa",
        "couch",
        "sofa seat",
        "couch seat",
        "lamp bulb light",
        "lamp light",
        "bulb light",
        "lamp",
    ]);
    let got = encode(&Lsa::new(small(2)).unwrap(), &items, &Run::quiet(0)).unwrap();
    assert!(dot(got.row(2), got.row(3)) > 0.9);
    assert!(dot(got.row(2), got.row(9)).abs() < 0.1);
}

#[test]
fn items_without_words_are_zero_and_counted() {
    let items = catalogue(&["red shoe", "", "red hat", "...", "shoe hat", "xylophone"]);
    let listener = Listener::default();
    let run = Run { seed: 1, observer: &listener, cancel: Cancel::default(), threads: 1 };
    let options = LsaOptions { dim: 2, min_df: 2, ngrams: 1, ..Default::default() };
    let got = encode(&Lsa::new(options).unwrap(), &items, &run).unwrap();
    for i in [1, 3, 5] {
        assert_eq!(got.row(i), [0.0, 0.0]);
    }
    let said = listener.text();
    assert!(said.contains("2 items have no text"), "{said}");
    assert!(said.contains("1 item has only words that are rarer"), "{said}");
}

#[test]
fn width_and_options_have_ranges() {
    let items = catalogue(&["red shoe", "red hat", "red shoe", "red hat"]);
    assert!(refusal(small(4), &items).contains("config key `encoder.dim`: 4 is outside 1..=3"));
    assert!(refusal(small(3), &items).contains("1..=2: the TF-IDF matrix has rank 2"));
    assert!(refusal(small(0), &items).contains("encoder.dim"));
    assert!(refusal(LsaOptions { ngrams: 3, ..small(1) }, &items).contains("3 is outside 1..=2"));
    assert!(refusal(LsaOptions { min_df: 0, ..small(1) }, &items).contains("encoder.min_df"));
    let many = LsaOptions { power_iterations: 65, ..small(1) };
    assert!(refusal(many, &items).contains("encoder.power_iterations"));
    assert!(refusal(small(1), &catalogue(&["", "--"])).contains("no item has a word"));
    let rare = LsaOptions { min_df: 3, ..small(1) };
    assert!(refusal(rare, &catalogue(&["a", "b"])).contains("1..=0"));
    assert!(refusal(small(1), &ItemTable::default()).contains("no item to encode"));
}

#[test]
fn a_stop_is_heard() {
    let run = Run::quiet(1);
    run.cancel.cancel();
    let items = catalogue(&["red shoe", "red hat"]);
    assert!(encode(&Lsa::new(small(1)).unwrap(), &items, &run).is_err());
}

/// Titles, leaf-most category paths and keywords of Beauty.
fn beauty() -> Option<ItemTable> {
    let path = data("amazon2014-beauty/items.jsonl.gz")?;
    let (mut ids, mut titles, mut categories) =
        (StringColumn::default(), StringColumn::default(), StringColumn::default());
    for line in BufReader::new(GzDecoder::new(File::open(path).unwrap())).lines() {
        let item: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        ids.push(item["id"].as_str().unwrap());
        titles.push(item["title"].as_str().unwrap_or(""));
        let paths: Vec<Vec<String>> =
            serde_json::from_value(item["categories"].clone()).unwrap_or_default();
        let paths: Vec<String> = paths.iter().map(|p| p.join(" > ")).collect();
        categories.push(&paths.join(" | "));
    }
    let items = ItemTable::new(ids).with_column("title", titles).unwrap();
    Some(items.with_column("categories", categories).unwrap())
}

/// Share of sampled items whose nearest neighbour has the same categories.
fn agreement(vectors: &Matrix, items: &ItemTable) -> f64 {
    let categories = items.column("categories").unwrap();
    let sample: Vec<usize> = (0..items.len()).step_by(40).collect();
    let hits = sample.iter().filter(|&&i| {
        let nearest = (0..items.len())
            .filter(|&j| j != i)
            .max_by(|&a, &b| {
                let score = |j| dot(vectors.row(i), vectors.row(j));
                score(a).total_cmp(&score(b))
            })
            .unwrap();
        categories.get(i) == categories.get(nearest)
    });
    hits.count() as f64 / sample.len() as f64
}

#[test]
fn beauty_titles_tell_the_category_in_seconds() {
    let Some(items) = beauty() else { return };
    let titles = |dim| LsaOptions { dim, fields: vec!["title".into()], ..Default::default() };
    let run = |options: LsaOptions, threads| {
        let start = Instant::now();
        let run = Run { threads, ..Run::quiet(42) };
        let out = encode(&Lsa::new(options).unwrap(), &items, &run).unwrap();
        println!("lsa on {} items, {threads} threads: {:?}", items.len(), start.elapsed());
        out
    };
    let start = Instant::now();
    let two = run(titles(64), 2);
    assert!(start.elapsed().as_secs_f64() < 20.0);
    // Category names are not in the text; vectors of other items are the control.
    let share = agreement(&two, &items);
    let mut shuffled = two.clone();
    shuffled.data_mut().rotate_left(64 * 6007);
    let control = agreement(&shuffled, &items);
    println!(
        "nearest neighbour by title has the same categories: {share:.3}, by chance {control:.3}"
    );
    assert!(share > 0.4 && control < 0.1, "{share} {control}");
    // The number of threads changes no bit.
    assert_eq!(two.data(), run(titles(64), 1).data());
    // The first directions do not depend on how many are asked for.
    let raw = |dim| run(LsaOptions { normalize: false, power_iterations: 20, ..titles(dim) }, 2);
    let (few, many) = (raw(16), raw(32));
    for i in (0..items.len()).step_by(97) {
        let item = items.id(ItemId(i as u32));
        assert!(distance(&few.row(i)[..4], &many.row(i)[..4]) < 1e-4, "{item}");
    }
    run(LsaOptions::default(), 2);
}
