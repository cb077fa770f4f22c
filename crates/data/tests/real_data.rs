//! Counts, order and anchors on real data.
#![allow(clippy::unwrap_used)]

mod common;

use common::{load, real};
use serde_json::json;
use sidereal_core::{Catalog, ItemId, Spec, UserId};
use sidereal_data::{Augment, Dataset, Samples, Splits, inspect, register_splits};

fn split(data: &Dataset, name: &str) -> Splits {
    let mut catalog = Catalog::new("data.split");
    register_splits(&mut catalog).unwrap();
    catalog.build(&Spec::new("data.split", name), &()).unwrap().split(data).unwrap()
}

/// Share of cases whose target is among the `k` most popular training items that the history does
/// not hold; ties go to the lower number.
fn popularity_hit_rate(data: &Dataset, splits: &Splits, k: usize) -> f64 {
    let counts = splits.train.popularity(data.items.len());
    let mut order: Vec<u32> = (0..data.items.len() as u32).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(counts[i as usize]), i));
    let test = &splits.test;
    let hits = (0..test.len())
        .filter(|&c| {
            let fresh = order.iter().filter(|&&i| !test.history(c).contains(&ItemId(i)));
            fresh.take(k).any(|&i| test.target(c).contains(&ItemId(i)))
        })
        .count();
    hits as f64 / test.len() as f64
}

#[test]
fn beauty() {
    let Some(path) = real("amazon2014-beauty") else { return };
    let data = load("folder", &path, &[]).unwrap();
    assert_eq!((data.interactions.len(), data.items.len()), (22_363, 12_101));
    assert_eq!(data.interactions.all_items().len(), 198_502);
    assert_eq!(data.user_ids.get(0), "A1YJEY40YUW4SE");
    assert_eq!(data.items.id(ItemId(0)), "B004756YJA");
    assert!(data.items.title(ItemId(0)).starts_with("OPI Nail Lacquer"));
    let categories = data.items.column("categories").unwrap();
    assert_eq!(categories.get(0), "Beauty > Makeup > Nails > Nail Polish");
    // Rows of equal time: the file's order must stand, so the whole column must.
    let first: Vec<u32> = data.interactions.items(UserId(0)).iter().map(|i| i.0).collect();
    assert_eq!(first[..2], [0, 1]);
    // The data are a 5-core already.
    let core = load("folder", &path, &[("min_user", json!(5)), ("min_item", json!(5))]).unwrap();
    assert_eq!(core.report.dropped_by_core, 0);
    assert_eq!(core.interactions, data.interactions);

    let splits = split(&data, "leave-one-out");
    assert_eq!((splits.valid.len(), splits.test.len()), (22_363, 22_363));
    assert_eq!(splits.report.train_interactions, 198_502 - 2 * 22_363);
    let k = |u| data.interactions.items(UserId(u)).len() as u64 - 2;
    let runs: u64 = (0..22_363).map(|u| k(u) * (k(u) - 1) / 2).sum();
    assert_eq!(Samples::new(&splits.train, Augment::Contiguous, 20).len(), runs);
}

#[test]
fn rows_come_back_in_the_order_of_the_file() {
    for name in ["amazon2014-beauty", "ml-1m", "foursquare-nyc"] {
        let Some(path) = real(name) else { return };
        let data = load("folder", &path, &[]).unwrap();
        use std::io::{BufRead, BufReader};
        let file = std::fs::File::open(path.join("interactions.tsv.gz")).unwrap();
        let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines().skip(1);
        let want: Vec<ItemId> = lines
            .map(|l| ItemId(l.unwrap().split('\t').nth(1).unwrap().parse().unwrap()))
            .collect();
        assert_eq!(data.interactions.all_items(), want, "{name}");
    }
}

#[test]
fn counts_of_the_other_sets() {
    for (name, users, items, rows) in [
        ("ml-1m", 6_040, 3_883, 575_281),
        ("ml-latest-small", 610, 9_742, 100_836),
        ("amazon2014-sports", 35_598, 18_357, 296_337),
        ("amazon2014-phones", 27_879, 10_429, 194_439),
        ("gowalla", 29_858, 40_981, 1_027_370),
        ("steam", 32_919, 14_330, 1_436_230),
        ("lastfm-2k", 1_892, 17_632, 92_834),
        ("lastfm-seq", 1_090, 3_646, 52_551),
        ("foursquare-nyc", 1_083, 5_135, 147_938),
        ("tiktok-mm-sample", 100, 1_651, 1_929),
    ] {
        let Some(path) = real(name) else { return };
        let data = load("folder", &path, &[]).unwrap();
        assert_eq!(
            (data.interactions.len(), data.items.len(), data.interactions.all_items().len()),
            (users, items, rows),
            "{name}"
        );
        assert_eq!(data.report.bad_lines, 0);
    }
}

#[test]
fn popularity_anchors() {
    for (name, want) in [("ml-latest-small", 0.040_984), ("ml-1m", 0.042_088)] {
        let Some(path) = real(name) else { return };
        let data = load("folder", &path, &[]).unwrap();
        let splits = split(&data, "leave-one-out");
        let got = popularity_hit_rate(&data, &splits, 10);
        assert!((got - want).abs() < 5e-7, "{name}: {got} instead of {want}");
    }
}

#[test]
fn published_splits() {
    let Some(path) = real("gowalla") else { return };
    let data = load("folder", &path, &[]).unwrap();
    let splits = split(&data, "given");
    assert_eq!(splits.train.all_items().len(), 810_128);
    assert_eq!(splits.test.len(), 29_858);
    let targets: usize = (0..splits.test.len()).map(|c| splits.test.target(c).len()).sum();
    assert_eq!(targets, 217_242);
    let Some(path) = real("amazon2014-phones") else { return };
    let data = load("folder", &path, &[]).unwrap();
    assert!(data.report.notes[0].contains("have no time"));
    let splits = split(&data, "given");
    assert_eq!(splits.train.all_items().len(), 137_277);
}

#[test]
fn inspecting() {
    let Some(path) = real("ml-latest-small") else { return };
    let i = inspect(&path).unwrap();
    assert_eq!((i.format.as_str(), i.users, i.interactions), ("folder", 610, 100_836));
    assert_eq!(i.lengths.min, 20);
    assert_eq!(i.time.as_ref().unwrap().first_day, "1996-03-29");
    assert!(i.columns.iter().any(|c| c.name == "title" && c.filled == 1.0));
    assert!(i.to_string().contains("Toy Story"));
    let Some(path) = real("amazon2018-office") else { return };
    let err = inspect(&path).unwrap_err().to_string();
    assert!(err.contains("no known layout"), "{err}");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_holds_the_same_rows_or_says_what_to_build() {
    let Some(path) = real("amazon2014-beauty") else { return };
    let file = path.join("interactions.parquet");
    let loaded = load("parquet", &file, &[]);
    if cfg!(feature = "zstd") {
        let data = loaded.unwrap();
        assert_eq!(data.interactions.all_items().len(), 198_502);
        assert_eq!(data.interactions.len(), 22_363);
    } else {
        let text = loaded.unwrap_err().to_string();
        assert!(text.contains("--features zstd"), "{text}");
    }
}
