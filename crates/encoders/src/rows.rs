//! Checks and normalisation of rows of vectors.

use sidereal_core::{Error, ItemId, ItemTable, Matrix, Result};

/// Scales a row to length 1; a row of zeros stays as it is.
pub(crate) fn normalize(row: &mut [f32]) {
    let norm = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    if norm > 0.0 {
        for v in row {
            *v = (f64::from(*v) / norm) as f32;
        }
    }
}

/// Scales every row to length 1.
pub(crate) fn normalize_all(matrix: &mut Matrix) {
    for i in 0..matrix.rows() {
        normalize(matrix.row_mut(i));
    }
}

/// Refuses NaN and infinite values; the error names row and item.
pub(crate) fn check_finite(what: &str, matrix: &Matrix, items: &ItemTable) -> Result<()> {
    match matrix.view().first_not_finite() {
        None => Ok(()),
        Some(row) => Err(Error::NotFinite {
            what: format!("{what}, row {row} (item `{}`)", items.id(ItemId(row as u32))),
            step: None,
            help: "every value must be a number within the range of f32".into(),
        }),
    }
}

/// `1 item has`, `2 items have`.
pub(crate) fn items_have(n: usize) -> String {
    if n == 1 { "1 item has".into() } else { format!("{n} items have") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_get_length_one_and_zeros_stay() {
        let mut m = Matrix::new(2, 2, vec![3.0, 4.0, 0.0, 0.0]).unwrap();
        normalize_all(&mut m);
        assert_eq!(m.data(), [0.6, 0.8, 0.0, 0.0]);
    }
}
