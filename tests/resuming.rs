//! Kills, interrupts and threads change no byte.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::Place;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Slow enough to be killed in the middle, with a checkpoint every few steps.
const SLOW: [&str; 6] = [
    "--set",
    "train.epochs=60",
    "--set",
    "train.checkpoint_steps=3",
    "--set",
    "train.validate_every=2",
];

fn run(place: &Place, out: &str, more: &[&str]) {
    let cache = format!("cache-{out}");
    let args = [&["--out", out, "--cache", &cache][..], &SLOW, more].concat();
    place.run(&args).ok();
}

fn same(place: &Place, a: &str, b: &str) {
    for file in ["metrics.json", "model.safetensors", "sids.safetensors", "per_user.csv"] {
        let read = |run: &str| place.read(&format!("{run}/{file}"));
        assert!(read(a) == read(b), "{file} of {a} and {b} differ");
    }
}

#[test]
fn killed_runs_end_with_the_same_bytes() {
    let place = Place::new();
    let began = Instant::now();
    run(&place, "whole", &[]);
    let whole = began.elapsed();
    let log = String::from_utf8(place.read("whole/log.jsonl")).unwrap();
    for (n, share) in [0.2, 0.5, 0.8].into_iter().enumerate() {
        let (out, cache) = (format!("killed-{n}"), format!("cache-{n}"));
        let args = [&["run", "tiny.toml", "-q", "--out", &out, "--cache", &cache][..], &SLOW];
        let mut child = place
            .command(&args.concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole.mul_f64(share));
        // SIGKILL; a run that was already done is as good.
        let _ = child.kill();
        child.wait().unwrap();
        place.sidereal(&[&args.concat()[..], &["--resume"]].concat()).ok();
        same(&place, "whole", &out);
        // The log of the training reads as if nothing had happened: each validation stands there
        // once. An evaluation that was cut is begun, and logged, again.
        let again = String::from_utf8(place.read(&format!("{out}/log.jsonl"))).unwrap();
        let valid = |log: &str| log.lines().filter(|l| l.contains(r#""group":"valid""#)).count();
        assert_eq!(valid(&again), valid(&log));
        assert!(!place.path(&format!("{out}/checkpoints")).exists());
    }
}

#[test]
fn an_interrupt_saves_and_says_how_to_go_on() {
    let place = Place::new();
    run(&place, "whole", &[]);
    let args = [&["run", "tiny.toml", "--out", "cut", "--cache", "c"][..], &SLOW].concat();
    let child = place.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while !place.path("cut/checkpoints").exists() && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if sent.success() && !output.status.success() {
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("--resume") && text.contains("stopping"), "{text}");
    }
    place.sidereal(&[&args[..], &["--resume", "-q"]].concat()).ok();
    same(&place, "whole", "cut");
}

#[test]
fn threads_change_no_byte() {
    let place = Place::new();
    for backbone in [
        "backbone.layers=1",
        "backbone={type=\"tiger\", d_model=16, d_ff=16, layers=1, decoder_layers=1, heads=2, d_kv=8}",
        "backbone={type=\"sasrec\", d_model=16, d_ff=16, layers=1}",
    ] {
        let one = ["--set", "train.epochs=2", "--set", backbone, "--overwrite"];
        for threads in ["1", "2", "3"] {
            let (set, cache) = (format!("threads={threads}"), format!("cache-{threads}"));
            let out = format!("threads-{threads}");
            let more = ["--set", &set, "--out", &out, "--cache", &cache];
            place.run(&[&one[..], &more].concat()).ok();
        }
        for file in ["metrics.json", "model.safetensors"] {
            let one = place.read(&format!("threads-1/{file}"));
            assert!(one == place.read(&format!("threads-2/{file}")), "{backbone}: {file}");
            assert!(one == place.read(&format!("threads-3/{file}")), "{backbone}: {file}");
        }
    }
}
