//! Metrics of what is in a list: how different its items are from each other and from the user's
//! history, and how surprising its hits.

mod calibration;
mod diversity;
mod history_distance;
mod serendipity;

pub use calibration::{Calibration, CalibrationOptions};
pub use diversity::{IldCategories, IldVectors};
pub use history_distance::HistoryDistance;
pub use serendipity::Serendipity;

use sidereal_core::{Error, MatrixRef, Result, Sequences};

/// Lengths 1 / |x| of the rows, 0 for rows of zeros. Fails on a value that is not finite.
fn inverse_lengths(name: &str, vectors: MatrixRef<'_>) -> Result<Vec<f64>> {
    if let Some(row) = vectors.first_not_finite() {
        return Err(Error::mismatch(format!("`{name}`: vectors are not finite in row {row}")));
    }
    let length = |row: &[f32]| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    Ok((0..vectors.rows())
        .map(|i| match length(vectors.row(i)) {
            0.0 => 0.0,
            length => 1.0 / length,
        })
        .collect())
}

/// Whether histories hold items of the catalogue only.
fn inside(name: &str, histories: &Sequences, n_items: usize) -> Result<()> {
    match histories.all_items().iter().find(|i| i.index() >= n_items) {
        Some(item) => Err(Error::mismatch(format!(
            "`{name}`: a history holds item {}, outside the catalogue of {n_items} items",
            item.0
        ))),
        None => Ok(()),
    }
}
