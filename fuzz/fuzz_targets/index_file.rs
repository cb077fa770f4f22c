//! The reader of prefix indexes: a file that was written and then changed anywhere, or any bytes at
//! all, always with checksums that are right, as someone would make them who means harm. It is
//! refused, or it can be looked through without a panic; what was not changed comes back whole.
//!
//! An input is a byte 255 and a file; or the number of bytes of identifiers, these (each identifier
//! ends with 255), and changes of three bytes: a place (16 bits) and what is exclusive-ored there.
//! One byte more cuts the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sidereal_core::{Code, seed};
use sidereal_decoding::constraints::{Place, Verify};
use sidereal_decoding::{Constraint, Trie};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const HEADER: usize = 128;
const WAYS: [(Place, Verify); 4] = [
    (Place::Map, Verify::Content),
    (Place::Memory, Verify::Content),
    (Place::Map, Verify::Header),
    (Place::Memory, Verify::Header),
];

/// A file of this process, in memory where the system has such a folder.
fn file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        folder.join(format!("sidereal-fuzz-{}", std::process::id()))
    })
}

/// The checksum of the format: four sums side by side over numbers of 8 bytes.
fn sum(bytes: &[u8]) -> [u8; 8] {
    let mut sums = [1, 2, 3, 4].map(seed::mix);
    let mut whole = bytes.to_vec();
    whole.resize(whole.len().next_multiple_of(32), 0);
    for (i, number) in whole.chunks_exact(8).enumerate() {
        let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
        let sum = &mut sums[i % 4];
        *sum = (*sum ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
    sums.iter().fold(0, |h, &s| seed::mix(h ^ s)).to_le_bytes()
}

fn sign(bytes: &mut [u8]) {
    if bytes.len() >= HEADER {
        let body = sum(&bytes[HEADER..]);
        bytes[72..80].copy_from_slice(&body);
        let head = sum(&bytes[..HEADER - 8]);
        bytes[HEADER - 8..HEADER].copy_from_slice(&head);
    }
}

/// Looks everywhere, as a decoder could, within bounds.
fn walk(trie: &Trie) {
    let mut todo = vec![(Vec::new(), trie.root())];
    let (mut out, mut seen) = (Vec::new(), 0);
    while let Some((prefix, state)) = todo.pop() {
        seen += 1;
        out.clear();
        trie.expand(&prefix, state, &mut out);
        let _ = (trie.continues(&prefix, state), trie.accepts(&prefix, state));
        if prefix.len() < 6 && seen < 200 && todo.len() < 200 {
            for b in &out {
                let _ = trie.step(&prefix, state, b.code);
                todo.push(([&prefix[..], &[b.code]].concat(), b.state));
            }
        }
    }
    for row in (0..trie.len().saturating_add(2)).take(100) {
        let sid: Vec<Code> = trie.sid(row).take(50).collect();
        let _ = trie.contains(&sid);
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else { return };
    let path = file();
    let mut bytes;
    let mut whole = None;
    if first == 255 {
        bytes = rest.to_vec();
        sign(&mut bytes);
    } else {
        let (ids, changes) = rest.split_at(rest.len().min(first as usize));
        let ids: Vec<Vec<Code>> = ids
            .split(|&b| b == 255)
            .filter(|id| !id.is_empty())
            // Large codes take four bytes in the file.
            .map(|id| id.iter().map(|&b| if b < 200 { b.into() } else { u32::from(b) << 12 }).collect())
            .collect();
        let Ok(trie) = Trie::from_sids(ids.iter().map(Vec::as_slice)) else { return };
        trie.save(path).expect("the folder can be written");
        bytes = std::fs::read(path).expect("it was written");
        let steps = changes.chunks_exact(3);
        if let [cut] = steps.remainder() {
            bytes.truncate(bytes.len().saturating_sub(*cut as usize));
        }
        let length = bytes.len().max(1);
        for step in steps {
            let at = usize::from(u16::from_le_bytes([step[0], step[1]])) % length;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= step[2];
            }
        }
        if changes.is_empty() {
            whole = Some(trie);
        } else {
            sign(&mut bytes);
        }
    }
    std::fs::write(path, &bytes).expect("the folder can be written");
    for (place, verify) in WAYS {
        match Trie::open(path, place, verify) {
            Ok(trie) => {
                walk(&trie);
                if let Some(whole) = &whole {
                    assert_eq!(trie.len(), whole.len());
                    for row in 0..trie.len() {
                        assert!(trie.sid(row).eq(whole.sid(row)));
                    }
                }
            }
            Err(e) => assert!(whole.is_none(), "{e}"),
        }
    }
});
