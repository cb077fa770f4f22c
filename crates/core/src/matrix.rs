//! Dense row-major f32 matrices: the one array type of the light crates.

use crate::{Error, Result};

/// Owned matrix of shape `rows x cols`, row-major.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    data: Vec<f32>,
}

/// Borrowed matrix of shape `rows x cols`, row-major.
#[derive(Debug, Clone, Copy)]
pub struct MatrixRef<'a> {
    rows: usize,
    cols: usize,
    data: &'a [f32],
}

impl Matrix {
    /// Takes `data` as `rows x cols`; the length must fit.
    pub fn new(rows: usize, cols: usize, data: Vec<f32>) -> Result<Self> {
        if rows.checked_mul(cols) != Some(data.len()) {
            return Err(Error::mismatch(format!(
                "a {rows} x {cols} matrix needs {} values, got {}",
                rows as u128 * cols as u128,
                data.len()
            )));
        }
        Ok(Matrix { rows, cols, data })
    }

    /// All zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Matrix { rows, cols, data: vec![0.0; rows * cols] }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// Row `i`, writable.
    pub fn row_mut(&mut self, i: usize) -> &mut [f32] {
        &mut self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// All values, row after row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All values, writable.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The buffer.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// Borrowed form.
    pub fn view(&self) -> MatrixRef<'_> {
        MatrixRef { rows: self.rows, cols: self.cols, data: &self.data }
    }
}

impl<'a> MatrixRef<'a> {
    /// Sees `data` as `rows x cols`; the length must fit.
    pub fn new(rows: usize, cols: usize, data: &'a [f32]) -> Result<Self> {
        if rows.checked_mul(cols) != Some(data.len()) {
            return Err(Error::mismatch(format!(
                "a {rows} x {cols} view needs {} values, got {}",
                rows as u128 * cols as u128,
                data.len()
            )));
        }
        Ok(MatrixRef { rows, cols, data })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// All values, row after row.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// The first row with a NaN or infinite value.
    pub fn first_not_finite(&self) -> Option<usize> {
        let bad = self.data.iter().position(|v| !v.is_finite())?;
        Some(bad / self.cols.max(1))
    }

    /// A copy that owns its values.
    pub fn to_owned(&self) -> Matrix {
        Matrix { rows: self.rows, cols: self.cols, data: self.data.to_vec() }
    }
}
