//! `rq-vae` and what other quantizers make of it: networks, first codes, then the training.

use super::auxiliary::Auxiliary;
use super::codebook::{RqVaeCodebook, encode};
use super::model::{EncoderForm, RqVaeModel, RqVaeShape};
use super::options::{CodebookStart, InputScale, RqVaeOptions, Schedule};
use super::scale::Standardize;
use super::train::Training;
use crate::blocks::distinct_rows;
use crate::levels::check_enough;
use crate::residual::{ResidualCodebook, ResidualScale, check_vectors};
use crate::rq_kmeans::{RqKMeans, RqKMeansOptions};
use sidereal_core::component::Inner;
use sidereal_core::{
    Codebook, Error, Matrix, MatrixRef, Options, Quantizer, QuantizerInput, Result, Run, Silent,
    seed,
};
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::{Init, Params, parallel};
use std::ops::Range;

/// Fits an [`RqVaeCodebook`] by gradients.
///
/// ```
/// use sidereal_core::{Codebook, Matrix, QuantizerInput, Run};
/// use sidereal_quantizers::{RqVae, RqVaeOptions};
/// # fn main() -> sidereal_core::Result<()> {
/// let x = Matrix::new(4, 2, vec![0.0, 1.0, 0.1, 1.0, 5.0, -5.0, 5.1, -5.0])?;
/// let input = QuantizerInput::vectors(x.view());
/// let options = RqVaeOptions {
///     levels: vec![2, 2],
///     hidden: vec![8],
///     latent: 2,
///     epochs: 20,
///     ..Default::default()
/// };
/// let book = RqVae::new(options)?.fit_rq_vae(&input, &Run::quiet(7))?;
/// let codes = book.quantize(&input)?;
/// assert_eq!(codes.row(0)[0], codes.row(1)[0]); // near neighbours share their first code
/// assert_ne!(codes.row(0)[0], codes.row(2)[0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RqVae {
    options: RqVaeOptions,
}

/// Rows of an epoch, in their order.
pub(crate) type Order<'a> = Box<dyn Fn(u32) -> Vec<u32> + Send + 'a>;
/// Makes auxiliary losses; they may add parameters to the model.
pub(crate) type Extend<'a> =
    Box<dyn FnOnce(&mut RqVaeModel) -> Result<Vec<Box<dyn Auxiliary + 'a>>> + Send + 'a>;

/// An RQ-VAE with what a quantizer adds to it.
pub(crate) struct Recipe<'a> {
    /// Name in events.
    pub task: &'static str,
    /// All but what follows.
    pub options: &'a RqVaeOptions,
    /// Form of the encoder.
    pub encoder: EncoderForm,
    /// Between the layers of the decoder.
    pub decoder: Activation,
    /// First codes in place of `options.start`.
    pub codes: Option<&'a ResidualCodebook>,
    /// Losses over the whole batch.
    pub extend: Option<Extend<'a>>,
    /// Order of rows in place of seeded permutations.
    pub order: Option<Order<'a>>,
}

impl<'a> Recipe<'a> {
    /// A plain RQ-VAE.
    pub(crate) fn new(task: &'static str, options: &'a RqVaeOptions) -> Self {
        Recipe {
            task,
            options,
            encoder: EncoderForm::Plain,
            decoder: Activation::Relu,
            codes: None,
            extend: None,
            order: None,
        }
    }

    /// Fits on the current rayon pool.
    pub(crate) fn fit(self, vectors: MatrixRef<'_>, run: &Run<'_>) -> Result<RqVaeCodebook> {
        check_vectors(vectors)?;
        let o = self.options;
        let widest = o.levels.iter().copied().max().unwrap_or(0) as usize;
        check_enough(&o.levels, vectors.rows(), distinct_rows(vectors, widest))?;
        let scale = (o.input == InputScale::Standardized).then(|| Standardize::fit(vectors));
        let scaled = scale.as_ref().map(|s| s.apply(vectors));
        let rows = scaled.as_ref().map_or(vectors.data(), Matrix::data);
        let shape = RqVaeShape {
            input: vectors.cols(),
            hidden: o.hidden.iter().map(|&w| w as usize).collect(),
            latent: o.latent as usize,
            levels: o.levels.clone(),
            activation: Activation::Relu,
            decoder_activation: self.decoder,
            encoder: self.encoder,
        };
        let mut model = RqVaeModel::new(shape, run.seed)?;
        match self.codes {
            Some(book) => (0..book.len()).try_for_each(|l| model.set_level(l, book.level(l)))?,
            None => start(o, &mut model, rows, run)?,
        }
        let auxiliaries = match self.extend {
            Some(extend) => extend(&mut model)?,
            None => Vec::new(),
        };
        let training = Training::new(self.task, o, run, rows, model, auxiliaries, self.order)?;
        RqVaeCodebook::new(training.run()?.without_added()?, scale)
    }
}

impl RqVae {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: RqVaeOptions) -> Result<Self> {
        options.check()?;
        Ok(RqVae { options })
    }

    /// The options.
    pub fn options(&self) -> &RqVaeOptions {
        &self.options
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_rq_vae(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<RqVaeCodebook> {
        let recipe = Recipe::new("rq-vae", &self.options);
        parallel::pool(run.threads)?.install(|| recipe.fit(input.vectors, run))
    }
}

/// An RQ-VAE that stands in the option `vae` of another quantizer.
///
/// `change` sets what the other quantizer decides.
///
/// Errors: another component than `rq-vae`; its own, with keys under `quantizer.vae`.
pub(crate) fn inner_rq_vae(inner: &Inner, change: impl FnOnce(&mut RqVaeOptions)) -> Result<RqVae> {
    let spec = inner.spec("quantizer.vae")?;
    if spec.name != "rq-vae" {
        let message = format!("got `{}`; expected `rq-vae`, or a table of that type", spec.name);
        return Err(Error::config("quantizer.vae.type", message));
    }
    let mut options = RqVaeOptions::from_spec(&spec)?;
    change(&mut options);
    RqVae::new(options).map_err(|e| match e {
        Error::Config { key, message } => {
            Error::Config { key: key.replacen("quantizer.", "quantizer.vae.", 1), message }
        }
        other => other,
    })
}

/// Sets the first codes of all levels, or of the first where levels learn one after the other.
fn start(o: &RqVaeOptions, model: &mut RqVaeModel, rows: &[f32], run: &Run<'_>) -> Result<()> {
    match o.start {
        CodebookStart::Uniform => Ok(()),
        CodebookStart::Normal => {
            let d = o.latent as usize;
            for (l, &k) in o.levels.iter().enumerate() {
                let mut drawn = Params::new(run.seed);
                let init = Init::Normal(1.0 / (d as f32).sqrt());
                drawn.add(&format!("level_{l}"), &[k as usize, d], init);
                model.set_level(l, &Matrix::new(k as usize, d, drawn.values().to_vec())?)?;
            }
            Ok(())
        }
        CodebookStart::KMeans => {
            let levels = match o.schedule {
                Schedule::Joint => 0..o.levels.len(),
                Schedule::LayerWise => 0..1,
            };
            k_means_start(o, model, rows, levels, run)
        }
    }
}

/// Sets the codes of some levels by residual k-means on what the levels before them leave of the
/// latents of drawn rows.
pub(super) fn k_means_start(
    o: &RqVaeOptions,
    model: &mut RqVaeModel,
    rows: &[f32],
    levels: Range<usize>,
    run: &Run<'_>,
) -> Result<()> {
    let width = model.shape().input;
    let n = rows.len() / width;
    let wanted = if o.start_rows == 0 { n } else { n.min(o.start_rows as usize) };
    let mut rng = seed::stream(run.seed, "rq-vae-start", levels.start as u64);
    let mut drawn = rand::seq::index::sample(&mut rng, n, wanted).into_vec();
    drawn.sort_unstable();
    let sample: Vec<f32> =
        drawn.iter().flat_map(|&r| &rows[r * width..(r + 1) * width]).copied().collect();
    let mut latents = encode(model, &sample);
    if levels.start > 0 {
        let codes = residual_codebook(model)?.quantize(&QuantizerInput::vectors(latents.view()))?;
        for i in 0..latents.rows() {
            for l in 0..levels.start {
                let d = latents.cols();
                let q = &model.level(l)[codes.row(i)[l] as usize * d..][..d];
                latents.row_mut(i).iter_mut().zip(q).for_each(|(r, q)| *r -= q);
            }
        }
    }
    let widths = o.levels[levels.clone()].to_vec();
    let options = RqKMeansOptions { levels: widths, start_rows: 0, ..Default::default() };
    let quiet =
        Run { seed: run.seed, observer: &Silent, cancel: run.cancel.clone(), threads: run.threads };
    let book = RqKMeans::new(options)?.fit_here(latents.view(), &quiet)?;
    levels.zip(0..).try_for_each(|(l, i)| model.set_level(l, book.level(i)))
}

/// The model's codes alone.
pub(super) fn residual_codebook(model: &RqVaeModel) -> Result<ResidualCodebook> {
    let shape = model.shape();
    let level =
        |(l, &k): (usize, &u32)| Matrix::new(k as usize, shape.latent, model.level(l).to_vec());
    let levels = shape.levels.iter().enumerate().map(level).collect::<Result<_>>()?;
    ResidualCodebook::new(levels, ResidualScale::Raw)
}

impl Quantizer for RqVae {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_rq_vae(input, run)?))
    }
}
