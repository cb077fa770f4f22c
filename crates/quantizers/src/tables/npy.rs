//! Tables as one matrix of whole numbers in NumPy's format: a row an item, a column a code, -1 where
//! an ID has ended.
//!
//! GRID keeps a column an item and a row a level (H x N, the digit that tells items apart last). A
//! matrix with as many columns as there are items, and another number of rows, is read so.

use super::Row;
use sidereal_core::{Error, Matrix, Result, SidTable, files};
use sidereal_nn::vector_file::npy;
use std::io::Write;
use std::path::Path;

/// Above it f32 does not hold every whole number.
const LARGEST: f32 = 16_777_216.0;

/// Keys (numbers of items) and codes of every item; without their number a row is an item.
pub(super) fn rows(path: &Path, items: Option<usize>) -> Result<Vec<Row>> {
    let matrix = npy::read(path)?;
    let items = items.unwrap_or(matrix.rows());
    let turned = matrix.cols() == items && matrix.rows() != items;
    let matrix = if turned { transposed(&matrix) } else { matrix };
    if matrix.rows() != items {
        let (rows, cols) = (matrix.rows(), matrix.cols());
        let message = format!("{rows} x {cols} codes for {items} items; expected a row an item");
        return Err(Error::data(path, message));
    }
    (0..items).map(|i| Ok((i.to_string(), codes(path, i, matrix.row(i))?))).collect()
}

fn codes(path: &Path, item: usize, row: &[f32]) -> Result<Vec<String>> {
    let end = row.iter().rposition(|&c| c != -1.0).map_or(0, |last| last + 1);
    let code = |&c: &f32| {
        if c.fract() == 0.0 && (0.0..=LARGEST).contains(&c) {
            return Ok((c as u32).to_string());
        }
        let message =
            format!("item {item} has the code {c}; expected whole numbers from 0 to 2^24");
        Err(Error::data(path, message))
    };
    row[..end].iter().map(code).collect()
}

fn transposed(matrix: &Matrix) -> Matrix {
    let mut out = Matrix::zeros(matrix.cols(), matrix.rows());
    for (r, row) in (0..matrix.rows()).map(|r| (r, matrix.row(r))) {
        row.iter().enumerate().for_each(|(c, v)| out.row_mut(c)[r] = *v);
    }
    out
}

/// Writes int32 codes, a row an item.
pub(super) fn write(path: &Path, table: &SidTable) -> Result<()> {
    super::one_id_each(table)?;
    let levels = table.max_len();
    files::write_atomic(path, |out| {
        out.write_all(&npy::header_bytes("<i4", table.n_rows(), levels))?;
        for r in 0..table.n_rows() {
            let sid = table.sid(r);
            for l in 0..levels {
                let code = sid.get(l).map_or(-1, |&c| c as i32);
                out.write_all(&code.to_le_bytes())?;
            }
        }
        Ok(())
    })
}
