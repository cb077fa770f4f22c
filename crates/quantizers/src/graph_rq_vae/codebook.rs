//! What `graph-rq-vae` learns: the graph network in front of an RQ-VAE.

use super::bpr::item_vectors;
use super::graph_of;
use super::sage::{Sage, SageShape};
use crate::residual::check_vectors;
use crate::rq_vae::RqVaeCodebook;
use sidereal_core::{Codebook, Codes, Error, Matrix, QuantizerInput, Result};

/// Tensor that marks the file of a graph codebook.
pub(crate) const FIRST: &str = "graph.users";

/// Graph network and RQ-VAE: `c = codes(Enc(graph(x)))`.
#[derive(Debug, Clone)]
pub struct GraphRqVaeCodebook {
    sage: Sage,
    book: RqVaeCodebook,
}

impl GraphRqVaeCodebook {
    pub(super) fn new(sage: Sage, book: RqVaeCodebook) -> Self {
        GraphRqVaeCodebook { sage, book }
    }

    /// From what [`Codebook::tensors`] gives.
    pub fn from_tensors(tensors: Vec<(String, Matrix)>) -> Result<Self> {
        let (graph, rest): (Vec<_>, Vec<_>) =
            tensors.into_iter().partition(|(name, _)| name.starts_with("graph."));
        let find = |name: &str| {
            let found = graph.iter().find(|(n, _)| n == name).map(|(_, m)| m);
            found
                .ok_or_else(|| Error::mismatch(format!("graph-rq-vae: tensor `{name}` is missing")))
        };
        let users = find(FIRST)?;
        let shape = SageShape {
            users: users.rows(),
            features: find("graph.project.weight")?.cols(),
            hidden: users.cols(),
            output: find("graph.sage_1.own")?.rows(),
        };
        let mut sage = Sage::new(shape, 0);
        let infos = sage.params().infos().to_vec();
        for info in &infos {
            let tensor = find(&info.name)?;
            let cols = info.shape.last().copied().unwrap_or(0);
            if tensor.cols() != cols || tensor.rows() * cols != info.slot.len {
                return Err(Error::mismatch(format!(
                    "graph-rq-vae: tensor `{}` is {} x {}, the network needs {:?}",
                    info.name,
                    tensor.rows(),
                    tensor.cols(),
                    info.shape
                )));
            }
            check_vectors(tensor.view())?;
            info.slot.of_mut(sage.params_mut().values_mut()).copy_from_slice(tensor.data());
        }
        if let Some((name, _)) = graph.iter().find(|(n, _)| sage.params().info(n).is_none()) {
            return Err(Error::mismatch(format!("graph-rq-vae: unknown tensor `{name}`")));
        }
        let book = RqVaeCodebook::from_tensors(rest)?;
        if book.model().shape().input != shape.output {
            return Err(Error::mismatch(format!(
                "graph-rq-vae: the graph gives vectors of width {}, the codes need {}",
                shape.output,
                book.model().shape().input
            )));
        }
        Ok(GraphRqVaeCodebook { sage, book })
    }

    /// The graph's item vectors, shape `N x output`.
    ///
    /// Errors: no training histories, other users or vectors of another width than when it was
    /// fitted.
    pub fn vectors(&self, input: &QuantizerInput<'_>) -> Result<Matrix> {
        check_vectors(input.vectors)?;
        let (graph, shape) = (graph_of(input)?, self.sage.shape());
        if graph.users() != shape.users || input.vectors.cols() != shape.features {
            return Err(Error::mismatch(format!(
                "graph-rq-vae was fitted with {} users and vectors of width {}, got {} and {}",
                shape.users,
                shape.features,
                graph.users(),
                input.vectors.cols()
            )));
        }
        item_vectors(&self.sage, &graph, input.vectors.data())
    }

    /// Codes of the graph's vectors.
    pub fn book(&self) -> &RqVaeCodebook {
        &self.book
    }
}

impl Codebook for GraphRqVaeCodebook {
    fn widths(&self) -> &[u32] {
        self.book.widths()
    }

    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        if input.vectors.rows() == 0 {
            return Codes::new(0, self.widths().len(), Vec::new());
        }
        let vectors = self.vectors(input)?;
        self.book.quantize(&QuantizerInput::vectors(vectors.view()))
    }

    /// `None`: codes stand for vectors of the graph, not for features.
    fn reconstruct(&self, _codes: &Codes, _levels: usize) -> Option<Matrix> {
        None
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        let values = self.sage.params().values();
        let named = self.sage.params().infos().iter().map(|info| {
            let cols = info.shape.last().copied().unwrap_or(0);
            let mut m = Matrix::zeros(info.slot.len / cols.max(1), cols);
            m.data_mut().copy_from_slice(info.slot.of(values));
            (info.name.clone(), m)
        });
        named.chain(self.book.tensors()).collect()
    }
}
