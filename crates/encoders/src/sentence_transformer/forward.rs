//! The forward pass of BERT (Devlin et al. 2018, arXiv 1810.04805) over packed texts.
//!
//! Texts lie back to back without padding, `N` tokens in all. With `H` the width, `F` the inner
//! width and `x` the `N x H` states, a block is
//!
//! ```text
//! [q k v] = x Wqkv + b            one product, N x 3H
//! x = norm(x + attention(q, k, v) Wo + bo)
//! x = norm(x + act(x W1 + b1) W2 + b2)
//! ```
//!
//! The products of the second and third line are added to the residual where it lies, and bias and
//! norm are one pass. Cost: `8 H^2 + 4 H F` floating-point operations a token and layer, and
//! `4 T H` for texts of `T` tokens. Weights are one flat buffer, matrices transposed for rows of
//! outputs. Everything is single-threaded; threads work on different packs.
//!
//! Deviations: frozen, so no dropout; all tokens are of segment 0, whose row is added to the
//! position table when it is read.

use super::folder::Transformer;
use super::weights::{Flat, Weights};
use sidereal_core::{Error, Result};
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::kernels::attention::{Attention, Mask, Place, Scratch, Span};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::gelu::bias_activation;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::{add_bias, size};
use sidereal_nn::kernels::post_norm::{embed_norm, shift_norm};

/// A BERT with its weights.
#[derive(Debug)]
pub struct Bert {
    hidden: usize,
    inner: usize,
    heads: usize,
    eps: f32,
    activation: Activation,
    values: Vec<f32>,
    /// First values of the tables and of the norm after them.
    words: usize,
    places: usize,
    norm: Norm,
    blocks: Vec<Block>,
}

/// First values of weight and bias of a norm.
#[derive(Debug, Clone, Copy)]
struct Norm {
    weight: usize,
    bias: usize,
}

/// First values of a matrix and its bias.
#[derive(Debug, Clone, Copy)]
struct Product {
    matrix: usize,
    bias: usize,
}

#[derive(Debug)]
struct Block {
    qkv: Product,
    attended: Product,
    attended_norm: Norm,
    up: Product,
    down: Product,
    down_norm: Norm,
}

/// Reused buffers of one worker.
#[derive(Debug, Default)]
pub struct Workspace {
    spans: Vec<Span>,
    at: Vec<u32>,
    states: Vec<f32>,
    qkv: Vec<f32>,
    context: Vec<f32>,
    inner: Vec<f32>,
    scratch: Scratch,
}

impl Bert {
    /// Reads the weights of a model. Files of models with a task head have `bert.` before names.
    pub fn load(plan: &Transformer) -> Result<Self> {
        let c = &plan.config;
        let (h, f) = (c.hidden_size, c.intermediate_size);
        let place = plan.weights.first().unwrap_or(&plan.tokenizer);
        let activation = c.activation().map_err(|e| Error::data(place, e))?;
        let mut from = Weights::open(&plan.weights)?;
        let word_table = "embeddings.word_embeddings.weight";
        let prefixed = !from.has(word_table) && from.has(&format!("bert.{word_table}"));
        let prefix = if prefixed { "bert." } else { "" };
        let name = |rest: &str| format!("{prefix}{rest}");
        let mut flat = Flat::with_capacity(from.values());
        let words = flat.tensor(&mut from, &name(word_table), &[c.vocab_size, h])?;
        let table = name("embeddings.position_embeddings.weight");
        let places = flat.tensor(&mut from, &table, &[c.max_position_embeddings, h])?;
        let table = name("embeddings.token_type_embeddings.weight");
        let mut segments = Vec::new();
        from.append(&table, &[c.type_vocab_size, h], &mut segments)?;
        add_bias(&mut flat.values[places..], &segments[..h]);
        let mut reader = Reader { flat, from, prefix };
        let norm = reader.norm("embeddings.LayerNorm", h)?;
        let mut blocks = Vec::new();
        for layer in 0..c.num_hidden_layers {
            let at = |part: &str| format!("encoder.layer.{layer}.{part}");
            let qkv = ["query", "key", "value"].map(|p| at(&format!("attention.self.{p}")));
            blocks.push(Block {
                qkv: reader.product(&qkv, h, h)?,
                attended: reader.product(&[at("attention.output.dense")], h, h)?,
                attended_norm: reader.norm(&at("attention.output.LayerNorm"), h)?,
                up: reader.product(&[at("intermediate.dense")], h, f)?,
                down: reader.product(&[at("output.dense")], f, h)?,
                down_norm: reader.norm(&at("output.LayerNorm"), h)?,
            });
        }
        Ok(Bert {
            hidden: h,
            inner: f,
            heads: c.num_attention_heads,
            eps: c.layer_norm_eps as f32,
            activation,
            values: reader.flat.values,
            words,
            places,
            norm,
            blocks,
        })
    }

    /// Hidden states (`N x H`) of texts that lie back to back in `ids`, `lengths` tokens each. Ids
    /// lie within the vocabulary and texts within the positions.
    pub fn forward<'w>(
        &self,
        ids: &[u32],
        lengths: &[usize],
        work: &'w mut Workspace,
    ) -> &'w [f32] {
        let (h, n) = (self.hidden, ids.len());
        let Workspace { spans, at, states, qkv, context, inner, scratch } = work;
        spans.clear();
        at.clear();
        for &len in lengths {
            let first = at.len();
            spans.push(Span { q: first, q_len: len, k: first, k_len: len });
            at.extend(0..len as u32);
        }
        size(states, n * h);
        size(qkv, n * 3 * h);
        size(context, n * h);
        size(inner, n * self.inner);
        let v = &self.values[..];
        let (weight, bias) = self.norm_of(self.norm);
        embed_norm(&v[self.words..], ids, &v[self.places..], at, weight, bias, self.eps, states);
        let attention = Attention {
            heads: self.heads,
            width: h / self.heads,
            scale: 1.0 / ((h / self.heads) as f32).sqrt(),
            mask: Mask::Full,
            bias: None,
            dropout: Dropout::none(),
            site: 0,
        };
        let place = |ld, offset| Place { ld, offset };
        let (qp, kp, vp) = (place(3 * h, 0), place(3 * h, h), place(3 * h, 2 * h));
        for block in &self.blocks {
            self.multiply(block.qkv, n, h, states, 3 * h, qkv, Write::Set);
            add_bias(qkv, &v[block.qkv.bias..][..3 * h]);
            attention.forward(spans, qkv, qp, qkv, kp, vp, context, place(h, 0), scratch);
            self.multiply(block.attended, n, h, context, h, states, Write::Add);
            self.norm_after(block.attended, block.attended_norm, states);
            self.multiply(block.up, n, h, states, self.inner, inner, Write::Set);
            bias_activation(inner, &v[block.up.bias..][..self.inner], self.activation);
            self.multiply(block.down, n, self.inner, inner, h, states, Write::Add);
            self.norm_after(block.down, block.down_norm, states);
        }
        states
    }

    /// `y (+)= x W` for `n` rows, without the bias.
    fn multiply(
        &self,
        product: Product,
        n: usize,
        inputs: usize,
        x: &[f32],
        outputs: usize,
        y: &mut [f32],
        write: Write,
    ) {
        let matrix = &self.values[product.matrix..][..inputs * outputs];
        let (x, w) = (Mat::rows(x, inputs), Mat::rows(matrix, outputs));
        gemm(n, outputs, inputs, x, w, y, outputs, write);
    }

    fn norm_after(&self, product: Product, norm: Norm, x: &mut [f32]) {
        let (weight, bias) = self.norm_of(norm);
        shift_norm(x, &self.values[product.bias..][..self.hidden], weight, bias, self.eps);
    }

    fn norm_of(&self, norm: Norm) -> (&[f32], &[f32]) {
        let v = &self.values;
        (&v[norm.weight..][..self.hidden], &v[norm.bias..][..self.hidden])
    }
}

/// Reads named parts of a model one after the other.
struct Reader<'a> {
    flat: Flat,
    from: Weights,
    prefix: &'a str,
}

impl Reader<'_> {
    fn norm(&mut self, name: &str, width: usize) -> Result<Norm> {
        let Reader { flat, from, prefix } = self;
        Ok(Norm {
            weight: flat.tensor(from, &format!("{prefix}{name}.weight"), &[width])?,
            bias: flat.tensor(from, &format!("{prefix}{name}.bias"), &[width])?,
        })
    }

    /// Layers of one input, as one product.
    fn product(&mut self, names: &[String], inputs: usize, outputs: usize) -> Result<Product> {
        let Reader { flat, from, prefix } = self;
        let matrices: Vec<_> = names.iter().map(|n| format!("{prefix}{n}.weight")).collect();
        let matrix = flat.products(from, &matrices, inputs, outputs)?;
        let bias = flat.values.len();
        for name in names {
            flat.tensor(from, &format!("{prefix}{name}.bias"), &[outputs])?;
        }
        Ok(Product { matrix, bias })
    }
}
