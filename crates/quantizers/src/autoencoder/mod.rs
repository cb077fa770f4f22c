//! An encoder, something that makes codes, and a decoder, trained together: what `fsq`,
//! `residual-fsq`, `lfq` and `mpq` share.
//!
//! For centred and scaled rows `x` (`N x D`, see [`Center`]): `z = Enc(x)`, `q = B(z)`,
//! `x^ = Dec(q)`, and
//!
//! `loss = sum (x^ - x)^2 / (N D) + own terms of B`.
//!
//! Encoder and decoder are perceptrons with ReLU between the layers, the decoder mirroring the
//! encoder. The [`Bottleneck`] `B` between them chooses the codes and says how a gradient passes
//! that choice. `rq-vae` has its own driver ([`crate::rq_vae`]).
//!
//! | file | holds |
//! |---|---|
//! | `mod` | the trait, the network, one chunk of rows forward and backward |
//! | `train` | epochs of seeded batches |
//! | `center` | means and the one scale of the rows |
//! | `codebook` | what was learned |

mod center;
mod codebook;
mod train;

pub use center::Center;
pub use codebook::AutoencoderCodebook;
pub(crate) use codebook::whole_numbers;
pub(crate) use train::{Training, check_hidden};

use rayon::prelude::*;
use sidereal_core::{Code, Matrix, MatrixRef, Result};
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::kernels::gemm::Write;
use sidereal_nn::kernels::math::size;
use sidereal_nn::kernels::squared_error::squared_error;
use sidereal_nn::{Mlp, MlpState, Params};

/// Rows that one task works on; statistics over rows, as in an entropy or a balance of experts, are
/// those of a chunk.
pub const CHUNK: usize = 256;

/// What stands between encoder and decoder.
///
/// All buffers hold rows one after the other; `rows` counts them.
pub trait Bottleneck: Clone + Send + Sync + 'static {
    /// What a chunk keeps between forward and backward.
    type State: Default + Send + Sync;

    /// Name of the tensor that describes the bottleneck and marks its files.
    const MARK: &'static str;

    /// Codes of each level.
    fn widths(&self) -> &[u32];

    /// Width of `z`, the encoder's output.
    fn inputs(&self) -> usize;

    /// Width of `q`, the decoder's input.
    fn outputs(&self) -> usize;

    /// Adds parameters of its own, between those of encoder and decoder.
    fn add_params(&mut self, _params: &mut Params) {}

    /// Takes note of the parameters, before a step and after a change.
    fn prepare(&mut self, _weights: &[f32]) {}

    /// From `z` to `q` and to the codes, `rows x levels`.
    fn forward(
        &self,
        z: &[f32],
        rows: usize,
        q: &mut [f32],
        codes: &mut [Code],
        state: &mut Self::State,
    );

    /// From the gradient of `q` to that of `z`, which is to be written; adds the gradients of its
    /// own terms (means over the rows) times `share`, and those of its own parameters to `grads`,
    /// which is laid out as all parameters. Gives the sum of its own terms. Follows a forward with
    /// the same state.
    fn backward(
        &self,
        z: &[f32],
        rows: usize,
        share: f32,
        dq: &[f32],
        dz: &mut [f32],
        grads: &mut [f32],
        state: &mut Self::State,
    ) -> f64;

    /// Writes `q` of one row from its first codes, all known; `q` holds the mean of all rows before,
    /// which stays where later codes decide.
    fn look_up(&self, codes: &[Code], q: &mut [f32]);

    /// What [`Bottleneck::from_description`] needs.
    fn describe(&self) -> Matrix;

    /// The bottleneck of a file.
    ///
    /// Errors: a description that no bottleneck has.
    fn from_description(description: &Matrix) -> Result<Self>;
}

/// Encoder, bottleneck and decoder over one flat buffer of parameters.
#[derive(Debug, Clone)]
pub struct Autoencoder<B> {
    params: Params,
    encoder: Mlp,
    decoder: Mlp,
    bottleneck: B,
    width: usize,
}

/// Buffers of one chunk, reused.
struct Chunk<S> {
    x: Vec<f32>,
    encoder: MlpState,
    decoder: MlpState,
    state: S,
    q: Vec<f32>,
    dq: Vec<f32>,
    codes: Vec<Code>,
    grads: Vec<f32>,
    losses: Losses,
}

impl<S: Default> Default for Chunk<S> {
    fn default() -> Self {
        Chunk {
            x: Vec::new(),
            encoder: MlpState::default(),
            decoder: MlpState::default(),
            state: S::default(),
            q: Vec::new(),
            dq: Vec::new(),
            codes: Vec::new(),
            grads: Vec::new(),
            losses: Losses::default(),
        }
    }
}

/// Means over rows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Losses {
    /// Mean squared error of an element.
    reconstruction: f64,
    /// The bottleneck's own terms.
    own: f64,
}

impl<B: Bottleneck> Autoencoder<B> {
    /// Draws all parameters from `seed`, for rows of `width` values and an encoder with `hidden`
    /// layers.
    pub(crate) fn new(mut bottleneck: B, width: usize, hidden: &[usize], seed: u64) -> Self {
        let hidden = hidden.iter().copied();
        let down: Vec<usize> =
            std::iter::once(width).chain(hidden.clone()).chain([bottleneck.inputs()]).collect();
        let up: Vec<usize> =
            std::iter::once(bottleneck.outputs()).chain(hidden.rev()).chain([width]).collect();
        let mut params = Params::new(seed);
        let encoder = Mlp::new(&mut params, "encoder", &down, Activation::Relu);
        bottleneck.add_params(&mut params);
        let decoder = Mlp::new(&mut params, "decoder", &up, Activation::Relu);
        bottleneck.prepare(params.values());
        Autoencoder { params, encoder, decoder, bottleneck, width }
    }

    /// What stands between encoder and decoder.
    pub fn bottleneck(&self) -> &B {
        &self.bottleneck
    }

    /// All parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Changes the parameters.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut [f32])) {
        change(self.params.values_mut());
        self.bottleneck.prepare(self.params.values());
    }

    /// Width of the rows.
    pub fn width(&self) -> usize {
        self.width
    }

    /// One chunk forward and backward: adds `share` times the gradient of the mean over the chunk's
    /// rows to its `grads`.
    fn learn(&self, rows: usize, share: f32, c: &mut Chunk<B::State>) {
        let (values, outputs) = (self.params.values(), self.bottleneck.outputs());
        self.encoder.forward(values, &c.x, rows, &mut c.encoder);
        size(&mut c.q, rows * outputs);
        c.codes.resize(rows * self.bottleneck.widths().len(), 0);
        let z = c.encoder.output();
        self.bottleneck.forward(z, rows, &mut c.q, &mut c.codes, &mut c.state);
        self.decoder.forward(values, &c.q, rows, &mut c.decoder);
        let elements = (rows * self.width) as f64;
        let out = c.decoder.output_and_grad();
        let factor = (2.0 * f64::from(share) / elements) as f32;
        c.losses.reconstruction = squared_error(out.output, &c.x, factor, out.grad) / elements;
        size(&mut c.dq, rows * outputs);
        let into = Some((&mut c.dq[..], Write::Set));
        self.decoder.backward(values, &c.q, rows, &mut c.decoder, into, &mut c.grads);
        let z = c.encoder.output_and_grad();
        c.losses.own = self.bottleneck.backward(
            z.output,
            rows,
            share,
            &c.dq,
            z.grad,
            &mut c.grads,
            &mut c.state,
        );
        self.encoder.backward(values, &c.x, rows, &mut c.encoder, None, &mut c.grads);
    }

    /// Loss and gradients of the mean over some rows, for tests.
    #[cfg(test)]
    pub(crate) fn loss_and_gradients(&self, rows: &[f32]) -> (f64, Vec<f32>) {
        let mut grads = vec![0.0; self.params.len()];
        let batch: Vec<u32> = (0..(rows.len() / self.width) as u32).collect();
        let losses = train::step(self, rows, &batch, &mut Vec::new(), &mut grads);
        (losses.reconstruction + losses.own, grads)
    }

    /// The encoder's output for rows of [`Autoencoder::width`] values.
    pub(crate) fn latents(&self, rows: &[f32]) -> Matrix {
        perceptron(&self.encoder, self.params.values(), rows, self.width, self.bottleneck.inputs())
    }

    /// Codes of rows, `N x levels`.
    fn codes(&self, rows: &[f32]) -> Vec<Code> {
        let (count, levels) = (rows.len() / self.width, self.bottleneck.widths().len());
        let mut out = vec![0; count * levels];
        out.par_chunks_mut(CHUNK * levels).zip(rows.par_chunks(CHUNK * self.width)).for_each_init(
            Chunk::<B::State>::default,
            |c, (out, x)| {
                let n = x.len() / self.width;
                self.encoder.forward(self.params.values(), x, n, &mut c.encoder);
                size(&mut c.q, n * self.bottleneck.outputs());
                self.bottleneck.forward(c.encoder.output(), n, &mut c.q, out, &mut c.state);
            },
        );
        out
    }

    /// Mean of `q` over rows.
    fn mean(&self, rows: &[f32]) -> Vec<f32> {
        let (d, levels) = (self.bottleneck.outputs(), self.bottleneck.widths().len());
        let sums: Vec<Vec<f64>> = rows
            .par_chunks(CHUNK * self.width)
            .map_init(Chunk::<B::State>::default, |c, x| {
                let n = x.len() / self.width;
                self.encoder.forward(self.params.values(), x, n, &mut c.encoder);
                size(&mut c.q, n * d);
                c.codes.resize(n * levels, 0);
                let z = c.encoder.output();
                self.bottleneck.forward(z, n, &mut c.q, &mut c.codes, &mut c.state);
                let mut sum = vec![0.0; d];
                for row in c.q.chunks_exact(d) {
                    sum.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
                }
                sum
            })
            .collect();
        let n = (rows.len() / self.width).max(1) as f64;
        // In the order of the chunks, whoever did them.
        (0..d).map(|j| (sums.iter().map(|s| s[j]).sum::<f64>() / n) as f32).collect()
    }

    /// The decoder's output for rows of [`Bottleneck::outputs`] values.
    fn decode(&self, q: MatrixRef<'_>) -> Matrix {
        perceptron(&self.decoder, self.params.values(), q.data(), q.cols(), self.width)
    }
}

/// A perceptron over many rows, in tiles whatever the number of threads.
fn perceptron(mlp: &Mlp, values: &[f32], rows: &[f32], inputs: usize, outputs: usize) -> Matrix {
    let mut out = Matrix::zeros(rows.len() / inputs, outputs);
    out.data_mut()
        .par_chunks_mut(CHUNK * outputs)
        .zip(rows.par_chunks(CHUNK * inputs))
        .for_each_init(MlpState::default, |state, (out, x)| {
            mlp.forward(values, x, x.len() / inputs, state);
            out.copy_from_slice(state.output());
        });
    out
}
