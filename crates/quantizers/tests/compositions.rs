//! Quantizers made of quantizers: limiting cases, what is refused, files.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use rand::Rng;
use serde_json::{Value, json};
use sidereal_core::{
    Catalog, Codebook, Codes, Matrix, Quantizer, QuantizerInput, Result, Run, Spec, seed,
};
use sidereal_quantizers::{
    Grouped, Pq, PqOptions, Residual, RqKMeans, RqKMeansOptions, codebook_from_tensors, register,
};

fn uniform(rows: usize, cols: usize, s: u64) -> Matrix {
    let mut rng = seed::stream(s, "test-data", 0);
    let data = (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect();
    Matrix::new(rows, cols, data).unwrap()
}

fn try_fit(spec: &Spec, x: &Matrix) -> Result<Box<dyn Codebook>> {
    let mut catalog: Catalog<dyn Quantizer> = Catalog::new("quantizer");
    register(&mut catalog)?;
    catalog.build(spec, &())?.fit(&QuantizerInput::vectors(x.view()), &Run::quiet(3))
}

fn codes(book: &dyn Codebook, x: &Matrix) -> Codes {
    book.quantize(&QuantizerInput::vectors(x.view())).unwrap()
}

fn kmeans(width: u32) -> Value {
    json!({"type": "rq-kmeans", "levels": [width]})
}

#[test]
fn one_level_k_means_in_every_group_is_pq() {
    let x = uniform(400, 10, 1);
    let options = PqOptions { levels: vec![16, 8, 4], iterations: 50, ..Default::default() };
    let input = QuantizerInput::vectors(x.view());
    let pq = Pq::new(options).unwrap().fit_pq(&input, &Run::quiet(3)).unwrap();
    let parts = json!([kmeans(16), kmeans(8), kmeans(4)]);
    let book = try_fit(&Spec::new("quantizer", "grouped").with("parts", parts), &x).unwrap();
    assert_eq!(book.widths(), [16, 8, 4]);
    let same = codes(book.as_ref(), &x);
    assert_eq!(same, pq.quantize(&input).unwrap());
    for levels in 0..=3 {
        assert_eq!(book.reconstruct(&same, levels), pq.reconstruct(&same, levels));
    }
    assert!(book.reconstruct(&same, 4).is_none());
    // One quantizer for all groups.
    let all = Spec::new("quantizer", "grouped").with("parts", json!([kmeans(8)])).with("groups", 5);
    assert_eq!(try_fit(&all, &x).unwrap().widths(), [8; 5]);
}

/// The residual loop by hand, from the codebooks of the parts.
#[test]
fn k_means_after_k_means_is_residual_k_means() {
    let x = uniform(500, 6, 2);
    let levels = json!([kmeans(8), kmeans(4)]);
    let book = try_fit(&Spec::new("quantizer", "residual").with("levels", levels), &x).unwrap();
    let both = codes(book.as_ref(), &x);
    // Under the seeds of the parts, one level after the other.
    let one = |width: u32, p: u64, x: &Matrix| {
        let options = RqKMeansOptions { levels: vec![width], ..Default::default() };
        let run = Run::quiet(seed::key(3, "residual-part", p));
        let input = QuantizerInput::vectors(x.view());
        RqKMeans::new(options).unwrap().fit_residual(&input, &run).unwrap()
    };
    let first = one(8, 0, &x);
    let mut left = first.reconstruct(&codes(&first, &x), 1).unwrap();
    left.data_mut().iter_mut().zip(x.data()).for_each(|(l, x)| *l = x - *l);
    let second = one(4, 1, &left);
    let (a, b) = (codes(&first, &x), codes(&second, &left));
    for i in 0..500 {
        assert_eq!(both.row(i), [a.row(i)[0], b.row(i)[0]]);
    }
    let hat = book.reconstruct(&both, 2).unwrap();
    for i in 0..500 {
        let (p, q) = (first.level(0).row(both.row(i)[0] as usize), second.level(0));
        let q = q.row(both.row(i)[1] as usize);
        assert!(hat.row(i).iter().zip(p.iter().zip(q)).all(|(h, (p, q))| *h == p + q));
    }
    assert_eq!(book.reconstruct(&both, 1), first.reconstruct(&a, 1));
    assert_eq!(book.reconstruct(&both, 0), first.reconstruct(&a, 0));
}

#[test]
fn parts_inside_parts_and_their_files() {
    let x = uniform(300, 8, 4);
    let inner =
        json!({"type": "residual", "levels": [kmeans(4), {"type": "pq", "levels": [4, 4]}]});
    let parts = json!([inner, {"type": "opq", "levels": [8], "rotations": 1}]);
    let book = try_fit(&Spec::new("quantizer", "grouped").with("parts", parts), &x).unwrap();
    assert_eq!(book.widths(), [4, 4, 4, 8]);
    let back = codebook_from_tensors(book.tensors()).unwrap();
    let own = codes(book.as_ref(), &x);
    assert_eq!(codes(back.as_ref(), &x), own);
    for levels in 0..=4 {
        assert_eq!(back.reconstruct(&own, levels), book.reconstruct(&own, levels));
    }
    let without = |part: &str| {
        let kept = book.tensors().into_iter().filter(|(name, _)| !name.starts_with(part));
        codebook_from_tensors(kept.collect()).err().unwrap().to_string()
    };
    assert!(without("grouped.0.").contains("`grouped.0.`"));
    assert!(without("grouped.columns").contains("grouped.columns"));
    assert!(without("grouped.0.residual.0").contains("`residual.0.`"));
    let mut strange = book.tensors();
    strange.push(("grouped.x".into(), Matrix::zeros(1, 1)));
    let message = codebook_from_tensors(strange).err().unwrap().to_string();
    assert!(message.contains("`grouped.x`"), "{message}");
}

#[test]
fn what_cannot_be_put_together() {
    let x = uniform(100, 3, 5);
    let refused = |name: &str, key: &str, parts: Value| {
        let spec = Spec::new("quantizer", name).with(key, parts);
        try_fit(&spec, &x).err().expect("must be refused").to_string()
    };
    let message =
        refused("residual", "levels", json!([{"type": "random", "levels": [4]}, kmeans(4)]));
    assert!(message.contains("level 1 stands for no vectors"), "{message}");
    // In the last place it may stand.
    let last = json!([kmeans(4), {"type": "random", "levels": [4]}]);
    let book = try_fit(&Spec::new("quantizer", "residual").with("levels", last), &x).unwrap();
    let own = codes(book.as_ref(), &x);
    assert!(book.reconstruct(&own, 1).is_some() && book.reconstruct(&own, 2).is_none());

    assert!(refused("residual", "levels", json!([])).contains("0 quantizers"));
    assert!(refused("residual", "levels", json!(["pqq"])).contains("did you mean `pq`"));
    assert!(refused("grouped", "parts", json!([])).contains("quantizer.parts"));
    assert!(refused("grouped", "parts", json!(vec![kmeans(2); 4])).contains("4 groups"));
    let spec = Spec::new("quantizer", "grouped");
    let spec = spec.with("groups", 3).with("parts", json!([kmeans(2), kmeans(2)]));
    let message = try_fit(&spec, &x).err().unwrap().to_string();
    assert!(message.contains("quantizer.groups") && message.contains("got 3"), "{message}");
    assert!(Residual::new(Vec::new()).is_err() && Grouped::new(Vec::new(), 0).is_err());
}
