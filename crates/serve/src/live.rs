//! What answers now: a served run with its index and version, behind an `Arc` that a swap replaces.
//! Requests keep the one that they were looked up in.

use crate::answer::{Answer, AnswerItem, CatalogueItem, Found, Step, UserHistory, Version};
use crate::fault::Fault;
use crate::index::Index;
use crate::request::{Ask, Explain, Limits, Who};
use crate::worker::Done;
use sidereal_core::sid::token;
use sidereal_core::{
    Code, Error, ItemId, ItemSet, Recommendation, Request, Result, Run, SidTable, UserId,
};
use sidereal_decoding::explain::Path;
use sidereal_experiment::{Seen, Served};
use std::sync::{Arc, PoisonError, RwLock};

/// A run in service.
pub struct Live {
    /// The recommender, its items and its table.
    pub served: Served,
    /// Which one it is.
    pub version: Version,
    index: Arc<Index>,
}

/// A request whose ids have been looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    user: Option<UserId>,
    history: Vec<ItemId>,
    times: Option<Vec<i64>>,
    exclude: Vec<ItemId>,
    among: Option<Arc<ItemSet>>,
    /// Number of items.
    pub k: usize,
    /// What the answer says beside the items.
    pub explain: Explain,
}

impl Wanted {
    /// As the recommender takes it.
    pub fn request(&self) -> Request<'_> {
        Request {
            user: self.user,
            history: &self.history,
            times: self.times.as_deref(),
            exclude: &self.exclude,
            among: self.among.as_deref(),
        }
    }

    /// Whether two requests can share a batch: a batch has the times of all histories or of none.
    pub fn goes_with(&self, other: &Wanted) -> bool {
        self.times.is_some() == other.times.is_some()
    }
}

impl Live {
    fn new(served: Served, generation: u64, index: Option<Arc<Index>>) -> Result<Self> {
        let version = Version {
            generation,
            run: served.name.clone(),
            table: served.sids.as_ref().map(|t| format!("{:016x}", t.version())),
        };
        let index = match index {
            Some(index) => index,
            None => Arc::new(Index::new(&served.catalogue)?),
        };
        Ok(Live { served, version, index })
    }

    /// Looks up the ids of a request.
    ///
    /// Errors: 404 for a user, 422 for an item that there is none of.
    pub fn look_up(&self, ask: &Ask) -> Result<Wanted, Fault> {
        let histories = &self.served.catalogue.histories;
        let (user, history, times) = match &ask.who {
            Who::User(id) => {
                let user = self.user(id)?;
                let times = histories.times(user).map(<[i64]>::to_vec);
                (Some(user), histories.items(user).to_vec(), times)
            }
            Who::History(ids) => (None, self.items(ids, "history")?, None),
        };
        if history.is_empty() {
            return Err(Fault::field("user", "empty", "no history", "a user with a history"));
        }
        let mut exclude = self.items(&ask.exclude, "exclude")?;
        if self.served.seen == Seen::Removed {
            exclude.extend_from_slice(&history);
        }
        exclude.sort_unstable();
        exclude.dedup();
        let among = ask.filter.as_ref().map(|f| self.index.filtered(f)).transpose()?;
        Ok(Wanted { user, history, times, exclude, among, k: ask.k, explain: ask.explain })
    }

    fn user(&self, id: &str) -> Result<UserId, Fault> {
        self.index.user(&self.served.catalogue, id).ok_or_else(|| {
            let mut fault = Fault::new(404, "unknown_user", format!("no user `{id}`"));
            fault.detail.field = Some("user".into());
            fault
        })
    }

    fn items(&self, ids: &[String], field: &str) -> Result<Vec<ItemId>, Fault> {
        let one = |(i, id): (usize, &String)| {
            self.index.item(&self.served.catalogue, id).ok_or_else(|| {
                let mut fault = Fault::new(422, "unknown_item", format!("no item `{id}`"));
                fault.detail.field = Some(format!("{field}[{i}]"));
                fault
            })
        };
        ids.iter().enumerate().map(one).collect()
    }

    /// Makes the answer of the recommender readable.
    pub fn answer(&self, wanted: &Wanted, done: &Done) -> Answer {
        let users = &self.served.catalogue.users;
        let response = &done.response;
        let paths = done.paths.iter().flatten().map(Some).chain(std::iter::repeat(None));
        let items = response.items.iter().zip(paths);
        Answer {
            user: wanted.user.map(|u| users.get(u.index()).to_string()),
            history_length: wanted.history.len(),
            items: items.map(|(r, path)| self.recommendation(r, path)).collect(),
            invalid: response.invalid,
            version: self.version.clone(),
            timing: done.timing,
        }
    }

    fn recommendation(&self, r: &Recommendation, path: Option<&Path>) -> AnswerItem {
        let shown = self.shown(r.item);
        let path = path.zip(self.served.sids.as_ref()).map(|(p, table)| steps(table, p));
        AnswerItem {
            id: shown.id,
            title: shown.title,
            score: r.score,
            sid: r.sid.as_deref().map(tokens).or(shown.sid),
            path,
        }
    }

    fn shown(&self, item: ItemId) -> CatalogueItem {
        let items = &self.served.catalogue.items;
        CatalogueItem {
            id: items.id(item).to_string(),
            title: items.title(item).to_string(),
            sid: self.served.sids.as_ref().and_then(|t| t.first_sid(item)).map(tokens),
        }
    }

    /// Items by words of their titles.
    pub fn search(&self, query: &str, limit: usize) -> Found {
        let found = self.index.search(&self.served.catalogue, query, limit);
        Found {
            items: found.items.iter().map(|&i| self.shown(i)).collect(),
            total: found.total,
            version: self.version.clone(),
        }
    }

    /// The most recent `limit` items of a user.
    pub fn history(&self, id: &str, limit: usize) -> Result<UserHistory, Fault> {
        let history = self.served.catalogue.histories.items(self.user(id)?);
        let recent = &history[history.len().saturating_sub(limit)..];
        Ok(UserHistory {
            user: id.to_string(),
            history_length: history.len(),
            history: recent.iter().map(|&i| self.shown(i)).collect(),
            version: self.version.clone(),
        })
    }

    /// What requests may hold.
    pub fn limits(&self, options: &crate::ServeOptions) -> Limits {
        Limits::new(options, self.served.width)
    }
}

fn tokens(codes: &[Code]) -> String {
    codes.iter().enumerate().map(|(level, &c)| token(level, c)).collect()
}

/// The levels of a path, with the items below each prefix.
fn steps(table: &SidTable, path: &Path) -> Vec<Step> {
    let rows = table.sorted_rows();
    let (mut from, mut to) = (0, rows.len());
    let step = |(level, s): (usize, &sidereal_decoding::explain::Step)| {
        let at = |&r: &u32| table.sid(r as usize).get(level).copied();
        let range = &rows[from..to];
        let start = range.partition_point(|r| at(r) < Some(s.code));
        let end = range.partition_point(|r| at(r) <= Some(s.code));
        (from, to) = (from + start, from + end);
        Step {
            level,
            token: token(level, s.code),
            items: to - from,
            log_prob: s.log_prob_full,
            log_prob_allowed: s.log_prob_masked,
            rank: s.rank,
            allowed: s.allowed,
            sum: s.sum_full,
        }
    };
    path.steps.iter().enumerate().map(step).collect()
}

/// Holds what answers now.
pub struct Slot(RwLock<Arc<Live>>);

impl Slot {
    /// The first one.
    ///
    /// Errors: a catalogue with more values than can be indexed.
    pub fn new(served: Served) -> Result<Self> {
        Ok(Slot(RwLock::new(Arc::new(Live::new(served, 1, None)?))))
    }

    /// What answers now.
    pub fn current(&self) -> Arc<Live> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another one in its place and gives the old one back. Items and index are shared where
    /// the data are the same.
    ///
    /// Errors: the new one cannot answer for the first user of the data; the old one stays.
    pub fn replace(&self, mut served: Served) -> Result<Arc<Live>> {
        try_out(&served)?;
        let old = self.current();
        let same = served.catalogue.identity == old.served.catalogue.identity;
        let index = same.then(|| old.index.clone());
        if same {
            served.catalogue = old.served.catalogue.clone();
        }
        // Made before the lock is taken, so that no request waits for it.
        let mut live = Live::new(served, 0, index)?;
        let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
        live.version.generation = slot.version.generation + 1;
        Ok(std::mem::replace(&mut *slot, Arc::new(live)))
    }
}

/// Asks for one item, so that what cannot answer never comes into service.
fn try_out(served: &Served) -> Result<()> {
    let histories = &served.catalogue.histories;
    let Some((user, history)) = histories.iter().find(|(_, h)| !h.is_empty()) else {
        return Ok(());
    };
    let times = histories.times(user);
    let request = Request { user: Some(user), history, times, ..Request::default() };
    let answers = served.recommender.recommend(&[request], 1, &Run::quiet(served.seed))?;
    match answers.len() {
        1 => Ok(()),
        n => Err(Error::mismatch(format!("the recommender gave {n} answers to one request"))),
    }
}
