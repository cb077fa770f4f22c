//! What encoders of interactions share: the sparse matrix of users and items, its co-occurrence
//! graph, and vectors of both sides.
//!
//! All of them see the training histories alone ([`EncoderInput::train`]); a user's repeats of an
//! item are one entry whose value counts them.

mod bpr;
mod factors;
mod graph;
mod logistic;
mod triples;

pub use bpr::bpr;
pub use factors::Factors;
pub use graph::CoOccurrence;
pub(crate) use logistic::{logistic, softplus};
pub use triples::{Sampler, Triple};

use crate::rows::items_have;
use sidereal_core::{EncoderInput, Error, Event, Result, Run};
use sidereal_nn::algebra::sparse::Csr;

/// How often each of U users met each of N items: shape `U x N`, columns of a row ascending.
///
/// Errors: no item, no interaction, or an item outside the catalogue.
pub fn user_items(input: &EncoderInput<'_>) -> Result<Csr> {
    let n = input.items.len();
    if n == 0 {
        return Err(Error::input("the catalogue has no item to encode"));
    }
    if input.train.all_items().is_empty() {
        return Err(Error::input(
            "there is no training interaction to learn from; use an encoder of texts or files",
        ));
    }
    if let Some(bad) = input.train.all_items().iter().find(|i| i.index() >= n) {
        let id = bad.0;
        return Err(Error::mismatch(format!("a history holds item {id} of {n} items")));
    }
    let mut offsets = Vec::with_capacity(input.train.len() + 1);
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    let mut row = Vec::new();
    offsets.push(0);
    for (_, items) in input.train.iter() {
        row.clear();
        row.extend(items.iter().map(|i| i.0));
        row.sort_unstable();
        for run in row.chunk_by(|a, b| a == b) {
            columns.push(run[0]);
            values.push(run.len() as f32);
        }
        offsets.push(columns.len());
    }
    Ok(Csr::from_parts(n, offsets, columns, values))
}

/// `1 / sqrt(degree)` of every row, 0 where a row is empty.
pub(crate) fn inverse_roots(a: &Csr) -> Vec<f64> {
    let root = |i| {
        let degree = a.row_len(i);
        if degree == 0 { 0.0 } else { 1.0 / (degree as f64).sqrt() }
    };
    (0..a.rows()).map(root).collect()
}

/// Warns of items that nobody met in training: `fate` says what their vectors are.
pub(crate) fn warn_of_cold(who: &str, items_users: &Csr, fate: &str, run: &Run<'_>) {
    let cold = (0..items_users.rows()).filter(|&i| items_users.row_len(i) == 0).count();
    if cold > 0 {
        let have = items_have(cold);
        run.emit(Event::Warning(&format!("{who}: {have} no training interaction; {fate}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::{ItemId, ItemTable, Sequences};

    #[test]
    fn repeats_are_counted_and_strangers_refused() {
        let items = ItemTable::new(["a", "b", "c"].iter().collect());
        let mut train = Sequences::default();
        train.push(&[ItemId(2), ItemId(0), ItemId(2)]);
        train.push(&[]);
        let a = user_items(&EncoderInput { items: &items, train: &train }).unwrap();
        assert_eq!((a.rows(), a.cols()), (2, 3));
        assert_eq!(a.row(0), (&[0, 2][..], &[1.0, 2.0][..]));
        assert_eq!(inverse_roots(&a), [1.0 / 2f64.sqrt(), 0.0]);
        train.push(&[ItemId(3)]);
        let message = |items: &ItemTable, train: &Sequences| {
            user_items(&EncoderInput { items, train }).unwrap_err().to_string()
        };
        assert!(message(&items, &train).contains("item 3 of 3"));
        assert!(message(&items, &Sequences::default()).contains("no training interaction"));
        assert!(message(&ItemTable::default(), &train).contains("no item"));
    }
}
