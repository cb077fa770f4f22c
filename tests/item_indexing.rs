//! What IDs are worth where the truth is known: 20 blocks of 25 items, a user stays in one block and
//! takes its items at random. At best, ten of the 25 items hit in 10 of 25 cases. IDs by common users
//! ("collaborative") tell the block at once, one code an item ("independent") has to learn the block
//! of every item, digits of random numbers ("random") share codes across blocks
//! (arXiv 2305.06569: the same order on real data).
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::Place;
use std::fmt::Write;

const BLOCKS: usize = 20;
const SIZE: usize = 25;
const USERS: usize = 1500;
const LENGTH: usize = 7;

const MODEL: &str = r#"
[data]
type = "csv"
path = "blocks.csv"
split = "leave-one-out"

[backbone]
type = "tiger"
encoder = "causal"
d_model = 32
layers = 1
decoder_layers = 1
heads = 2
d_kv = 16
d_ff = 64
dropout = 0.0

[train]
epochs = 4
batch = 64
augmentation = "packed"
lr = 0.003
validate_every = 1

[decoder]
width = 10

[evaluate]
metrics = ["recall@10"]
select = "recall@10"
"#;

/// Interactions of all users. Item numbers are dealt to blocks by a multiplication, so that
/// neighbours in number share no block.
fn interactions() -> String {
    let mut state = 1u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    let mut text = String::from("user,item,time\n");
    for user in 0..USERS {
        let block = below(BLOCKS);
        for time in 0..LENGTH {
            let item = (block * SIZE + below(SIZE)) * 37 % (BLOCKS * SIZE);
            writeln!(text, "u{user},i{item},{time}").unwrap();
        }
    }
    text
}

/// Validation recall@10 after each epoch.
fn curve(place: &Place, name: &str, identifier: &str) -> Vec<f64> {
    let set = format!("identifier={identifier}");
    let args = ["run", "blocks.toml", "-q", "--out", name, "--cache", "cache", "--set", &set];
    place.sidereal(&args).ok();
    let log = std::fs::read_to_string(place.path(name).join("log.jsonl")).unwrap();
    let lines = log.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    lines.filter_map(|l| l["recall@10"].as_f64()).collect()
}

#[test]
fn ids_by_common_users_learn_blocks_first_and_random_ones_last() {
    let place = Place::new();
    place.write("blocks.csv", interactions());
    place.write("blocks.toml", MODEL);
    let best = 10.0 / SIZE as f64;
    let collaborative =
        curve(&place, "collaborative", r#"{ type = "fixed-length", of = "collaborative" }"#);
    let independent = curve(&place, "independent", r#"{ type = "atomic" }"#);
    let random = curve(&place, "random", r#"{ type = "random-id", base = 10 }"#);
    let last = |c: &[f64]| *c.last().unwrap();
    assert!(last(&collaborative) > 0.85 * best, "collaborative {collaborative:?}");
    assert!(collaborative[0] > last(&independent), "{collaborative:?}, {independent:?}");
    assert!(last(&independent) > 2.0 * last(&random), "{independent:?}, {random:?}");
}
