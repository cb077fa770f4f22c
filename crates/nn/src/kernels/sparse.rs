//! Rows of a sparse matrix times a dense one.
//!
//! A tile of an output row stays in registers while the rows that it sums are read, so memory
//! sees every output value once. Cost: `2 nnz width` operations.

/// Some rows of a sparse matrix: row `r` holds `values[j]` at column `columns[j]` for `j` in
/// `offsets[r]..offsets[r + 1]`.
#[derive(Debug, Clone, Copy)]
pub struct SparseRows<'a> {
    /// One offset more than rows; they count from the start of `columns`.
    pub offsets: &'a [usize],
    /// Columns of all stored values.
    pub columns: &'a [u32],
    /// The stored values.
    pub values: &'a [f32],
}

simd! {
    /// `out[r] = scale (base[r] + sum_j values[j] x[columns[j]])` for rows of `width` values; an
    /// empty `base` is zero.
    ///
    /// # Panics
    /// When the slices do not fit together: a mistake of the caller.
    pub fn sparse_rows(
        a: SparseRows<'_>,
        x: &[f32],
        width: usize,
        base: &[f32],
        scale: f32,
        out: &mut [f32],
    ) {
        assert!(base.is_empty() || base.len() == out.len(), "one base a value");
        assert_eq!(out.len(), (a.offsets.len() - 1) * width, "one output row a row");
        if base.is_empty() {
            out.fill(0.0);
        } else {
            out.copy_from_slice(base);
        }
        for (row, ends) in out.chunks_exact_mut(width.max(1)).zip(a.offsets.windows(2)) {
            let (columns, values) = (&a.columns[ends[0]..ends[1]], &a.values[ends[0]..ends[1]]);
            let mut at = 0;
            while at + 64 <= width {
                tile::<64>(columns, values, &x[at..], width, scale, &mut row[at..]);
                at += 64;
            }
            while at + 16 <= width {
                tile::<16>(columns, values, &x[at..], width, scale, &mut row[at..]);
                at += 16;
            }
            while at < width {
                tile::<1>(columns, values, &x[at..], width, scale, &mut row[at..]);
                at += 1;
            }
        }
    }
}

#[inline(always)]
fn tile<const W: usize>(
    columns: &[u32],
    values: &[f32],
    x: &[f32],
    width: usize,
    scale: f32,
    out: &mut [f32],
) {
    let mut sum = [0f32; W];
    sum.copy_from_slice(&out[..W]);
    for (&c, &v) in columns.iter().zip(values) {
        let x = &x[c as usize * width..][..W];
        for i in 0..W {
            sum[i] += v * x[i];
        }
    }
    for i in 0..W {
        out[i] = sum[i] * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_against_the_definition() {
        // Three rows over four columns; whole numbers, so sums are exact.
        let (offsets, columns) = ([0usize, 2, 2, 5], [1u32, 3, 0, 1, 2]);
        let values = [2f32, -1.0, 3.0, 1.0, 4.0];
        let a = SparseRows { offsets: &offsets, columns: &columns, values: &values };
        for width in (0..36).chain([64, 65, 95, 130]) {
            let x: Vec<f32> = (0..4 * width).map(|i| ((i * 7) % 13) as f32 - 6.0).collect();
            let base: Vec<f32> = (0..3 * width).map(|i| (i % 5) as f32).collect();
            for base in [&base[..], &[]] {
                let mut out = vec![f32::NAN; 3 * width];
                sparse_rows(a, &x, width, base, 0.5, &mut out);
                for r in 0..3 {
                    for i in 0..width {
                        let from = base.get(r * width + i).copied().unwrap_or(0.0);
                        let sum = (offsets[r]..offsets[r + 1])
                            .map(|j| values[j] * x[columns[j] as usize * width + i])
                            .sum::<f32>();
                        assert_eq!(out[r * width + i], 0.5 * (from + sum));
                    }
                }
            }
        }
    }
}
