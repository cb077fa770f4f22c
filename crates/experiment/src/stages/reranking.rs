//! The plan's rerankers behind its recommender, and what they may know of the catalogue.
//!
//! Popularity is that of the training part. Item vectors are the model's own where it has some
//! (dense retrievers), else the vectors that the IDs were made from. Categories are the column
//! `categories`, cut at the depth that a reranker asks for. Rerankers change the key of the
//! evaluation alone, never that of training.

use super::Context;
use super::data::Data;
use super::embeddings::embeddings;
use super::evaluation::{METRICS, Subject, first_stage};
use crate::cache::Checksum;
use crate::folder::CONFIG;
use crate::serve::{Finished, plan_of};
use serde_json::{Value, json};
use sidereal_backbones::Output;
use sidereal_core::{EncoderInput, Error, Event, ItemEncoder, MatrixRef, Recommender, Result};
use sidereal_encoders::{Labels, LabelsOptions};
use sidereal_rerank::{Cost, Groups, Need, Reranked, Reranker, Side};
use std::path::Path;
use std::sync::Arc;

/// The recommender of the plan with its rerankers, which may be none.
pub fn reranked(
    cx: &Context<'_>,
    data: &Data,
    subject: &Subject,
) -> Result<Reranked<Box<dyn Recommender>>> {
    let build = |p: &crate::Part<dyn Reranker>| cx.registry.rerankers.build(&p.spec, &());
    let chain: Vec<Box<dyn Reranker>> =
        cx.plan.rerankers.iter().map(build).collect::<Result<_>>()?;
    let mut needs: Vec<Need> = chain.iter().flat_map(|r| r.needs()).collect();
    needs.sort_unstable();
    needs.dedup();
    let mut side = Side::default();
    for need in needs {
        side = match need {
            Need::Popularity => side.with_popularity(&data.popularity),
            Need::Vectors => with_vectors(side, cx, data, subject)?,
            Need::Categories(level) => {
                let groups = categories(cx, data, level)?;
                side.with_categories(level, groups)
            }
            Need::Run(folder) => side.with_run(&folder, second(cx, data, &folder)?),
            other => {
                let message = format!("a reranker needs {other:?}, which a run has not");
                return Err(Error::config("reranker", message));
            }
        };
    }
    Reranked::new(first_stage(cx, data, subject)?, chain, side)
}

fn with_vectors(side: Side, cx: &Context<'_>, data: &Data, subject: &Subject) -> Result<Side> {
    if let Subject::Model(trained) = subject
        && trained.backbone.output() == Output::Items
    {
        let (n, items) = (data.dataset.items.len(), trained.backbone.item_vectors()?);
        return side.with_vectors(MatrixRef::new(n, items.len() / n.max(1), items)?);
    }
    let generative = cx.plan.model.as_ref().and_then(|m| m.generative.as_ref());
    match generative.filter(|g| g.identifier.built.reads_codes()) {
        Some(generative) => {
            let made = embeddings(cx, &generative.encoder, data)?;
            side.with_vectors(made.vectors()?.view())
        }
        None => Err(Error::config(
            "reranker",
            "a reranker compares item vectors, and this run has none: it needs a model that is a \
             dense retriever or an identifier that reads the codes of vectors",
        )),
    }
}

/// The recommender of another finished run on the same data.
fn second(cx: &Context<'_>, data: &Data, folder: &str) -> Result<Arc<dyn Recommender>> {
    let plan = plan_of(cx.registry, Path::new(folder), &[])?;
    let finished = Finished::open(cx.registry, &plan, cx.cache, Path::new(folder), cx.run.clone())?;
    finished.into_recommender(data).map_err(|e| match e {
        Error::Mismatch(message) => Error::config("reranker.run_path", message),
        other => other,
    })
}

fn categories(cx: &Context<'_>, data: &Data, level: usize) -> Result<Groups> {
    let labels = Labels::new(LabelsOptions { level, ..LabelsOptions::default() })?;
    let input = EncoderInput { items: &data.dataset.items, train: &data.train };
    let classes = labels.encode(&input, &cx.run)?;
    Ok(Groups::new(classes.data().iter().map(|&class| class as u32).collect()))
}

/// Adds the chain to the key of an evaluation; without rerankers nothing changes.
pub fn add_to_key(inputs: &mut Value, cx: &Context<'_>, data: &Data) -> Result<()> {
    let chain: Vec<Value> = cx.plan.rerankers.iter().map(|p| p.identity()).collect();
    if chain.is_empty() {
        return Ok(());
    }
    inputs["rerankers"] = chain.into();
    let mut runs = Vec::new();
    for need in cx.plan.rerankers.iter().flat_map(|p| p.built.needs()) {
        if let Need::Run(folder) = need {
            // The resolved configuration and what it came to stand for the model.
            for file in [CONFIG, METRICS] {
                runs.push(Checksum::of(&Path::new(&folder).join(file))?.sha256);
            }
        }
    }
    if !runs.is_empty() {
        inputs["runs"] = runs.into();
    }
    // The vectors that IDs were made from are no part of a trained model's identity.
    let reads = |p: &crate::Part<dyn Reranker>| p.built.needs().contains(&Need::Vectors);
    let generative = cx.plan.model.as_ref().and_then(|m| m.generative.as_ref());
    if let (true, Some(g)) = (cx.plan.rerankers.iter().any(reads), generative)
        && g.identifier.built.reads_codes()
    {
        inputs["vectors"] = embeddings(cx, &g.encoder, data)?.identity();
    }
    Ok(())
}

/// What the chain took, for people and logs; times stand here and not among the results.
pub fn emit(cx: &Context<'_>, part: &str, costs: &[Cost]) {
    for (at, (cost, reranker)) in costs.iter().zip(&cx.plan.rerankers).enumerate() {
        let text = format!(
            "{part}: reranker {at} ({}) looked at {} candidates of {} lists, {} calls, {:.3} s",
            reranker.spec.name,
            cost.candidates,
            cost.requests,
            cost.calls,
            cost.nanoseconds as f64 * 1e-9
        );
        cx.run.emit(Event::Note(&text));
    }
}

/// The chain and its costs, without times: the same run gives the same bytes.
pub fn add_to_protocol(tree: &mut Value, cx: &Context<'_>, valid: &[Cost], test: &[Cost]) {
    if cx.plan.rerankers.is_empty() {
        return;
    }
    let part = |cost: Option<&Cost>| {
        cost.map(|c| json!({"lists": c.requests, "candidates": c.candidates, "calls": c.calls}))
    };
    let chain = cx.plan.rerankers.iter().enumerate().map(|(at, p)| {
        json!({"type": p.spec.name, "valid": part(valid.get(at)), "test": part(test.get(at))})
    });
    tree["rerankers"] = chain.collect();
}
