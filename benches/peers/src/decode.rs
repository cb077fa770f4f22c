//! Constrained beam search of TIGER in T5's own form, from histories to items.

use crate::arm;
use crate::training::read;
use clap::Args;
use safetensors::SafeTensors;
use serde_json::{Map, Value, json};
use sidereal::backbones::GenerativeRecommender;
use sidereal::backbones::tiger::{Tiger, TigerOptions};
use sidereal::core::{CodeOrder, ItemId, Recommender, Request, Run, SidTable};
use sidereal::decoding::{Beam, BeamOptions, ScoreRule, Sums, Trie};
use sidereal::nn::Model;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const DIGITS: usize = 4;
const CODES: usize = 256;
const WIDTH: usize = 128;
/// Rows of the peer's table before the first code: start and end.
const FIRST: usize = 2;
/// Largest difference of a score, a sum of four log-probabilities.
const SCORES: f64 = 2e-5;
/// Largest share of places where another item may stand, with a score that differs as little.
const TIES: f64 = 1e-3;

/// What the peer's arm is told too.
#[derive(Args)]
pub struct Options {
    /// Whose results to compare with.
    #[arg(long, default_value = "torch")]
    peer: String,
    /// Users of a batch.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Beam width and items a user.
    #[arg(long, default_value_t = 50)]
    beam: u32,
    /// Items of the catalogue.
    #[arg(long, default_value_t = 12_101)]
    items: usize,
    /// Log-probabilities over allowed children instead of the whole vocabulary.
    #[arg(long)]
    masked: bool,
    /// Users whose results are compared: the peer's affair.
    #[arg(long, default_value_t = 0)]
    check: usize,
}

pub fn run(work: &Path, threads: usize, options: &Options) -> Result<(), Box<dyn Error>> {
    let Options { peer, batch, beam, items, masked, .. } = options;
    let rule = if *masked { "-masked" } else { "" };
    let bytes = read(&work.join(format!("decode-{peer}-{batch}-{items}{rule}.safetensors")))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let sids: Vec<u32> = arm::integers(&file, "sids")?.into_iter().map(|c| c as u32).collect();
    let rows = sids.chunks_exact(DIGITS).enumerate().map(|(i, sid)| (ItemId(i as u32), sid));
    let table = Arc::new(SidTable::new(*items, CodeOrder::Sequence, rows)?);
    let start = Instant::now();
    let trie = Trie::new(&table)?;
    let (index_s, index_bytes) = (start.elapsed().as_secs_f64(), trie.bytes());
    drop(trie);
    let users = arm::integers(&file, "users")?;
    let history = file.tensor("users")?.shape()[1];
    // Only the sum that ranks, as the peers have it.
    let (score, sums) = (if *masked { ScoreRule::Masked } else { ScoreRule::Full }, Sums::Ranked);
    let decoder = Beam::new(BeamOptions { width: *beam, score, sums, ..Default::default() })?;
    let model = Arc::new(model(&file, history)?);
    let recommender = GenerativeRecommender::new(model, Box::new(decoder), table)?;
    let histories: Vec<Vec<ItemId>> = users
        .chunks_exact(history)
        .map(|items| items.iter().map(|&i| ItemId(i as u32)).collect())
        .collect();
    let requests: Vec<Request<'_>> =
        histories.iter().map(|h| Request { history: h, ..Request::default() }).collect();
    let run = Run { threads, ..Run::quiet(0) };
    let mut told = check(&file, *beam as usize, |n| {
        let mut found = Vec::new();
        for part in requests[..n].chunks(*batch) {
            found.extend(recommender.recommend(part, *beam as usize, &run)?);
        }
        let one = |r: &sidereal::core::Recommendation| (i64::from(r.item.0), r.score);
        Ok(found.iter().flat_map(|r| r.items.iter().map(one)).collect())
    })?;
    told.insert("index_s".into(), json!(index_s));
    told.insert("index_mib".into(), json!(index_bytes as f64 / f64::from(1 << 20)));
    let mut turn = 0;
    arm::serve(told, || {
        let at = turn * batch % requests.len();
        turn += 1;
        let part = &requests[at..at + batch];
        std::hint::black_box(recommender.recommend(part, *beam as usize, &run)?);
        Ok(())
    })
}

/// The peer's weights. Its end token, which our vocabulary lacks, takes the row of a user token
/// that no request has: it competes in the softmax and is never generated, as with the peer.
fn model(file: &SafeTensors<'_>, max_history: usize) -> Result<Tiger, Box<dyn Error>> {
    let options = TigerOptions {
        mlp_layers: 1,
        mlp_bias: false,
        head: "tied".into(),
        dropout: 0.0,
        separator: false,
        user_tokens: 1,
        max_history,
        ..TigerOptions::default()
    };
    let mut model = Tiger::new(options, DIGITS, CODES, 0)?;
    let shared = arm::values(file, "shared.weight")?;
    for info in model.params().infos().to_vec() {
        let values = match info.name.as_str() {
            "shared.weight" => shared[FIRST * WIDTH..].to_vec(),
            "start" => shared[..WIDTH].to_vec(),
            "users.weight" => shared[WIDTH..FIRST * WIDTH].to_vec(),
            other => arm::values(file, other)?,
        };
        info.slot.of_mut(model.params_mut().values_mut()).copy_from_slice(&values);
    }
    Ok(model)
}

/// Items and scores of the first `n` users must be the peer's, in its order.
fn check(
    file: &SafeTensors<'_>,
    width: usize,
    found: impl FnOnce(usize) -> Result<Vec<(i64, f64)>, Box<dyn Error>>,
) -> Result<Map<String, Value>, Box<dyn Error>> {
    let (items, scores) = (arm::integers(file, "found")?, arm::values(file, "scores")?);
    let found = found(items.len() / width)?;
    if found.len() != items.len() {
        return Err(format!("{} hypotheses, the peer has {}", found.len(), items.len()).into());
    }
    let other = found.iter().zip(&items).filter(|((item, _), want)| item != *want).count();
    let pairs = found.iter().zip(&scores).map(|((_, got), want)| (got - f64::from(*want)).abs());
    let worst = pairs.fold(0f64, f64::max);
    if worst.is_nan() || worst > SCORES || other as f64 > TIES * items.len() as f64 {
        let n = items.len();
        return Err(format!("{other} of {n} items differ, scores by {worst:.2e}").into());
    }
    let told = [
        ("hypotheses", json!(items.len())),
        ("items_that_differ", json!(other)),
        ("max_score_difference", json!(worst)),
    ];
    Ok(told.map(|(k, v)| (k.to_string(), v)).into_iter().collect())
}
