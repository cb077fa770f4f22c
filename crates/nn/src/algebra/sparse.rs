//! A sparse matrix in compressed rows, and its product with a dense one.

use super::dense::Dense;
use crate::kernels::sparse::{SparseRows, sparse_rows};
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

/// One pair of rows of a symmetric matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Row and column.
    pub a: u32,
    /// Column and row.
    pub b: u32,
    /// The value at both places.
    pub value: f32,
}

impl Csr {
    /// The symmetric `n x n` matrix that is the sum of all pairs, in their order; repeated places
    /// are stored as often as they occur, and a pair of a row with itself twice. All rows are below
    /// `n`.
    pub fn symmetric(n: usize, pairs: &[Pair]) -> Csr {
        let mut offsets = vec![0usize; n + 1];
        for p in pairs {
            offsets[p.a as usize + 1] += 1;
            offsets[p.b as usize + 1] += 1;
        }
        for i in 0..n {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets.clone();
        let (mut columns, mut values) = (vec![0u32; 2 * pairs.len()], vec![0f32; 2 * pairs.len()]);
        for p in pairs {
            for (row, column) in [(p.a, p.b), (p.b, p.a)] {
                let slot = &mut next[row as usize];
                columns[*slot] = column;
                values[*slot] = p.value;
                *slot += 1;
            }
        }
        Csr { cols: n, offsets, columns, values }
    }

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

    /// Stored values of all rows.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The same, writable.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Columns of all stored values.
    pub fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// Start of every row among the stored values, and the end of the last.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Number of values of row `i`.
    pub fn row_len(&self, i: usize) -> usize {
        self.offsets[i + 1] - self.offsets[i]
    }

    /// `out = scale (base + self x)` in f32, for `x` of shape `cols x width` and `out` and `base`
    /// of shape `rows x width`; an empty `base` is zero. On the current pool; a row is summed in
    /// its own order, so threads change no bit.
    ///
    /// # Panics
    /// When the slices do not have these shapes: a mistake of the caller.
    pub fn times_f32(&self, x: &[f32], width: usize, base: &[f32], scale: f32, out: &mut [f32]) {
        assert!(x.len() == self.cols * width && out.len() == self.rows() * width);
        assert!(base.is_empty() || base.len() == out.len());
        out.par_chunks_mut((ROWS * width).max(1)).enumerate().for_each(|(chunk, out)| {
            let first = chunk * ROWS;
            let rows = out.len() / width;
            let a = SparseRows {
                offsets: &self.offsets[first..=first + rows],
                columns: &self.columns,
                values: &self.values,
            };
            let base = if base.is_empty() { base } else { &base[first * width..][..out.len()] };
            sparse_rows(a, x, width, base, scale, out);
        });
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

    #[test]
    fn pairs_stand_on_both_sides() {
        let pair = |a, b, value| Pair { a, b, value };
        let a = Csr::symmetric(3, &[pair(0, 2, 2.0), pair(2, 1, 3.0), pair(0, 2, -1.0)]);
        assert_eq!(a.row(0), (&[2, 2][..], &[2.0, -1.0][..]));
        assert_eq!(a.row(1), (&[2][..], &[3.0][..]));
        assert_eq!(a.row(2), (&[0, 1, 0][..], &[2.0, 3.0, -1.0][..]));
        assert_eq!(Csr::symmetric(0, &[]).rows(), 0);
    }

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
            // Whole numbers: f32 is exact too.
            let narrow: Vec<f32> = x.data().iter().map(|&v| v as f32).collect();
            let mut z = vec![f32::NAN; rows * l];
            a.times_f32(&narrow, l, &[], 1.0, &mut z);
            prop_assert!(z.iter().zip(y.data()).all(|(z, y)| f64::from(*z) == *y));
            prop_assert_eq!(a.transpose().transpose(), a);
        }
    }
}
