//! What `metrics.json` holds: values, what they mean, groups, and the best possible.

use super::super::data::Data;
use super::super::{Context, reranking};
use super::Measured;
use crate::leaks::Content;
use crate::protocol::{self, Candidates, Known, Protocol, Ranking, Repeats, SeenItems, SplitUsed};
use crate::results::{Group, Optimum, Results};
use serde_json::{Value, json};
use sidereal_core::Result;
use sidereal_metrics::breakdown::breakdown;
use std::collections::{BTreeMap, BTreeSet};

/// Results of both parts.
pub(super) fn results(
    cx: &Context<'_>,
    data: &Data,
    chosen: Value,
    valid: &Option<Measured>,
    test: &Option<Measured>,
) -> Result<Results> {
    let values = |m: &Option<Measured>| -> BTreeMap<String, f64> {
        let m = m.iter().flat_map(|m| m.names.iter().zip(&m.scores));
        m.map(|(name, score)| (name.clone(), score.value)).collect()
    };
    let mut groups = BTreeMap::new();
    for (part, m) in [("valid", valid), ("test", test)] {
        if let Some(m) = m {
            groups.insert(part.to_string(), by_group(m)?);
        }
    }
    Ok(Results {
        valid: values(valid),
        test: values(test),
        protocol: protocol(cx, data, chosen, valid, test),
        leak_check: None,
        groups,
        optimum: optimum(cx, data),
    })
}

fn by_group(measured: &Measured) -> Result<Vec<Group>> {
    let names = measured.groups.names();
    let mut groups: Vec<Group> =
        names.iter().map(|n| Group { items: n.clone(), ..Group::default() }).collect();
    for (name, score) in measured.names.iter().zip(&measured.scores) {
        let Some(per_user) = &score.per_user else { continue };
        for (group, mean) in groups.iter_mut().zip(breakdown(per_user, &measured.groups)?) {
            group.cases = mean.requests as u64;
            if let Some(mean) = mean.mean {
                group.values.insert(name.clone(), mean);
            }
        }
    }
    Ok(groups)
}

/// What the figures mean: without it no two results can be compared.
fn protocol(
    cx: &Context<'_>,
    data: &Data,
    chosen: Value,
    valid: &Option<Measured>,
    test: &Option<Measured>,
) -> Protocol {
    let plan = &cx.plan.evaluate;
    let part = |m: &Option<Measured>| {
        m.as_ref().map(|m| protocol::Cases {
            cases: m.truth.len() as u64,
            targets_in_history: m.repeats as u64,
            invalid_candidates: m.invalid,
            tied_lists: m.tied,
        })
    };
    let split = &cx.plan.split.spec;
    let mut known = BTreeSet::from([Known::User, Known::History]);
    if data.dataset.interactions.all_times().is_some() {
        known.insert(Known::HistoryTimes);
    }
    let metrics = plan.metrics.iter().zip(&plan.identities);
    let costs = |m: &Option<Measured>| m.as_ref().map(|m| m.costs.clone()).unwrap_or_default();
    let mut other = json!({});
    reranking::add_to_protocol(&mut other, cx, &costs(valid), &costs(test));
    Protocol {
        split: Some(SplitUsed {
            name: split.name.clone(),
            options: split.options.clone().into_iter().collect(),
        }),
        ranking: Some(Ranking::Full),
        candidates: Some(Candidates::Catalogue),
        seen_items: Some(match plan.options.exclude_seen {
            true => SeenItems::Removed,
            false => SeenItems::Kept,
        }),
        repeats: Some(Repeats::FirstPlace),
        known: Some(known),
        checkpoint: serde_json::from_value(chosen).ok(),
        list_length: Some(plan.list_length as u64),
        few: Some(plan.options.few),
        metrics: metrics.map(|(m, identity)| (m.name(), identity.clone())).collect(),
        dataset: Some(Content::of_dataset(&data.dataset).sum),
        users: Some(data.dataset.interactions.len() as u64),
        items: Some(data.dataset.items.len() as u64),
        interactions: Some(data.dataset.interactions.all_items().len() as u64),
        training_interactions: Some(data.splits.report.train_interactions),
        valid: part(valid),
        test: part(test),
        seed: Some(cx.plan.seed),
        other: serde_json::from_value(other).unwrap_or_default(),
    }
}

/// Best possible values, where the source knows them; they hold for leave-one-out.
fn optimum(cx: &Context<'_>, data: &Data) -> BTreeMap<String, BTreeMap<String, Optimum>> {
    let extras = &data.dataset.report.extras;
    let mut out = BTreeMap::new();
    if cx.plan.split.spec.name == "leave-one-out" {
        for (part, key) in [("valid", "optimum_valid"), ("test", "optimum")] {
            let best = extras.get(key).and_then(|v| serde_json::from_value(v.clone()).ok());
            let mut best: BTreeMap<String, Optimum> = best.unwrap_or_default();
            best.retain(|name, _| cx.plan.evaluate.metrics.iter().any(|m| m.name() == *name));
            if !best.is_empty() {
                out.insert(part.to_string(), best);
            }
        }
    }
    out
}
