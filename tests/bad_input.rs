//! Bad input of many kinds: one clear error that names file, line or key, the right exit code, and
//! never a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::{Done, Place};
use std::process::Stdio;

/// One error line with all of `texts`; nothing else went wrong.
#[track_caller]
fn expect(done: Done, code: i32, texts: &[&str]) {
    let what = format!("code {}\nstderr:\n{}\nstdout:\n{}", done.code, done.err, done.out);
    assert_eq!(done.code, code, "expected code {code}: {what}");
    assert!(!done.err.contains("panicked"), "{what}");
    let errors = done.err.lines().filter(|l| l.starts_with("error: ")).count();
    assert_eq!(errors, 1, "expected one error: {what}");
    for text in texts {
        assert!(done.err.contains(text), "no `{text}`: {what}");
    }
}

/// Runs the tiny experiment with a changed line.
fn with(sets: &[&str]) -> Done {
    let place = Place::new();
    let args: Vec<&str> = sets.iter().flat_map(|s| ["--set", s]).collect();
    place.run(&args)
}

/// Runs a file of this text.
fn file(text: impl AsRef<[u8]>) -> Done {
    let place = Place::new();
    place.write("x.toml", text);
    place.sidereal(&["run", "x.toml", "-q"])
}

#[test]
fn configuration_files() {
    expect(Place::new().sidereal(&["run", "no.toml"]), 3, &["no.toml", "No such file"]);
    expect(file("[data\ntype = 1"), 4, &["x.toml:1", "not valid TOML"]);
    expect(file("seed = 1\nseed = 2"), 4, &["x.toml:2", "not valid TOML"]);
    expect(file(b"seed = \"\xff\xfe\""), 4, &["x.toml", "UTF-8"]);
    expect(file("\n[quantiser]\ntype = \"random\""), 4, &["x.toml:2", "did you mean `quantizer`"]);
    expect(file("[backbone]\nlayrs = 2"), 4, &["x.toml:2", "backbone.layrs", "`layers`"]);
    expect(file("[train]\nepoch = 2"), 4, &["x.toml:2", "train.epoch", "`epochs`"]);
    expect(file("[evaluate]\nmetric = []"), 4, &["x.toml:2", "evaluate.metric", "`metrics`"]);
    expect(file("[quantizer]\n\ntype = \"rq-kmean\""), 4, &["x.toml:3", "`rq-kmeans`", "random"]);
    expect(file("[data]\nsplit = \"leave-two-out\""), 4, &["x.toml:2", "leave-one-out"]);
    expect(file("[data]\ntype = 3"), 4, &["x.toml:2", "data.type", "3"]);
    expect(file("data = 3"), 4, &["x.toml:1", "[data]"]);
    expect(file("[quantizer]\nlevels = \"big\""), 4, &["x.toml:2", "quantizer.levels", "\"big\""]);
    expect(file("[train]\nlr = nan"), 4, &["x.toml:2", "train.lr", "nan"]);
    expect(file("seed = -1"), 4, &["x.toml:1", "seed", "-1"]);
    expect(file("threads = 0"), 4, &["x.toml:1", "threads", "from 1"]);
}

#[test]
fn values_outside_their_range() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["quantizer.levels=[8, 0]"], &["quantizer.levels", "0"]),
        (&["quantizer.levels=[]"], &["quantizer.levels"]),
        (&["quantizer.levels=[8, 100]"], &["--set quantizer.levels", "100 codes", "60"]),
        (&["quantizer.levels=[-1]"], &["quantizer.levels", "-1"]),
        (&["encoder.dim=0"], &["encoder.dim", "0"]),
        (&["encoder.dim=1000000"], &["encoder.dim", "1000000"]),
        (&["backbone.dropout=1.5"], &["backbone.dropout", "1.5", "below 1"]),
        (&["backbone.layers=0"], &["backbone.layers"]),
        (&["train.epochs=0"], &["train.epochs", "1 and up"]),
        (&["train.batch=0"], &["train.batch", "1 and up"]),
        (&["train.lr=-1"], &["train.lr", "-1"]),
        (&["train.optimizer=sgd"], &["train.optimizer", "sgd", "adamw"]),
        (&["train.augmentation=all"], &["train.augmentation", "all", "packed"]),
        (&["train.select=recall@5"], &["train.select", "unknown"]),
        (&["train.validate_width=5"], &["train.validate_width", "ndcg@10", "10 and up"]),
        (&["decoder.width=0"], &["decoder.width", "0"]),
        (&["decoder.width=7"], &["decoder.width", "7", "10"]),
        (&["evaluate.metrics=[]"], &["evaluate.metrics", "empty"]),
        (&["evaluate.metrics=[\"recal@10\"]"], &["evaluate.metrics", "did you mean `recall`"]),
        (&["evaluate.metrics=[\"recall@0\"]"], &["evaluate.metrics", "recall@0"]),
        (&["evaluate.metrics=[\"mrr@5\", \"mrr@5\"]"], &["evaluate.metrics", "twice"]),
        (&["evaluate.metrics=[3]"], &["evaluate.metrics", "3"]),
        (&["evaluate.select=ild-vectors@5"], &["evaluate.select", "item vectors"]),
        (&["evaluate.select=best"], &["best", "recall"]),
        (&["data.users=0"], &["data.users", "0"]),
        (&["data.stay=2.0"], &["data.stay", "2"]),
        (&["data.split={type=\"ratio\", valid=0.6, test=0.5}"], &["data.split", "0.6", "0.5"]),
        (&["data.split.typo=1"], &["data.split.typo"]),
        (&["recommender=most-popular"], &["most-popular", "most-pop"]),
        (&["decoder.width"], &["KEY=VALUE"]),
        (&["a.=3"], &["--set a.=3", "dotted key"]),
        (&["decodr.width=3"], &["--set decodr.width=3", "`decoder`"]),
    ];
    for (sets, texts) in cases {
        let code = if sets[0].contains('=') { 4 } else { 2 };
        expect(with(sets), code, texts);
    }
}

#[test]
fn parts_that_do_not_fit_together() {
    let tiger = "backbone={type=\"tiger\", d_model=16, d_ff=16, layers=1, decoder_layers=1}";
    expect(with(&[tiger, "train.augmentation=packed"]), 4, &["backbone.encoder", "causal"]);
    let texts = ["--set objective=full-softmax", "objective.type", "item vectors"];
    expect(with(&["objective=full-softmax"]), 4, &texts);
    expect(with(&["data.split=given"]), 4, &["--set data.split=given", "leave-one-out"]);
    expect(with(&["data.max_length=2", "data.min_length=2"]), 3, &["no test case"]);
    let place = Place::new();
    place.write("d.csv", "user,item\na,x\na,y\na,z\n");
    place.write("x.toml", "recommender = \"oracle\"\n[data]\ntype = \"csv\"\npath = \"d.csv\"\n");
    expect(place.sidereal(&["run", "x.toml", "-q"]), 4, &["recommender.type", "synthetic"]);
}

/// Runs the popularity baseline on a data file.
fn data(kind: &str, name: &str, bytes: impl AsRef<[u8]>) -> Done {
    let place = Place::new();
    place.write(name, bytes);
    let path = name.split('/').next().unwrap_or_default();
    let text =
        format!("recommender = \"most-pop\"\n[data]\ntype = \"{kind}\"\npath = \"{path}\"\n");
    place.write("x.toml", text);
    place.sidereal(&["run", "x.toml", "-q"])
}

#[test]
fn data_files() {
    let none = "recommender = \"most-pop\"\n[data]\ntype = \"csv\"\n";
    expect(file(none), 4, &["x.toml:2", "data.path", "missing"]);
    expect(file(format!("{none}path = \"no.csv\"")), 3, &["no.csv", "No such file"]);
    expect(data("csv", "d.csv", ""), 3, &["d.csv"]);
    expect(data("csv", "d.csv", "user,item\n"), 3, &[]);
    expect(data("csv", "d.csv", "who,what\na,b\n"), 3, &["d.csv:1", "data.user", "who, what"]);
    expect(data("csv", "d.csv", "user,item,timestamp\na,x,1\na,y,soon\n"), 3, &["d.csv:3", "soon"]);
    expect(data("csv", "d.csv", "user,item\na,x\na\n"), 3, &["d.csv:3"]);
    expect(data("csv", "d.csv", "user,item\na,x\nb,y\n"), 3, &["no test case"]);
    expect(data("csv", "d.csv", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b]), 3, &["d.csv"]);
    expect(data("csv", "d.csv", b"user,item\n\xff\xfe,x\n".as_slice()), 3, &[]);
    expect(data("parquet", "d.parquet", "PAR1 and nothing else"), 3, &["d.parquet"]);
    expect(data("folder", "d/other.txt", "x"), 3, &["interactions"]);
    expect(data("folder", "d/interactions.tsv", "user\titem\n0\t0\nx\t1\n"), 3, &["tsv:3"]);
    expect(data("folder", "d/interactions.tsv", "user\n0\n"), 3, &["interactions.tsv", "item"]);
    expect(data("movielens", "d/readme.txt", "x"), 3, &["d"]);
    expect(data("recbole", "d/readme.txt", "x"), 3, &["d"]);
    let place = Place::new();
    place.write("d/interactions.tsv", "user\titem\n0\t0\n0\t1\n0\t0\n");
    place.write("d/items.jsonl", "{\"item\": 0}\n{\"item\": 0}\n");
    place.write("x.toml", "recommender = \"most-pop\"\n[data]\ntype = \"folder\"\npath = \"d\"\n");
    expect(place.sidereal(&["run", "x.toml", "-q"]), 3, &["items.jsonl:2", "second time"]);
    place.write("d/items.jsonl", "{\"item\": 0}\n{\"item\": 1\n");
    expect(place.sidereal(&["run", "x.toml", "-q"]), 3, &["items.jsonl:2", "JSON"]);
    expect(place.sidereal(&["data", "inspect", "nowhere"]), 3, &["nowhere"]);
    expect(place.sidereal(&["data", "inspect", "x.toml"]), 3, &["x.toml"]);
}

/// A `.npy` file of f32.
fn npy(rows: usize, cols: usize, values: &[f32]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

#[test]
fn embeddings_and_texts() {
    let vectors = |bytes: Vec<u8>| {
        let place = Place::new();
        place.write("v.npy", bytes);
        let set = "encoder={type=\"precomputed\", path=\"v.npy\"}";
        place.run(&["--set", set])
    };
    let mut nan = vec![0.5; 60 * 4];
    nan[4 * 17 + 2] = f32::NAN;
    expect(vectors(npy(60, 4, &nan)), 3, &["v.npy", "row 17", "item-17", "not finite"]);
    expect(vectors(npy(59, 4, &[0.5; 59 * 4])), 3, &["v.npy", "59", "60"]);
    expect(vectors(npy(60, 4, &[0.5; 7])), 3, &["v.npy"]);
    expect(vectors(npy(usize::MAX, 4, &[])), 3, &["v.npy"]);
    expect(vectors(b"\x93NUMPY".to_vec()), 3, &["v.npy"]);
    expect(vectors(Vec::new()), 3, &["v.npy"]);
    // Sixty equal vectors are one distinct vector: no eight codes.
    expect(vectors(npy(60, 4, &[0.5; 240])), 4, &["quantizer.levels", "distinct"]);
    let none = "encoder={type=\"precomputed\", path=\"none.npy\"}";
    expect(with(&[none]), 4, &["encoder.path", "none.npy"]);
    let folder = "encoder={type=\"sentence-transformer\", model=\"/no/such/model\"}";
    expect(with(&[folder]), 4, &["encoder.model", "/no/such/model"]);

    let place = Place::new();
    let rows: String = (0..40).map(|i| format!("u{},i{}\n", i / 4, i % 8)).collect();
    place.write("d.csv", format!("user,item\n{rows}"));
    place.write("x.toml", "[data]\ntype = \"csv\"\npath = \"d.csv\"\n");
    expect(place.sidereal(&["run", "x.toml", "-q"]), 4, &["encoder.fields", "text"]);
}

#[test]
fn places_that_cannot_be_written() {
    let place = Place::new();
    place.write("plain", "a file");
    expect(place.run(&["--out", "plain"]), 1, &["cannot write plain"]);
    expect(place.run(&["--out", "plain/run"]), 1, &["cannot write plain/run"]);
    expect(place.run(&["--cache", "plain/cache"]), 1, &["cannot write plain/cache"]);
    if cfg!(target_os = "linux") {
        expect(place.run(&["--out", "/proc/no-run"]), 1, &["cannot write /proc/no-run"]);
    }
}

/// Files end early as on a full disk: a limit on their size, whose signal is ignored.
#[test]
fn full_disks() {
    if !cfg!(target_os = "linux") {
        println!("skipped: the limits of other systems differ");
        return;
    }
    for kib in [0, 1, 8, 32] {
        let place = Place::new();
        let binary = env!("CARGO_BIN_EXE_sidereal");
        let script = format!(
            "trap '' XFSZ; ulimit -f {kib}; exec {binary} run tiny.toml -q --out r --cache c"
        );
        let done: Done = std::process::Command::new("bash")
            .args(["-c", &script])
            .current_dir(place.path(""))
            .output()
            .unwrap()
            .into();
        expect(done, 1, &["cannot write", "File too large"]);
        // What is left can be continued once there is room.
        place.run(&["--out", "r", "--cache", "c", "--resume"]).ok();
    }
    let place = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = place.command(&["components"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    expect(child.wait_with_output().unwrap().into(), 1, &["cannot write standard output"]);
}

#[test]
fn readers_may_leave_early() {
    let place = Place::new();
    let mut child = place.command(&["components"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn run_folders_that_are_none_or_damaged() {
    let place = Place::new();
    expect(place.sidereal(&["evaluate", "nowhere"]), 3, &["nowhere", "config.toml"]);
    expect(place.sidereal(&["replay", "nowhere"]), 3, &["nowhere"]);
    expect(place.sidereal(&["recommend", "nowhere", "--user", "0"]), 3, &["nowhere"]);
    for (file, texts) in [
        ("model.safetensors", &["model.safetensors"][..]),
        ("sids.safetensors", &["sids.safetensors"]),
        ("data.json", &["data.json"]),
    ] {
        let place = Place::new();
        place.run(&[]).ok();
        let whole = place.read(&format!("runs/tiny/{file}"));
        place.write(&format!("runs/tiny/{file}"), &whole[..whole.len() / 2]);
        expect(place.sidereal(&["evaluate", "runs/tiny", "-q"]), 3, texts);
        std::fs::remove_file(place.path(&format!("runs/tiny/{file}"))).unwrap();
        expect(place.sidereal(&["evaluate", "runs/tiny", "-q"]), 3, texts);
    }
    place.run(&[]).ok();
    std::fs::remove_file(place.path("runs/tiny/metrics.json")).unwrap();
    expect(place.sidereal(&["replay", "runs/tiny", "-q"]), 3, &["metrics.json", "not finished"]);
    place.write("runs/tiny/config.toml", "seed = ");
    expect(place.sidereal(&["evaluate", "runs/tiny", "-q"]), 4, &["config.toml:1"]);
}

#[test]
fn wrong_usage() {
    let place = Place::new();
    for args in [&["runn"][..], &["run"], &["run", "tiny.toml", "--outt", "x"], &["data"]] {
        assert_eq!(place.sidereal(args).code, 2, "{args:?}");
    }
    expect(place.run(&["--resume", "--overwrite"]), 2, &["--overwrite"]);
}
