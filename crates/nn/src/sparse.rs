//! A sparse matrix in compressed rows, and its product with a dense one.

use super::dense::Dense;
use rayon::prelude::*;

/// Rows of output computed as one piece of work.
const ROWS: usize = 32;

/// Sparse `rows x cols`: row `i` holds `values[j]` at column `columns[j]` for `j` in
/// `offsets[i]..offsets[i + 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Csr {
    cols: usize,
    offsets: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Csr {
    /// Takes the parts; `offsets` rise from 0 to the number of values and columns are below
    /// `cols`.
    pub fn from_parts(
        cols: usize,
        offsets: Vec<usize>,
        columns: Vec<u32>,
        values: Vec<f32>,
    ) -> Self {
        debug_assert_eq!(offsets.last(), Some(&values.len()));
        debug_assert!(columns.iter().all(|&c| (c as usize) < cols));
        Csr { cols, offsets, columns, values }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Number of stored values.
    pub fn nnz(&self) -> usize {
        self.values.len()
    }

    /// Columns and values of row `i`.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[i]..self.offsets[i + 1];
        (&self.columns[range.clone()], &self.values[range])
    }

    /// The transposed matrix, columns of each row ascending.
    pub fn transpose(&self) -> Csr {
        let mut offsets = vec![0usize; self.cols + 1];
        for &c in &self.columns {
            offsets[c as usize + 1] += 1;
        }
        for c in 0..self.cols {
            offsets[c + 1] += offsets[c];
        }
        let mut next = offsets.clone();
        let (mut columns, mut values) = (vec![0u32; self.nnz()], vec![0f32; self.nnz()]);
        for i in 0..self.rows() {
            let (cs, vs) = self.row(i);
            for (&c, &v) in cs.iter().zip(vs) {
                let slot = &mut next[c as usize];
                columns[*slot] = i as u32;
                values[*slot] = v;
                *slot += 1;
            }
        }
        Csr { cols: self.rows(), offsets, columns, values }
    }

    /// `self * x`: `rows x cols` times `cols x l`.
    pub fn times(&self, x: &Dense) -> Dense {
        let l = x.cols();
        let mut out = Dense::zeros(self.rows(), l);
        out.data_mut().par_chunks_mut(ROWS * l).enumerate().for_each(|(chunk, block)| {
            for (r, row) in block.chunks_exact_mut(l).enumerate() {
                let (cs, vs) = self.row(chunk * ROWS + r);
                for (&c, &v) in cs.iter().zip(vs) {
                    let v = f64::from(v);
                    for (o, x) in row.iter_mut().zip(x.row(c as usize)) {
                        *o += v * x;
                    }
                }
            }
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_agree_with_the_dense_definition(
            rows in 1usize..9, cols in 1usize..9, l in 1usize..4,
            cells in proptest::collection::vec(-3i8..4, 81)) {
            let at = |i: usize, j: usize| f32::from(cells[i * 9 + j].max(0));
            let (mut offsets, mut columns, mut values) = (vec![0], vec![], vec![]);
            for i in 0..rows {
                for j in 0..cols {
                    if at(i, j) != 0.0 {
                        columns.push(j as u32);
                        values.push(at(i, j));
                    }
                }
                offsets.push(values.len());
            }
            let a = Csr::from_parts(cols, offsets, columns, values);
            let mut x = Dense::zeros(cols, l);
            for (k, v) in x.data_mut().iter_mut().enumerate() {
                *v = k as f64 - 3.0;
            }
            let y = a.times(&x);
            for i in 0..rows {
                for k in 0..l {
                    let want: f64 = (0..cols).map(|j| f64::from(at(i, j)) * x.row(j)[k]).sum();
                    prop_assert_eq!(y.row(i)[k], want);
                }
            }
            prop_assert_eq!(a.transpose().transpose(), a);
        }
    }
}
