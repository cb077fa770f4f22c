//! A recommender to metrics: full ranking of the catalogue for every validation and test case.
//!
//! | file | holds |
//! |---|---|
//! | `metrics.json` | `{"valid": {..}, "test": {..}, "protocol": {..}}`, see [`Results`] |
//! | `per_user.csv` | for each test case the user, the rank of the target, length of the history, popularity of the target, all metrics |

use super::data::Data;
use super::embeddings::{Embeddings, embeddings};
use super::training::Trained;
use super::{Context, reranking, version};
use crate::cache::{Entry, Key};
use crate::leaks::Content;
use crate::protocol::{self, Candidates, Known, Protocol, Ranking, Repeats, SeenItems, SplitUsed};
use crate::results::{Group, Optimum, Results};
use crate::scoring::{Cases, answers};
use serde_json::{Value, json};
use sidereal_backbones::{DenseRecommender, GenerativeRecommender};
use sidereal_core::{Error, Matrix, RankedLists, Recommender, Result, Spec, files};
use sidereal_data::EvalSet;
use sidereal_metrics::breakdown::{Groups, breakdown};
use sidereal_metrics::{Classes, EvalContext, Need, Score, Truth, evaluate_all};
use sidereal_rerank::{Cost, Reranked};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Name of the file of results.
pub const METRICS: &str = "metrics.json";
/// Name of the file with one row a test case.
pub const PER_USER: &str = "per_user.csv";

/// What is evaluated.
pub enum Subject {
    /// A trained model.
    Model(Trained),
    /// A recommender that needs no training.
    Baseline(Spec),
}

/// Results and their files.
pub struct Evaluation {
    /// What `metrics.json` holds.
    pub results: Results,
    /// The files.
    pub entry: Entry,
}

/// Makes the recommender of the plan, with its rerankers.
pub fn recommender(
    cx: &Context<'_>,
    data: &Data,
    subject: &Subject,
) -> Result<Box<dyn Recommender>> {
    if cx.plan.rerankers.is_empty() {
        return first_stage(cx, data, subject);
    }
    Ok(Box::new(reranking::reranked(cx, data, subject)?))
}

/// Makes the recommender of the plan as it is before any reranker.
pub(super) fn first_stage(
    cx: &Context<'_>,
    data: &Data,
    subject: &Subject,
) -> Result<Box<dyn Recommender>> {
    match subject {
        Subject::Baseline(spec) => {
            let context = cx.plan.baseline_context(
                data.train.clone(),
                data.dataset.items.len(),
                data.dataset.report.extras.clone(),
            );
            cx.registry.recommenders.build(spec, &context)
        }
        Subject::Model(trained) => match generative_recommender(cx, subject)? {
            Some(made) => Ok(Box::new(made)),
            None => Ok(Box::new(DenseRecommender::new(trained.backbone.clone())?)),
        },
    }
}

/// Makes the recommender of a generative plan; none for others.
pub fn generative_recommender(
    cx: &Context<'_>,
    subject: &Subject,
) -> Result<Option<GenerativeRecommender>> {
    let Subject::Model(trained) = subject else { return Ok(None) };
    let (Some(sids), Some(plan)) = (&trained.sids, generative(cx)) else { return Ok(None) };
    let decoder = cx.registry.decoders.build(&plan.decoder.spec, &())?;
    GenerativeRecommender::new(trained.backbone.clone(), decoder, sids.clone()).map(Some)
}

fn generative<'a>(cx: &Context<'a>) -> Option<&'a crate::GenerativePlan> {
    cx.plan.model.as_ref().and_then(|m| m.generative.as_ref())
}

/// Measures `subject` on the validation and test cases.
pub fn evaluation(cx: &Context<'_>, data: &Data, subject: &Subject) -> Result<Evaluation> {
    let (identity, chosen) = match subject {
        Subject::Model(trained) => (trained.identity.clone(), trained.chosen.clone()),
        Subject::Baseline(spec) => {
            (json!({"type": spec.name, "options": spec.options}), json!(null))
        }
    };
    let sids = match subject {
        Subject::Model(t) => t.sids.as_deref().map(super::sids::identity),
        Subject::Baseline(_) => None,
    };
    let evaluate = &cx.plan.evaluate;
    let mut inputs = json!({
        "data": data.identity,
        "subject": identity,
        "sids": sids,
        "chosen": chosen,
        "decoder": generative(cx).map(|g| g.decoder.identity()),
        "metrics": evaluate.identities,
        "exclude_seen": evaluate.options.exclude_seen,
        "few": evaluate.options.few,
        "seed": cx.plan.seed,
    });
    if let Some(vectors) = vectors(cx, data)? {
        inputs["vectors"] = vectors.identity();
    }
    if let Subject::Model(_) = subject {
        super::add_engine(&mut inputs, cx.plan.engine);
    }
    reranking::add_to_key(&mut inputs, cx, data)?;
    let key = Key::new("evaluation", version::EVALUATION, inputs);
    let entry = cx.cache.get(&key, &cx.run, |folder: &Path| {
        let recommender = reranking::reranked(cx, data, subject)?;
        let valid = measure(cx, data, &recommender, &data.splits.valid, "valid")?;
        let test = measure(cx, data, &recommender, &data.splits.test, "test")?;
        let results = results(cx, data, chosen, &valid, &test)?;
        files::write_json(&folder.join(METRICS), &results)?;
        if let Some(test) = &test {
            per_user(&folder.join(PER_USER), cx, data, test)?;
        }
        Ok(())
    })?;
    let results = files::read_json(&entry.path(METRICS))?;
    Ok(Evaluation { results, entry })
}

/// Categories of the items, where a metric reads them.
///
/// Errors: the data have none. Known as soon as the data are read, so a run asks before it trains.
pub fn classes(cx: &Context<'_>, data: &Data) -> Result<Option<Classes>> {
    let evaluate = &cx.plan.evaluate;
    let all = evaluate.metrics.iter().chain(&evaluate.select);
    let Some(metric) = all.into_iter().find(|m| m.needs().contains(&Need::Categories)) else {
        return Ok(None);
    };
    let column = data.dataset.items.column("categories").ok_or_else(|| {
        Error::config(
            "evaluate.metrics",
            format!(
                "`{}` needs a column `categories` of the items; the data have none",
                metric.name()
            ),
        )
    })?;
    Ok(Some(Classes::of_column(column)))
}

/// Vectors of the items, where a metric reads them.
fn vectors(cx: &Context<'_>, data: &Data) -> Result<Option<Embeddings>> {
    let needed = cx.plan.evaluate.metrics.iter().any(|m| m.needs().contains(&Need::Vectors));
    match generative(cx).filter(|_| needed) {
        Some(plan) => Ok(Some(embeddings(cx, &plan.encoder, data)?)),
        None => Ok(None),
    }
}

/// Scores on one set of cases.
struct Measured {
    lists: RankedLists,
    truth: Truth,
    names: Vec<String>,
    scores: Vec<Score>,
    groups: Groups,
    invalid: u64,
    tied: u64,
    /// Cases whose history holds a target.
    repeats: usize,
    /// What each reranker took.
    costs: Vec<Cost>,
}

fn measure(
    cx: &Context<'_>,
    data: &Data,
    recommender: &Reranked<Box<dyn Recommender>>,
    set: &EvalSet,
    name: &str,
) -> Result<Option<Measured>> {
    if set.is_empty() {
        return Ok(None);
    }
    let plan = &cx.plan.evaluate;
    let cases = Cases::all(set, plan.options.exclude_seen);
    let found = answers(recommender, &cases, plan.list_length, &cx.run, name)?;
    let costs = recommender.take_costs();
    reranking::emit(cx, name, &costs);
    let truth = cases.truth()?;
    let (classes, vectors) = (classes(cx, data)?, vectors(cx, data)?);
    let vectors = vectors.as_ref().map(Embeddings::vectors).transpose()?;
    let context = EvalContext {
        vectors: vectors.map(Matrix::view),
        train: Some(&data.train),
        histories: Some(&set.histories),
        categories: classes.as_ref(),
        ..EvalContext::new(data.dataset.items.len(), &data.popularity)
    };
    let scores = evaluate_all(&plan.metrics, &found.lists, &truth, &context, cx.run.threads)?;
    if let Some((m, _)) = plan.metrics.iter().zip(&scores).find(|(_, s)| !s.value.is_finite()) {
        return Err(Error::NotFinite {
            what: format!("metric {} on {name}", m.name()),
            step: None,
            help: "a metric must have a value for every case".into(),
        });
    }
    let repeats = (0..cases.len())
        .filter(|&c| cases.targets(c).iter().any(|t| cases.request(c).history.contains(t)))
        .count();
    let groups = Groups::by_popularity(&truth, &data.popularity, &[plan.options.few])?;
    Ok(Some(Measured {
        lists: found.lists,
        truth,
        names: plan.metrics.iter().map(|m| m.name()).collect(),
        scores,
        groups,
        invalid: found.invalid,
        tied: found.tied,
        repeats,
        costs,
    }))
}

fn results(
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

/// Columns of `per_user.csv` before those of the metrics.
pub const PER_USER_COLUMNS: [&str; 4] = ["user", "rank", "history", "popularity"];

/// One row a test case: ranks count from 1, an empty rank means that the list misses all targets;
/// `popularity` is the number of training interactions of the rarest target.
fn per_user(path: &Path, cx: &Context<'_>, data: &Data, measured: &Measured) -> Result<()> {
    let columns: Vec<(&String, &Vec<f64>)> = measured
        .names
        .iter()
        .zip(&measured.scores)
        .filter_map(|(name, score)| score.per_user.as_ref().map(|v| (name, v)))
        .collect();
    let cases = Cases::all(&data.splits.test, cx.plan.evaluate.options.exclude_seen);
    files::write_atomic(path, |out| {
        write!(out, "{}", PER_USER_COLUMNS.join(","))?;
        columns.iter().try_for_each(|(name, _)| write!(out, ",{}", field(name)))?;
        writeln!(out)?;
        for c in 0..measured.truth.len() {
            let user = data.splits.test.user(c);
            write!(out, "{},", field(data.dataset.user_ids.get(user.index())))?;
            let (list, targets) = (measured.lists.get(c), measured.truth.get(c));
            if let Some(rank) = list.iter().position(|i| targets.contains(i)) {
                write!(out, "{}", rank + 1)?;
            }
            let counts = targets.iter().filter_map(|t| data.popularity.get(t.index()));
            let history = cases.request(c).history.len();
            write!(out, ",{history},{}", counts.min().copied().unwrap_or(0))?;
            columns.iter().try_for_each(|(_, values)| write!(out, ",{}", values[c]))?;
            writeln!(out)?;
        }
        Ok(())
    })
}

/// A field of a CSV file (RFC 4180).
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}

/// The subject of a plan that needs no model.
pub fn baseline(cx: &Context<'_>) -> Option<Subject> {
    cx.plan.baseline.clone().map(Subject::Baseline)
}

/// A trained model as a subject.
pub fn model(trained: Trained) -> Subject {
    Subject::Model(trained)
}

impl Subject {
    /// The SID table of a generative model.
    pub fn sids(&self) -> Option<&Arc<sidereal_core::SidTable>> {
        match self {
            Subject::Model(t) => t.sids.as_ref(),
            Subject::Baseline(_) => None,
        }
    }
}
