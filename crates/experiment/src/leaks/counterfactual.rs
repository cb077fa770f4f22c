//! With other test targets, does anything upstream change?
//!
//! The general question behind all checks of leaks. The data are taken twice, once as they are and
//! once with every test target replaced by another item; split, encoders, quantizers, identifiers
//! and training work on both. What they make must be the same bytes, because the test targets are
//! all that differs. It needs no knowledge of how a leak looks, so it also holds components of
//! plugins to their promise; it does not see what a component reads from files beside the data.
//! It costs the upstream work twice, so `sidereal leaks` asks it and not every run.

use super::{Content, Finding, Verdict};
use crate::hash;
use crate::stages::data::Data;
use crate::stages::{Context, sids, training};
use sidereal_core::{Error, Event, ItemId, Result, Sequences, seed};
use sidereal_data::{Dataset, Splits};
use std::collections::BTreeMap;
use std::path::Path;

/// Sums of what stages made, by stage.
pub type Made = BTreeMap<String, String>;

/// Draws of another item before one that the user has already is taken.
const TRIES: usize = 16;

/// The data set with every test target replaced by another item; everything else stays.
///
/// Errors: fewer than two items.
pub fn other_targets(data: &Dataset, splits: &Splits, seed: u64) -> Result<Dataset> {
    let n = data.items.len() as u32;
    if n < 2 {
        return Err(Error::input("one item alone: there is no other target"));
    }
    let all = &data.interactions;
    let mut items = all.all_items().to_vec();
    let set = &splits.test;
    let mut draws = 0;
    for c in 0..set.len() {
        let user = set.user(c);
        let start = all.offsets()[user.index()] as usize;
        let mine = all.items(user);
        for &target in set.target(c) {
            // Earlier occurrences belong to the history.
            let known = set.history(c).iter().filter(|i| **i == target).count();
            let places = mine.iter().enumerate().filter(|(_, i)| **i == target).skip(known);
            for (place, _) in places {
                let mut other = target;
                for _ in 0..TRIES {
                    draws += 1;
                    let drawn =
                        ItemId((seed::key(seed, "counterfactual", draws) % u64::from(n)) as u32);
                    if drawn != target {
                        other = drawn;
                    }
                    if drawn != target && !mine.contains(&drawn) {
                        break;
                    }
                }
                if other == target {
                    other = ItemId((target.0 + 1) % n);
                }
                items[start + place] = other;
            }
        }
    }
    let times = all.all_times().map(<[i64]>::to_vec);
    let interactions = Sequences::new(all.offsets().to_vec(), items, times)?;
    Ok(Dataset { interactions, ..data.clone() })
}

/// Runs `work` on the data as they are and with other test targets, and holds what the split and
/// `work` made of both against each other: one finding a stage.
pub fn counterfactual(
    cx: &Context<'_>,
    data: &Data,
    work: impl Fn(&Data) -> Result<Made>,
) -> Result<Vec<Finding>> {
    let changed = other_targets(&data.dataset, &data.splits, cx.run.seed)?;
    let identity = serde_json::json!({"counterfactual": Content::of_dataset(&changed)});
    let changed = Data::of(changed, &cx.plan.split, identity)?;
    if Content::of_cases(&data.splits.test) == Content::of_cases(&changed.splits.test) {
        return Err(Error::mismatch("the split gives the same test cases for other targets"));
    }
    let mut pairs: Vec<(String, [String; 2])> = Vec::new();
    for (a, b) in split_sums(data).into_iter().zip(split_sums(&changed)) {
        pairs.push((a.0, [a.1, b.1]));
    }
    let (a, b) = (work(data)?, work(&changed)?);
    for (stage, sum) in a {
        let other = b.get(&stage).cloned().unwrap_or_default();
        pairs.push((stage, [sum, other]));
    }
    let judge = |(stage, [a, b]): (String, [String; 2])| {
        let check = format!("targets-change-{stage}");
        match a == b {
            true => Finding::new(&check, Verdict::Clean, "the same with other test targets"),
            false => Finding::new(&check, Verdict::Leak, "it differs with other test targets"),
        }
    };
    Ok(pairs.into_iter().map(judge).collect())
}

/// What a split makes beside the test targets.
fn split_sums(data: &Data) -> Vec<(String, String)> {
    let sum = |name: &str, content: Content| (name.to_string(), content.sum);
    vec![
        sum("training-histories", Content::of_histories(&data.train)),
        sum("popularity", Content::of_counts(&data.popularity)),
        sum("validation-cases", Content::of_cases(&data.splits.valid)),
        sum("test-histories", Content::of_histories(&data.splits.test.histories)),
    ]
}

/// All stages of the plan before the evaluation: vectors, IDs, weights. Unfinished training lies
/// below `folder`.
pub fn upstream(cx: &Context<'_>, data: &Data, folder: &Path) -> Result<Made> {
    let mut made = Made::new();
    let Some(plan) = &cx.plan.model else { return Ok(made) };
    let mut table = None;
    if let Some(generative) = &plan.generative {
        let vectors = sids::Vectors::encode(cx, generative, data)?;
        if let Some(vectors) = &vectors {
            made.insert("vectors".into(), vectors.identity().to_string());
        }
        let sids = sids::sids(cx, generative, data, vectors.as_ref())?;
        made.insert("ids".into(), sids.identity().to_string());
        table = Some(sids.table);
    }
    let checkpoints = folder.join(hash::of_json(&data.identity));
    let trained = training::training(cx, plan, data, table, &checkpoints)?;
    made.insert("weights".into(), trained.entry.sum(training::WEIGHTS).into());
    Ok(made)
}

/// The whole question for a plan, with a folder for the work, which is removed at the end.
pub fn of_plan(cx: &Context<'_>, data: &Data, folder: &Path) -> Result<Vec<Finding>> {
    let findings = counterfactual(cx, data, |data| {
        cx.run.emit(Event::Note("vectors, IDs and training, as they are and with other targets"));
        upstream(cx, data, folder)
    });
    let _ = std::fs::remove_dir_all(folder);
    findings
}
