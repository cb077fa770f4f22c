//! What several tests share: catalogues, watchers, a tiny BERT folder.
#![allow(dead_code, clippy::unwrap_used)]

use sidereal_core::{
    EncoderInput, Event, ItemEncoder, ItemTable, Matrix, Observer, Result, Run, Sequences,
};
use std::path::PathBuf;
use std::sync::Mutex;

pub mod tiny;

/// A catalogue of titles.
pub fn catalogue<S: AsRef<str>>(titles: &[S]) -> ItemTable {
    ItemTable::new((0..titles.len()).map(|i| format!("item-{i}")).collect())
        .with_column("title", titles.iter().collect())
        .unwrap()
}

/// Encodes without interactions.
pub fn encode(encoder: &dyn ItemEncoder, items: &ItemTable, run: &Run<'_>) -> Result<Matrix> {
    encoder.encode(&EncoderInput { items, train: &Sequences::default() }, run)
}

/// Keeps notes and warnings.
#[derive(Default)]
pub struct Listener(pub Mutex<Vec<String>>);

impl Observer for Listener {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Note(text) | Event::Warning(text) = event {
            self.0.lock().unwrap().push(text.to_string());
        }
    }
}

impl Listener {
    /// Everything said so far.
    pub fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

/// The folder of real data sets, or a printed reason to skip.
pub fn data(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SIDEREAL_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let file = root.join(path);
    if file.exists() {
        return Some(file);
    }
    println!("skipped: needs real data because it compares with it; no {}", file.display());
    None
}

/// Largest difference of two slices of equal length.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}
