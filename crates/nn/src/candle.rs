//! Models written in plain candle operations, behind the same [`Model`] trait.
//!
//! A contributor's new backbone starts here: it needs no backward pass of its own, because candle
//! differentiates it. On the processor it runs op by op, several times slower than a fused block,
//! and is the oracle that a fused block must equal; on a GPU it is the way a model runs.
//!
//! The flat buffer of the parameters stays the truth, so optimisers, checkpoints and resume know
//! nothing of devices. Weights are uploaded when the first micro-batch after an update needs them,
//! so once an optimiser step; outputs and gradients come down for each micro-batch. On a GPU
//! micro-batches should therefore be large. Objectives and optimisers run on the processor.

use crate::bag::ItemMatrix;
use crate::{Batch, Device, Model, Params, Pass, Workspace};
use candle_core::{Tensor, Var};
use sidereal_core::{Error, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One output of a network: name in the bag, level, and a tensor of `rows x cols`.
pub struct Output {
    /// Name in the bag, as in `logits`.
    pub name: &'static str,
    /// Level, 0 where a name has one field.
    pub level: usize,
    /// Values, `rows x cols`, f32.
    pub tensor: Tensor,
}

/// Every parameter of a model by its name, on the device of the model.
#[derive(Debug, Clone)]
pub struct Weights {
    device: candle_core::Device,
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// A parameter; a name that the model does not have is an error.
    pub fn get(&self, name: &str) -> candle_core::Result<&Tensor> {
        self.find(name).ok_or_else(|| candle_core::Error::CannotFindTensor { path: name.into() })
    }

    /// A parameter that the model may lack.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Where inputs must be.
    pub fn device(&self) -> &candle_core::Device {
        &self.device
    }
}

/// A network in candle operations over named parameters.
pub trait Network: Send + Sync {
    /// Outputs for `batch.targets`. Faults of the batch travel through [`fault`].
    fn outputs(
        &self,
        weights: &Weights,
        batch: &Batch,
        pass: Pass,
    ) -> candle_core::Result<Vec<Output>>;

    /// Which parameter holds item vectors, for objectives that compare queries with them.
    fn items(&self) -> Option<ItemMatrix> {
        None
    }
}

/// A [`Network`] with its parameters in the flat buffer that optimisers and checkpoints know.
#[derive(Debug)]
pub struct CandleModel<N> {
    network: N,
    params: Params,
    device: candle_core::Device,
    /// The parameters on the device, until they change.
    uploaded: Mutex<Option<Arc<Uploaded>>>,
}

impl<N: Network> CandleModel<N> {
    /// Joins a network and the parameters it reads by name, on the processor.
    pub fn new(network: N, params: Params) -> Self {
        Self::over(network, params, candle_core::Device::Cpu)
    }

    /// The same on a device.
    pub fn on(device: Device, network: N, params: Params) -> Result<Self> {
        Ok(Self::over(network, params, device.open()?))
    }

    fn over(network: N, params: Params, device: candle_core::Device) -> Self {
        CandleModel { network, params, device, uploaded: Mutex::new(None) }
    }

    /// The network.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// The parameters as they are now, on the device and without a graph behind them: for sessions
    /// and query vectors.
    pub fn weights(&self) -> Result<Weights> {
        let uploaded = self.uploaded()?;
        let detached = uploaded.weights.tensors.iter().map(|(n, t)| (n.clone(), t.detach()));
        Ok(Weights { device: self.device.clone(), tensors: detached.collect() })
    }

    fn uploaded(&self) -> Result<Arc<Uploaded>> {
        let mut slot = self.uploaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(uploaded) = &*slot {
            return Ok(uploaded.clone());
        }
        let fresh = Arc::new(Uploaded::new(&self.params, &self.device).map_err(error)?);
        *slot = Some(fresh.clone());
        Ok(fresh)
    }
}

impl<N: Clone> Clone for CandleModel<N> {
    fn clone(&self) -> Self {
        CandleModel {
            network: self.network.clone(),
            params: self.params.clone(),
            device: self.device.clone(),
            uploaded: Mutex::new(None),
        }
    }
}

/// The parameters of one optimiser step on the device.
#[derive(Debug)]
struct Uploaded {
    /// In the order of the flat buffer.
    variables: Vec<Var>,
    weights: Weights,
}

impl Uploaded {
    fn new(params: &Params, device: &candle_core::Device) -> candle_core::Result<Self> {
        let mut variables = Vec::with_capacity(params.infos().len());
        let mut tensors = BTreeMap::new();
        for info in params.infos() {
            let values = info.slot.of(params.values());
            let tensor = Tensor::from_slice(values, info.shape.clone(), device)?;
            let variable = Var::from_tensor(&tensor)?;
            tensors.insert(info.name.clone(), variable.as_tensor().clone());
            variables.push(variable);
        }
        Ok(Uploaded { variables, weights: Weights { device: device.clone(), tensors } })
    }
}

/// What forward keeps for backward: the parameters as variables and the outputs of the graph.
#[derive(Default)]
struct Graph {
    uploaded: Option<Arc<Uploaded>>,
    outputs: Vec<Output>,
}

/// An error on its way through candle's functions; [`error`] gives it back as it was.
pub fn fault(error: Error) -> candle_core::Error {
    candle_core::Error::WrappedContext { wrapped: Box::new(error), context: String::new() }
}

/// An error of candle, or the one that [`fault`] hid in it.
pub fn error(e: candle_core::Error) -> Error {
    let other = |e: candle_core::Error| Error::other("a candle network", e);
    match e {
        candle_core::Error::WrappedContext { wrapped, context } => match wrapped.downcast() {
            Ok(ours) => *ours,
            Err(wrapped) => other(candle_core::Error::WrappedContext { wrapped, context }),
        },
        e => other(e),
    }
}

impl<N: Network> Model for CandleModel<N> {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        // Whoever asks may write: the next forward pass uploads again.
        *self.uploaded.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        &mut self.params
    }

    fn workspace(&self) -> Workspace {
        Workspace { bag: Default::default(), scratch: Box::<Graph>::default() }
    }

    fn forward(&self, batch: &Batch, pass: Pass, workspace: &mut Workspace) -> Result<()> {
        let Workspace { bag, scratch } = workspace;
        let graph = graph_of(scratch)?;
        bag.clear();
        // The memory of the last graph is free before the next one grows.
        graph.outputs.clear();
        let uploaded = self.uploaded()?;
        graph.outputs = self.network.outputs(&uploaded.weights, batch, pass).map_err(error)?;
        graph.uploaded = Some(uploaded);
        for output in &graph.outputs {
            let (rows, cols) = output.tensor.dims2().map_err(error)?;
            let values = output.tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
            let field = bag.put(output.name, output.level, rows, cols);
            field.value.copy_from_slice(&values.map_err(error)?);
        }
        bag.items = self.network.items();
        Ok(())
    }

    fn backward(
        &self,
        _batch: &Batch,
        _pass: Pass,
        workspace: &mut Workspace,
        grads: &mut [f32],
    ) -> Result<()> {
        let Workspace { bag, scratch } = workspace;
        let graph = graph_of(scratch)?;
        let Some(uploaded) = graph.uploaded.take() else {
            return Err(Error::mismatch("a backward pass follows a forward pass"));
        };
        // The gradient of sum(output * g) with g held fixed is g passed back through the graph.
        let mut total: Option<Tensor> = None;
        for output in graph.outputs.drain(..) {
            let field = bag.get(output.name, output.level)?;
            if field.grad.is_empty() {
                continue;
            }
            let g = Tensor::from_slice(&field.grad, (field.rows, field.cols), &self.device);
            let term = g.and_then(|g| (&output.tensor * g)?.sum_all()).map_err(error)?;
            total = Some(match total {
                None => term,
                Some(total) => (total + term).map_err(error)?,
            });
        }
        let Some(total) = total else { return Ok(()) };
        let mut store = total.backward().map_err(error)?;
        for (info, variable) in self.params.infos().iter().zip(&uploaded.variables) {
            if let Some(g) = store.remove(variable.as_tensor()) {
                let g = g.flatten_all().and_then(|g| g.to_vec1::<f32>()).map_err(error)?;
                crate::kernels::math::axpy(1.0, &g, info.slot.of_mut(grads));
            }
        }
        Ok(())
    }
}

fn graph_of(scratch: &mut Box<dyn std::any::Any + Send>) -> Result<&mut Graph> {
    scratch
        .downcast_mut::<Graph>()
        .ok_or_else(|| Error::mismatch("the workspace belongs to another model"))
}
