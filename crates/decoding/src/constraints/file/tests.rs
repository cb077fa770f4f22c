use super::header::header_sum;
use super::*;
use crate::Constraint;
use proptest::prelude::*;
use sidereal_core::{Code, seed};
use std::fs;

const WAYS: [(Place, Verify); 4] = [
    (Place::Map, Verify::Content),
    (Place::Memory, Verify::Content),
    (Place::Map, Verify::Header),
    (Place::Memory, Verify::Header),
];

fn varying() -> Trie {
    let ids: [&[Code]; 5] = [&[2, 7], &[0, 1], &[0, 1, 4], &[0, 3], &[0, 1, 4, 9]];
    Trie::from_sids(ids).unwrap()
}

/// Looks everywhere, as a decoder could; returns how many identifiers it found.
fn walk(trie: &Trie) -> usize {
    let mut found = 0;
    let mut todo = vec![(vec![], trie.root())];
    let mut out = Vec::new();
    while let Some((prefix, state)) = todo.pop() {
        out.clear();
        trie.expand(&prefix, state, &mut out);
        assert_eq!(trie.continues(&prefix, state), !out.is_empty());
        found += usize::from(trie.accepts(&prefix, state));
        if prefix.len() < 6 && found < 300 && todo.len() < 300 {
            for b in &out {
                let _ = trie.step(&prefix, state, b.code);
                todo.push(([&prefix[..], &[b.code]].concat(), b.state));
            }
        }
    }
    for row in (0..trie.len() + 2).take(300) {
        let sid: Vec<Code> = trie.sid(row).take(100).collect();
        let _ = trie.contains(&sid);
    }
    found
}

/// Writes bytes and opens them in every way: an error, or something that can be walked over.
/// Whether the whole check let them pass.
fn open_all(path: &Path, bytes: &[u8]) -> bool {
    fs::write(path, bytes).unwrap();
    let mut passed = false;
    for (place, verify) in WAYS {
        if let Ok(trie) = Trie::open(path, place, verify) {
            walk(&trie);
            passed |= verify == Verify::Content;
        }
    }
    passed
}

/// Makes the checksums right again, as someone would who means harm.
fn sign(bytes: &mut [u8]) {
    let mut body = bytes[HEADER..].to_vec();
    body.resize(body.len().next_multiple_of(32), 0);
    let mut sum = Checksum::default();
    sum.update(&body);
    bytes[72..80].copy_from_slice(&sum.value().to_le_bytes());
    let sum = header_sum(&bytes[..HEADER - 8]);
    bytes[HEADER - 8..HEADER].copy_from_slice(&sum.to_le_bytes());
}

fn saved(trie: &Trie) -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    // Not `save`, which waits for the disk.
    let mut bytes = Vec::new();
    trie.write(&mut bytes).unwrap();
    fs::write(&path, &bytes).unwrap();
    (dir, path, bytes)
}

#[test]
fn files_come_back_whatever_the_catalogue() {
    let none: [&[Code]; 0] = [];
    let many: Vec<Code> = (0..300_000u32).map(|i| (seed::mix(u64::from(i)) % 50) as u32).collect();
    let tries = [
        varying(),
        Trie::from_sids(none).unwrap(),
        Trie::from_sids([&[70_000u32][..]]).unwrap(),
        Trie::from_codes(&many, 3).unwrap(),
    ];
    for trie in tries {
        let (_dir, path, bytes) = saved(&trie);
        trie.save(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(bytes.len() % 64, 0);
        for (place, verify) in WAYS {
            let back = Trie::open(&path, place, verify).unwrap();
            assert_eq!((&back, back.version()), (&trie, trie.version()));
        }
        assert!(walk(&trie) >= trie.len().min(300));
    }
}

#[test]
fn the_format_does_not_change_unseen() {
    // Files of format 1 must stay readable: another layout is another format.
    let (_dir, _, bytes) = saved(&varying());
    assert_eq!(bytes.len(), 128 + 64 * (1 + 1 + 2 * 3));
    assert_eq!(bytes[128..128 + 6], [0, 0, 1, 0, 0, 0]);
    assert_eq!(bytes[192..192 + 12], [0, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0]);
    assert_eq!(bytes[256], 0b10001); // 0 | 0 | 0 | 0 | 2
    assert_eq!(bytes[128 + 64 * 4], 0b11001);
}

#[test]
fn an_index_in_use_can_be_replaced() {
    let (_dir, path, _) = saved(&varying());
    let old = Trie::open(&path, Place::Map, Verify::Content).unwrap();
    Trie::from_sids([&[9u32][..]]).unwrap().save(&path).unwrap();
    assert_eq!(old, varying());
    assert_eq!(Trie::open(&path, Place::Map, Verify::Content).unwrap().len(), 1);
}

#[test]
fn every_flipped_byte_is_found() {
    let (_dir, path, bytes) = saved(&varying());
    for i in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[i] ^= 0x10;
        assert!(!open_all(&path, &wrong), "byte {i}");
        if i >= HEADER && i % 3 == 0 {
            // With right checksums: the content itself is checked, all but fillings and codes that
            // leave the order as it is.
            sign(&mut wrong);
            open_all(&path, &wrong);
        }
    }
    assert!(open_all(&path, &bytes));
}

#[test]
fn rows_without_codes_are_refused_at_once() {
    let none: [&[Code]; 0] = [];
    let (_dir, path, mut bytes) = saved(&Trie::from_sids(none).unwrap());
    bytes[18] = 0xff; // 16 million rows of length 0: the header alone
    sign(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    for (place, verify) in WAYS {
        let error = Trie::open(&path, place, verify).unwrap_err().to_string();
        assert!(error.contains("lengths of the rows"), "{error}");
    }
}

#[test]
fn errors_name_file_and_fault() {
    let (dir, path, bytes) = saved(&varying());
    let fails = |change: &dyn Fn(&mut Vec<u8>), words: &str| {
        let mut wrong = bytes.clone();
        change(&mut wrong);
        fs::write(&path, &wrong).unwrap();
        for place in [Place::Map, Place::Memory] {
            let e = Trie::open(&path, place, Verify::Content).unwrap_err().to_string();
            assert!(e.contains(words) && e.contains("index"), "{words}: {e}");
        }
    };
    let put = |at: usize, value: u64| {
        move |b: &mut Vec<u8>| {
            b[at..at + 8].copy_from_slice(&value.to_le_bytes());
            sign(b);
        }
    };
    fails(&|b| b.truncate(100), "only 100 bytes");
    fails(&|b| b[0] = b'x', "does not begin");
    fails(&|b| b[8] = 2, "format 2");
    fails(&|b| b[60] ^= 1, "checksum of the header");
    fails(&|b| b[130] ^= 1, "wrong checksum");
    fails(&|b| b.truncate(b.len() - 64), "shorter or longer");
    fails(&|b| b.extend([0; 64]), "shorter or longer");
    fails(&put(16, u64::MAX), "more rows");
    fails(&put(16, 1 << 31), "length of the file does not fit");
    fails(&put(24, u64::MAX), "lengths of the rows");
    fails(&put(32, 3), "lengths of the rows");
    fails(&put(40, 1 << 60), "lengths of the rows");
    fails(&put(48, 1 << 60), "more levels");
    fails(&put(48, 2), "length of the file does not fit");
    fails(&put(64, 0), "length of the file does not fit");
    fails(&put(80, 1), "unknown fields");
    fails(
        &|b| {
            b[12] = 3;
            sign(b)
        },
        "neither 2 nor 4",
    );
    // Sections that lie: rows out of order, starts that go back, marks that are not there.
    fails(
        &|b| {
            b[128] = 9;
            sign(b)
        },
        "not in order",
    );
    fails(
        &|b| {
            b[192 + 4] = 200;
            sign(b)
        },
        "do not follow",
    );
    fails(
        &|b| {
            b[256] = 0b10011;
            sign(b)
        },
        "marks of new prefixes",
    );
    fails(&put(40, 5), "the longest row");
    fs::remove_file(&path).unwrap();
    let e = Trie::open(&path, Place::Map, Verify::Header).unwrap_err().to_string();
    assert!(e.contains("cannot read"), "{e}");
    let e = Trie::open(dir.path(), Place::Map, Verify::Header).unwrap_err().to_string();
    assert!(e.contains("regular file") || e.contains("cannot read"), "{e}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn hostile_files_never_panic(
        ids in proptest::collection::vec(proptest::collection::vec(0u32..5, 1..5), 0..60),
        flips in proptest::collection::vec((0usize..2_000, 0u8..=255), 1..12),
        cut in proptest::option::of(0usize..2_000),
        signed in proptest::bool::ANY,
    ) {
        let trie = Trie::from_sids(ids.iter().map(Vec::as_slice)).unwrap();
        let (_dir, path, mut bytes) = saved(&trie);
        let before = bytes.clone();
        for (at, value) in flips {
            // Behind the magic and the format, so that more than these is tried.
            let n = bytes.len() - 12;
            bytes[12 + at % n] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut);
        }
        if signed && bytes.len() >= HEADER {
            sign(&mut bytes);
        }
        let passed = open_all(&path, &bytes);
        prop_assert!(signed || passed == (bytes == before));
    }

    #[test]
    fn any_catalogue_comes_back(
        ids in proptest::collection::vec(proptest::collection::vec(0u32..90_000, 1..4), 0..60),
    ) {
        let trie = Trie::from_sids(ids.iter().map(Vec::as_slice)).unwrap();
        let (_dir, path, _) = saved(&trie);
        for (place, verify) in WAYS {
            prop_assert_eq!(&Trie::open(&path, place, verify).unwrap(), &trie);
        }
    }
}
