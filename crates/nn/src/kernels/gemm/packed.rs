//! Products whose right side is packed once and used many times: weights of a model that decodes,
//! keys and values of a prompt. The result is that of [`gemm`](super::gemm()), bit for bit.
//!
//! Where the products are not our own (other processors, a C library), "packed" is a plain copy.

use super::{Mat, Write, gemm};

/// A packed `k x n` matrix.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    /// Rows: products of a sum.
    pub k: usize,
    /// Columns.
    pub n: usize,
    /// What [`pack`] wrote.
    pub data: &'a [f32],
}

/// The tiles of this processor, if the products are our own.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn tiles() -> Option<&'static super::blocked::Tiles> {
    use super::{Isa, blocked, isa};
    match isa() {
        _ if cfg!(any(feature = "mkl", feature = "openblas")) => None,
        Isa::V4 => Some(&blocked::V4),
        Isa::V3 => Some(&blocked::V3),
        Isa::Plain => None,
    }
}

/// Values that [`pack`] writes for a `k x n` matrix.
pub fn packed_len(k: usize, n: usize) -> usize {
    if k == 0 || n == 0 {
        return 0;
    }
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if let Some(set) = tiles() {
        return super::blocked::packed_len(set, k, n);
    }
    k * n
}

/// Packs a `k x n` matrix into `out`, which holds [`packed_len`] values.
///
/// # Panics
/// When the matrix does not fit into its slice or `out` has another length: a mistake of the caller.
pub fn pack(k: usize, n: usize, b: Mat<'_>, out: &mut [f32]) {
    assert_eq!(out.len(), packed_len(k, n), "a packed matrix has the length of `packed_len`");
    if k == 0 || n == 0 {
        return;
    }
    assert!(b.holds(k, n), "B does not fit");
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if let Some(set) = tiles() {
        return super::blocked::pack(set, k, n, b, out);
    }
    for (i, row) in out.chunks_exact_mut(n).enumerate() {
        for (j, x) in row.iter_mut().enumerate() {
            *x = b.data[i * b.rs + j * b.cs];
        }
    }
}

/// `C (+)= A B` with `A: m x k`, and `C: m x n` row-major with `ldc` values from row to row.
///
/// # Panics
/// When a matrix does not fit into its slice: a mistake of the caller.
pub fn gemm_packed(m: usize, a: Mat<'_>, b: Packed<'_>, c: &mut [f32], ldc: usize, write: Write) {
    let Packed { k, n, data } = b;
    assert_eq!(data.len(), packed_len(k, n), "a packed matrix has the length of `packed_len`");
    let rows = Mat::rows(data, n);
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if let Some(set) = tiles().filter(|_| m * n * k > 0) {
        assert!(ldc >= n && (m - 1) * ldc + n <= c.len(), "C does not fit");
        assert!(a.holds(m, k), "A does not fit");
        let product = super::Product { m, n, k, a, b: rows, ldc, write };
        return super::blocked::run_packed(set, &product, data, c);
    }
    gemm(m, n, k, a, rows, c, ldc, write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(m: usize, n: usize, k: usize, turned: bool, write: Write, pad: usize) {
        let value = |i: usize| ((i * 37 + 11) % 101) as f32 * 0.013 - 0.6;
        let a: Vec<f32> = (0..(m + 1) * (k + pad)).map(value).collect();
        let b: Vec<f32> = (0..(k + n + 1) * (k.max(n) + pad)).map(|i| value(i + 5)).collect();
        let a = Mat::rows(&a, k + pad);
        let b = if turned { Mat::rows(&b, k + pad).t() } else { Mat::rows(&b, n + pad) };
        let mut want: Vec<f32> = (0..m * (n + pad)).map(|i| value(i + 3)).collect();
        let mut got = want.clone();
        gemm(m, n, k, a, b, &mut want, n + pad, write);
        let mut data = vec![f32::NAN; packed_len(k, n)];
        pack(k, n, b, &mut data);
        gemm_packed(m, a, Packed { k, n, data: &data }, &mut got, n + pad, write);
        assert_eq!(got, want, "{m} x {n} x {k}");
    }

    proptest! {
        #[test]
        fn equals_the_unpacked_product(m in 0usize..20, n in 0usize..70, k in 0usize..40,
                                       turned: bool, add: bool, pad in 0usize..3) {
            check(m, n, k, turned, if add { Write::Add } else { Write::Set }, pad);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too slow in an interpreter; the small shapes run there")]
    fn several_blocks_each_way() {
        for turned in [false, true] {
            check(331, 1026, 389, turned, Write::Add, 1);
            check(25, 497, 1024, turned, Write::Set, 0);
        }
    }
}
