//! The HSTU block equals the plain candle composition, forward and backward, and its gradients
//! equal differences.

#![allow(clippy::unwrap_used)]

use candle_core::{D, DType, Device, Tensor, Var};
use proptest::prelude::*;
use rand::Rng;
use sidereal_core::{ItemId, Result, seed};
use sidereal_nn::gradcheck::{GradCheck, check_gradients};
use sidereal_nn::hstu::{HstuBlock, HstuPass, HstuShape, HstuState, RelativeTables, Times};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::silu_attention::{Span, next_times, time_bucket};
use sidereal_nn::{
    Bag, Batch, BatchBuilder, Init, Model, Objective, ObjectiveInput, Params, Pass, Slot, Terms,
    Workspace,
};

fn random(n: usize, key: u64) -> Vec<f32> {
    let mut rng = seed::stream(key, "test", n as u64);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn tensor(v: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(v, shape, &Device::Cpu).unwrap()
}

#[track_caller]
fn close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len());
    let size = want.iter().fold(1f32, |m, x| m.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * size, "{what} at {i}: {g}, candle has {w}");
    }
}

fn spans_of(lengths: &[usize]) -> Vec<Span> {
    let mut row = 0;
    let span = |&n: &usize| {
        row += n;
        Span { q: row - n, q_len: n, k: row - n, k_len: n }
    };
    lengths.iter().map(span).collect()
}

/// Parameters of a block with values large enough to matter everywhere.
fn block(shape: HstuShape, key: u64) -> (Params, HstuBlock) {
    let mut params = Params::new(key);
    let block = HstuBlock::new(&mut params, "layer", shape);
    let values = random(params.len(), key);
    params.values_mut().copy_from_slice(&values);
    (params, block)
}

fn norm(x: &Tensor) -> Tensor {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1).unwrap()).unwrap();
    let square = centred.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
    centred.broadcast_div(&(square + 1e-6).unwrap().sqrt().unwrap()).unwrap()
}

/// The block in candle, one sequence at a time.
fn plain(
    shape: HstuShape,
    vars: &[(String, Var)],
    x: &Var,
    spans: &[Span],
    times: Option<Times<'_>>,
    mask: &[f32],
) -> Tensor {
    let var = |name: &str| vars.iter().find(|v| v.0 == format!("layer.{name}")).map(|v| &v.1);
    let (h, dv, dqk) = (shape.heads, shape.value_width, shape.qk_width);
    let fused = norm(x).matmul(&var("uvqk.weight").unwrap().t().unwrap()).unwrap().silu().unwrap();
    let cut = |t: &Tensor, at: usize, w: usize| t.narrow(1, at, w).unwrap().contiguous().unwrap();
    let mut rows = Vec::new();
    for s in spans.iter().filter(|s| s.q_len > 0) {
        let n = s.q_len;
        let part = fused.narrow(0, s.q, n).unwrap();
        let cells = || (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
        let mut bias = Tensor::zeros((n, n), DType::F32, &Device::Cpu).unwrap();
        let mut add = |table: Option<&Var>, at: &dyn Fn(usize, usize) -> usize| {
            if let Some(table) = table {
                let at: Vec<u32> = cells().map(|(i, j)| at(i, j) as u32).collect();
                let at = Tensor::from_slice(&at, n * n, &Device::Cpu).unwrap();
                let values = table.index_select(&at, 0).unwrap().reshape((n, n)).unwrap();
                bias = (&bias + values).unwrap();
            }
        };
        add(var("position.weight"), &|i, j| (shape.max_length + j - i - 1) * usize::from(j <= i));
        if let Some(t) = times {
            let bucket = |i, j| time_bucket(t.queries[s.q + i], t.keys[s.k + j], 129);
            add(var("time.weight"), &bucket);
        }
        let causal: Vec<f32> =
            cells().map(|(i, j)| f32::from(j <= i) / shape.max_length as f32).collect();
        let causal = tensor(&causal, &[n, n]);
        let heads: Vec<Tensor> = (0..h)
            .map(|i| {
                let v = cut(&part, h * dv + i * dv, dv);
                let q = cut(&part, 2 * h * dv + i * dqk, dqk);
                let k = cut(&part, 2 * h * dv + h * dqk + i * dqk, dqk);
                let s = (q.matmul(&k.t().unwrap()).unwrap() + &bias).unwrap();
                (s.silu().unwrap() * &causal).unwrap().matmul(&v).unwrap()
            })
            .collect();
        rows.push(Tensor::cat(&heads, 1).unwrap());
    }
    let o = Tensor::cat(&rows, 0).unwrap();
    let gated = (norm(&o) * cut(&fused, 0, h * dv)).unwrap();
    let gated = (&gated * tensor(mask, gated.dims())).unwrap();
    let y = gated.matmul(&var("output.weight").unwrap().t().unwrap()).unwrap();
    let y = y.broadcast_add(var("output.bias").unwrap()).unwrap();
    (y + x.as_tensor()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn equals_the_plain_composition(
        width in 2usize..20, heads in 1usize..4, qk_width in 1usize..20, value_width in 2usize..20,
        lengths in prop::collection::vec(0usize..40, 1..4),
        tables in prop::sample::select(vec![
            RelativeTables::None, RelativeTables::Position, RelativeTables::PositionAndTime,
        ]),
        with_times: bool, rate in prop::sample::select(vec![0.0f32, 0.3]), key: u64,
    ) {
        let longest = lengths.iter().copied().max().unwrap();
        let shape =
            HstuShape { width, heads, qk_width, value_width, max_length: longest + 3, tables };
        let (params, block) = block(shape, key);
        let spans = spans_of(&lengths);
        let rows: usize = lengths.iter().sum();
        prop_assume!(rows > 0);
        let mut rng = seed::stream(key, "times", 0);
        let keys: Vec<i64> = (0..rows).map(|_| rng.random_range(0..100_000)).collect();
        let mut queries = keys.clone();
        next_times(&mut queries, &spans);
        let times = with_times.then_some(Times { queries: &queries, keys: &keys });
        let dropout = Dropout::new(rate, Pass::Train { key });
        let pass = HstuPass { spans: &spans, times, dropout, site: 3, threads: 2 };
        let (x, dy) = (random(rows * width, key ^ 1), random(rows * width, key ^ 2));
        let (mut y, mut dx) = (vec![9.0; x.len()], vec![9.0; x.len()]);
        let (mut state, mut grads) = (HstuState::default(), vec![0.25; params.len()]);
        block.forward(params.values(), &x, rows, &pass, &mut state, &mut y);
        block.backward(params.values(), &x, &dy, rows, &pass, &mut state, &mut dx, &mut grads);

        let vars: Vec<(String, Var)> = params
            .infos()
            .iter()
            .map(|i| {
                let values = tensor(i.slot.of(params.values()), &i.shape);
                (i.name.clone(), Var::from_tensor(&values).unwrap())
            })
            .collect();
        let xv = Var::from_tensor(&tensor(&x, &[rows, width])).unwrap();
        let count = (rows * heads * value_width) as u32;
        let mask: Vec<f32> = (0..count).map(|i| dropout.keep(3, i)).collect();
        let want = plain(shape, &vars, &xv, &spans, times, &mask);
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        close("output", &y, &flat(&want), 1e-4);
        let loss = (want * tensor(&dy, &[rows, width])).unwrap().sum_all().unwrap();
        let all = loss.backward().unwrap();
        let gradient = |v: &Var| all.get(v).map_or(vec![0.0; v.elem_count()], flat);
        close("input", &dx, &gradient(&xv), 1e-3);
        for (info, (name, v)) in params.infos().iter().zip(&vars) {
            let want: Vec<f32> = gradient(v).iter().map(|g| g + 0.25).collect();
            close(name, info.slot.of(&grads), &want, 1e-3);
        }
    }
}

/// Item vectors through one block; the objective is a fixed weighted sum of all outputs.
struct Toy {
    params: Params,
    items: Slot,
    block: HstuBlock,
}

const WIDTH: usize = 6;

#[derive(Default)]
struct State {
    block: HstuState,
    x: Vec<f32>,
    spans: Vec<Span>,
    keys: Vec<i64>,
    queries: Vec<i64>,
}

impl State {
    fn pass(&self, pass: Pass) -> HstuPass<'_> {
        let times = Some(Times { queries: &self.queries, keys: &self.keys });
        HstuPass {
            spans: &self.spans,
            times,
            dropout: Dropout::new(0.2, pass),
            site: 1,
            threads: 1,
        }
    }
}

impl Model for Toy {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn workspace(&self) -> Workspace {
        Workspace { bag: Bag::default(), scratch: Box::<State>::default() }
    }

    fn forward(&self, batch: &Batch, pass: Pass, workspace: &mut Workspace) -> Result<()> {
        let s: &mut State = workspace.scratch.downcast_mut().unwrap();
        let ids: Vec<u32> = batch.items.iter().map(|i| i.0).collect();
        let lengths: Vec<usize> = (0..batch.rows()).map(|r| batch.history(r).len()).collect();
        s.spans = spans_of(&lengths);
        s.keys = (0..ids.len() as i64).map(|i| i * i * 100).collect();
        s.queries.clone_from(&s.keys);
        next_times(&mut s.queries, &s.spans);
        s.x.resize(ids.len() * WIDTH, 0.0);
        let w = self.params.values();
        sidereal_nn::kernels::embedding::gather(self.items.of(w), WIDTH, &ids, &mut s.x);
        workspace.bag.clear();
        let field = workspace.bag.put("states", 0, ids.len(), WIDTH);
        let mut block = std::mem::take(&mut s.block);
        self.block.forward(w, &s.x, ids.len(), &s.pass(pass), &mut block, &mut field.value);
        s.block = block;
        Ok(())
    }

    fn backward(
        &self,
        batch: &Batch,
        pass: Pass,
        workspace: &mut Workspace,
        grads: &mut [f32],
    ) -> Result<()> {
        let s: &mut State = workspace.scratch.downcast_mut().unwrap();
        let ids: Vec<u32> = batch.items.iter().map(|i| i.0).collect();
        let dy = &workspace.bag.get("states", 0)?.grad;
        let (mut dx, mut block) = (vec![0.0; dy.len()], std::mem::take(&mut s.block));
        let (w, n) = (self.params.values(), ids.len());
        self.block.backward(w, &s.x, dy, n, &s.pass(pass), &mut block, &mut dx, grads);
        sidereal_nn::kernels::embedding::scatter_add(self.items.of_mut(grads), WIDTH, &ids, &dx);
        Ok(())
    }
}

struct Weighted;

impl Objective for Weighted {
    fn evaluate(
        &self,
        input: &ObjectiveInput<'_>,
        bag: &mut Bag,
        grads: Option<&mut [f32]>,
        terms: &mut Terms,
    ) -> Result<()> {
        let field = bag.get_mut("states", 0)?;
        let weights = random(field.value.len(), 77);
        let sum = weights.iter().zip(&field.value).map(|(w, v)| f64::from(w * v)).sum();
        terms.add("loss", sum, 1);
        if grads.is_some() {
            field.grad.iter_mut().zip(&weights).for_each(|(g, w)| *g = w * input.scale);
        }
        Ok(())
    }
}

#[test]
fn gradients_equal_central_differences() {
    let mut params = Params::new(9);
    let items = params.add("items.weight", &[12, WIDTH], Init::Normal(1.0));
    let shape = HstuShape {
        width: WIDTH,
        heads: 2,
        qk_width: 5,
        value_width: 4,
        max_length: 12,
        tables: RelativeTables::PositionAndTime,
    };
    let block = HstuBlock::new(&mut params, "layer", shape);
    let values: Vec<f32> = random(params.len(), 4).iter().map(|v| 0.7 * v).collect();
    params.values_mut().copy_from_slice(&values);
    let builder = BatchBuilder::new(None, 12);
    let mut batch = Batch::default();
    builder.clear(&mut batch);
    builder.push_every(&mut batch, &[3, 1, 4, 1, 5, 9, 2, 6, 5, 3].map(ItemId)).unwrap();
    builder.push_every(&mut batch, &[2, 7, 1].map(ItemId)).unwrap();
    let check = GradCheck { step: 3e-3, relative: 3e-2, ..Default::default() };
    let compared =
        check_gradients(&mut Toy { params, items, block }, &Weighted, &batch, check).unwrap();
    assert!(compared >= 40, "{compared}");
}
