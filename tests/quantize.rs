//! `sidereal quantize`: a file of vectors in, codebook and codes out, and on from where it stopped.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::Place;
use sidereal::nn::vector_file::npy;
use sidereal_core::Matrix;

/// 9,000 rows of width 8 around 16 centres, in a file.
fn place() -> Place {
    let place = Place::new();
    let value = |i: usize| ((i / 8 * 7919 + i % 8 * 31) % 16) as f32 + (i % 97) as f32 / 400.0;
    let matrix = Matrix::new(9_000, 8, (0..72_000).map(value).collect()).unwrap();
    npy::save(&place.path("v.npy"), &matrix).unwrap();
    place
}

const FIT: [&str; 8] =
    ["quantize", "v.npy", "--out", "q", "--set", "levels=[16, 8]", "--buffer", "1"];

#[test]
fn codes_of_every_row_and_on_from_a_part() {
    let place = place();
    let done = place.sidereal(&FIT).ok();
    assert!(done.out.contains("9000 vectors of width 8, 2 levels"), "{}", done.out);
    let codes = place.read("q/codes.npy");
    let header = npy::header_bytes("<i4", 9_000, 2);
    assert!(codes.starts_with(&header));
    assert_eq!(codes.len(), header.len() + 9_000 * 2 * 4);
    let code = |at: usize| i32::from_le_bytes(codes[at..at + 4].try_into().unwrap());
    for (i, at) in (header.len()..codes.len()).step_by(4).enumerate() {
        assert!((0..[16, 8][i % 2]).contains(&code(at)));
    }

    // With the codebook of that fit the codes are the same, from the beginning, from the middle of
    // a block, and from a file that was cut off in its header.
    for kept in [0, 20, header.len() + 5_000 * 8 + 3] {
        place.write("p/codes.npy.part", &codes[..kept]);
        let args = ["quantize", "v.npy", "--out", "p", "--codebook", "q/codebook.safetensors"];
        place.sidereal(&[&args[..], &["--buffer", "1"]].concat()).ok();
        assert_eq!(place.read("p/codes.npy"), codes, "{kept} bytes kept");
        assert!(!place.path("p/codes.npy.part").exists());
    }
}

#[test]
fn wrong_options_are_named() {
    let place = place();
    let done = place.sidereal(&["quantize", "v.npy", "--out", "q", "--set", "levles=[4]"]);
    assert_eq!(done.code, 4);
    assert!(done.err.contains("did you mean `levels`"), "{}", done.err);
    let done = place.sidereal(&["quantize", "none.npy", "--out", "q"]);
    assert_eq!(done.code, 3, "{}", done.err);
}
