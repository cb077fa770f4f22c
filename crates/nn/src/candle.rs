//! Models written in plain candle operations, behind the same [`Model`] trait.
//!
//! A contributor's new backbone starts here: it needs no backward pass of its own, because candle
//! differentiates it. It runs op by op, several times slower than a fused block, and is the oracle
//! that a fused block must equal.

use crate::{Batch, Model, Params, Pass, Workspace};
use candle_core::{Device, Tensor, Var};
use sidereal_core::{Error, Result};
use std::collections::BTreeMap;

/// One output of a network: name in the bag, level, and a tensor of `rows x cols`.
pub struct Output {
    /// Name in the bag, as in `logits`.
    pub name: &'static str,
    /// Level, 0 where a name has one field.
    pub level: usize,
    /// Values, `rows x cols`, f32.
    pub tensor: Tensor,
}

/// A network in candle operations over named parameters.
pub trait Network: Send + Sync {
    /// Outputs for `batch.targets`. `weights` holds every parameter by its name.
    fn outputs(
        &self,
        weights: &BTreeMap<String, Tensor>,
        batch: &Batch,
        pass: Pass,
    ) -> candle_core::Result<Vec<Output>>;
}

/// A [`Network`] with its parameters in the flat buffer that optimisers and checkpoints know.
#[derive(Debug, Clone)]
pub struct CandleModel<N> {
    network: N,
    params: Params,
}

impl<N: Network> CandleModel<N> {
    /// Joins a network and the parameters it reads by name.
    pub fn new(network: N, params: Params) -> Self {
        CandleModel { network, params }
    }

    /// The network.
    pub fn network(&self) -> &N {
        &self.network
    }
}

/// What forward keeps for backward: the parameters as variables and the outputs of the graph.
#[derive(Default)]
struct Graph {
    variables: Vec<Var>,
    outputs: Vec<Output>,
}

fn candle(e: candle_core::Error) -> Error {
    Error::other("a candle network", e)
}

impl<N: Network> Model for CandleModel<N> {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn workspace(&self) -> Workspace {
        Workspace { bag: Default::default(), scratch: Box::<Graph>::default() }
    }

    fn forward(&self, batch: &Batch, pass: Pass, workspace: &mut Workspace) -> Result<()> {
        let Workspace { bag, scratch } = workspace;
        let graph = graph_of(scratch)?;
        bag.clear();
        graph.variables.clear();
        let mut weights = BTreeMap::new();
        for info in self.params.infos() {
            let values = info.slot.of(self.params.values());
            let tensor = Tensor::from_slice(values, info.shape.clone(), &Device::Cpu);
            let variable = tensor.and_then(|t| Var::from_tensor(&t)).map_err(candle)?;
            weights.insert(info.name.clone(), variable.as_tensor().clone());
            graph.variables.push(variable);
        }
        graph.outputs = self.network.outputs(&weights, batch, pass).map_err(candle)?;
        for output in &graph.outputs {
            let (rows, cols) = output.tensor.dims2().map_err(candle)?;
            let values = output.tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
            let field = bag.put(output.name, output.level, rows, cols);
            field.value.copy_from_slice(&values.map_err(candle)?);
        }
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
        // The gradient of sum(output * g) with g held fixed is g passed back through the graph.
        let mut total = Tensor::new(0f32, &Device::Cpu).map_err(candle)?;
        for output in &graph.outputs {
            let field = bag.get(output.name, output.level)?;
            let g = Tensor::from_slice(&field.grad, (field.rows, field.cols), &Device::Cpu);
            let term = g.and_then(|g| (&output.tensor * g)?.sum_all()).map_err(candle)?;
            total = (total + term).map_err(candle)?;
        }
        let store = total.backward().map_err(candle)?;
        for (info, variable) in self.params.infos().iter().zip(&graph.variables) {
            if let Some(g) = store.get(variable.as_tensor()) {
                let g = g.flatten_all().and_then(|g| g.to_vec1::<f32>()).map_err(candle)?;
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
