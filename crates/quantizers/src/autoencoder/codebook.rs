//! What an [`Autoencoder`] has learned.

use super::{Autoencoder, Bottleneck, Center, Training, center};
use crate::residual::check_vectors;
use rayon::prelude::*;
use sidereal_core::{Codebook, Codes, Error, Matrix, MatrixRef, QuantizerInput, Result, Run};
use sidereal_nn::parallel;

/// A trained encoder, bottleneck and decoder: `c = codes(Enc(x))`, `x^ = Dec(q(c))`.
#[derive(Debug, Clone)]
pub struct AutoencoderCodebook<B> {
    network: Autoencoder<B>,
    center: Center,
    /// Mean of `q` over the training rows: stands for codes that are left away.
    mean: Vec<f32>,
}

/// Name of the tensor with the mean of `q`.
const MEAN: &str = "mean";

impl<B: Bottleneck> AutoencoderCodebook<B> {
    /// Scales the vectors, makes a network for them, lets `start` change it, and trains it.
    pub(crate) fn fit(
        bottleneck: B,
        hidden: &[u32],
        training: Training,
        vectors: MatrixRef<'_>,
        run: &Run<'_>,
        start: impl FnOnce(&mut Autoencoder<B>, &[f32]) -> Result<()> + Send,
    ) -> Result<Self> {
        parallel::pool(run.threads)?.install(|| {
            check_vectors(vectors)?;
            let center = Center::fit(vectors);
            let scaled = center.apply(vectors);
            let hidden: Vec<usize> = hidden.iter().map(|&w| w as usize).collect();
            let mut network = Autoencoder::new(bottleneck, vectors.cols(), &hidden, run.seed);
            start(&mut network, scaled.data())?;
            training.run(&mut network, scaled.data(), run)?;
            let mean = network.mean(scaled.data());
            Ok(AutoencoderCodebook { network, center, mean })
        })
    }

    /// From what [`Codebook::tensors`] gives.
    pub fn from_tensors(tensors: Vec<(String, Matrix)>) -> Result<Self> {
        let find = |name: &str| tensors.iter().find(|(n, _)| n == name).map(|(_, m)| m);
        let get = |name: &str| {
            find(name).ok_or_else(|| {
                Error::mismatch(format!("codebook with `{}`: tensor `{name}` is missing", B::MARK))
            })
        };
        let bottleneck = B::from_description(get(B::MARK)?)?;
        let width = get("encoder.0.weight")?.cols();
        let mut hidden = Vec::new();
        while let Some(layer) = find(&format!("encoder.{}.weight", hidden.len())) {
            hidden.push(layer.rows());
        }
        hidden.pop();
        if width == 0 || hidden.contains(&0) {
            return Err(Error::mismatch(format!(
                "codebook with `{}`: a layer without width",
                B::MARK
            )));
        }
        let mut network = Autoencoder::new(bottleneck, width, &hidden, 0);
        let infos = network.params.infos().to_vec();
        let mut flat = vec![0.0; network.params.len()];
        for info in &infos {
            let (rows, cols) = shape(&info.shape);
            let tensor = expect(get(&info.name)?, &info.name, rows, cols)?;
            info.slot.of_mut(&mut flat).copy_from_slice(tensor.data());
        }
        network.update(|values| values.copy_from_slice(&flat));
        let [means, scale] = center::NAMES;
        let center = Center::from_values(
            expect(get(means)?, means, 1, width)?.data(),
            expect(get(scale)?, scale, 1, 1)?.data(),
        )?;
        let outputs = network.bottleneck.outputs();
        let mean = expect(get(MEAN)?, MEAN, 1, outputs)?.data().to_vec();
        let known = |name: &str| {
            network.params.info(name).is_some() || [B::MARK, MEAN, means, scale].contains(&name)
        };
        if let Some((name, _)) = tensors.iter().find(|(n, _)| !known(n)) {
            return Err(Error::mismatch(format!(
                "codebook with `{}`: unknown tensor `{name}`",
                B::MARK
            )));
        }
        Ok(AutoencoderCodebook { network, center, mean })
    }

    /// The networks.
    pub fn network(&self) -> &Autoencoder<B> {
        &self.network
    }

    /// What the bottleneck gets, shape `N x` [`Bottleneck::inputs`].
    ///
    /// Errors: vectors of another width, values that are not finite.
    pub fn encode(&self, vectors: MatrixRef<'_>) -> Result<Matrix> {
        Ok(self.network.latents(self.scaled(vectors)?.data()))
    }

    fn scaled(&self, vectors: MatrixRef<'_>) -> Result<Matrix> {
        let width = self.network.width;
        if vectors.cols() != width {
            return Err(Error::mismatch(format!(
                "the codebook was fitted on vectors of width {width}, got width {}",
                vectors.cols()
            )));
        }
        if vectors.rows() > 0 {
            check_vectors(vectors)?;
        }
        Ok(self.center.apply(vectors))
    }
}

/// The tensor, if it has this shape and finite values.
fn expect<'a>(tensor: &'a Matrix, name: &str, rows: usize, cols: usize) -> Result<&'a Matrix> {
    if (tensor.rows(), tensor.cols()) != (rows, cols) {
        return Err(Error::mismatch(format!(
            "codebook: tensor `{name}` is {} x {}, expected {rows} x {cols}",
            tensor.rows(),
            tensor.cols()
        )));
    }
    check_vectors(tensor.view())
        .map_err(|e| Error::mismatch(format!("codebook: tensor `{name}`: {e}")))?;
    Ok(tensor)
}

/// Whole numbers of a description, 0 to 2^24.
///
/// Errors: another number.
pub(crate) fn whole_numbers(values: &[f32]) -> Result<Vec<u32>> {
    let whole = |v: &f32| (0.0..=16_777_216.0).contains(v) && v.fract() == 0.0;
    if !values.iter().all(whole) {
        return Err(Error::mismatch("codebook: expected whole numbers in its description"));
    }
    Ok(values.iter().map(|v| *v as u32).collect())
}

fn shape(shape: &[usize]) -> (usize, usize) {
    match shape {
        [rows, cols] => (*rows, *cols),
        other => (1, other.iter().product()),
    }
}

impl<B: Bottleneck> Codebook for AutoencoderCodebook<B> {
    fn widths(&self) -> &[u32] {
        self.network.bottleneck.widths()
    }

    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        let scaled = self.scaled(input.vectors)?;
        let codes = self.network.codes(scaled.data());
        Codes::new(input.vectors.rows(), self.widths().len(), codes)
    }

    /// The decoder's output for the first `levels` codes, with the mean over the training rows in
    /// place of the others.
    fn reconstruct(&self, codes: &Codes, levels: usize) -> Option<Matrix> {
        let (widths, outputs) = (self.widths(), self.mean.len());
        if levels > widths.len().min(codes.levels()) {
            return None;
        }
        let known = |i: usize| codes.row(i)[..levels].iter().zip(widths).all(|(c, w)| c < w);
        if !(0..codes.rows()).all(known) {
            return None;
        }
        let mut q = Matrix::zeros(codes.rows(), outputs);
        q.data_mut().par_chunks_mut(outputs).enumerate().for_each(|(i, q)| {
            q.copy_from_slice(&self.mean);
            self.network.bottleneck.look_up(&codes.row(i)[..levels], q);
        });
        let mut out = self.network.decode(q.view());
        self.center.invert(&mut out);
        Some(out)
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        let params = &self.network.params;
        let mut out = vec![(B::MARK.to_string(), self.network.bottleneck.describe())];
        for info in params.infos() {
            let (rows, cols) = shape(&info.shape);
            let mut m = Matrix::zeros(rows, cols);
            m.data_mut().copy_from_slice(info.slot.of(params.values()));
            out.push((info.name.clone(), m));
        }
        out.extend(self.center.tensors());
        let mut mean = Matrix::zeros(1, self.mean.len());
        mean.data_mut().copy_from_slice(&self.mean);
        out.push((MEAN.into(), mean));
        out
    }
}
