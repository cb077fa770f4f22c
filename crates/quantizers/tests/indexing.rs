//! The indexings of arXiv 2305.06569, down to the table.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use proptest::prelude::*;
use rand::Rng;
use serde_json::json;
use sidereal_core::{
    Catalog, EncoderInput, Error, Identifier, IdentifierInput, ItemId, ItemTable, Result, Run,
    Sequences, SidTable, Spec, StringColumn, seed,
};
use sidereal_quantizers::register_identifiers;
use std::collections::BTreeSet;
use std::time::Instant;

fn catalogue(n: usize) -> ItemTable {
    ItemTable::new((0..n).map(|i| format!("b{:05}", (i * 7919) % 99991)).collect())
}

fn train(histories: &[&[u32]]) -> Sequences {
    let mut out = Sequences::default();
    for h in histories {
        out.push(&h.iter().copied().map(ItemId).collect::<Vec<_>>());
    }
    out
}

fn build(spec: &Spec) -> Result<Box<dyn Identifier>> {
    let mut all: Catalog<dyn Identifier> = Catalog::new("identifier");
    register_identifiers(&mut all).unwrap();
    all.build(spec, &())
}

fn identify_with(
    spec: Spec,
    items: &ItemTable,
    train: &Sequences,
    run: &Run<'_>,
) -> Result<SidTable> {
    let popularity = train.popularity(items.len());
    let catalogue = EncoderInput { items, train };
    let input = IdentifierInput { catalogue, popularity: &popularity, quantized: None };
    build(&spec)?.identify(&input, run)
}

fn identify(spec: Spec, items: &ItemTable, train: &Sequences) -> SidTable {
    identify_with(spec, items, train, &Run::quiet(3)).unwrap()
}

fn spec(name: &str) -> Spec {
    Spec::new("identifier", name)
}

fn ids(table: &SidTable) -> Vec<&[u32]> {
    (0..table.n_items() as u32).map(|i| table.first_sid(ItemId(i)).unwrap()).collect()
}

/// Every item has one ID, no two the same one, and none begins another one.
fn check(table: &SidTable, n: usize) {
    assert_eq!((table.n_rows(), table.n_items()), (n, n));
    let rows: Vec<&[u32]> = table.sorted_rows().iter().map(|&r| table.sid(r as usize)).collect();
    for pair in rows.windows(2) {
        assert!(!pair[1].starts_with(pair[0]), "{pair:?}");
    }
}

#[test]
fn atomic_is_the_number() {
    let table = identify(spec("atomic"), &catalogue(3), &train(&[]));
    assert_eq!(ids(&table), [[0], [1], [2]]);
    assert!(!build(&spec("atomic")).unwrap().reads_codes());
}

#[test]
fn random_numbers_are_distinct_and_of_one_length() {
    let items = catalogue(1000);
    let table = identify(spec("random-id"), &items, &train(&[]));
    check(&table, 1000);
    assert_eq!((table.fixed_len(), table.vocabulary()), (Some(3), 10));
    let other = identify_with(spec("random-id"), &items, &train(&[]), &Run::quiet(4)).unwrap();
    assert_ne!(other.version(), table.version());
    // As a control: neighbours share their first digit no more often than by chance.
    let same = ids(&table).windows(2).filter(|w| w[0][0] == w[1][0]).count();
    assert!((60..140).contains(&same), "{same}");
    let few = spec("random-id").with("digits", 2);
    let message = identify_with(few, &items, &train(&[]), &Run::quiet(1)).unwrap_err().to_string();
    assert!(message.contains("identifier.digits") && message.contains("100 IDs"), "{message}");
    let message = build(&spec("random-id").with("base", 1)).err().unwrap().to_string();
    assert!(message.contains("identifier.base") && message.contains("got 1"), "{message}");
}

/// Items a b c d x y z; the sheet's case: targets are the last two of each user.
#[test]
fn sequential_numbers_by_hand() {
    let (items, train) = (catalogue(7), train(&[&[0, 1, 2], &[1, 3]]));
    let table = identify(spec("sequential").with("base", 10), &items, &train);
    let numbers: Vec<u32> =
        ids(&table).iter().map(|id| id.iter().fold(0, |n, d| n * 10 + d)).collect();
    assert_eq!(numbers[..4], [1001, 1002, 1003, 1004]);
    let rest: BTreeSet<u32> = numbers[4..].iter().copied().collect();
    assert_eq!(rest, BTreeSet::from([1005, 1006, 1007]));
    check(&table, 7);
    // Two decimal digits a code.
    assert_eq!(ids(&identify(spec("sequential"), &items, &train))[1], [10, 2]);
}

#[test]
fn sequential_orders_of_users() {
    let (items, train) = (catalogue(6), train(&[&[0, 1], &[2], &[3, 4, 5]]));
    let order = |users: &str| {
        let spec = spec("sequential").with("users", users).with("start", 0).with("base", 10);
        ids(&identify(spec, &items, &train)).iter().map(|id| id[0]).collect::<Vec<_>>()
    };
    assert_eq!(order("original"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(order("short-to-long"), [1, 2, 0, 3, 4, 5]);
    assert_eq!(order("long-to-short"), [3, 4, 5, 0, 1, 2]);
    assert_eq!(order("random").iter().collect::<BTreeSet<_>>().len(), 6);
}

/// The items are renumbered as another reading of targets would number them: IDs stay with the
/// source ids.
#[test]
fn targets_change_no_number() {
    let histories: [&[u32]; 3] = [&[0, 1, 2], &[1, 3, 2], &[4]];
    for name in ["sequential", "collaborative"] {
        let by_id = |order: &[u32]| {
            // Item `i` of the first reading is `order[i]` in this one.
            let mut names = vec![String::new(); 9];
            order.iter().enumerate().for_each(|(i, &o)| names[o as usize] = format!("id{i}"));
            let items = ItemTable::new(names.iter().collect::<StringColumn>());
            let moved: Vec<Vec<u32>> =
                histories.iter().map(|h| h.iter().map(|&i| order[i as usize]).collect()).collect();
            let moved: Vec<&[u32]> = moved.iter().map(Vec::as_slice).collect();
            let table = identify(spec(name), &items, &train(&moved));
            order.iter().map(|&o| table.first_sid(ItemId(o)).unwrap().to_vec()).collect::<Vec<_>>()
        };
        let first = by_id(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        // Items 5 to 8 occur in targets alone.
        assert_eq!(by_id(&[0, 1, 2, 3, 4, 8, 7, 5, 6]), first, "{name}");
    }
}

/// Two cliques of four, given by histories; M = 4 (check 2 of the indexing study).
#[test]
fn collaborative_by_hand() {
    let train = train(&[&[0, 2, 4, 6], &[1, 3, 5, 7], &[6, 4, 2, 0]]);
    let small = || spec("collaborative").with("groups", 2);
    let table = identify(small().with("leaf", 4), &catalogue(8), &train);
    let want: [[u32; 2]; 8] = [[0, 0], [1, 0], [0, 1], [1, 1], [0, 2], [1, 2], [0, 3], [1, 3]];
    assert_eq!(ids(&table), want);
    assert_eq!(ids(&identify(small().with("leaf", 8), &catalogue(8), &train)), want);
}

/// Blocks of items; users take items of one block, and now and then one of another.
fn blocks(blocks: u32, size: u32, users: u32, strays: f64, s: u64) -> Sequences {
    let mut rng = seed::stream(s, "blocks", 0);
    let mut out = Sequences::default();
    for u in 0..users {
        let draw = |rng: &mut rand_chacha::ChaCha8Rng| {
            let block =
                if rng.random::<f64>() < strays { rng.random_range(0..blocks) } else { u % blocks };
            ItemId(rng.random_range(0..size) * blocks + block)
        };
        let history: Vec<ItemId> = (0..8).map(|_| draw(&mut rng)).collect();
        out.push(&history);
    }
    out
}

#[test]
fn collaborative_finds_planted_blocks() {
    let train = blocks(10, 30, 3000, 0.1, 1);
    let spec = spec("collaborative").with("groups", 10).with("leaf", 60);
    let table = identify(spec, &catalogue(300), &train);
    check(&table, 300);
    let ids = ids(&table);
    for i in 0..300 {
        assert_eq!(ids[i][0], ids[i % 10][0], "item {i}");
    }
    assert_eq!(ids[..10].iter().map(|id| id[0]).collect::<BTreeSet<_>>().len(), 10);
}

#[test]
fn collaborative_graphs_in_pieces() {
    // 40 pairs, one chain of 30, 90 items nobody has: more components than groups, and more lone
    // items than a leaf has.
    let mut histories: Vec<Vec<u32>> = (0..40).map(|i| vec![2 * i, 2 * i + 1]).collect();
    histories.extend((80..109).map(|i| vec![i, i + 1]));
    let histories: Vec<&[u32]> = histories.iter().map(Vec::as_slice).collect();
    for numbering in ["repeated", "unique"] {
        let spec =
            spec("collaborative").with("groups", 4).with("leaf", 7).with("numbering", numbering);
        let table = identify(spec, &catalogue(200), &train(&histories));
        check(&table, 200);
        let ids = ids(&table);
        let together = (0..40).filter(|i| {
            let (a, b) = (ids[2 * i], ids[2 * i + 1]);
            a[..a.len() - 1] == b[..b.len() - 1]
        });
        assert!(together.count() >= 36);
        assert!(table.widths().iter().all(|&w| w <= 7) || numbering == "unique");
    }
    for n in [0, 1, 2] {
        check(&identify(spec("collaborative"), &catalogue(n), &train(&[&[]])), n);
    }
    // One history of everything: all items are alike.
    let all: Vec<u32> = (0..100).collect();
    let spec = spec("collaborative").with("groups", 3).with("leaf", 8);
    check(&identify(spec, &catalogue(100), &train(&[&all])), 100);
}

#[test]
fn collaborative_options_are_checked() {
    let message = |key: &str, value: u32| {
        build(&spec("collaborative").with(key, value)).err().unwrap().to_string()
    };
    assert!(message("groups", 1).contains("identifier.groups"));
    assert!(message("leaf", 20).contains("more than identifier.groups = 20"));
}

#[test]
fn twelve_thousand_items() {
    let train = blocks(60, 200, 22_000, 0.15, 2);
    let start = Instant::now();
    let run = Run { threads: 2, ..Run::quiet(1) };
    let table = identify_with(spec("collaborative"), &catalogue(12_000), &train, &run).unwrap();
    println!("collaborative: 12,000 items, {:.2} s", start.elapsed().as_secs_f64());
    check(&table, 12_000);
}

fn categories(values: &[&str]) -> ItemTable {
    let column = values.iter().collect::<StringColumn>();
    catalogue(values.len()).with_column("categories", column).unwrap()
}

#[test]
fn taxonomy_by_hand() {
    let items = categories(&[
        "Beauty > Hair > Care",
        "Beauty > Nails",
        "Beauty > Hair > Care | Beauty > Gifts",
        "Beauty > Hair",
        "",
        "Beauty",
    ]);
    let table = identify(spec("taxonomy"), &items, &train(&[]));
    check(&table, 6);
    let ids = ids(&table);
    // Hair 0 and Nails 1 at the top, Care 0 below; numbers begin behind them: 2, 1 and 0.
    assert_eq!(ids[1], [1, 1]);
    assert_eq!(ids[3], [0, 1]);
    let care: BTreeSet<&[u32]> = BTreeSet::from([ids[0], ids[2]]);
    assert_eq!(care, BTreeSet::from([&[0, 0, 0][..], &[0, 0, 1]]));
    let top: BTreeSet<&[u32]> = BTreeSet::from([ids[4], ids[5]]);
    assert_eq!(top, BTreeSet::from([&[2][..], &[3]]));
    let flat = identify(spec("taxonomy").with("skip", 0).with("depth", 1), &items, &train(&[]));
    assert_eq!(flat.widths(), [2, 5]);
    let message = identify_with(spec("taxonomy"), &catalogue(2), &train(&[]), &Run::quiet(1));
    let message = message.unwrap_err().to_string();
    assert!(message.contains("identifier.column") && message.contains("`categories`"), "{message}");
}

#[test]
fn hybrids() {
    let train = blocks(5, 20, 400, 0.1, 3);
    let items = catalogue(100);
    let small = json!({"type": "collaborative", "groups": 5, "leaf": 30});
    let cid = identify(spec("collaborative").with("groups", 5).with("leaf", 30), &items, &train);
    let parts = |cut: u32, parts: serde_json::Value| {
        identify(spec("hybrid").with("parts", parts).with("cut", cut), &items, &train)
    };
    // CID + IID: the place in the leaf gives way to the item's own number.
    let own = parts(1, json!([small, "atomic"]));
    check(&own, 100);
    for (i, (a, b)) in ids(&own).iter().zip(ids(&cid)).enumerate() {
        assert_eq!(a[..b.len() - 1], b[..b.len() - 1]);
        assert_eq!((a.len(), a[b.len() - 1] as usize), (b.len(), i));
    }
    check(&parts(0, json!(["sequential", "atomic"])), 100);
    check(&parts(0, json!([small, "sequential", "random-id"])), 100);
    assert!(!build(&spec("hybrid")).unwrap().reads_codes());
    assert!(
        build(&spec("hybrid").with("parts", json!(["atomic", "ordinal"]))).unwrap().reads_codes()
    );
    let message = build(&spec("hybrid").with("parts", json!(["atomic"]))).err().unwrap();
    assert!(message.to_string().contains("identifier.parts"));
    assert!(matches!(
        build(&spec("hybrid").with("parts", json!(["atomik", "atomic"]))).err().unwrap(),
        Error::UnknownName { .. }
    ));
}

/// Paths of different length before numbers: codes of the two kinds stay apart.
#[test]
fn hybrids_of_different_length() {
    let items = categories(&["r > a > b", "r > a", "r > b", "r > a > b > c", "r", "r > a"]);
    let of = |cut: u32| {
        let spec = spec("hybrid").with("parts", json!(["taxonomy", "atomic"])).with("cut", cut);
        identify(spec, &items, &train(&[]))
    };
    check(&of(0), 6);
    check(&of(1), 6);
    assert_eq!(of(1).max_len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn ids_are_distinct_and_threads_change_nothing(
        n in 1usize..60,
        histories in prop::collection::vec(prop::collection::vec(0u32..60, 0..12), 0..30),
        threads in 2usize..4,
    ) {
        let histories: Vec<Vec<u32>> = histories
            .into_iter()
            .map(|h| h.into_iter().filter(|i| (*i as usize) < n).collect())
            .collect();
        let train = train(&histories.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let names = ["", "a > b", "a > c > d", "a > c", "a > c > b | a", "e"];
        let column = (0..n).map(|i| names[i % 6]).collect::<StringColumn>();
        let items = catalogue(n).with_column("categories", column).unwrap();
        let small = json!({"type": "collaborative", "groups": 2, "leaf": 3});
        for spec in [
            spec("atomic"),
            spec("random-id"),
            spec("sequential").with("users", "random"),
            spec("collaborative").with("groups", 3).with("leaf", 4),
            spec("taxonomy"),
            spec("text"),
            spec("text").with("column", "categories").with("form", "shortest-prefix"),
            spec("text").with("column", "categories").with("max_tokens", 1),
            spec("hybrid").with("parts", json!([small, "taxonomy"])).with("cut", 0),
            spec("hybrid").with("parts", json!(["taxonomy", "atomic"])),
        ] {
            let one = identify(spec.clone(), &items, &train);
            check(&one, n);
            let run = Run { threads, ..Run::quiet(3) };
            prop_assert_eq!(identify_with(spec, &items, &train, &run).unwrap(), one);
        }
    }
}
