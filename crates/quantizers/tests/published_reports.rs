//! Published code tables of Amazon Beauty, judged: codes learnt with collaborative signals say more
//! about the next item than codes of texts, and those more than codes dealt at random.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use flate2::read::GzDecoder;
use sidereal_core::{ItemId, Run, Sequences};
use sidereal_quantizers::report::{AnalysisInput, BehaviourReport, SidAnalysis};
use sidereal_quantizers::tables::import_alone;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

fn folder() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root = std::env::var("SIDEREAL_DATA").unwrap_or_else(|_| default.into());
    let path = Path::new(&root).join("amazon2014-beauty");
    if path.join("semantic_ids").is_dir() {
        return Some(path);
    }
    println!("skipped: published_reports because {} has no semantic_ids", path.display());
    None
}

/// Histories of every second user without their last two items, which a leave-one-out split holds
/// back.
fn train(folder: &Path) -> Sequences {
    let mut text = String::new();
    let file = File::open(folder.join("interactions.tsv.gz")).unwrap();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let mut rows: Vec<[i64; 3]> = text
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<i64> = line.split('\t').take(3).map(|c| c.parse().unwrap()).collect();
            [cells[0], cells[2], cells[1]]
        })
        .collect();
    rows.sort_by_key(|r| (r[0], r[1]));
    let mut out = Sequences::default();
    for user in rows.chunk_by(|a, b| a[0] == b[0]).step_by(2) {
        let items: Vec<ItemId> = user.iter().map(|r| ItemId(r[2] as u32)).collect();
        out.push(&items[..items.len().saturating_sub(2)]);
    }
    out
}

#[test]
fn what_learnt_from_behaviour_predicts_behaviour() {
    let Some(folder) = folder() else { return };
    let train = train(&folder);
    let run = Run { threads: 2, ..Run::quiet(0) };
    let judge = |name: &str| {
        let table = import_alone(&folder.join(format!("semantic_ids/{name}.tsv.gz"))).unwrap();
        assert_eq!(table.n_items(), 12_101);
        let input = AnalysisInput { train: Some(&train), ..AnalysisInput::table(&table) };
        SidAnalysis::of(&input, &run).unwrap()
    };
    let (letter, texts) = (judge("letter"), judge("unigenrec_text_rqvae"));
    let (a, b) = (letter.prediction.unwrap(), texts.prediction.unwrap());
    println!("LETTER {a:?}\nRQ-VAE of texts {b:?}");
    assert!(a.structure_bits > 0.4 && a.structure_bits < 1.2);
    assert!(b.structure_bits > 0.0 && b.structure_bits < 0.5 * a.structure_bits);
    // Both are far above noise; users are the units.
    assert!(a.standard_error < 0.15 && b.standard_error < 0.15);
    assert!(a.recall > b.recall && b.recall > a.popularity_recall);
    let pmi = |a: Option<BehaviourReport>| a.unwrap().lengths[0].pmi_bits.unwrap();
    assert!(pmi(letter.behaviour) > pmi(texts.behaviour));
}
