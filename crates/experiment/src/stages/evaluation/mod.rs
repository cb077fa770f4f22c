//! A recommender to metrics: full ranking of the catalogue for every validation and test case.
//!
//! | file | holds |
//! |---|---|
//! | `metrics.json` | `{"valid": {..}, "test": {..}, "protocol": {..}}`, see [`Results`] |
//! | `per_user.csv` | for each test case the user, the rank of the target, length of the history, popularity of the target, all metrics |

mod per_user;
mod results;

pub use per_user::{PER_USER, PER_USER_COLUMNS};

use super::data::Data;
use super::embeddings::{Embeddings, embeddings};
use super::training::Trained;
use super::{Context, reranking, version};
use crate::cache::{Entry, Key};
use crate::results::Results;
use crate::scoring::{Cases, answers};
use serde_json::json;
use sidereal_backbones::{DenseRecommender, GenerativeRecommender};
use sidereal_core::{Error, Matrix, RankedLists, Recommender, Result, Spec, files};
use sidereal_data::EvalSet;
use sidereal_metrics::breakdown::Groups;
use sidereal_metrics::{Classes, EvalContext, Need, Score, Truth, evaluate_all};
use sidereal_rerank::{Cost, Reranked};
use std::path::Path;
use std::sync::Arc;

/// Name of the file of results.
pub const METRICS: &str = "metrics.json";

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
        let results = results::results(cx, data, chosen, &valid, &test)?;
        files::write_json(&folder.join(METRICS), &results)?;
        if let Some(test) = &test {
            per_user::per_user(&folder.join(PER_USER), cx, data, test)?;
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
