//! Services over a recommender that does as it is told, and over a tiny trained run.
#![allow(dead_code, reason = "each test file uses a part")]

#[path = "../../examples/client/mod.rs"]
pub mod client;

use serde_json::{Value, json};
use sidereal_core::{
    Cancel, CodeOrder, Error, ItemId, ItemTable, Recommendation, Recommender, Request, Response,
    Result, Run, Sequences, SidTable, StringColumn,
};
use sidereal_decoding::explain::{Path, Step};
use sidereal_experiment::{Catalogue, Explainer, Seen, Served};
use sidereal_serve::{Loader, Log, ServeOptions, Server, Target};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

pub use client::Client;

/// Items of the made-up catalogue: `i0` to `i39`, titles `Thing 0` to `Thing 39`.
pub const ITEMS: u32 = 40;

/// Recommends the items behind the last one of the history, and counts how often it is called.
#[derive(Default)]
pub struct Fake {
    /// Sizes of the batches.
    pub batches: Mutex<Vec<usize>>,
    /// Calls that have begun, and calls that may go on.
    gate: Mutex<Gate>,
    moved: Condvar,
    /// Added to every item number, to tell fakes apart.
    pub shift: u32,
}

#[derive(Default)]
struct Gate {
    shut: Shut,
    begun: usize,
}

#[derive(Default, PartialEq)]
enum Shut {
    #[default]
    No,
    Yes,
}

impl Fake {
    /// Calls wait until the gate opens.
    pub fn shut(&self) {
        self.gate.lock().unwrap().shut = Shut::Yes;
    }

    pub fn open(&self) {
        self.gate.lock().unwrap().shut = Shut::No;
        self.moved.notify_all();
    }

    /// Waits until that many calls have begun.
    pub fn wait_for_calls(&self, n: usize) {
        let mut gate = self.gate.lock().unwrap();
        while gate.begun < n {
            gate = self.moved.wait(gate).unwrap();
        }
    }
}

impl Recommender for Fake {
    fn recommend(&self, requests: &[Request<'_>], k: usize, _: &Run<'_>) -> Result<Vec<Response>> {
        self.batches.lock().unwrap().push(requests.len());
        let mut gate = self.gate.lock().unwrap();
        gate.begun += 1;
        self.moved.notify_all();
        while gate.shut == Shut::Yes {
            gate = self.moved.wait(gate).unwrap();
        }
        drop(gate);
        let one = |r: &Request<'_>| -> Result<Response> {
            let last = r.history.last().map_or(0, |i| i.0);
            match last {
                // Items that break the model.
                38 => return Err(Error::mismatch("item 38 breaks the model")),
                39 => panic!("item 39 makes the model panic"),
                _ => {}
            }
            let items = (1..ITEMS).map(|d| ItemId((last + d + self.shift) % ITEMS));
            let items = items.filter(|&i| r.allows(i)).take(k).enumerate();
            let items = items.map(|(rank, item)| Recommendation {
                item,
                score: -(rank as f64),
                sid: Some(vec![item.0 / 8, item.0 % 8]),
            });
            Ok(Response { items: items.collect(), invalid: 0 })
        };
        requests.iter().map(one).collect()
    }
}

/// Shares a fake with the test.
pub struct Shared(pub Arc<Fake>);

impl Recommender for Shared {
    fn recommend(&self, r: &[Request<'_>], k: usize, run: &Run<'_>) -> Result<Vec<Response>> {
        self.0.recommend(r, k, run)
    }
}

impl Explainer for Shared {
    fn explain(&self, _: &[Request<'_>], r: &[Response], _: &Run<'_>) -> Result<Vec<Vec<Path>>> {
        let step = |code| Step {
            code,
            log_prob_full: -2.0,
            log_prob_masked: -1.0,
            rank: Some(1),
            allowed: 8,
            sum_full: -2.0,
            sum_masked: -1.0,
        };
        let path = |sid: Vec<u32>| Path { steps: sid.into_iter().map(step).collect(), valid: true };
        let paths = |r: &Response| r.items.iter().filter_map(|i| i.sid.clone()).map(path).collect();
        Ok(r.iter().map(paths).collect())
    }
}

/// A run over the made-up catalogue.
pub fn served(name: &str, fake: &Arc<Fake>) -> Served {
    let ids: StringColumn = (0..ITEMS).map(|i| format!("i{i}")).collect();
    let titles: StringColumn = (0..ITEMS).map(|i| format!("Thing {i}")).collect();
    let prices: StringColumn = (0..ITEMS).map(|i| i.to_string()).collect();
    let codes: Vec<[u32; 2]> = (0..ITEMS).map(|i| [i / 8, i % 8]).collect();
    let rows = codes.iter().enumerate().map(|(i, c)| (ItemId(i as u32), &c[..]));
    let mut histories = Sequences::default();
    for u in 0..20 {
        histories.push(&[ItemId(u), ItemId(u + 1), ItemId(u + 2)]);
    }
    Served {
        name: name.into(),
        catalogue: Arc::new(Catalogue {
            items: ItemTable::new(ids)
                .with_column("title", titles)
                .and_then(|items| items.with_column("price", prices))
                .unwrap(),
            users: (0..20).map(|u| format!("u{u}")).collect(),
            histories,
            popularity: vec![1; ITEMS as usize],
            identity: json!("made up"),
        }),
        sids: Some(Arc::new(SidTable::new(ITEMS as usize, CodeOrder::Sequence, rows).unwrap())),
        recommender: Arc::new(Shared(fake.clone())),
        explainer: Some(Arc::new(Shared(fake.clone()))),
        seen: Seen::Removed,
        seed: 0,
        width: Some(30),
    }
}

/// A service on free ports, and what stands behind it.
pub struct Service {
    pub server: Server,
    pub fake: Arc<Fake>,
}

impl Service {
    /// Starts with one model thread unless the options say more.
    pub fn start(options: ServeOptions) -> Self {
        let fake = Arc::new(Fake::default());
        let loader = {
            let fake = fake.clone();
            move |target: &Target| match target.run.to_str() {
                Some("broken") => Err(Error::data("broken", "this run is broken")),
                Some("silent") => {
                    let mut served = served("silent", &fake);
                    served.recommender = Arc::new(Nothing);
                    Ok(served)
                }
                Some("shifted") => {
                    let shifted = Arc::new(Fake { shift: 5, ..Default::default() });
                    Ok(served("shifted", &shifted))
                }
                name => Ok(served(name.unwrap_or_default(), &fake)),
            }
        };
        Service::over(served("first", &fake), fake, Arc::new(loader), options)
    }

    pub fn over(
        first: Served,
        fake: Arc<Fake>,
        loader: Arc<Loader>,
        options: ServeOptions,
    ) -> Self {
        let threads = if options.threads == 0 { 1 } else { options.threads };
        let options = ServeOptions {
            address: "127.0.0.1:0".into(),
            admin: "127.0.0.1:0".into(),
            threads,
            ..options
        };
        let target = Target { run: PathBuf::from("first"), table: None };
        let server = Server::start(first, target, loader, options, Log::none()).unwrap();
        Service { server, fake }
    }

    pub fn client(&self) -> Client {
        Client::new(self.server.address())
    }

    pub fn admin(&self) -> Client {
        Client::new(self.server.admin().unwrap())
    }

    /// A number of the metrics.
    pub fn metric(&self, name: &str) -> f64 {
        let reply = self.client().get("/metrics").unwrap();
        let text = String::from_utf8(reply.body).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |v| v.parse().unwrap())
    }

    /// Stops, and refuses a stop that cut a connection off.
    pub fn stop(self) {
        self.server.stop();
        self.server.wait().unwrap();
    }

    /// Waits for the end of a service that was asked to stop before.
    pub fn stopped(self) {
        self.server.wait().unwrap();
    }
}

/// Answers nothing at all.
struct Nothing;

impl Recommender for Nothing {
    fn recommend(&self, _: &[Request<'_>], _: usize, _: &Run<'_>) -> Result<Vec<Response>> {
        Ok(Vec::new())
    }
}

/// A request for the items behind `item`.
pub fn after(item: u32, k: u32) -> Value {
    json!({"history": [format!("i{item}")], "k": k})
}

/// Ids of an answer.
pub fn ids(answer: &Value) -> Vec<String> {
    let items = answer["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|i| i["id"].as_str().unwrap_or_default().to_string()).collect()
}

/// Waits until something holds.
#[track_caller]
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what} never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A world of 60 items and 80 users and a model of a few thousand parameters.
pub const TINY: &str = include_str!("../../../../tests/tiny.toml");

/// Runs `TINY` with changes into `place/name`.
pub fn tiny(place: &std::path::Path, name: &str, changes: &[&str]) -> PathBuf {
    let file = place.join(format!("{name}.toml"));
    std::fs::write(&file, TINY).unwrap();
    let registry = sidereal_experiment::Registry::builtin().unwrap();
    let mut config = sidereal_experiment::Config::load(&file).unwrap();
    changes.iter().for_each(|c| config.set(c).unwrap());
    let plan = sidereal_experiment::Plan::resolve(&registry, &config).unwrap();
    let options = sidereal_experiment::RunOptions {
        out: place.join(name),
        existing: sidereal_experiment::Existing::Refuse,
        cache: place.join("cache"),
    };
    sidereal_experiment::run(&registry, &plan, &options, Vec::new(), Cancel::default()).unwrap();
    options.out
}

/// Opens run folders as the command line does.
pub fn loader(cache: PathBuf) -> Arc<Loader> {
    let registry = sidereal_experiment::Registry::builtin().unwrap();
    Arc::new(move |target: &Target| {
        let plan = sidereal_experiment::plan_of(&registry, &target.run, &[])?;
        let cache = sidereal_experiment::Cache::new(cache.clone());
        let run = Run::quiet(plan.seed);
        let table = target.table.as_deref();
        let open = sidereal_experiment::Finished::open_with;
        Ok(open(&registry, &plan, &cache, &target.run, table, run)?.into_served(&target.name()))
    })
}
