//! A finished run as a recommender, and recommendations made readable.

use crate::config::Config;
use crate::folder::{CONFIG, RunFolder};
use crate::leaks::provenance::of_folder;
use crate::leaks::{Guard, Provenance};
use crate::scoring::Cases;
use crate::served::{Catalogue, Explainer, Seen, Served};
use crate::stages::Context;
use crate::stages::data::{Data, data};
use crate::stages::evaluation::{self, Evaluation, Subject};
use crate::stages::training::Trained;
use crate::{Cache, Plan, Registry};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sidereal_core::sid::token;
use sidereal_core::{
    Error, ItemId, ItemTable, Recommender, Request, Response, Result, Run, SidTable, UserId, files,
};
use std::path::Path;
use std::sync::Arc;

/// History items shown, the most recent ones.
const SHOWN_HISTORY: usize = 5;
/// Recommendations shown for an example user.
const SHOWN_ITEMS: usize = 5;

/// An item for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownItem {
    /// Source id.
    pub id: String,
    /// Title, or the id where there is none.
    pub title: String,
    /// Semantic ID, as in `<a_1><b_7>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Score that ordered the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Whether the user took it next; only known for test cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit: Option<bool>,
}

/// A user with recommendations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Source id of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Length of the whole history.
    pub history_length: usize,
    /// The most recent items, oldest first.
    pub history: Vec<ShownItem>,
    /// Best first.
    pub recommendations: Vec<ShownItem>,
    /// What the user took next; only known for test cases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<ShownItem>,
}

/// `n` test cases, spread evenly, with their best recommendations.
pub fn examples(
    cx: &Context<'_>,
    data: &Data,
    recommender: &dyn Recommender,
    sids: Option<&Arc<SidTable>>,
    n: usize,
) -> Result<Vec<Example>> {
    let set = &data.splits.test;
    let cases = Cases::some(set, n, cx.plan.evaluate.options.exclude_seen);
    let requests: Vec<Request<'_>> = (0..cases.len()).map(|c| cases.request(c)).collect();
    let quiet = Run { observer: &sidereal_core::Silent, ..cx.run.clone() };
    let responses = recommender.recommend(&requests, SHOWN_ITEMS, &quiet)?;
    let show = Show { items: &data.dataset.items, sids: sids.map(Arc::as_ref) };
    let example = |(c, response): (usize, &Response)| {
        let targets = cases.targets(c);
        let mut example = show.example(&requests[c], response);
        for (shown, item) in example.recommendations.iter_mut().zip(&response.items) {
            shown.hit = Some(targets.contains(&item.item));
        }
        example.user = requests[c].user.map(|u| data.dataset.user_ids.get(u.index()).to_string());
        example.targets = targets.iter().map(|&t| show.item(t)).collect();
        example
    };
    Ok(responses.iter().enumerate().map(example).collect())
}

struct Show<'a> {
    items: &'a ItemTable,
    sids: Option<&'a SidTable>,
}

impl Show<'_> {
    fn item(&self, item: ItemId) -> ShownItem {
        let codes = self.sids.and_then(|t| t.first_sid(item));
        ShownItem {
            id: self.items.id(item).to_string(),
            title: self.items.title(item).to_string(),
            sid: codes.map(tokens),
            score: None,
            hit: None,
        }
    }

    fn example(&self, request: &Request<'_>, response: &Response) -> Example {
        let recent = &request.history[request.history.len().saturating_sub(SHOWN_HISTORY)..];
        let recommendation = |r: &sidereal_core::Recommendation| {
            let mut shown = self.item(r.item);
            shown.score = Some(r.score);
            if let Some(codes) = &r.sid {
                shown.sid = Some(tokens(codes));
            }
            shown
        };
        Example {
            user: None,
            history_length: request.history.len(),
            history: recent.iter().map(|&i| self.item(i)).collect(),
            recommendations: response.items.iter().map(recommendation).collect(),
            targets: Vec::new(),
        }
    }
}

fn tokens(codes: &[u32]) -> String {
    codes.iter().enumerate().map(|(level, &c)| token(level, c)).collect()
}

/// A finished run, ready to answer.
pub struct Finished<'a> {
    cx: Context<'a>,
    data: Data,
    subject: Subject,
    recommender: Arc<dyn Recommender>,
    explainer: Option<Arc<dyn Explainer>>,
    provenance: Vec<Provenance>,
}

/// Who asks for recommendations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// A user of the data: source id or dense number.
    User(String),
    /// Items, oldest first: source ids or dense numbers.
    History(Vec<String>),
}

/// The plan of a finished run, with `changes` (`key=value`) to what comes after training.
pub fn plan_of(registry: &Registry, folder: &Path, changes: &[String]) -> Result<Plan> {
    RunFolder::open(folder)?;
    let mut config = Config::load(&folder.join(CONFIG))?;
    for change in changes {
        let section = change.split(['.', '=']).next().unwrap_or_default().trim();
        if !matches!(section, "decoder" | "reranker" | "evaluate" | "threads" | "device" | "cache")
        {
            return Err(Error::ConfigAt {
                place: format!("--set {change}"),
                message:
                    "only [decoder], [[reranker]], [evaluate], threads and device can change after training; \
                          everything else needs a new run"
                        .into(),
            });
        }
        config.set(change)?;
    }
    Plan::resolve(registry, &config)
}

impl<'a> Finished<'a> {
    /// Opens a run folder under its plan; data come from the cache or their source.
    pub fn open(
        registry: &'a Registry,
        plan: &'a Plan,
        cache: &'a Cache,
        folder: &Path,
        run: Run<'a>,
    ) -> Result<Self> {
        Finished::open_with(registry, plan, cache, folder, None, run)
    }

    /// Opens a run folder with the SID table of the file `table` in the place of its own.
    ///
    /// Errors: besides those of [`Finished::open`], a table that is not for the same items, or
    /// whose widths are not those that the model was trained for.
    pub fn open_with(
        registry: &'a Registry,
        plan: &'a Plan,
        cache: &'a Cache,
        folder: &Path,
        table: Option<&Path>,
        run: Run<'a>,
    ) -> Result<Self> {
        let cx = Context { registry, plan, cache, run };
        let data = data(&cx)?;
        same_data(folder, &data)?;
        let subject = match (&plan.model, evaluation::baseline(&cx)) {
            (_, Some(_)) if table.is_some() => {
                return Err(Error::mismatch("the run has no model: it reads no SID table"));
            }
            (_, Some(baseline)) => baseline,
            (Some(model), None) => {
                let mut trained = Trained::open(&cx, model, &data, folder, table)?;
                let results: Option<Value> =
                    files::read_json(&folder.join(evaluation::METRICS)).ok();
                if let Some(chosen) = results.map(|r| r["protocol"]["checkpoint"].clone()) {
                    trained.chosen = chosen;
                }
                evaluation::model(trained)
            }
            (None, None) => return Err(Error::mismatch("the run has no recommender")),
        };
        let generative = evaluation::generative_recommender(&cx, &subject)?.map(Arc::new);
        let explainer = generative.clone().map(|g| g as Arc<dyn Explainer>);
        // Without rerankers both share one.
        let recommender: Arc<dyn Recommender> = match generative {
            Some(generative) if plan.rerankers.is_empty() => generative,
            _ => Arc::from(evaluation::recommender(&cx, &data, &subject)?),
        };
        let provenance = of_folder(folder).unwrap_or_default();
        Ok(Finished { cx, data, subject, recommender, explainer, provenance })
    }

    /// What answers requests, without what it was opened from; `name` is what answers call it.
    pub fn into_served(self, name: &str) -> Served {
        let Finished { cx, data, subject, recommender, explainer, .. } = self;
        let Data { dataset, popularity, identity, .. } = data;
        let generative = cx.plan.model.as_ref().and_then(|m| m.generative.as_ref());
        Served {
            name: name.into(),
            catalogue: Arc::new(Catalogue {
                items: dataset.items,
                users: dataset.user_ids,
                histories: dataset.interactions,
                popularity,
                identity,
            }),
            sids: subject.sids().cloned(),
            recommender,
            explainer,
            seen: match cx.plan.evaluate.options.exclude_seen {
                true => Seen::Removed,
                false => Seen::Kept,
            },
            seed: cx.plan.seed,
            width: generative.map(|g| g.decoder.built.width()),
        }
    }

    /// The recommender alone, for a run on `data`.
    ///
    /// Errors: this run is on other data.
    pub(crate) fn into_recommender(self, data: &Data) -> Result<Arc<dyn Recommender>> {
        if self.data.identity != data.identity {
            return Err(Error::mismatch("the run that verifies is on other data or another split"));
        }
        Ok(self.recommender)
    }

    /// Measures the run again, under the plan it was opened with.
    pub fn evaluate(&self) -> Result<Evaluation> {
        let mut guard = Guard::new(&self.cx, &self.data)?;
        self.provenance.iter().cloned().try_for_each(|read| guard.stage(read))?;
        let mut evaluated = evaluation::evaluation(&self.cx, &self.data, &self.subject)?;
        guard.lists(&evaluated.results)?;
        evaluated.results.leak_check = Some(guard.finish().0);
        Ok(evaluated)
    }

    /// The best `k` items for someone.
    pub fn recommend(&self, asker: &Asker, k: usize) -> Result<Example> {
        let (user, history) = match asker {
            Asker::User(id) => {
                let user = self.user(id)?;
                (Some(user), self.data.dataset.interactions.items(user).to_vec())
            }
            Asker::History(ids) => {
                (None, ids.iter().map(|id| self.item(id)).collect::<Result<Vec<_>>>()?)
            }
        };
        if history.is_empty() {
            return Err(Error::input("the history is empty: name at least one item"));
        }
        let exclude: &[ItemId] = match self.cx.plan.evaluate.options.exclude_seen {
            true => &history,
            false => &[],
        };
        let times = user.and_then(|u| self.data.dataset.interactions.times(u));
        let request = Request { user, history: &history, times, exclude, among: None };
        let responses = self.recommender.recommend(&[request], k, &self.cx.run)?;
        let show =
            Show { items: &self.data.dataset.items, sids: self.subject.sids().map(Arc::as_ref) };
        let response = responses.first().cloned().unwrap_or_default();
        let mut example = show.example(&request, &response);
        example.user = user.map(|u| self.data.dataset.user_ids.get(u.index()).to_string());
        Ok(example)
    }

    fn user(&self, id: &str) -> Result<UserId> {
        let ids = &self.data.dataset.user_ids;
        number(id, ids.iter(), ids.len()).map(UserId).ok_or_else(|| unknown("user", id, ids.len()))
    }

    fn item(&self, id: &str) -> Result<ItemId> {
        let ids = self.data.dataset.items.ids();
        number(id, ids.iter(), ids.len()).map(ItemId).ok_or_else(|| unknown("item", id, ids.len()))
    }
}

/// Refuses data that have changed since the run in `folder`.
pub(crate) fn same_data(folder: &Path, data: &Data) -> Result<()> {
    let written: Value = files::read_json(&folder.join("data.json"))?;
    if written["identity"] == data.identity {
        return Ok(());
    }
    Err(Error::data(
        folder.join("data.json"),
        "the data have changed since the run: restore them, or run again",
    ))
}

/// A source id, or where no source id is meant, a dense number below `n`.
fn number<'a>(id: &str, mut ids: impl Iterator<Item = &'a str>, n: usize) -> Option<u32> {
    let id = id.trim();
    match ids.position(|known| known == id) {
        Some(i) => Some(i as u32),
        None => id.parse::<u32>().ok().filter(|&i| (i as usize) < n),
    }
}

fn unknown(what: &str, id: &str, n: usize) -> Error {
    Error::input(format!(
        "no {what} `{id}`: expected a source id of the data or a number from 0 to {}",
        n.saturating_sub(1)
    ))
}
