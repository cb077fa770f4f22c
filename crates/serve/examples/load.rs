//! Loads a service: clients that ask without pause, swaps meanwhile, and every answer compared
//! with what the run itself recommends.
//!
//! ```text
//! sidereal serve runs/a &
//! cargo run --release -p sidereal-serve --example load -- --cache runs/cache \
//!     --clients 8 --seconds 600 --swaps 100 runs/a runs/b
//! ```
//!
//! The first run must be the one in service; with several, swaps go around among them, with one it
//! is read again each time. Clients ask for users of the data, by turns with and without a history
//! of their own, for 10 items. A wrong answer, a status but 200 and a broken connection each count
//! as an error; the exit code is 1 when there is any.

mod client;

use client::Client;
use serde_json::{Value, json};
use sidereal_core::{Error, Request, Result, Run};
use sidereal_experiment::{Cache, Finished, Registry, Seen, plan_of};
use sidereal_serve::Target;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Users whose answers are known.
const USERS: usize = 1000;
/// Items that are asked for.
const K: usize = 10;

struct Arguments {
    address: SocketAddr,
    admin: SocketAddr,
    cache: PathBuf,
    clients: usize,
    seconds: u64,
    swaps: u32,
    runs: Vec<PathBuf>,
}

/// One way to ask.
struct Question {
    body: Value,
    /// Ids of the answer, by run.
    answers: BTreeMap<String, Vec<String>>,
}

#[derive(Default)]
struct Tally {
    micros: Vec<u32>,
    by_run: BTreeMap<String, u64>,
    faults: BTreeMap<String, u64>,
}

fn main() -> ExitCode {
    match arguments().and_then(|a| load(&a)) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Arguments> {
    let wrong = |what: &str| Error::input(format!("{what}; see the head of examples/load.rs"));
    let mut a = Arguments {
        address: ([127, 0, 0, 1], 7878).into(),
        admin: ([127, 0, 0, 1], 7879).into(),
        cache: "runs/cache".into(),
        clients: 8,
        seconds: 10,
        swaps: 0,
        runs: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--") else {
            a.runs.push(word.into());
            continue;
        };
        let value = words.next().ok_or_else(|| wrong(&format!("--{name} needs a value")))?;
        let bad = || wrong(&format!("--{name} {value}"));
        match name {
            "address" => a.address = value.parse().map_err(|_| bad())?,
            "admin" => a.admin = value.parse().map_err(|_| bad())?,
            "cache" => a.cache = value.into(),
            "clients" => a.clients = value.parse().map_err(|_| bad())?,
            "seconds" => a.seconds = value.parse().map_err(|_| bad())?,
            "swaps" => a.swaps = value.parse().map_err(|_| bad())?,
            _ => return Err(wrong(&format!("there is no --{name}"))),
        }
    }
    if a.runs.is_empty() {
        return Err(wrong("name a run folder"));
    }
    Ok(a)
}

fn load(a: &Arguments) -> Result<ExitCode> {
    let mut questions: Vec<Question> = Vec::new();
    for run in &a.runs {
        answer(a, run, &mut questions)?;
    }
    println!("{} questions, {} clients, {} s", questions.len(), a.clients, a.seconds);
    let end = Instant::now() + Duration::from_secs(a.seconds);
    let total = Mutex::new(Tally::default());
    let began = Instant::now();
    let swaps = std::thread::scope(|scope| {
        for c in 0..a.clients {
            let (questions, total) = (&questions, &total);
            scope.spawn(move || {
                let mine = client(a, questions, c, end);
                let mut all = total.lock().unwrap_or_else(|p| p.into_inner());
                all.micros.extend(mine.micros);
                mine.by_run.into_iter().for_each(|(k, n)| *all.by_run.entry(k).or_default() += n);
                mine.faults.into_iter().for_each(|(k, n)| *all.faults.entry(k).or_default() += n);
            });
        }
        swapper(a, end)
    });
    let seconds = began.elapsed().as_secs_f64();
    let mut all = total.into_inner().unwrap_or_else(|p| p.into_inner());
    all.micros.sort_unstable();
    let n = all.micros.len();
    let at = |q: f64| {
        let i = ((n as f64 * q) as usize).min(n.saturating_sub(1));
        all.micros.get(i).map_or(f64::NAN, |&us| f64::from(us) / 1e3)
    };
    println!("{n} answers, {:.1} requests/s", n as f64 / seconds);
    println!(
        "p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    println!("answers by run {:?}", all.by_run);
    println!("swaps {}, failed {}, seconds each {:.2}", swaps.done, swaps.failed, swaps.mean());
    println!("errors {:?}", all.faults);
    Ok(match all.faults.is_empty() && swaps.failed == 0 && n > 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Opens a run and writes down what it recommends.
fn answer(a: &Arguments, folder: &Path, questions: &mut Vec<Question>) -> Result<()> {
    let registry = Registry::builtin()?;
    let plan = plan_of(&registry, folder, &[])?;
    let cache = Cache::new(&a.cache);
    let run = Run { threads: plan.threads, ..Run::quiet(plan.seed) };
    let name = Target { run: folder.to_path_buf(), table: None }.name();
    let served = Finished::open(&registry, &plan, &cache, folder, run.clone())?.into_served(&name);
    let all = &served.catalogue;
    let take = USERS.min(all.users.len());
    let users = (0..take).map(|i| sidereal_core::UserId((i * all.users.len() / take) as u32));
    for (i, user) in users.enumerate() {
        let history = all.histories.items(user);
        let by_user = i % 2 == 0;
        let exclude = if served.seen == Seen::Removed { history } else { &[] };
        let request = Request {
            user: by_user.then_some(user),
            history,
            times: if by_user { all.histories.times(user) } else { None },
            exclude,
            among: None,
        };
        // One by one: the service may put any of them together.
        let response = served.recommender.recommend(&[request], K, &run)?;
        let ids = response.iter().flat_map(|r| &r.items);
        let ids: Vec<String> = ids.map(|r| all.items.id(r.item).to_string()).collect();
        if questions.len() == i {
            let history: Vec<&str> = history.iter().map(|&h| all.items.id(h)).collect();
            let body = match by_user {
                true => json!({"user": all.users.get(user.index()), "k": K}),
                false => json!({"history": history, "k": K}),
            };
            questions.push(Question { body, answers: BTreeMap::new() });
        }
        if let Some(question) = questions.get_mut(i) {
            question.answers.insert(name.clone(), ids);
        }
    }
    Ok(())
}

fn client(a: &Arguments, questions: &[Question], c: usize, end: Instant) -> Tally {
    let mut connection = Client::new(a.address);
    let mut tally = Tally::default();
    let mut turn = c * questions.len() / a.clients.max(1);
    while Instant::now() < end {
        let question = &questions[turn % questions.len()];
        turn += 1;
        let began = Instant::now();
        let fault = match connection.post("/v1/recommend", &question.body) {
            Err(e) => Some(e.to_string()),
            Ok(reply) if reply.status != 200 => Some(format!("status {}", reply.status)),
            Ok(reply) => {
                tally.micros.push(began.elapsed().as_micros().min(u128::from(u32::MAX)) as u32);
                let answer = reply.json();
                let run = answer["version"]["run"].as_str().unwrap_or_default().to_string();
                let items = answer["items"].as_array();
                let ids: Vec<&str> =
                    items.into_iter().flatten().filter_map(|i| i["id"].as_str()).collect();
                let right = question.answers.get(&run).is_some_and(|want| *want == ids);
                *tally.by_run.entry(run).or_default() += 1;
                (!right).then(|| "wrong answer".to_string())
            }
        };
        if let Some(fault) = fault {
            *tally.faults.entry(fault).or_default() += 1;
        }
    }
    tally
}

#[derive(Default)]
struct Swaps {
    done: u32,
    failed: u32,
    seconds: f64,
}

impl Swaps {
    fn mean(&self) -> f64 {
        self.seconds / f64::from((self.done + self.failed).max(1))
    }
}

/// Swaps at even distances until the end.
fn swapper(a: &Arguments, end: Instant) -> Swaps {
    let mut swaps = Swaps::default();
    let pause = Duration::from_secs(a.seconds) / (a.swaps + 1);
    let began = Instant::now();
    for i in 1..=a.swaps {
        let at = began + pause * i;
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if Instant::now() >= end {
            break;
        }
        let run = &a.runs[i as usize % a.runs.len()];
        let start = Instant::now();
        // A connection of its own: the service closes those that rest for long.
        let reply = Client::new(a.admin).post("/admin/swap", &json!({"run": run}));
        swaps.seconds += start.elapsed().as_secs_f64();
        match reply {
            Ok(reply) if reply.status == 200 => swaps.done += 1,
            Ok(reply) => {
                eprintln!("swap refused: {}", String::from_utf8_lossy(&reply.body));
                swaps.failed += 1;
            }
            Err(e) => {
                eprintln!("swap failed: {e}");
                swaps.failed += 1;
            }
        }
    }
    swaps
}
