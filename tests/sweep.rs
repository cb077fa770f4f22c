//! Sweeps: a table over cases and seeds, failures that stay alone, and no run twice.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::Place;
use serde_json::Value;

const SWEEP: &str = r#"
[sweep]
base = "tiny.toml"
seeds = [0, 1]

[[sweep.case]]
name = "k-means"

[[sweep.case]]
name = "chance"
quantizer = { type = "random", levels = [8, 8] }

[[sweep.case]]
name = "from a file"
identifier = { type = "table", path = "ids.tsv", then = "ordinal" }
"#;

/// Sixty items on ten codes, in a folder with the sweep.
fn place(rows: usize) -> Place {
    let place = Place::new();
    place.write("sweep.toml", SWEEP);
    let lines: String = (0..rows).map(|i| format!("{i}\t{}\t{}\n", i % 5, i % 10)).collect();
    place.write("ids.tsv", format!("item\tc0\tc1\n{lines}"));
    place
}

fn text(place: &Place, name: &str) -> String {
    String::from_utf8(place.read(name)).unwrap()
}

#[test]
fn cases_seeds_and_what_is_kept() {
    let place = place(60);
    let dry = place.sidereal(&["sweep", "sweep.toml", "--dry-run"]).ok();
    assert!(dry.out.contains("from a file") && !place.path("runs").exists());

    let done = place.sidereal(&["sweep", "sweep.toml", "--json"]).ok();
    let summary: Value = serde_json::from_str(&done.out).unwrap();
    let runs = summary["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 6);
    // The first seed gives a whole table before the second begins.
    let order: Vec<_> = runs.iter().map(|r| r["seed"].as_u64().unwrap()).collect();
    assert_eq!(order, [0, 0, 0, 1, 1, 1]);
    let of = |case: &str, what: &str| {
        let run = runs.iter().find(|r| r["case"] == case).unwrap();
        run["ids"][what].as_f64().unwrap()
    };
    // A table that is read is made unique by the digit: what stands in the file was shared.
    assert_eq!(of("from a file", "levels"), 3.0);
    assert_eq!(of("k-means", "levels"), 2.0);
    let table = text(&place, "runs/sweep/table.md");
    assert_eq!(table.lines().count(), 2 + 3);
    assert!(table.contains("| chance | 2 |"), "{table}");

    // The same command again runs nothing and says the same.
    let before = place.read("runs/sweep/chance/seed-1/log.jsonl");
    let again = place.sidereal(&["sweep", "sweep.toml", "--json"]).ok();
    assert_eq!(again.out, done.out);
    assert_eq!(place.read("runs/sweep/chance/seed-1/log.jsonl"), before);
}

#[test]
fn a_failed_run_is_a_row_and_the_others_go_on() {
    let place = place(59);
    let done = place.sidereal(&["sweep", "sweep.toml"]);
    assert_eq!(done.code, 1);
    assert!(done.out.contains("from a file, seed 0: failed: "), "{}", done.out);
    assert!(done.out.contains("no ID for item 59"), "{}", done.out);
    assert!(done.err.contains("2 of 6 runs failed"), "{}", done.err);
    let table = text(&place, "runs/sweep/table.md");
    assert!(table.contains("| from a file | 0 (2 failed) |"), "{table}");
}

#[test]
fn wrong_cases_cost_no_run() {
    let place = place(60);
    place.write("sweep.toml", SWEEP.replace("\"random\"", "\"randon\""));
    let done = place.sidereal(&["sweep", "sweep.toml"]);
    assert_eq!(done.code, 4);
    assert!(done.err.contains("case `chance`") && done.err.contains("`random`"), "{}", done.err);
    assert!(!place.path("runs").exists());
}

/// One training and one set of IDs, however many ways there are to decode.
#[test]
fn what_runs_share_is_made_once() {
    let place = Place::new();
    let text = "[sweep]\nbase = \"tiny.toml\"\n[[sweep.case]]\nname = \"beam\"\n\
                [[sweep.case]]\nname = \"free\"\n\"decoder.type\" = \"free-beam\"\n\
                [sweep.grid]\n\"decoder.width\" = [10, 20, 30]\n";
    place.write("decoding.toml", text);
    // `run` takes sweeps, several files, and overrides of every case.
    let args = ["run", "decoding.toml", "tiny.toml", "-q", "--set", "train.epochs=2"];
    place.sidereal(&[&args[..], &["--out", "all"]].concat()).ok();
    assert!(place.path("all/tiny/metrics.json").exists());
    let summary = place.json("all/decoding/summary.json");
    let runs = summary["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 6);
    let expected =
        [("data", 1), ("embeddings", 1), ("evaluation", 6), ("sids", 1), ("training", 1)];
    let expected = expected.map(|(name, n)| (name.to_string(), n));
    assert_eq!(made(&place, "all/decoding"), std::collections::BTreeMap::from(expected));

    let again = ["run", "decoding.toml", "none.toml", "-q", "--set", "train.epochs=2"];
    let done = place.sidereal(&[&again[..], &["--out", "all"]].concat());
    assert_eq!(done.code, 1);
    assert!(done.err.contains("1 of 2 files failed: none.toml"), "{}", done.err);
    let done = place.sidereal(&["run", "decoding.toml", "--overwrite"]);
    assert!(done.err.contains("never replaced"), "{}", done.err);
}

/// Files of the runs of a sweep that hold no times, by case and seed.
fn results(place: &Place, out: &str) -> Vec<(String, Vec<u8>)> {
    let files =
        ["metrics.json", "model.safetensors", "sids.safetensors", "config.toml", "per_user.csv"];
    let mut all = Vec::new();
    for case in common::names(&place.path(out)) {
        for seed in common::names(&place.path(&format!("{out}/{case}"))) {
            for file in files {
                let name = format!("{case}/{seed}/{file}");
                all.push((name.clone(), place.read(&format!("{out}/{name}"))));
            }
        }
    }
    all
}

/// Stages that runs made and did not find, by name.
fn made(place: &Place, out: &str) -> std::collections::BTreeMap<String, usize> {
    let mut made = std::collections::BTreeMap::new();
    for run in place.json(&format!("{out}/summary.json"))["runs"].as_array().unwrap() {
        let folder = run["folder"].as_str().unwrap();
        for stage in place.json(&format!("{folder}/summary.json"))["stages"].as_array().unwrap() {
            if stage["reused"] == false {
                *made.entry(stage["stage"].as_str().unwrap().to_string()).or_insert(0) += 1;
            }
        }
    }
    made
}

/// Results, table and order of rows are those of one run after the other, and each stage is made
/// once, in one sweep and in two at the same time.
#[test]
fn runs_side_by_side_change_nothing() {
    let place = Place::new();
    let text = "[sweep]\nbase = \"tiny.toml\"\nseeds = [0, 1]\n[[sweep.case]]\nname = \"a\"\n\
                [[sweep.case]]\nname = \"b\"\n\"quantizer.type\" = \"random\"\n\
                [sweep.grid]\n\"decoder.width\" = [10, 20]\n";
    place.write("both.toml", text);
    let args = |out: &'static str, jobs: &'static str, cache: &'static str| {
        ["sweep", "both.toml", "-q", "--jobs", jobs, "--out", out, "--cache", cache]
    };
    place.sidereal(&args("one", "1", "c1")).ok();
    let pair = std::thread::scope(|scope| {
        let two = scope.spawn(|| place.sidereal(&args("two", "3", "c2")));
        let other = place.sidereal(&args("other", "2", "c2"));
        [two.join().unwrap(), other]
    });
    pair.into_iter().for_each(|done| drop(done.ok()));
    let one = results(&place, "one");
    assert_eq!(one.len(), 2 * 2 * 2 * 5);
    for out in ["two", "other"] {
        assert!(results(&place, out) == one, "{out} differs");
        assert_eq!(place.read(&format!("{out}/table.md")), place.read("one/table.md"));
    }
    // The data know no seed; IDs and training have two seeds and two quantizers.
    let counts = [("data", 1), ("embeddings", 2), ("evaluation", 8), ("sids", 4), ("training", 4)];
    let counts = counts.map(|(name, n)| (name.to_string(), n)).into();
    assert_eq!(made(&place, "one"), counts);
    let mut pair = made(&place, "two");
    made(&place, "other").into_iter().for_each(|(k, n)| *pair.entry(k).or_insert(0) += n);
    assert_eq!(pair, counts);
}

/// Stages, how many of them are there, and what the others will take: first from a trial, then from
/// what was measured.
#[test]
fn what_is_ahead_is_told_before() {
    let place = Place::new();
    let text = "[sweep]\nbase = \"tiny.toml\"\n[sweep.grid]\n\"decoder.width\" = [10, 20]\n";
    place.write("decoding.toml", text);
    let look = |more: &[&str]| -> Value {
        let args = ["sweep", "decoding.toml", "--dry-run", "--json"];
        serde_json::from_str(&place.sidereal(&[&args[..], more].concat()).ok().out).unwrap()
    };
    let counts = |look: &Value| -> Vec<(String, u64, u64)> {
        let number = |v: &Value| v.as_u64().unwrap();
        let row = |r: &Value| {
            (r["stage"].as_str().unwrap().into(), number(&r["distinct"]), number(&r["finished"]))
        };
        look["rows"].as_array().unwrap().iter().map(row).collect()
    };
    let row = |stage: &str, distinct, finished| (stage.to_string(), distinct, finished);
    let cold = look(&[]);
    assert!(!place.path("runs").exists());
    let all = |done: u64| {
        ["data", "vectors", "IDs", "training"].map(|stage| row(stage, 1, done)).to_vec()
    };
    assert_eq!(counts(&cold), [all(0), vec![row("evaluation", 2, 0)]].concat());
    assert!(cold["seconds"].as_f64().unwrap() > 0.0);
    let megabytes = cold["largest"].as_u64().unwrap() >> 20;
    assert!((1..4000).contains(&megabytes), "{megabytes}");

    let one = ["sweep", "decoding.toml", "-q", "--case", "base width=10"];
    place.sidereal(&one).ok();
    let warm = look(&["--jobs", "2"]);
    assert_eq!(counts(&warm), [all(1), vec![row("evaluation", 1, 0)]].concat());
    let expected = warm["seconds"].as_f64().unwrap();
    let other = ["sweep", "decoding.toml", "--out", "other", "--dry-run"];
    let shown = place.sidereal(&other).ok().out;
    assert!(shown.contains("evaluation         2       1"), "{shown}");
    // The rest of the sweep takes about what was expected; machines under load are patient.
    let began = std::time::Instant::now();
    place.sidereal(&["sweep", "decoding.toml", "-q"]).ok();
    let took = began.elapsed().as_secs_f64();
    assert!(expected > 0.0 && expected < 20.0 * took + 1.0, "{expected} and {took}");
    let done = place.sidereal(&["sweep", "decoding.toml", "--dry-run"]).ok();
    assert!(done.out.contains("every run is done"), "{}", done.out);
}

#[test]
fn a_run_that_is_too_large_is_refused_before_any_begins() {
    let place = Place::new();
    place.write("sweep.toml", "[sweep]\nbase = \"tiny.toml\"\nseeds = [0, 1]\n");
    let done = place.sidereal(&["sweep", "sweep.toml", "-q", "--memory", "1MiB"]);
    assert_eq!(done.code, 4, "{}", done.err);
    assert!(done.err.contains("--memory") && done.err.contains("case `base`"), "{}", done.err);
    assert!(done.err.contains("more than the 1 MiB of all runs"), "{}", done.err);
    assert!(!place.path("runs/sweep").exists());
    place.sidereal(&["sweep", "sweep.toml", "-q", "--memory", "20GiB", "--jobs", "2"]).ok();
    let done = place.sidereal(&["sweep", "sweep.toml", "--memory", "much"]);
    assert!(done.err.contains("6GiB"), "{}", done.err);
}

#[test]
fn lists_that_go_together_and_random_draws_are_runs() {
    let place = Place::new();
    let text = "[sweep]\nbase = \"tiny.toml\"\n[sweep.zip]\n\"backbone.layers\" = [1, 2]\n\
                \"backbone.d_model\" = [16, 8]\n[sweep.random]\ntrials = 3\n\
                [sweep.random.over]\n\"train.lr\" = { from = 1e-4, to = 1e-2, log = true }\n";
    place.write("search.toml", text);
    let dry = place.sidereal(&["sweep", "search.toml", "--dry-run"]).ok();
    let cases = |out: &str| out.split("\n\n").next().unwrap_or_default().to_string();
    assert_eq!(cases(&dry.out).lines().count(), 1 + 6, "{}", dry.out);
    assert_eq!(dry.out.matches("d_model=8 layers=2 lr=0.0").count(), 3, "{}", dry.out);
    let again = place.sidereal(&["sweep", "search.toml", "--dry-run"]).ok();
    assert_eq!(cases(&again.out), cases(&dry.out));
    place.write("search.toml", text.replace("[16, 8]", "[16]"));
    let done = place.sidereal(&["sweep", "search.toml", "--dry-run"]);
    assert_eq!(done.code, 4);
    assert!(done.err.contains("have one length"), "{}", done.err);
}

const HALVING: &str = "[sweep]\nbase = \"tiny.toml\"\nseeds = [0, 1]\n[sweep.halving]\neta = 2\n\
    from = 1\nto = 4\n[sweep.grid]\n\"train.lr\" = [1e-5, 0.003, 1e-6, 0.01]\n";

/// The rungs are what runs of their lengths come to, the chosen case is a run of its own, and no
/// other was looked at on the test.
#[test]
fn halving_chooses_on_validation_and_evaluates_one() {
    let place = Place::new();
    place.write("halve.toml", HALVING);
    let dry = place.sidereal(&["sweep", "halve.toml", "--dry-run"]).ok();
    assert!(dry.out.contains("train.epochs: 4 with 1, 2 with 2, 1 with 4: about"), "{}", dry.out);
    let args = ["sweep", "halve.toml", "--jobs", "2", "--json"];
    let done = place.sidereal(&args).ok();
    let summary: Value = serde_json::from_str(&done.out).unwrap();
    let metric = summary["choice"]["metric"].as_str().unwrap();
    // What a run of that length says on validation when it ends.
    let valid = |case: &str, epochs: u64| -> f64 {
        let of = |seed: u64| {
            let out = format!("plain/{case}-{epochs}-{seed}");
            let set = [format!("train.epochs={epochs}"), format!("seed={seed}")];
            let lr = format!("train.lr={}", case.rsplit('=').next().unwrap());
            let sets = ["--set", &set[0], "--set", &set[1], "--set", &lr];
            place.run(&[&["--out", &out, "--cache", "other"], &sets[..]].concat()).ok();
            let best = place.json(&format!("{out}/training.json"))["best"]["metrics"].clone();
            let all = best.as_array().unwrap().clone();
            all.iter().find(|m| m[0] == metric).unwrap()[1].as_f64().unwrap()
        };
        (of(0) + of(1)) / 2.0
    };
    let names = |at: usize| -> Vec<(String, f64)> {
        let cases = summary["bracket"]["rungs"][at]["cases"].as_array().unwrap().clone();
        let one = |c: &Value| (c["case"].as_str().unwrap().into(), c["valid"].as_f64().unwrap());
        cases.iter().map(one).collect()
    };
    let mut left: Vec<String> = names(0).into_iter().map(|c| c.0).collect();
    assert_eq!(left.len(), 4);
    for (at, (epochs, keep)) in [(1, 2), (2, 1), (4, 1)].into_iter().enumerate() {
        let expected: Vec<(String, f64)> =
            left.iter().map(|case| (case.clone(), valid(case, epochs))).collect();
        assert_eq!(names(at), expected, "rung {at}");
        let mut order: Vec<usize> = (0..left.len()).collect();
        order.sort_by(|&a, &b| expected[b].1.total_cmp(&expected[a].1));
        let mut kept = order[..keep].to_vec();
        kept.sort_unstable();
        left = kept.into_iter().map(|i| left[i].clone()).collect();
    }
    let runs = summary["runs"].as_array().unwrap();
    assert!(runs.len() == 2 && runs.iter().all(|r| r["case"] == left[0].as_str()));
    let own = format!("plain/{}-4-1/metrics.json", left[0]);
    let folder = runs[1]["folder"].as_str().unwrap();
    assert_eq!(place.json(&format!("{folder}/metrics.json")), place.json(&own));
    let table = text(&place, "runs/halve/table.md");
    assert!(table.contains("chosen on validation: ") && table.contains("falls at"), "{table}");
    for rung in common::names(&place.path("runs/halve/rungs")) {
        for case in common::names(&place.path(&format!("runs/halve/rungs/{rung}"))) {
            let run = place.path(&format!("runs/halve/rungs/{rung}/{case}/seed-0"));
            assert!(
                !run.is_dir()
                    || !run.join("metrics.json").exists() && run.join("valid.json").exists()
            );
        }
    }

    // The same command runs nothing; a rung that was lost is run again to the same end.
    let log = format!("runs/halve/rungs/epochs=1/{}/seed-0/log.jsonl", left[0].replace(' ', "-"));
    let before = place.read(&log);
    assert_eq!(place.sidereal(&args).ok().out, done.out);
    assert_eq!(place.read(&log), before);
    std::fs::remove_dir_all(place.path("runs/halve/rungs/epochs=2")).unwrap();
    std::fs::remove_dir_all(place.path("runs/cache")).unwrap();
    place.sidereal(&["sweep", "halve.toml", "-q"]).ok();
    assert_eq!(text(&place, "runs/halve/table.md"), table);
    let part = place.sidereal(&["sweep", "halve.toml", "--seed", "0"]);
    assert!(part.code == 4 && part.err.contains("by all seeds"), "{}", part.err);
}

#[test]
fn what_cannot_be_halved_is_refused() {
    let place = Place::new();
    let error = |text: String| {
        place.write("halve.toml", text);
        let done = place.sidereal(&["sweep", "halve.toml", "--dry-run"]);
        assert_eq!(done.code, 4, "{}", done.err);
        done.err
    };
    let widths =
        HALVING.replace("[1e-5, 0.003, 1e-6, 0.01]", "[0.1]\n\"train.validate_width\" = [10, 20]");
    assert!(error(widths).contains("the same validation cases"));
    let none = error(format!("recommender = \"most-pop\"\n{HALVING}"));
    assert!(none.contains("no model"), "{none}");
    assert!(error(HALVING.replace("eta = 2", "eta = 1")).contains("`eta`"));
}

/// What ends a run, a stop and the death of the whole sweep.
#[cfg(target_os = "linux")]
mod ends {
    use super::*;
    use std::process::{Child, Output, Stdio};
    use std::time::{Duration, Instant};

    /// Two runs side by side: one that is killed leaves the other alone, and both end with the sweep.
    #[test]
    fn runs_side_by_side_end_alone_and_with_the_sweep() {
        let place = Place::new();
        place.write("pair.toml", SLOW.replace("\"train.epochs\" = 1\n", "\"train.epochs\" = 40\n"));
        let start = |out: &str| {
            let cache = format!("cache-{out}");
            let args = ["sweep", "pair.toml", "--jobs", "2", "--out", out, "--cache", &cache];
            let mut command = place.command(&args);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let slow = place.path(&format!("{out}/slow-one/seed-0/checkpoints"));
            let quick = place.path(&format!("{out}/quick/seed-0/checkpoints"));
            wait(|| slow.exists() && quick.exists());
            let runs = children(child.id());
            assert_eq!(runs.len(), 2);
            (child, runs)
        };
        let is_slow = |pid: &String| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
            String::from_utf8_lossy(&words).contains("slow one")
        };
        let (sweep, runs) = start("alone");
        signal("-KILL", runs.iter().find(|p| is_slow(p)).unwrap());
        let output = sweep.wait_with_output().unwrap();
        let (out, err) = said(&output);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(out.contains("slow one, seed 0: failed: killed (signal 9)"), "{out}");
        assert!(out.contains("2/2  quick, seed 0: ndcg@10"), "{out}");

        let (mut sweep, runs) = start("cut");
        sweep.kill().unwrap();
        sweep.wait().unwrap();
        wait(|| runs.iter().all(|run| ended(run)));

        let (sweep, runs) = start("stopped");
        signal("-INT", &sweep.id().to_string());
        let output = sweep.wait_with_output().unwrap();
        assert!(said(&output).1.contains("the same command goes on"), "{:?}", said(&output));
        assert!(runs.iter().all(|run| ended(run)));
    }

    /// A run that waits for what another makes takes over when that one is killed.
    #[test]
    fn the_next_in_line_takes_over() {
        let place = Place::new();
        let (mut first, run) = start(&place, "first");
        let args = ["sweep", "slow.toml", "--case=slow one", "--out", "second"];
        let mut command = place.command(&[&args[..], &["--cache", "cache-first"]].concat());
        let second = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait(|| place.path("second/slow-one/seed-0/sids.safetensors").exists());
        std::thread::sleep(Duration::from_millis(100));
        assert!(!place.path("second/slow-one/seed-0/checkpoints").exists());
        signal("-KILL", &run);
        first.kill().unwrap();
        first.wait().unwrap();
        let output = second.wait_with_output().unwrap();
        let (out, err) = said(&output);
        assert!(output.status.success(), "{err}");
        assert!(out.contains("1/1  slow one, seed 0: ndcg@10"), "{out}");
        assert!(err.contains("another run makes the same training: waiting for it"), "{err}");
    }

    const SLOW: &str = "[sweep]\nbase = \"tiny.toml\"\n[[sweep.case]]\nname = \"slow one\"\n\
        \"train.epochs\" = 150\n\"train.patience\" = 0\n\"train.checkpoint_steps\" = 3\n\
        [[sweep.case]]\nname = \"quick\"\n\"train.epochs\" = 1\n";

    /// Starts the sweep and waits until its first run trains; the run's process beside it.
    fn start(place: &Place, out: &str) -> (Child, String) {
        place.write("slow.toml", SLOW);
        let cache = format!("cache-{out}");
        let args = ["sweep", "slow.toml", "--out", out, "--cache", &cache];
        let mut command = place.command(&args);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let checkpoints = place.path(&format!("{out}/slow-one/seed-0/checkpoints"));
        wait(|| checkpoints.exists());
        let run = children(child.id()).pop().expect("the run has a process of its own");
        (child, run)
    }

    fn wait(until: impl Fn() -> bool) {
        let began = Instant::now();
        while !until() {
            assert!(began.elapsed() < Duration::from_secs(30), "nothing happened");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Processes that `parent` started.
    fn children(parent: u32) -> Vec<String> {
        let all = common::names(std::path::Path::new("/proc"));
        let is_child = |pid: &String| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // `pid (name) state parent`; the name may hold anything.
            let after = stat.rsplit(')').next().unwrap_or_default();
            after.split_whitespace().nth(1) == Some(&parent.to_string())
        };
        all.into_iter().filter(is_child).collect()
    }

    /// Whether a process has ended; one that nobody has asked about yet is a zombie.
    fn ended(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_none_or(|after| after.is_empty() || after.starts_with(" Z"))
    }

    fn signal(name: &str, pid: &str) {
        assert!(std::process::Command::new("kill").args([name, pid]).status().unwrap().success());
    }

    fn said(output: &Output) -> (String, String) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    }

    fn again(place: &Place, out: &str) {
        let cache = format!("cache-{out}");
        place.sidereal(&["sweep", "slow.toml", "-q", "--out", out, "--cache", &cache]).ok();
    }

    #[test]
    fn a_killed_run_ends_alone() {
        let place = Place::new();
        let (sweep, run) = start(&place, "killed");
        signal("-KILL", &run);
        let output = sweep.wait_with_output().unwrap();
        let (out, err) = said(&output);
        assert_eq!(output.status.code(), Some(1));
        assert!(out.contains("1/2  slow one, seed 0: failed: killed (signal 9)"), "{out}");
        assert!(out.contains("2/2  quick, seed 0: ndcg@10"), "{out}");
        assert!(err.contains("1 of 2 runs failed"), "{err}");
        let command = "again: sidereal sweep slow.toml '--case=slow one' --seed=0 --out killed \
                       --cache cache-killed";
        assert!(err.contains(command), "{err}");
        // The words of that command run it, and the table has both.
        let args = ["sweep", "slow.toml", "--case=slow one", "--seed=0", "-q"];
        place.sidereal(&[&args[..], &["--out", "killed", "--cache", "cache-killed"]].concat()).ok();
        let summary = place.json("killed/summary.json");
        assert!(summary["runs"].as_array().unwrap().iter().all(|r| r["state"] == "finished"));
    }

    #[test]
    fn a_killed_sweep_goes_on_to_the_same_bytes() {
        let place = Place::new();
        let (mut sweep, run) = start(&place, "cut");
        sweep.kill().unwrap();
        sweep.wait().unwrap();
        // Its run notices and stops.
        wait(|| ended(&run));
        assert!(!place.path("cut/slow-one/seed-0/metrics.json").exists());
        again(&place, "cut");
        again(&place, "whole");
        for case in ["slow-one", "quick"] {
            for file in ["metrics.json", "model.safetensors", "sids.safetensors"] {
                let read = |out: &str| place.read(&format!("{out}/{case}/seed-0/{file}"));
                assert!(read("cut") == read("whole"), "{file} of {case} differs");
            }
        }
    }

    /// A bracket that was killed on a rung goes on there and ends as one that was not.
    #[test]
    fn a_killed_bracket_goes_on_to_the_same_choice() {
        let place = Place::new();
        let bracket = HALVING.replace("from = 1", "from = 10").replace("to = 4", "to = 40");
        place.write("halve.toml", format!("[train]\ncheckpoint_steps = 3\n{bracket}"));
        let args = |out: &'static str| ["sweep", "halve.toml", "-q", "--out", out, "--cache", out];
        let mut sweep = place.command(&args("cut")).spawn().unwrap();
        wait(|| place.path("cut/rungs/epochs=20").exists());
        let runs = children(sweep.id());
        sweep.kill().unwrap();
        sweep.wait().unwrap();
        wait(|| runs.iter().all(|run| ended(run)));
        assert!(
            !place.path("cut/summary.json").exists()
                || place.json("cut/summary.json")["runs"] == serde_json::json!([])
        );
        place.sidereal(&args("cut")).ok();
        place.sidereal(&args("whole")).ok();
        assert_eq!(text(&place, "cut/table.md"), text(&place, "whole/table.md"));
        let rungs = |out: &str| place.json(&format!("{out}/summary.json"))["bracket"].clone();
        assert_eq!(rungs("cut"), rungs("whole"));
    }

    #[test]
    fn an_interrupt_stops_run_and_sweep() {
        let place = Place::new();
        let (sweep, run) = start(&place, "stopped");
        signal("-INT", &sweep.id().to_string());
        let output = sweep.wait_with_output().unwrap();
        let (_, err) = said(&output);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("the same command goes on"), "{err}");
        assert!(ended(&run));
        assert!(!place.path("stopped/quick").exists());
    }
}
