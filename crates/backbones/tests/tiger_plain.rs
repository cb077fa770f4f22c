//! The fused encoder-decoder equals a plain composition of candle operations, forward and
//! backward, on the same weights.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use common::{batch_of, fixed_table};
use sidereal_backbones::tiger::{Tiger, TigerOptions};
use sidereal_nn::{Batch, Model, Pass};
use std::collections::HashMap;

struct Plain<'a> {
    vars: HashMap<String, Var>,
    o: &'a TigerOptions,
    h: usize,
    v: usize,
}

impl Plain<'_> {
    fn new<'a>(model: &Tiger, o: &'a TigerOptions, h: usize, v: usize) -> Result<Plain<'a>> {
        let mut vars = HashMap::new();
        for info in model.params().infos() {
            let data = info.slot.of(model.params().values());
            let t = Tensor::from_slice(data, info.shape.clone(), &Device::Cpu)?;
            vars.insert(info.name.clone(), Var::from_tensor(&t)?);
        }
        Ok(Plain { vars, o, h, v })
    }

    fn p(&self, name: &str) -> &Tensor {
        self.vars[name].as_tensor()
    }

    fn rms(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let ms = x.sqr()?.mean_keepdim(D::Minus1)?;
        x.broadcast_div(&(ms + 1e-6)?.sqrt()?)?.broadcast_mul(self.p(name))
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let y = x.matmul(&self.p(&format!("{name}.weight")).t()?)?;
        match self.vars.get(&format!("{name}.bias")) {
            Some(b) => y.broadcast_add(b.as_tensor()),
            None => Ok(y),
        }
    }

    fn heads(&self, x: &Tensor) -> Result<Tensor> {
        let n = x.dim(0)?;
        x.reshape((n, self.o.heads, self.o.d_kv))?.transpose(0, 1)?.contiguous()
    }

    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, add: Option<&Tensor>) -> Result<Tensor> {
        let (q, k, v) = (self.heads(q)?, self.heads(k)?, self.heads(v)?);
        let mut s = q.matmul(&k.t()?)?;
        if let Some(add) = add {
            s = (s + add)?;
        }
        let p = candle_nn::ops::softmax(&s, D::Minus1)?;
        let o = p.matmul(&v)?.transpose(0, 1)?.contiguous()?;
        o.reshape((o.dim(0)?, self.o.heads * self.o.d_kv))
    }

    /// Bias plus mask, `heads x n x n`; buckets by a direct transcription of the T5 formula.
    fn bias(&self, stack: &str, n: usize, causal: bool) -> Result<Tensor> {
        let name = format!("{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
        let mut ids = Vec::new();
        let mut mask = Vec::new();
        for i in 0..n as i64 {
            for j in 0..n as i64 {
                let (mut nb, mut base, mut r) = (self.o.buckets as i64, 0, j - i);
                if causal {
                    r = (-r).max(0);
                } else {
                    nb /= 2;
                    base = if r > 0 { nb } else { 0 };
                    r = r.abs();
                }
                let exact = nb / 2;
                let b = if r < exact {
                    r
                } else {
                    let ratio = (r as f32 / exact as f32).ln()
                        / (self.o.max_distance as f32 / exact as f32).ln();
                    (exact + (ratio * (nb - exact) as f32) as i64).min(nb - 1)
                };
                ids.push((base + b) as u32);
                mask.push(if causal && j > i { f32::NEG_INFINITY } else { 0.0 });
            }
        }
        let ids = Tensor::from_vec(ids, n * n, &Device::Cpu)?;
        let b = self.p(&name).index_select(&ids, 0)?.t()?.contiguous()?;
        let b = b.reshape((self.o.heads, n, n))?;
        b.broadcast_add(&Tensor::from_vec(mask, (1, n, n), &Device::Cpu)?)
    }

    fn feed_forward(&self, x: &Tensor, layer: &str) -> Result<Tensor> {
        let mut y = self.rms(x, &format!("{layer}.layer_norm.weight"))?;
        let names =
            common::feed_forward_names(&format!("{layer}.DenseReluDense"), self.o.mlp_layers);
        for (i, name) in names.iter().enumerate() {
            y = self.linear(&y, name)?;
            if i + 1 < names.len() {
                y = y.relu()?;
            }
        }
        x + y
    }

    fn stack(
        &self,
        name: &str,
        x: Tensor,
        layers: usize,
        causal: bool,
        memory: Option<&Tensor>,
    ) -> Result<Tensor> {
        let bias = self.bias(name, x.dim(0)?, causal)?;
        let mut x = x;
        for i in 0..layers {
            let l = |n: usize| format!("{name}.block.{i}.layer.{n}");
            let y = self.rms(&x, &format!("{}.layer_norm.weight", l(0)))?;
            let p = |n: &str| format!("{}.SelfAttention.{n}", l(0));
            let (q, k, v) =
                (self.linear(&y, &p("q"))?, self.linear(&y, &p("k"))?, self.linear(&y, &p("v"))?);
            let a = self.attend(&q, &k, &v, Some(&bias))?;
            x = (x + self.linear(&a, &p("o"))?)?;
            let mut last = 1;
            if let Some(m) = memory {
                let y = self.rms(&x, &format!("{}.layer_norm.weight", l(1)))?;
                let p = |n: &str| format!("{}.EncDecAttention.{n}", l(1));
                let (q, k, v) =
                    (self.linear(&y, &p("q"))?, self.linear(m, &p("k"))?, self.linear(m, &p("v"))?);
                let a = self.attend(&q, &k, &v, None)?;
                x = (x + self.linear(&a, &p("o"))?)?;
                last = 2;
            }
            x = self.feed_forward(&x, &l(last))?;
        }
        self.rms(&x, &format!("{name}.final_layer_norm.weight"))
    }

    fn embed(&self, digits: &[(usize, u32)], extra: &[(usize, &str)]) -> Result<Tensor> {
        // `extra` says before which digit a learned vector stands.
        let mut rows = Vec::new();
        let mut next = extra.iter().peekable();
        for i in 0..=digits.len() {
            while next.peek().is_some_and(|e| e.0 == i) {
                let (_, name) = next.next().unwrap();
                rows.push(self.p(name).clone());
            }
            if let Some((h, c)) = digits.get(i) {
                rows.push(self.p("shared.weight").narrow(0, h * self.v + *c as usize, 1)?);
            }
        }
        Tensor::cat(&rows, 0)
    }

    /// Logits of a target, `H x V`.
    fn logits(&self, batch: &Batch, t: usize) -> Result<Tensor> {
        let target = batch.targets[t];
        let range = batch.history_range(target.row as usize);
        let (mut digits, mut separators) = (Vec::new(), Vec::new());
        for i in range.start..range.start + target.position as usize {
            digits.extend(batch.item_codes(i).iter().copied().enumerate());
            separators.push((digits.len(), "separator"));
        }
        let x = self.embed(&digits, &separators)?;
        let memory = self.stack("encoder", x, self.o.layers, self.o.encoder == "causal", None)?;
        let sid: Vec<_> = batch.target_sid(t).iter().copied().enumerate().collect();
        let x = self.embed(&sid[..self.h - 1], &[(0, "start")])?;
        let out = self.stack("decoder", x, self.o.decoder_layers, true, Some(&memory))?;
        let rows: Vec<Tensor> = (0..self.h)
            .map(|h| out.narrow(0, h, 1)?.matmul(&self.p(&format!("heads.{h}.weight")).t()?))
            .collect::<Result<_>>()?;
        Tensor::cat(&rows, 0)
    }
}

/// Logits and gradients of a fixed random combination of them agree.
fn compare(options: TigerOptions, batch: &Batch, digits: usize, vocabulary: usize) {
    let model = Tiger::new(options.clone(), digits, vocabulary, 5).unwrap();
    let plain = Plain::new(&model, &options, digits, vocabulary).unwrap();
    let mut ws = model.workspace();
    model.forward(batch, Pass::Evaluate, &mut ws).unwrap();
    let mut total = Tensor::new(0f32, &Device::Cpu).unwrap();
    for t in 0..batch.targets.len() {
        let want = plain.logits(batch, t).unwrap();
        let probe: Vec<f32> =
            (0..digits * vocabulary).map(|i| ((i + 31 * t) as f32 * 0.61).sin()).collect();
        for h in 0..digits {
            let field = ws.bag.get_mut("logits", h).unwrap();
            let range = t * vocabulary..(t + 1) * vocabulary;
            let row: Vec<f32> = want.get(h).unwrap().to_vec1().unwrap();
            for (a, b) in field.value[range.clone()].iter().zip(&row) {
                assert!((a - b).abs() < 2e-4 * (1.0 + b.abs()), "target {t} level {h}: {a} {b}");
            }
            field.grad[range].copy_from_slice(&probe[h * vocabulary..(h + 1) * vocabulary]);
        }
        let probe = Tensor::from_vec(probe, (digits, vocabulary), &Device::Cpu).unwrap();
        total = (total + (want * probe).unwrap().sum_all().unwrap()).unwrap();
    }
    let mut grads = vec![0.0; model.params().len()];
    model.backward(batch, Pass::Evaluate, &mut ws, &mut grads).unwrap();
    let store = total.to_dtype(DType::F32).unwrap().backward().unwrap();
    for info in model.params().infos() {
        let want: Vec<f32> = match store.get(plain.p(&info.name)) {
            Some(g) => g.flatten_all().unwrap().to_vec1().unwrap(),
            None => vec![0.0; info.slot.len],
        };
        let got = info.slot.of(&grads);
        let norm = want.iter().map(|x| x * x).sum::<f32>().sqrt();
        let diff = want.iter().zip(got).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
        assert!(
            diff <= 1e-4 * norm + 1e-5,
            "{}: |difference| {diff}, |gradient| {norm}",
            info.name
        );
    }
}

fn small(encoder: &str, mlp_layers: usize) -> TigerOptions {
    TigerOptions {
        d_model: 24,
        d_ff: 40,
        layers: 2,
        decoder_layers: 2,
        heads: 3,
        d_kv: 8,
        mlp_layers,
        buckets: 8,
        max_distance: 20,
        encoder: encoder.to_string(),
        ..TigerOptions::default()
    }
}

#[test]
fn last_item_targets_with_a_bidirectional_encoder() {
    let table = fixed_table(30, &[5, 6, 4]);
    let batch = batch_of(&table, &[&[1, 2, 3, 4, 9], &[7, 8], &[3, 20, 21, 22, 23, 24, 29]], false);
    compare(small("bidirectional", 2), &batch, 3, 6);
    compare(small("bidirectional", 1), &batch, 3, 6);
}

#[test]
fn every_item_as_target_with_a_causal_encoder() {
    let table = fixed_table(30, &[5, 6, 4]);
    let batch = batch_of(&table, &[&[1, 2, 3, 4, 9], &[7, 8], &[3, 20, 21, 22, 23, 24, 29]], true);
    assert_eq!(batch.targets.len(), 4 + 1 + 6);
    compare(small("causal", 2), &batch, 3, 6);
}
