//! The dense product behind every distance, on the calling thread.
//!
//! Callers spread tiles of rows over threads; one product never does, so that its result cannot
//! depend on how many there are.

/// `out[i, k] = sum_d tile[i, d] * transposed[d, k]`: shapes `rows x dim`, `dim x width`,
/// `rows x width`, all row-major. Cost: `2 rows dim width` operations.
pub(crate) fn product(
    rows: usize,
    dim: usize,
    width: usize,
    tile: &[f32],
    transposed: &[f32],
    out: &mut [f32],
) {
    assert_eq!(tile.len(), rows * dim, "tile of the product");
    assert_eq!(transposed.len(), dim * width, "codebook of the product");
    assert_eq!(out.len(), rows * width, "scores of the product");
    // SAFETY: the three slices have exactly the sizes that the strides below address (asserted
    // above), `out` is borrowed mutably and so overlaps neither input, and nothing is read from
    // it (`read_dst` is false).
    unsafe {
        gemm::gemm(
            rows,
            width,
            dim,
            out.as_mut_ptr(),
            1,
            width as isize,
            false,
            tile.as_ptr(),
            1,
            dim as isize,
            transposed.as_ptr(),
            1,
            width as isize,
            0.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_sum_written_out() {
        for (rows, dim, width) in [(1, 1, 1), (2, 3, 4), (5, 7, 1), (1, 9, 33), (17, 40, 19)] {
            let a: Vec<f32> = (0..rows * dim).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
            let b: Vec<f32> = (0..dim * width).map(|i| ((i * 5) % 13) as f32 - 6.0).collect();
            let mut out = vec![f32::NAN; rows * width];
            product(rows, dim, width, &a, &b, &mut out);
            for i in 0..rows {
                for k in 0..width {
                    let want: f32 = (0..dim).map(|d| a[i * dim + d] * b[d * width + k]).sum();
                    assert_eq!(out[i * width + k], want, "{rows} {dim} {width}: {i} {k}");
                }
            }
        }
    }
}
