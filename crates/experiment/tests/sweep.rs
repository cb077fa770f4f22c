//! Sweeps inside one process: a panic is one run's error, and what was done is not done again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use sidereal_core::{
    Cancel, Codebook, Entry, Error, Quantizer, QuantizerInput, Result, Run, options,
};
use sidereal_experiment::sweep::{
    Budget, Job, Place, Selection, State, Summary, SweepOptions, check, run_here, sweep,
};
use sidereal_experiment::{Plugin, Registry, Sweep};
use std::path::Path;
use std::sync::Mutex;

const SWEEP: &str = concat!(
    include_str!("../../../tests/tiny.toml"),
    r#"
[[sweep.case]]
name = "panics"
quantizer = "broken"

[[sweep.case]]
name = "works"

[sweep.zip]
"train.lr" = [0.001, 0.002]
"train.batch" = [16, 32]
"#
);

options! {
    /// `broken` has no options.
    pub struct BrokenOptions {}
}

struct Broken;

impl Quantizer for Broken {
    fn fit(&self, _: &QuantizerInput<'_>, _: &Run<'_>) -> Result<Box<dyn Codebook>> {
        panic!("index out of bounds in a plugin")
    }
}

struct Faulty;

impl Plugin for Faulty {
    fn register(&self, registry: &mut Registry) -> Result<()> {
        registry.quantizers.add(Entry::new(
            "broken",
            "tests",
            "Panics.",
            |_: BrokenOptions, _: &()| Ok(Box::new(Broken) as Box<dyn Quantizer>),
        ))
    }
}

fn load(folder: &Path) -> (Registry, Sweep) {
    let path = folder.join("sweep.toml");
    std::fs::write(&path, SWEEP).unwrap();
    let registry = Registry::builtin().unwrap().with(Faulty).unwrap();
    let sweep = Sweep::load(&path).unwrap();
    check(&registry, &sweep).unwrap();
    (registry, sweep)
}

/// Runs, and the names of what was run.
fn go(
    folder: &Path,
    selection: Selection,
    run: impl Fn(&Registry, &Job<'_>) -> Result<()> + Sync,
) -> (Result<Summary>, Vec<String>) {
    let (registry, swept) = load(folder);
    let budget = Budget::default();
    let options = SweepOptions { out: folder.join("out"), selection, budget };
    let ran = Mutex::new(Vec::new());
    let each = |job: &Job<'_>, _: &Place<'_>| {
        ran.lock().unwrap().push(job.case.name.clone());
        run(&registry, job)
    };
    let summary = sweep(&registry, &swept, &options, None, each, |_| Ok(()));
    (summary, ran.into_inner().unwrap())
}

#[test]
fn a_panic_is_the_error_of_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let here = |registry: &Registry, job: &Job<'_>| {
        run_here(registry, job, &cache, 2, Vec::new(), &Cancel::default())
    };
    let (summary, ran) = go(dir.path(), Selection::default(), here);
    let summary = summary.unwrap();
    assert_eq!(
        ran,
        ["panics", "works"]
            .map(|c| [1, 2].map(|n| format!("{c} batch={} lr=0.00{n}", 16 * n)))
            .concat()
    );
    for run in &summary.runs[..2] {
        let State::Failed(error) = &run.state else { panic!("{}", run.case) };
        assert!(error.contains("panicked") && error.contains("index out of bounds"), "{error}");
    }
    assert!(summary.runs[2..].iter().all(|r| r.state == State::Finished));

    // Again: what failed is tried again, what finished is not; a selection leaves the rest alone.
    let (again, ran) = go(dir.path(), Selection::default(), here);
    assert_eq!(ran, ["panics batch=16 lr=0.001", "panics batch=32 lr=0.002"]);
    assert_eq!(again.unwrap(), summary);
    let one = Selection { cases: vec!["panics batch=16 lr=0.001".into()], seeds: vec![0] };
    let (some, ran) = go(dir.path(), one, here);
    assert_eq!(ran, ["panics batch=16 lr=0.001"]);
    // Those that finished earlier stand beside it.
    let names: Vec<String> = some.unwrap().runs.into_iter().map(|r| r.case).collect();
    assert_eq!(
        names,
        ["panics batch=16 lr=0.001", "works batch=16 lr=0.001", "works batch=32 lr=0.002"]
    );
}

#[test]
fn a_stop_ends_the_sweep_and_wrong_selections_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let stop = |_: &Registry, _: &Job<'_>| Err(Error::Cancelled("on request".into()));
    let (summary, ran) = go(dir.path(), Selection::default(), stop);
    assert!(matches!(summary, Err(Error::Cancelled(_))));
    assert_eq!(ran.len(), 1);
    let wrong = |selection| go(dir.path(), selection, stop).0.unwrap_err().to_string();
    let case = Selection { cases: vec!["works batch=16 lr=0.003".into()], seeds: vec![] };
    assert!(wrong(case).contains("did you mean `works batch=16 lr=0.00"));
    let seed = wrong(Selection { cases: vec![], seeds: vec![7] });
    assert!(seed.contains("7 is none of the sweep's: [0]"), "{seed}");
}
