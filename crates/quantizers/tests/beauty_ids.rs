//! Identifiers on Amazon Beauty: 12,101 items, 22,363 users, the last two items of each left out.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use sidereal_core::{
    Catalog, EncoderInput, Identifier, IdentifierInput, ItemId, ItemTable, Run, Sequences,
    SidTable, Spec, StringColumn,
};
use sidereal_quantizers::register_identifiers;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn folder() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root = std::env::var("SIDEREAL_DATA").unwrap_or_else(|_| default.into());
    let path = Path::new(&root).join("amazon2014-beauty");
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: beauty_ids because {} is no folder", path.display());
    None
}

fn text(path: &Path) -> String {
    let mut out = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut out).unwrap();
    out
}

/// Values of one key; paths and lists are joined as the readers join them.
fn column(items: &[Value], key: &str) -> StringColumn {
    fn join(value: &Value, with: &[&str]) -> String {
        match value {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                let parts: Vec<String> = parts.iter().map(|p| join(p, &with[1..])).collect();
                parts.join(with[0])
            }
            _ => String::new(),
        }
    }
    let deep = |v: &Value| v[key].get(0).is_some_and(Value::is_array);
    let of = |v: &Value| join(&v[key], if deep(v) { &[" | ", " > "] } else { &[" > ", ""] });
    items.iter().map(of).collect()
}

fn read(folder: &Path) -> (ItemTable, Sequences) {
    let items: Vec<Value> = text(&folder.join("items.jsonl.gz"))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut table = ItemTable::new(column(&items, "id"));
    for key in ["title", "categories", "keywords"] {
        table = table.with_column(key, column(&items, key)).unwrap();
    }
    let mut train = Sequences::default();
    let mut history: Vec<ItemId> = Vec::new();
    let mut user = None;
    let mut push = |history: &mut Vec<ItemId>| {
        train.push(&history[..history.len().saturating_sub(2)]);
        history.clear();
    };
    for line in text(&folder.join("interactions.tsv.gz")).lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        if user.is_some_and(|u: String| u != fields[0]) {
            push(&mut history);
        }
        user = Some(fields[0].to_string());
        history.push(ItemId(fields[1].parse().unwrap()));
    }
    push(&mut history);
    (table, train)
}

fn check(name: &str, table: &SidTable) {
    let rows: Vec<&[u32]> = table.sorted_rows().iter().map(|&r| table.sid(r as usize)).collect();
    assert_eq!(rows.len(), 12_101, "{name}");
    for pair in rows.windows(2) {
        assert!(!pair[1].starts_with(pair[0]), "{name}: {pair:?}");
    }
}

#[test]
fn all_indexings_are_distinct_and_free_of_prefixes() {
    let Some(folder) = folder() else { return };
    let (items, train) = read(&folder);
    assert_eq!((items.len(), train.len(), train.all_items().len()), (12_101, 22_363, 153_776));
    let popularity = train.popularity(items.len());
    let mut all: Catalog<dyn Identifier> = Catalog::new("identifier");
    register_identifiers(&mut all).unwrap();
    let spec = |name: &str| Spec::new("identifier", name);
    let keywords = spec("text").with("column", "keywords").with("max_tokens", 8);
    let mut tables = HashMap::new();
    for (name, spec) in [
        ("atomic", spec("atomic")),
        ("random-id", spec("random-id")),
        ("sequential", spec("sequential")),
        ("collaborative", spec("collaborative")),
        ("taxonomy", spec("taxonomy")),
        ("titles", spec("text")),
        ("keywords", keywords.with("form", "shortest-prefix")),
        ("CID+IID", spec("hybrid")),
        ("SemID+CID", spec("hybrid").with("parts", json!(["taxonomy", "collaborative"]))),
    ] {
        let input = IdentifierInput {
            catalogue: EncoderInput { items: &items, train: &train },
            popularity: &popularity,
            quantized: None,
        };
        let run = Run { threads: 2, ..Run::quiet(1) };
        let start = Instant::now();
        let table = all.build(&spec, &()).unwrap().identify(&input, &run).unwrap();
        let mean = (0..table.n_rows()).map(|r| table.sid(r).len()).sum::<usize>() as f64 / 12_101.0;
        println!(
            "{name}: {:.2} s, {mean:.2} codes an ID, at most {}, widths {:?}",
            start.elapsed().as_secs_f64(),
            table.max_len(),
            &table.widths()[..table.max_len().min(6)]
        );
        check(name, &table);
        tables.insert(name, table);
    }
    // Items that one user has in a row share the first code of their IDs far more often in a tree
    // of common items than by chance.
    let together = |table: &SidTable| {
        let first = |i: &ItemId| table.first_sid(*i).unwrap()[0];
        let pairs = train.iter().flat_map(|(_, h)| h.windows(2));
        let (same, all) = pairs.fold((0, 0), |(same, all), w| {
            (same + usize::from(first(&w[0]) == first(&w[1])), all + 1)
        });
        same as f64 / f64::from(all)
    };
    let chance = |table: &SidTable| {
        let mut counts: HashMap<u32, f64> = HashMap::new();
        train.all_items().iter().for_each(|i| {
            *counts.entry(table.first_sid(*i).unwrap()[0]).or_default() += 1.0;
        });
        let firsts: BTreeSet<u32> = counts.keys().copied().collect();
        firsts.iter().map(|f| (counts[f] / train.all_items().len() as f64).powi(2)).sum::<f64>()
    };
    let tree = &tables["collaborative"];
    println!("collaborative: {:.3} in a row, {:.3} by chance", together(tree), chance(tree));
    assert!(together(tree) > 2.0 * chance(tree));
}
