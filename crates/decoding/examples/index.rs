//! Builds, saves and opens a prefix index over random identifiers of four codes, and says what that
//! costs: `cargo run --release -p sidereal-decoding --example index -- 1000000`.
//!
//! 100 million identifiers need 4.1 GB while they are built.
#![allow(clippy::print_stdout)]

use sidereal_core::{Code, Result, seed};
use sidereal_decoding::{Constraint, Place, Trie, Verify};
use std::hint::black_box;
use std::time::Instant;

/// Codes of an identifier, and how many there are of each.
const LEN: usize = 4;
const WIDTH: u64 = 1024;

fn main() -> Result<()> {
    let n: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let code = |i: usize| (seed::mix(i as u64) % WIDTH) as Code;
    let codes: Vec<Code> = (0..n * LEN).map(code).collect();
    let trie = timed("build", || Trie::from_codes(&codes, LEN))?;
    println!("identifiers {}", trie.len());
    println!("bytes an identifier {:.2}", trie.bytes() as f64 / trie.len().max(1) as f64);

    let path = std::env::temp_dir().join(format!("sidereal-index-{}", std::process::id()));
    timed("save", || trie.save(&path))?;
    println!("file bytes {}", std::fs::metadata(&path).map_or(0, |m| m.len()));
    for (place, verify) in [
        (Place::Map, Verify::Header),
        (Place::Map, Verify::Content),
        (Place::Memory, Verify::Header),
        (Place::Memory, Verify::Content),
    ] {
        timed(&format!("open {place:?} {verify:?}"), || Trie::open(&path, place, verify))?;
    }
    expansions("in memory", &trie);
    expansions("mapped", &Trie::open(&path, Place::Map, Verify::Content)?);
    // The file may be left behind where it cannot be removed; the system clears that folder.
    let _ = std::fs::remove_file(&path);
    Ok(())
}

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = work()?;
    println!("{what} {:.3} s", start.elapsed().as_secs_f64());
    Ok(result)
}

/// Walks down at random: one expansion a level, one known code followed.
fn expansions(what: &str, trie: &Trie) {
    const WALKS: u64 = 100_000;
    let (mut branches, mut done, mut found) = (Vec::new(), 0u64, 0u64);
    let mut prefix = Vec::new();
    let start = Instant::now();
    for walk in 0..WALKS {
        prefix.clear();
        // The root has all codes of the first level; what is measured lies below.
        let first = (seed::mix(walk) % WIDTH) as Code;
        let Some(mut state) = trie.step(&[], trie.root(), first) else { continue };
        prefix.push(first);
        while trie.continues(&prefix, state) {
            branches.clear();
            trie.expand(&prefix, state, &mut branches);
            done += 1;
            found += branches.len() as u64;
            let pick = seed::mix(walk ^ done) as usize % branches.len().max(1);
            let Some(branch) = branches.get(pick) else { break };
            prefix.push(branch.code);
            state = branch.state;
        }
        black_box(state);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what}: {:.0} expansions a second, {:.1} branches each, {:.1} ns a branch",
        done as f64 / seconds,
        found as f64 / done.max(1) as f64,
        seconds * 1e9 / found.max(1) as f64
    );
}
