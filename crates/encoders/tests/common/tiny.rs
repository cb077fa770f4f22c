//! A tiny BERT folder with random weights, and the same model in plain f64 loops.

use rand::Rng;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use sidereal_core::seed::stream;
use std::collections::BTreeMap;
use std::path::Path;

pub const HIDDEN: usize = 16;
pub const HEADS: usize = 4;
pub const LAYERS: usize = 2;
pub const INNER: usize = 24;
pub const POSITIONS: usize = 24;
pub const WORDS: [&str; 16] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "blue", "shoe", "##s", "query", ":", ".", "small",
    "big", "hat", "for", "winter",
];

/// Tensors by name with their shapes.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Random weights of the transformer.
pub fn weights() -> Tensors {
    let mut all = Tensors::new();
    let mut add = |name: String, shape: &[usize], center: f32| {
        let mut rng = stream(7, &name, 0);
        let n = shape.iter().product();
        let values = (0..n).map(|_| center + 0.6 * (rng.random::<f32>() - 0.5)).collect();
        all.insert(name, (shape.to_vec(), values));
    };
    for (name, rows) in [("word", WORDS.len()), ("position", POSITIONS), ("token_type", 2)] {
        add(format!("embeddings.{name}_embeddings.weight"), &[rows, HIDDEN], 0.0);
    }
    add("embeddings.LayerNorm.weight".into(), &[HIDDEN], 1.0);
    add("embeddings.LayerNorm.bias".into(), &[HIDDEN], 0.0);
    for layer in 0..LAYERS {
        let p = format!("encoder.layer.{layer}");
        for (name, out, inner) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", INNER, HIDDEN),
            ("output.dense", HIDDEN, INNER),
        ] {
            add(format!("{p}.{name}.weight"), &[out, inner], 0.0);
            add(format!("{p}.{name}.bias"), &[out], 0.0);
        }
        for name in ["attention.output", "output"] {
            // The names that old checkpoints use.
            add(format!("{p}.{name}.LayerNorm.gamma"), &[HIDDEN], 1.0);
            add(format!("{p}.{name}.LayerNorm.beta"), &[HIDDEN], 0.0);
        }
    }
    all
}

pub fn write_tensors(path: &Path, tensors: &Tensors) {
    let bytes: BTreeMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(n, (_, v))| (n, v.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = tensors
        .iter()
        .map(|(n, (s, _))| (n, TensorView::new(Dtype::F32, s.clone(), &bytes[n]).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

pub fn write_json(path: &Path, value: &Value) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, value.to_string()).unwrap();
}

pub fn config() -> Value {
    json!({
        "model_type": "bert", "vocab_size": WORDS.len(), "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER,
        "hidden_act": "gelu", "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "pad_token_id": 0,
    })
}

fn tokenizer() -> Value {
    let vocab: serde_json::Map<String, Value> =
        WORDS.iter().enumerate().map(|(i, w)| (w.to_string(), json!(i))).collect();
    let special = |id: usize| {
        json!({"id": id, "content": WORDS[id], "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    };
    json!({
        "version": "1.0",
        // Both are overruled by the encoder.
        "truncation": {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 20}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": (0..4).map(special).collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocab},
    })
}

/// Writes the transformer without `modules.json`.
pub fn write_transformer(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    write_json(&dir.join("config.json"), &config());
    write_json(&dir.join("tokenizer.json"), &tokenizer());
    write_tensors(&dir.join("model.safetensors"), &weights());
}

/// Writes `modules.json` with a folder for every module after the transformer.
pub fn write_modules(dir: &Path, modules: &[&str]) {
    let mut entries = vec![json!({"idx": 0, "name": "0", "path": "",
                                  "type": "sentence_transformers.models.Transformer"})];
    for (i, kind) in modules.iter().enumerate() {
        entries
            .push(json!({"idx": i + 1, "name": i.to_string(), "path": format!("{}_{kind}", i + 1),
                            "type": format!("sentence_transformers.models.{kind}")}));
    }
    write_json(&dir.join("modules.json"), &Value::Array(entries));
}

/// Hidden states of one sequence of tokens, written from the equations.
pub fn forward(weights: &Tensors, tokens: &[u32]) -> Vec<Vec<f64>> {
    let get = |name: &str| -> Vec<f64> { weights[name].1.iter().map(|&v| f64::from(v)).collect() };
    let linear = |x: &[f64], name: &str| -> Vec<f64> {
        let (w, b) = (get(&format!("{name}.weight")), get(&format!("{name}.bias")));
        let row = |o: usize| w[o * x.len()..(o + 1) * x.len()].iter().zip(x).map(|(w, x)| w * x);
        (0..b.len()).map(|o| b[o] + row(o).sum::<f64>()).collect()
    };
    let norm = |x: &[f64], scale: &str, shift: &str| -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let (g, b) = (get(scale), get(shift));
        (0..x.len()).map(|i| (x[i] - mean) / (variance + 1e-12).sqrt() * g[i] + b[i]).collect()
    };
    let add = |x: &[f64], y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(a, b)| a + b).collect() };
    let (word, position, kind) = (
        get("embeddings.word_embeddings.weight"),
        get("embeddings.position_embeddings.weight"),
        get("embeddings.token_type_embeddings.weight"),
    );
    let mut states: Vec<Vec<f64>> = tokens
        .iter()
        .enumerate()
        .map(|(p, &t)| {
            let at = |table: &[f64], row: usize| table[row * HIDDEN..(row + 1) * HIDDEN].to_vec();
            let sum = add(&add(&at(&word, t as usize), &at(&position, p)), &at(&kind, 0));
            norm(&sum, "embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias")
        })
        .collect();
    for layer in 0..LAYERS {
        let p = format!("encoder.layer.{layer}");
        let project = |name: &str| -> Vec<Vec<f64>> {
            states.iter().map(|x| linear(x, &format!("{p}.attention.self.{name}"))).collect()
        };
        let (q, k, v) = (project("query"), project("key"), project("value"));
        let width = HIDDEN / HEADS;
        let mut next = Vec::new();
        for (i, x) in states.iter().enumerate() {
            let mut context = vec![0.0; HIDDEN];
            for head in 0..HEADS {
                let part = head * width..(head + 1) * width;
                let scores: Vec<f64> = k
                    .iter()
                    .map(|k| {
                        let dot: f64 = part.clone().map(|d| q[i][d] * k[d]).sum();
                        (dot / (width as f64).sqrt()).exp()
                    })
                    .collect();
                let total: f64 = scores.iter().sum();
                for (s, v) in scores.iter().zip(&v) {
                    part.clone().for_each(|d| context[d] += s / total * v[d]);
                }
            }
            let o = format!("{p}.attention.output");
            let (gamma, beta) = (".LayerNorm.gamma", ".LayerNorm.beta");
            let sum = add(x, &linear(&context, &format!("{o}.dense")));
            let attended = norm(&sum, &format!("{o}{gamma}"), &format!("{o}{beta}"));
            let inner: Vec<f64> = linear(&attended, &format!("{p}.intermediate.dense"))
                .into_iter()
                .map(|x| 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)))
                .collect();
            let o = format!("{p}.output");
            let sum = add(&attended, &linear(&inner, &format!("{o}.dense")));
            next.push(norm(&sum, &format!("{o}{gamma}"), &format!("{o}{beta}")));
        }
        states = next;
    }
    states
}

/// The error function by its power series, which converges fast for the small values here.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

#[test]
fn erf_is_right() {
    assert!((erf(1.0) - 0.842_700_792_949_714_9).abs() < 1e-14);
    assert!((erf(-2.0) + 0.995_322_265_018_952_7).abs() < 1e-13);
}
