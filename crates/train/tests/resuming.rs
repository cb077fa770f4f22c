//! Runs that are stopped anywhere and go on end as if nothing had happened.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

mod common;

use common::*;
use sidereal_core::observe::Fanout;
use sidereal_core::{Cancel, Error, Event, Observer, Run};
use sidereal_train::{JsonlLog, TrainOptions, checkpoint};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn cancelling_at_any_step_and_going_on_changes_nothing() {
    let o = TrainOptions { log_every: 3, epochs: 3, ..options() };
    let (weights, summary, watch) = fresh(&o, 1);
    for threads in [1, 2] {
        for every in [3, 9, 21] {
            let dir = tempfile::tempdir().unwrap();
            let mut sessions = 0;
            let mut lines = Vec::new();
            // Stop at steps of the log, again and again, each time with a fresh model.
            let mut at = every;
            let (model, end) = loop {
                let cancel = Cancel::default();
                let watch = Watch { stop_at: Some((at, cancel.clone())), ..Default::default() };
                let mut model = Tiny::new(1000 + at);
                if sessions == 0 {
                    model = Tiny::new(3);
                }
                let run = Run { observer: &watch, cancel, threads, ..quiet() };
                let result = go(&mut model, &o, dir.path(), &run);
                lines.extend(watch.group("train"));
                sessions += 1;
                match result {
                    Ok(end) => break (model, end),
                    Err(e @ Error::Cancelled(_)) => {
                        let text = e.to_string();
                        assert!(text.contains("--resume") && text.contains("step"), "{text}");
                    }
                    Err(e) => panic!("{e}"),
                }
                at += every;
            };
            assert!(sessions > 1);
            assert_eq!(model.weights(), weights, "every {every}");
            assert_eq!(end.validations, summary.validations);
            assert_eq!(end.best, summary.best);
            assert_eq!(lines, watch.group("train"));
        }
    }
}

/// Copies the folder at the moment of an event, as a kill would leave it.
struct Snapshots {
    dir: PathBuf,
    into: PathBuf,
    taken: Mutex<u32>,
}

impl Observer for Snapshots {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event, Event::Scalars { .. }) {
            let mut n = self.taken.lock().unwrap();
            copy(&self.dir, &self.into.join(n.to_string()));
            *n += 1;
        }
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_but_time() {
    let root = tempfile::tempdir().unwrap();
    let (dir, into) = (root.path().join("run"), root.path().join("killed"));
    let o = TrainOptions { epochs: 2, checkpoint_steps: 4, log_every: 2, ..options() };
    // The log lives in the folder too, so that snapshots hold it.
    fs::create_dir_all(&dir).unwrap();
    let log = JsonlLog::create(&dir.join("log.jsonl")).unwrap();
    let watch = Fanout(vec![
        Box::new(log),
        Box::new(Snapshots { dir: dir.clone(), into: into.clone(), taken: Mutex::new(0) }),
    ]);
    let mut model = Tiny::new(3);
    let summary = go(&mut model, &o, &dir, &Run { observer: &watch, ..quiet() }).unwrap();
    let scalars = |dir: &Path| -> Vec<serde_json::Value> {
        fs::read_to_string(dir.join("log.jsonl"))
            .unwrap()
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap())
            .filter(|v| v["event"] == "scalars" && v["group"] != "process")
            .map(|mut v| {
                v.as_object_mut().unwrap().remove("time");
                v
            })
            .collect()
    };
    let want = scalars(&dir);
    assert!(want.len() > 10);
    let killed = fs::read_dir(&into).unwrap().count();
    assert!(killed > 10);
    for n in 0..killed {
        let at = into.join(n.to_string());
        // Half-written files of the killed process must do no harm.
        fs::write(at.join(".checkpoint-0000000099.safetensors.1.tmp"), b"half").unwrap();
        let log = JsonlLog::append(&at.join("log.jsonl")).unwrap();
        let mut resumed = Tiny::new(77);
        let end = go(&mut resumed, &o, &at, &Run { observer: &log, ..quiet() }).unwrap();
        assert_eq!(resumed.weights(), model.weights(), "{n}");
        assert_eq!((&end.validations, &end.best), (&summary.validations, &summary.best));
        assert_eq!(scalars(&at), want, "{n}");
        let left = fs::read_dir(&at).unwrap().count();
        assert_eq!(left, o.keep + 1);
    }
}

#[test]
fn a_finished_run_is_not_trained_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Tiny::new(3);
    let first = go(&mut model, &options(), dir.path(), &quiet()).unwrap();
    let mut again = Tiny::new(4);
    let watch = Watch::default();
    let run = Run { observer: &watch, ..quiet() };
    let second = go(&mut again, &options(), dir.path(), &run).unwrap();
    assert_eq!(again.weights(), model.weights());
    assert_eq!((second.steps, second.best), (first.steps, first.best));
    assert!(watch.group("train").is_empty());
    assert_eq!(watch.group("resumed")[0].0, first.steps);
}

/// A folder with the checkpoints of a run that was cancelled at a step.
fn cancelled(o: &TrainOptions, at: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cancel = Cancel::default();
    let watch = Watch { stop_at: Some((at, cancel.clone())), ..Default::default() };
    let run = Run { observer: &watch, cancel, ..quiet() };
    go(&mut Tiny::new(3), o, dir.path(), &run).unwrap_err();
    dir
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    let o = TrainOptions { checkpoint_steps: 5, epochs: 2, ..options() };
    let (weights, ..) = fresh(&o, 1);
    let dir = cancelled(&o, 13);
    let files = checkpoint::list(dir.path()).unwrap();
    let steps: Vec<u64> = files.iter().map(|f| f.0).collect();
    assert_eq!(steps, [13, 10]);
    let bytes = fs::read(&files[0].1).unwrap();
    fs::write(&files[0].1, &bytes[..bytes.len() - 7]).unwrap();
    let watch = Watch::default();
    let mut model = Tiny::new(8);
    let run = Run { observer: &watch, ..quiet() };
    let end = go(&mut model, &o, dir.path(), &run).unwrap();
    assert_eq!(end.resumed_from, Some(10));
    assert_eq!(model.weights(), weights);
    let notes = watch.notes.lock().unwrap();
    assert!(notes[0].contains("checkpoint-0000000013") && notes[0].contains("before"), "{notes:?}");

    // Nothing good left: an error that names the file.
    let dir = cancelled(&o, 13);
    for (_, path) in checkpoint::list(dir.path()).unwrap() {
        fs::write(&path, b"rubbish").unwrap();
    }
    let e = go(&mut Tiny::new(3), &o, dir.path(), &quiet()).unwrap_err().to_string();
    assert!(e.contains("checkpoint-0000000013") && e.contains("delete it"), "{e}");
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let o = options();
    let dir = cancelled(&o, 5);
    let fails = |o: &TrainOptions, run: &Run<'_>, says: &[&str]| {
        let e = go(&mut Tiny::new(3), o, dir.path(), run).unwrap_err().to_string();
        assert!(says.iter().all(|s| e.contains(s)), "{e}");
    };
    let lr = TrainOptions { lr: 0.5, ..o.clone() };
    fails(&lr, &quiet(), &["train.lr", "0.5", "0.02", "checkpoint-0000000005"]);
    let lanes = TrainOptions { lanes: 2, ..o.clone() };
    fails(&lanes, &quiet(), &["train.lanes"]);
    fails(&o, &Run { seed: 8, ..quiet() }, &["seed", "7", "8"]);
    let objective = sidereal_losses::CrossEntropy::new(Default::default()).unwrap();
    let rule = Rule::new(151);
    let e = sidereal_train::train(
        &mut Tiny::new(3),
        &objective,
        &rule,
        &mut Accuracy,
        &o,
        dir.path(),
        &quiet(),
    );
    assert!(e.unwrap_err().to_string().contains("150 examples, there are 151"));
    // What changes no weight may change.
    let free = TrainOptions { keep: 1, checkpoint_steps: 1, max_minutes: Some(9.0), ..o };
    go(&mut Tiny::new(3), &free, dir.path(), &quiet()).unwrap();
    assert_eq!(checkpoint::list(dir.path()).unwrap().len(), 1);
}

/// Options of the process that is killed.
fn long() -> TrainOptions {
    TrainOptions { epochs: 100, checkpoint_steps: 1, patience: 0, ..options() }
}

/// Not a test of its own: the process that the next test kills.
#[test]
fn worker_process() {
    let Ok(dir) = std::env::var("SIDEREAL_TRAIN_WORKER") else { return };
    go(&mut Tiny::new(3), &long(), Path::new(&dir), &quiet()).unwrap();
}

#[test]
fn processes_that_are_killed_end_in_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let spawn = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["worker_process", "--exact", "--quiet"])
            .env("SIDEREAL_TRAIN_WORKER", dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let step = || checkpoint::list(dir.path()).unwrap().first().map_or(0, |c| c.0);
    let mut killed = Vec::new();
    for wait in [3, 17, 5, 29, 11] {
        let before = step();
        let mut child = spawn();
        // Once it works, a moment that falls anywhere in a step or in a write.
        while step() == before && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(wait));
        // SIGKILL where there are signals.
        let _ = child.kill();
        child.wait().unwrap();
        killed.push(step());
    }
    assert!(killed.windows(2).all(|w| w[0] < w[1]), "{killed:?}");
    assert!(killed[killed.len() - 1] < 1000, "too fast to be killed: {killed:?}");
    assert!(spawn().wait().unwrap().success());
    let mut model = Tiny::new(5);
    let end = go(&mut model, &long(), dir.path(), &quiet()).unwrap();
    let (weights, summary, _) = fresh(&long(), 2);
    assert_eq!(model.weights(), weights);
    assert_eq!(end.validations, summary.validations);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}
