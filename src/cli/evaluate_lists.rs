//! `sidereal evaluate --lists FILE --truth FILE` or `--data FILE.toml`: metrics of ranked lists that
//! any program wrote.

use super::args::{Common, ListsArguments};
use super::interrupt::cancel_on_interrupt;
use super::output;
use super::run::observers;
use super::tables::Table;
use crate::{Plan, Registry};
use serde_json::json;
use sidereal_core::observe::Fanout;
use sidereal_core::{Error, Result, Run, Spec};
use sidereal_experiment::default_cache;
use sidereal_experiment::ids::{Ground, Opener};
use sidereal_metrics::lists::{Format, Joined, Names, UserTruth, join, read_lists, read_truth};
use sidereal_metrics::{Classes, EvalContext, Metric, Score, Truth, evaluate_all};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Metrics where none are named.
const USUAL: [&str; 6] =
    ["recall@5", "recall@10", "ndcg@5", "ndcg@10", "mrr@10", "item-coverage@10"];

pub fn evaluate(
    registry: &Registry,
    file: &Path,
    a: &ListsArguments,
    common: &Common,
) -> Result<ExitCode> {
    let observer = Fanout(observers(common.quiet || common.json));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = Run { seed: 0, observer: &observer, cancel: cancel_on_interrupt(), threads };
    let names: Vec<&str> = match a.metrics.is_empty() {
        true => USUAL.to_vec(),
        false => a.metrics.iter().map(String::as_str).collect(),
    };
    let metrics = names
        .iter()
        .map(|name| registry.metrics.build(&Spec::from_short("--metrics", name)?, &()))
        .collect::<Result<Vec<Box<dyn Metric>>>>()?;
    let format = Format::of(file)?;
    let (joined, scores, unknown) = match (&a.truth, &a.data) {
        (Some(truth), None) => {
            let mut items = Names::new();
            let truth = read_truth(truth, Format::of(truth)?, &mut items)?;
            let joined = join(&read_lists(file, format, &mut items)?, truth);
            let context = EvalContext::new(items.len(), &[]);
            let scores = evaluate_all(&metrics, &joined.lists, &joined.truth, &context, threads)?;
            (joined, scores, 0)
        }
        (None, Some(config)) => {
            let place = |plan: &Plan| -> PathBuf {
                common.cache.clone().or_else(|| plan.cache.clone()).unwrap_or_else(default_cache)
            };
            let opener = Opener { registry, cache: &place, run };
            let ground = opener.ground_of(config)?;
            let mut items = Names::of_catalogue(ground.data.dataset.items.ids());
            let lists = read_lists(file, format, &mut items)?;
            let joined = join(&lists, test_cases(&ground, config)?);
            let scores = over(&ground, &metrics, &joined, threads)?;
            (joined, scores, lists.unknown)
        }
        _ => {
            let message = "name what is relevant: --truth FILE or --data FILE.toml".into();
            return Err(Error::ConfigAt { place: "--lists".into(), message });
        }
    };
    show(&metrics, &joined, unknown, &scores, common)?;
    Ok(ExitCode::SUCCESS)
}

/// The test cases of a data set, one a user.
fn test_cases(ground: &Ground, config: &Path) -> Result<UserTruth> {
    let test = &ground.data.splits.test;
    let mut made = UserTruth { users: Vec::new(), truth: Truth::new(), left_out: 0 };
    for case in 0..test.len() {
        made.users.push(ground.data.dataset.user_ids.get(test.user(case).index()).to_string());
        made.truth.push(test.target(case))?;
    }
    let mut sorted: Vec<&String> = made.users.iter().collect();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|w| w[0] == w[1]) {
        let message = format!("user {} has several test cases, a list is for one", twice[0]);
        return Err(Error::data(config, message));
    }
    Ok(made)
}

fn over(
    ground: &Ground,
    metrics: &[Box<dyn Metric>],
    joined: &Joined,
    threads: usize,
) -> Result<Vec<Score>> {
    let data = &ground.data;
    let classes = data.dataset.items.column("categories").map(Classes::of_column);
    let context = EvalContext {
        train: Some(&data.train),
        histories: Some(&data.splits.test.histories),
        categories: classes.as_ref(),
        vectors: ground.vectors.as_ref().map(|v| v.view()),
        ..EvalContext::new(data.dataset.items.len(), &data.popularity)
    };
    evaluate_all(metrics, &joined.lists, &joined.truth, &context, threads)
}

fn show(
    metrics: &[Box<dyn Metric>],
    joined: &Joined,
    unknown: u64,
    scores: &[Score],
    common: &Common,
) -> Result<()> {
    if common.json {
        let values: serde_json::Map<_, _> =
            metrics.iter().zip(scores).map(|(m, s)| (m.name(), s.value.into())).collect();
        return output::print_json(&json!({
            "metrics": values,
            "users": joined.users.len(),
            "without_list": joined.without_list,
            "without_truth": joined.without_truth,
            "unknown_items": unknown,
        }));
    }
    let mut table = Table::default();
    table.row(["metric".to_string(), "value".into()]);
    for (metric, score) in metrics.iter().zip(scores) {
        table.row([metric.name(), format!("{:.6}", score.value)]);
    }
    output::print(&format!(
        "{}\n{} users, {} of them without a list (it counts as empty); {} lists without truth, \
         {unknown} rows of unknown items\n",
        table.text(0),
        joined.users.len(),
        joined.without_list,
        joined.without_truth
    ))
}
