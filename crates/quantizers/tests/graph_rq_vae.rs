//! MMGRec's quantizer: the graph network by hand and against differences, and what codes follow.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

use rand::Rng;
use rand::seq::SliceRandom;
use serde_json::json;
use sidereal_core::component::Inner;
use sidereal_core::{
    Catalog, Codebook, Codes, EncoderInput, Event, ItemId, ItemTable, Matrix, Observer, Quantizer,
    QuantizerInput, Run, Sequences, Spec, StringColumn, seed,
};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::{Params, Pass};
use sidereal_quantizers::graph_rq_vae::bpr::{
    BprOptions, Triple, bpr, item_vectors, train, triples,
};
use sidereal_quantizers::graph_rq_vae::sage::{Means, Sage, SageLayer, SageShape, SageState};
use sidereal_quantizers::{GraphRqVae, GraphRqVaeOptions, load_codebook, save_codebook};
use std::collections::BTreeMap;
use std::sync::Mutex;

fn histories(rows: &[&[u32]]) -> Sequences {
    let mut out = Sequences::default();
    for row in rows {
        out.push(&row.iter().map(|&i| ItemId(i)).collect::<Vec<_>>());
    }
    out
}

fn items(n: usize) -> ItemTable {
    ItemTable::new((0..n).map(|i| i.to_string()).collect::<StringColumn>())
}

fn draws(rows: usize, cols: usize, s: u64) -> Matrix {
    let mut rng = seed::stream(s, "test", 0);
    let data = (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect();
    Matrix::new(rows, cols, data).unwrap()
}

#[test]
fn neighbour_means_by_hand() {
    // u0 met i0 and i1 (twice), u1 nothing: nodes u0, u1, i0, i1.
    let graph = Means::new(&histories(&[&[0, 1, 1], &[]]), 2);
    assert_eq!((graph.nodes(), graph.users()), (4, 2));
    assert_eq!(graph.met(0).collect::<Vec<_>>(), [0, 1]);
    let mut params = Params::new(1);
    let layer = SageLayer::new(&mut params, "sage", 2, 2);
    let w = params.values_mut();
    layer.own.of_mut(w).fill(0.0);
    layer.neighbours.of_mut(w).copy_from_slice(&[1.0, 0.0, 0.0, 1.0]);
    layer.bias.of_mut(w).fill(0.0);
    let x = [1.0, 2.0, 10.0, 20.0, 3.0, -1.0, 5.0, 7.0];
    let (mut spare, mut y) = (Default::default(), Vec::new());
    layer.forward(params.values(), &x, &graph, &mut spare, &mut y);
    assert_eq!(y, [4.0, 3.0, 0.0, 0.0, 1.0, 2.0, 1.0, 2.0]);
    // The other way round: the node itself, and the bias.
    let w = params.values_mut();
    layer.own.of_mut(w).copy_from_slice(&[1.0, 0.0, 0.0, 1.0]);
    layer.neighbours.of_mut(w).fill(0.0);
    layer.bias.of_mut(w).copy_from_slice(&[0.5, -0.5]);
    layer.forward(params.values(), &x, &graph, &mut spare, &mut y);
    let want: Vec<f32> = x.chunks(2).flat_map(|r| [r[0] + 0.5, r[1] - 0.5]).collect();
    assert_eq!(y, want);
}

fn sage(users: usize, features: usize) -> Sage {
    Sage::new(SageShape { users, features, hidden: 5, output: 3 }, 7)
}

#[test]
fn gradients_agree_with_differences() {
    let graph = Means::new(&histories(&[&[0, 1], &[1, 2, 3], &[], &[3, 0]]), 5);
    let features = draws(5, 4, 2);
    let mut sage = sage(4, 4);
    // Larger user vectors, so that nothing is lost in f32.
    sage.params_mut().values_mut().iter_mut().for_each(|v| *v *= 2.0);
    let all = [
        Triple { user: 0, met: 1, other: 3 },
        Triple { user: 1, met: 2, other: 4 },
        Triple { user: 3, met: 0, other: 2 },
        Triple { user: 0, met: 0, other: 3 },
    ];
    for rates in [[0.0, 0.0], [0.4, 0.2]] {
        let dropout = rates.map(|rate| Dropout::new(rate, Pass::Train { key: 5 }));
        let mut state = SageState::default();
        let mut loss = |sage: &Sage, dx: &mut [f32]| {
            sage.forward(&graph, features.data(), dropout, &mut state);
            bpr(&all, state.output(), 3, 4, dx)
        };
        let mut dx = vec![0.0; 27];
        loss(&sage, &mut dx);
        let mut grads = vec![f32::NAN; sage.params().len()];
        sage.backward(&graph, features.data(), dropout, &mut dx, &mut state, &mut grads);
        let mut loss = |sage: &Sage| {
            sage.forward(&graph, features.data(), dropout, &mut state);
            bpr(&all, state.output(), 3, 4, &mut [0.0; 27])
        };
        let (mut wrong, mut large) = (Vec::new(), 0);
        for (i, &got) in grads.iter().enumerate() {
            let before = sage.params().values()[i];
            let mut at = |h: f32| {
                sage.params_mut().values_mut()[i] = before + h;
                loss(&sage)
            };
            let slope = (at(2e-3) - at(-2e-3)) / 4e-3;
            sage.params_mut().values_mut()[i] = before;
            let got = f64::from(got);
            large += usize::from(got.abs() > 1e-2);
            if (slope - got).abs() > 1e-3 * (1.0 + slope.abs()) {
                wrong.push((sage.params().name_at(i).to_string(), slope, got));
            }
        }
        // A kink of the activation may lie between two points.
        assert!(wrong.len() <= 1 && large > 20, "{large} {wrong:?}");
    }
}

#[test]
fn the_loss_by_hand() {
    // u.i+ - u.i- = 1.
    let x = [1.0, 0.0, 1.0, 2.0, 0.0, 5.0];
    let mut dx = vec![0.0; 6];
    let got = bpr(&[Triple { user: 0, met: 0, other: 1 }], &x, 2, 1, &mut dx);
    let s = 1.0 / (1.0 + (-1f64).exp());
    assert!((got + s.ln()).abs() < 1e-6);
    let slope = -(1.0 - s) as f32;
    let want = [slope, -3.0 * slope, slope, 0.0, -slope, 0.0];
    assert!(dx.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{dx:?} {want:?}");
}

#[test]
fn negatives_are_fixed_and_were_not_met() {
    let all: &[u32] = &[0, 1, 2, 3, 4, 5];
    let graph = Means::new(&histories(&[&[1, 4], all, &[], &[5]]), 6);
    let drawn = triples(&graph, 200, 3);
    assert_eq!(drawn.len(), 600);
    assert_eq!(drawn, triples(&graph, 200, 3));
    let mut seen = [[0usize; 6]; 4];
    for t in &drawn {
        let met: Vec<u32> = graph.met(t.user as usize).collect();
        assert!(met.contains(&t.met) && !met.contains(&t.other), "{t:?}");
        seen[t.user as usize][t.other as usize] += 1;
    }
    assert!([0, 2, 3, 5].iter().all(|&i| seen[0][i] > 60), "{seen:?}");
    assert!((0..5).all(|i| seen[3][i] > 20), "{seen:?}");
}

/// Users and items of two groups: users meet items of their own.
struct World {
    train: Sequences,
    items: ItemTable,
    vectors: Matrix,
}

const ITEMS: usize = 60;

/// Item `i` is of group `i mod 2`; shuffling takes the groups out of features or graph.
fn world(features: bool, graph: bool) -> World {
    let mut rng = seed::stream(6, "world", 0);
    let mut order: Vec<u32> = (0..ITEMS as u32).collect();
    order.shuffle(&mut rng);
    let mut train = Sequences::default();
    for user in 0..80u32 {
        let row: Vec<ItemId> = (0..12)
            .map(|_| {
                let item = 2 * rng.random_range(0..ITEMS as u32 / 2) + user % 2;
                ItemId(if graph { item } else { order[item as usize] })
            })
            .collect();
        train.push(&row);
    }
    let mut data = Vec::new();
    for i in 0..ITEMS {
        let group = if features { i % 2 } else { order[i] as usize % 2 };
        let sign = if group == 0 { 1.0 } else { -1.0 };
        data.extend((0..6).map(|_| sign + rng.random_range(-1.0f32..1.0)));
    }
    World { train, items: items(ITEMS), vectors: Matrix::new(ITEMS, 6, data).unwrap() }
}

impl World {
    fn input(&self) -> QuantizerInput<'_> {
        static NONE: BTreeMap<String, Matrix> = BTreeMap::new();
        let catalogue = EncoderInput { items: &self.items, train: &self.train };
        QuantizerInput { vectors: self.vectors.view(), side: &NONE, catalogue: Some(catalogue) }
    }
}

fn build(spec: &Spec) -> sidereal_core::Result<Box<dyn Quantizer>> {
    let mut catalog: Catalog<dyn Quantizer> = Catalog::new("quantizer");
    sidereal_quantizers::register(&mut catalog).unwrap();
    catalog.resolve(spec)?;
    catalog.build(spec, &())
}

fn small() -> Spec {
    let vae = json!({"type": "rq-vae", "levels": [2, 4], "hidden": [8], "latent": 4,
        "estimator": "code-path", "epochs": 60, "batch": 32, "lr": 5e-3});
    Spec::new("quantizer", "graph-rq-vae")
        .with("vae", vae)
        .with("hidden", 16)
        .with("output", 8)
        .with("graph_epochs", 30)
        .with("graph_batch", 500)
        .with("graph_lr", 0.01)
}

/// Share of items whose first code is that of their group, whichever way round.
fn agreement(codes: &Codes) -> f64 {
    let same = (0..ITEMS).filter(|&i| codes.row(i)[0] as usize == i % 2).count();
    same.max(ITEMS - same) as f64 / ITEMS as f64
}

#[test]
fn codes_follow_features_and_graph() {
    let on = |features, graph| {
        let world = world(features, graph);
        let book = build(&small()).unwrap().fit(&world.input(), &Run::quiet(2)).unwrap();
        agreement(&book.quantize(&world.input()).unwrap())
    };
    let (both, graph_alone, neither) = (on(true, true), on(false, true), on(false, false));
    assert!(both > 0.95, "{both}");
    assert!(graph_alone > 0.9, "{graph_alone}");
    assert!(neither < 0.75, "{neither}");
}

#[test]
fn every_level_lowers_the_distortion_of_the_graphs_vectors() {
    let world = world(true, true);
    let vae = json!({"type": "rq-vae", "levels": [4, 4, 4], "hidden": [8], "latent": 4,
        "estimator": "code-path", "epochs": 300, "batch": 32, "lr": 5e-3});
    let options = GraphRqVaeOptions {
        vae: Inner::Table(vae.as_object().unwrap().clone()),
        hidden: 16,
        output: 8,
        graph_epochs: 10,
        graph_batch: 500,
        graph_lr: 0.01,
        ..Default::default()
    };
    let quantizer = GraphRqVae::new(options).unwrap();
    let book = quantizer.fit_graph(&world.input(), &Run::quiet(2)).unwrap();
    let vectors = book.vectors(&world.input()).unwrap();
    assert_eq!((vectors.rows(), vectors.cols()), (ITEMS, 8));
    let codes = book.book().quantize(&QuantizerInput::vectors(vectors.view())).unwrap();
    assert_eq!(codes, book.quantize(&world.input()).unwrap());
    let error = |levels: usize| -> f64 {
        let hat = book.book().reconstruct(&codes, levels).unwrap();
        let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
        vectors.data().iter().zip(hat.data()).map(square).sum()
    };
    let all: Vec<f64> = (0..=3).map(error).collect();
    assert!(all.windows(2).all(|w| w[1] <= 1.001 * w[0]) && all[3] < 0.5 * all[0], "{all:?}");
}

#[test]
fn threads_change_no_byte_and_files_keep_everything() {
    let world = world(true, true);
    let spec = small().with("graph_epochs", 3);
    let fit = |threads| {
        let run = Run { threads, ..Run::quiet(3) };
        build(&spec).unwrap().fit(&world.input(), &run).unwrap()
    };
    let bits = |book: &dyn Codebook| -> Vec<(String, Vec<u32>)> {
        let bits = |m: &Matrix| m.data().iter().map(|v| v.to_bits()).collect();
        book.tensors().iter().map(|(n, m)| (n.clone(), bits(m))).collect()
    };
    let book = fit(1);
    assert!(bits(&*fit(2)) == bits(&*book) && bits(&*fit(5)) == bits(&*book));
    let codes = book.quantize(&world.input()).unwrap();
    assert!(book.reconstruct(&codes, 1).is_none());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("codebook.safetensors");
    save_codebook(&path, &*book).unwrap();
    let read = load_codebook(&path).unwrap();
    assert_eq!(read.quantize(&world.input()).unwrap(), codes);
    for missing in ["graph.sage_0.bias", "graph.project.bias", "level_0", "encoder.0.bias"] {
        let mut tensors = book.tensors();
        tensors.retain(|(n, _)| n != missing);
        assert!(sidereal_quantizers::files::codebook_from_tensors(tensors).is_err(), "{missing}");
    }
    let alone = read.quantize(&QuantizerInput::vectors(world.vectors.view())).unwrap_err();
    assert!(alone.to_string().contains("training histories"), "{alone}");
}

#[test]
fn a_large_graph_has_the_same_bits_on_any_number_of_threads() {
    // More nodes than a chunk of sums has.
    let mut rng = seed::stream(1, "large", 0);
    let mut train_set = Sequences::default();
    for _ in 0..4500 {
        let row: Vec<ItemId> = (0..3).map(|_| ItemId(rng.random_range(0..900))).collect();
        train_set.push(&row);
    }
    let (graph, features) = (Means::new(&train_set, 900), draws(900, 7, 1));
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut sage = sage(4500, 7);
            let o = BprOptions {
                negatives: 1,
                epochs: 1,
                batch: 6000,
                lr: 1e-3,
                weight_decay: 1e-6,
                dropout: [0.5, 0.2],
            };
            train(&mut sage, &graph, features.data(), o, &Run::quiet(1)).unwrap();
            item_vectors(&sage, &graph, features.data()).unwrap()
        })
    };
    let one = on(1);
    assert!(one.data().iter().all(|v| v.is_finite()));
    assert!(on(2) == one && on(3) == one);
}

/// Keeps the last warning.
#[derive(Default)]
struct Heard(Mutex<String>);

impl Observer for Heard {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Warning(text) = event {
            *self.0.lock().unwrap() = text.to_string();
        }
    }
}

#[test]
fn bad_options_and_inputs_are_named() {
    let says = |spec: Spec| build(&spec).err().unwrap().to_string();
    for (spec, key, part) in [
        (small().with("hidden", 0), "quantizer.hidden", "at least 1"),
        (small().with("negatives", 0), "quantizer.negatives", "at least 1"),
        (small().with("graph_batch", 0), "quantizer.graph_batch", "at least 1"),
        (small().with("graph_lr", -1.0), "quantizer.graph_lr", "from 0"),
        (small().with("dropout", vec![0.5]), "quantizer.dropout", "two numbers"),
        (small().with("dropout", vec![0.5, 1.0]), "quantizer.dropout", "not including, 1"),
        (small().with("vae", "rvq"), "quantizer.vae.type", "`rq-vae`"),
    ] {
        let message = says(spec);
        assert!(message.contains(key) && message.contains(part), "{message}");
    }
    // The defaults build.
    assert!(build(&Spec::new("quantizer", "graph-rq-vae")).is_ok());
    let world = world(true, true);
    let fit = |input: &QuantizerInput<'_>| {
        build(&small()).unwrap().fit(input, &Run::quiet(1)).err().unwrap().to_string()
    };
    let alone = QuantizerInput::vectors(world.vectors.view());
    assert!(fit(&alone).contains("training histories"));
    let few = draws(5, 6, 1);
    let input = QuantizerInput { vectors: few.view(), ..world.input() };
    assert!(fit(&input).contains("5 vectors for 60 items"));
    // Nobody has anything left to recommend: a warning, and features alone.
    let none = World { train: histories(&[&[], &[]]), ..self::world(true, true) };
    let heard = Heard::default();
    let run = Run { observer: &heard, ..Run::quiet(1) };
    let book = build(&small()).unwrap().fit(&none.input(), &run).unwrap();
    assert_eq!(book.quantize(&none.input()).unwrap().rows(), 60);
    assert!(heard.0.lock().unwrap().contains("teaches nothing"));
    let run = Run::quiet(1);
    run.cancel.cancel();
    let stopped = build(&small()).unwrap().fit(&world.input(), &run).err().unwrap().to_string();
    assert!(stopped.contains("stopped"), "{stopped}");
}
