//! From states to scores of codes: a matrix a level (`levels`), the token table (`tied`, states
//! times `width^-1/2`) or one more matrix of its shape (`joint`). Over all tokens, the columns of a
//! level are its own codes first, then the tokens before and behind them.

use super::grid::index;
use super::ops::linear;
use candle_core::{Result, Tensor};
use sidereal_nn::candle::Weights;
use std::ops::Range;

/// A kind of head over a table of tokens.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) kind: String,
    /// Rows of the table that are the codes of each level.
    pub(crate) levels: Vec<Range<usize>>,
    /// Rows of the table.
    pub(crate) tokens: usize,
}

impl Head {
    /// Columns of a level.
    pub(crate) fn cols(&self, level: usize) -> usize {
        if self.kind == "levels" { self.levels[level].len() } else { self.tokens }
    }

    /// Scores of a level from the states in `rows`: `rows x cols`.
    pub(crate) fn scores(
        &self,
        w: &Weights,
        table: &Tensor,
        states: &Tensor,
        rows: Vec<u32>,
        level: usize,
    ) -> Result<Tensor> {
        let states = states.index_select(&index(rows, w.device())?, 0)?;
        let (matrix, states) = match self.kind.as_str() {
            "levels" => return linear(w, &states, &format!("heads.{level}")),
            "tied" => {
                let scale = 1.0 / (states.dim(1)? as f64).sqrt();
                (table, (states * scale)?)
            }
            _ => (w.get("lm_head.weight")?, states),
        };
        let own = self.levels[level].clone();
        let pieces = [own.clone(), 0..own.start, own.end..self.tokens];
        let pieces = pieces.into_iter().filter(|p| !p.is_empty());
        let pieces = pieces.map(|p| matrix.narrow(0, p.start, p.len()));
        let matrix = Tensor::cat(&pieces.collect::<Result<Vec<_>>>()?, 0)?;
        states.matmul(&matrix.t()?)
    }
}
