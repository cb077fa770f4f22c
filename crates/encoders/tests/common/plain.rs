//! BERT as one would write it in candle operations: padded, masked, op by op.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;
use std::collections::HashMap;
use std::path::Path;

/// Tensors by name, and what the shapes do not tell.
pub struct Plain {
    tensors: HashMap<String, Tensor>,
    layers: usize,
    heads: usize,
    activation: fn(&Tensor) -> Result<Tensor>,
}

impl Plain {
    pub fn load(
        path: &Path,
        layers: usize,
        heads: usize,
        activation: fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        let read = candle_core::safetensors::load(path, &Device::Cpu)?;
        let name = |n: String| n.replace(".gamma", ".weight").replace(".beta", ".bias");
        let tensors = read.into_iter().map(|(n, t)| (name(n), t)).collect();
        Ok(Plain { tensors, layers, heads, activation })
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (w, b) =
            (&self.tensors[&format!("{name}.weight")], &self.tensors[&format!("{name}.bias")]);
        let (b_, t, i) = x.dims3()?;
        let y = x.reshape((b_ * t, i))?.matmul(&w.t()?)?;
        y.broadcast_add(b)?.reshape((b_, t, ()))
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-12)?.sqrt()?;
        x.broadcast_div(&deviation)?
            .broadcast_mul(&self.tensors[&format!("{name}.weight")])?
            .broadcast_add(&self.tensors[&format!("{name}.bias")])
    }

    /// Hidden states of each text, padding taken off again.
    pub fn forward(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let (b, t) = (texts.len(), texts.iter().map(|x| x.len()).max().unwrap_or(0));
        let padded =
            |text: &&[u32]| (0..t).map(|i| text.get(i).copied().unwrap_or(0)).collect::<Vec<_>>();
        let ids = Tensor::new(texts.iter().flat_map(padded).collect::<Vec<_>>(), &Device::Cpu)?;
        let seen = |text: &&[u32]| {
            let len = text.len();
            (0..t).map(|i| if i < len { 0f32 } else { f32::NEG_INFINITY }).collect::<Vec<_>>()
        };
        let mask: Vec<f32> = texts.iter().flat_map(seen).collect();
        let mask = Tensor::from_vec(mask, (b, 1, 1, t), &Device::Cpu)?;
        let table = |n: &str| &self.tensors[&format!("embeddings.{n}_embeddings.weight")];
        let words = table("word").index_select(&ids, 0)?.reshape((b, t, ()))?;
        let x = words.broadcast_add(&table("position").narrow(0, 0, t)?)?;
        let x = x.broadcast_add(&table("token_type").narrow(0, 0, 1)?)?;
        let mut x = self.norm(&x, "embeddings.LayerNorm")?;
        let h = x.dim(2)?;
        let width = h / self.heads;
        for layer in 0..self.layers {
            let at = |part: &str| format!("encoder.layer.{layer}.{part}");
            let heads = |part: &str| {
                self.linear(&x, &at(&format!("attention.self.{part}")))?
                    .reshape((b, t, self.heads, width))?
                    .transpose(1, 2)?
                    .contiguous()
            };
            let (q, k, v) = (heads("query")?, heads("key")?, heads("value")?);
            let scores = (q.matmul(&k.t()?)? / (width as f64).sqrt())?.broadcast_add(&mask)?;
            let context = softmax_last_dim(&scores)?.matmul(&v)?;
            let context = context.transpose(1, 2)?.reshape((b, t, h))?;
            let y = (&x + self.linear(&context, &at("attention.output.dense"))?)?;
            let y = self.norm(&y, &at("attention.output.LayerNorm"))?;
            let inner = (self.activation)(&self.linear(&y, &at("intermediate.dense"))?)?;
            let z = (&y + self.linear(&inner, &at("output.dense"))?)?;
            x = self.norm(&z, &at("output.LayerNorm"))?;
        }
        texts
            .iter()
            .enumerate()
            .map(|(i, text)| x.get(i)?.narrow(0, 0, text.len())?.flatten_all()?.to_vec1())
            .collect()
    }
}
