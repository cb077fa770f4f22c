//! Trees of clusters: unique IDs, sizes, planted cells, new vectors, files.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use proptest::prelude::*;
use rand::Rng;
use sidereal_core::{Catalog, Codebook, Codes, Matrix, Quantizer, QuantizerInput, Run, Spec, seed};
use sidereal_quantizers::{
    HierarchicalCodebook, HierarchicalKMeans, HierarchicalKMeansOptions, SidReport, load_codebook,
    save_codebook,
};
use std::collections::{BTreeMap, BTreeSet};

fn uniform(rows: usize, cols: usize, s: u64) -> Matrix {
    let mut rng = seed::stream(s, "test-data", 0);
    Matrix::new(rows, cols, (0..rows * cols).map(|_| rng.random::<f32>()).collect()).unwrap()
}

fn options(branches: u32, leaf: u32, depth: u32) -> HierarchicalKMeansOptions {
    HierarchicalKMeansOptions { branches, leaf, depth, ..Default::default() }
}

fn fit(
    o: HierarchicalKMeansOptions,
    x: &Matrix,
    threads: usize,
    seed: u64,
) -> HierarchicalCodebook {
    let run = Run { threads, ..Run::quiet(seed) };
    HierarchicalKMeans::new(o).unwrap().fit_tree(&QuantizerInput::vectors(x.view()), &run).unwrap()
}

fn quantize(book: &dyn Codebook, x: &Matrix) -> Codes {
    book.quantize(&QuantizerInput::vectors(x.view())).unwrap()
}

/// Rows below every prefix.
fn prefixes(codes: &Codes) -> BTreeMap<Vec<u32>, usize> {
    let mut out = BTreeMap::new();
    for i in 0..codes.rows() {
        for l in 0..=codes.sid(i).len() {
            *out.entry(codes.sid(i)[..l].to_vec()).or_default() += 1;
        }
    }
    out
}

fn unique_and_prefix_free(codes: &Codes) {
    let ids: BTreeSet<_> = (0..codes.rows()).map(|i| codes.sid(i).to_vec()).collect();
    assert_eq!(ids.len(), codes.rows());
    for id in &ids {
        assert!(!id.is_empty() && (1..id.len()).all(|l| !ids.contains(&id[..l])), "{id:?}");
    }
}

/// Seven points on a line, two branches, leaves of two: neighbours share prefixes.
#[test]
fn seven_points_on_a_line() {
    let x = Matrix::new(7, 1, vec![0.0, 1.0, 10.0, 11.0, 100.0, 101.0, 110.0]).unwrap();
    let codes = quantize(&fit(options(2, 2, 0), &x, 1, 1), &x);
    unique_and_prefix_free(&codes);
    let shared = |a, b| codes.sid(a).iter().zip(codes.sid(b)).take_while(|(x, y)| x == y).count();
    assert_eq!(codes.sid(0)[0], codes.sid(3)[0]);
    assert_eq!(codes.sid(4)[0], codes.sid(6)[0]);
    assert_ne!(codes.sid(0)[0], codes.sid(4)[0]);
    assert_eq!(
        [shared(0, 1), shared(2, 3), shared(0, 2), shared(4, 5), shared(4, 6)],
        [2, 2, 1, 2, 1]
    );
    // One member has no number: 110 is alone in its cluster; two members have 0 and 1.
    assert_eq!([codes.sid(6).len(), codes.sid(4).len()], [2, 3]);
    assert_eq!([codes.sid(0)[2], codes.sid(1)[2], codes.sid(5)[2]], [0, 1, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn ids_are_unique_and_lead_back(
        rows in 1usize..300, branches in 2u32..7, leaf in 1u32..20, copies: bool, seed in 0u64..99) {
        let mut x = uniform(rows, 2, seed);
        if copies {
            x.data_mut().iter_mut().for_each(|v| *v = (*v * 3.0).round());
        }
        let book = fit(options(branches, leaf, 0), &x, 2, seed);
        let codes = quantize(&book, &x);
        unique_and_prefix_free(&codes);
        prop_assert_eq!(book.fitted(), &codes);
        // The report finds every digit inside its width.
        let report = SidReport::of_codes(&codes, book.widths()).unwrap();
        prop_assert_eq!(report.distinct, rows);
        report.with_reconstruction(&codes, &book, x.view()).unwrap();
        // Nodes stand for the means of their rows; the whole ID leads to the leaf's.
        for (prefix, _) in prefixes(&codes) {
            let below: Vec<_> = (0..rows).filter(|&i| codes.sid(i).starts_with(&prefix)).collect();
            let row = codes.row(below[0]).to_vec();
            let one = Codes::new(1, codes.levels(), row).unwrap();
            let hat = book.reconstruct(&one, prefix.len()).unwrap();
            if prefix.is_empty() || below.len() < 2 {
                continue;
            }
            for d in 0..2 {
                let mean = below.iter().map(|&i| x.row(i)[d]).sum::<f32>() / below.len() as f32;
                // Lloyd may end a hair before the means settle.
                prop_assert!((hat.row(0)[d] - mean).abs() < 0.15, "{prefix:?}");
            }
        }
    }

    #[test]
    fn clusters_of_a_depth_have_bounded_sizes(
        rows in 1usize..65, seed in 0u64..99, copies: bool) {
        let mut x = uniform(rows, 2, seed);
        if copies {
            x.data_mut().iter_mut().for_each(|v| *v = v.round());
        }
        let codes = quantize(&fit(options(4, 9, 3), &x, 2, seed), &x);
        unique_and_prefix_free(&codes);
        for (prefix, count) in prefixes(&codes) {
            prop_assert!(count <= 4usize.pow(3 - prefix.len() as u32), "{prefix:?}: {count}");
        }
        prop_assert!((0..rows).all(|i| codes.sid(i).len() == 3 && codes.sid(i).iter().all(|&c| c < 4)));
    }
}

/// ColaRec's check with 6 x 6 cells of at most 6 points: recovered up to the names of the digits.
#[test]
fn planted_cells_are_recovered() {
    let k = 6;
    let (mut data, mut cell) = (Vec::new(), Vec::new());
    let mut rng = seed::stream(4, "test-data", 0);
    for c in 0..k * k {
        for _ in 0..3 + c % 4 {
            let at = [(c / k) as f32 * 1000.0, (c % k) as f32 * 50.0];
            data.extend(at.map(|v| v + rng.random::<f32>()));
            cell.push(c);
        }
    }
    let x = Matrix::new(cell.len(), 2, data).unwrap();
    let codes = quantize(&fit(options(k as u32, 1, 3), &x, 2, 2), &x);
    let mut names = BTreeMap::new();
    for (i, &c) in cell.iter().enumerate() {
        let name = (codes.row(i)[0], codes.row(i)[1]);
        assert_eq!(*names.entry(c).or_insert(name), name, "row {i}");
        assert_eq!(names[&(c / k * k)].0, name.0, "row {i}");
    }
    let distinct: BTreeSet<_> = names.values().collect();
    assert_eq!(distinct.len(), k * k);
}

#[test]
fn new_vectors_take_the_next_numbers_of_their_leaf() {
    let x = Matrix::new(5, 1, vec![0.0, 1.0, 50.0, 51.0, 52.0]).unwrap();
    let book = fit(options(2, 4, 0), &x, 1, 1);
    let old = quantize(&book, &x);
    let new = Matrix::new(5, 1, vec![0.4, 49.0, 0.6, 0.7, 55.0]).unwrap();
    let codes = quantize(&book, &new);
    let (low, high) = (old.sid(0)[0], old.sid(2)[0]);
    let ids: Vec<_> = (0..5).map(|i| codes.sid(i).to_vec()).collect();
    // Room for four: two numbers are free in the low leaf, then the last is shared; one in the high.
    assert_eq!(ids, [[low, 2], [high, 3], [low, 3], [low, 3], [high, 3]].map(|i| i.to_vec()));
}

#[test]
fn files_threads_and_seeds() {
    let x = uniform(700, 5, 3);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tree.safetensors");
    let new = uniform(50, 5, 4);
    for o in [options(4, 10, 0), options(9, 1, 3)] {
        let one = fit(o.clone(), &x, 1, 1);
        for threads in [2, 3] {
            assert!(fit(o.clone(), &x, threads, 1) == one, "{threads} threads");
        }
        assert!(fit(o, &x, 1, 2) != one);
        save_codebook(&path, &one).unwrap();
        let back = load_codebook(&path).unwrap();
        assert_eq!(back.widths(), one.widths());
        assert_eq!(quantize(back.as_ref(), &x), quantize(&one, &x));
        assert_eq!(quantize(back.as_ref(), &new), quantize(&one, &new));
        assert_eq!(HierarchicalCodebook::from_tensors(one.tensors()).unwrap(), one);
        // A tree with a word changed is no tree, or not the tree of these IDs.
        for at in 0..12 {
            let mut tensors = one.tensors();
            let nodes = tensors.iter_mut().find(|(n, _)| n == "tree_nodes").unwrap();
            nodes.1.data_mut()[at] += 1.0;
            let broken = HierarchicalCodebook::from_tensors(tensors);
            assert!(broken.is_err(), "word {at}");
        }
    }
}

#[test]
fn degenerate_vectors_and_refused_options() {
    let one = Matrix::new(1, 2, vec![1.0, 2.0]).unwrap();
    assert_eq!(quantize(&fit(options(3, 5, 0), &one, 1, 1), &one).sid(0), [0]);
    assert_eq!(quantize(&fit(options(3, 5, 2), &one, 1, 1), &one).sid(0), [0, 0]);
    let same = Matrix::new(30, 1, vec![2.5; 30]).unwrap();
    let codes = quantize(&fit(options(3, 5, 0), &same, 1, 1), &same);
    assert!((0..30).all(|i| codes.sid(i) == [i as u32]));
    unique_and_prefix_free(&quantize(&fit(options(4, 5, 3), &same, 1, 1), &same));

    let mut catalog: Catalog<dyn Quantizer> = Catalog::new("quantizer");
    sidereal_quantizers::register(&mut catalog).unwrap();
    let refused = |key: &str, value: u32, x: &Matrix| {
        let spec =
            Spec::new("quantizer", "hierarchical-kmeans").with("branches", 3).with(key, value);
        let input = QuantizerInput::vectors(x.view());
        let result = catalog.build(&spec, &()).and_then(|q| q.fit(&input, &Run::quiet(1)));
        result.err().expect("must be refused").to_string()
    };
    assert!(refused("branches", 1, &one).contains("2 to 65536"));
    assert!(refused("leaf", 0, &one).contains("quantizer.leaf"));
    assert!(refused("depth", 33, &one).contains("0 to 32"));
    assert!(refused("iterations", 0, &one).contains("quantizer.iterations"));
    let message = refused("depth", 3, &same);
    assert!(message.contains("27 IDs for 30 items"), "{message}");
    let mut nan = same.clone();
    nan.row_mut(7)[0] = f32::NAN;
    assert!(refused("leaf", 5, &nan).contains("row 7"));
}
