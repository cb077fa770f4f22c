//! Matrix products on strided views, on the calling thread.
//!
//! With AVX-512 or AVX2 the products are our own, made for training on micro-batches: few hundred
//! rows against weights of a hundred to a thousand columns. B is packed into panels that the
//! first-level cache holds, A is read where it lies unless its columns are contiguous, and nothing
//! is allocated once a thread's buffer has grown. Against the `gemm` crate, which packs both sides
//! for every product, that is worth a tenth of a training step. Elsewhere the `gemm` crate works.
//! What is multiplied often is packed once ([`pack`], [`gemm_packed`]), with the same result.
//! With the feature `mkl` or `openblas` a C library that the user has takes over.

#[cfg(all(any(feature = "mkl", feature = "openblas"), not(miri)))]
mod blas;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod blocked;
mod packed;

pub use packed::{Packed, gemm_packed, pack, packed_len};

use super::{Isa, isa};

/// A read-only matrix: element `(i, j)` is `data[i * rs + j * cs]`.
#[derive(Debug, Clone, Copy)]
pub struct Mat<'a> {
    /// Values.
    pub data: &'a [f32],
    /// Distance between rows.
    pub rs: usize,
    /// Distance between columns.
    pub cs: usize,
}

impl<'a> Mat<'a> {
    /// Row-major with `ld` values from row to row.
    pub fn rows(data: &'a [f32], ld: usize) -> Self {
        Mat { data, rs: ld, cs: 1 }
    }

    /// The transpose.
    pub fn t(self) -> Self {
        Mat { data: self.data, rs: self.cs, cs: self.rs }
    }

    fn holds(&self, rows: usize, cols: usize) -> bool {
        (rows - 1) * self.rs + (cols - 1) * self.cs < self.data.len()
    }
}

/// Whether a result replaces what is there or is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Replace.
    Set,
    /// Add.
    Add,
}

/// `C (+)= A B` with `A: m x k`, `B: k x n` and `C: m x n` row-major with `ldc` values from row to
/// row.
///
/// # Panics
/// When a matrix does not fit into its slice: a mistake of the caller.
pub fn gemm(
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    c: &mut [f32],
    ldc: usize,
    write: Write,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(ldc >= n && (m - 1) * ldc + n <= c.len(), "C does not fit");
    if k == 0 {
        if write == Write::Set {
            c.chunks_mut(ldc).take(m).for_each(|row| row[..n].fill(0.0));
        }
        return;
    }
    assert!(a.holds(m, k) && b.holds(k, n), "A or B does not fit");
    let product = Product { m, n, k, a, b, ldc, write };
    #[cfg(all(any(feature = "mkl", feature = "openblas"), not(miri)))]
    if blas::run(&product, c) {
        return;
    }
    product.run(isa(), c);
}

/// Checked operands: `m`, `n` and `k` are not 0, every element of A and B lies in its slice, and C
/// is long enough.
#[derive(Clone, Copy)]
struct Product<'a> {
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'a>,
    b: Mat<'a>,
    ldc: usize,
    write: Write,
}

impl Product<'_> {
    fn run(&self, isa: Isa, c: &mut [f32]) {
        match isa {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Isa::V4 => blocked::run(&blocked::V4, self, c),
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Isa::V3 => blocked::run(&blocked::V3, self, c),
            _ if cfg!(miri) => self.plain(c),
            _ => self.elsewhere(c),
        }
    }

    /// Through the `gemm` crate.
    fn elsewhere(&self, c: &mut [f32]) {
        let Product { a, b, .. } = self;
        // SAFETY: every element that the product reads or writes lies in its slice, and `c` is
        // borrowed mutably, so it overlaps neither `a` nor `b`.
        unsafe {
            gemm::gemm(
                self.m,
                self.n,
                self.k,
                c.as_mut_ptr(),
                1,
                self.ldc as isize,
                self.write == Write::Add,
                a.data.as_ptr(),
                a.cs as isize,
                a.rs as isize,
                b.data.as_ptr(),
                b.cs as isize,
                b.rs as isize,
                1f32,
                1f32,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }

    /// The definition, for interpreters that cannot run vector code, and for tests.
    fn plain(&self, c: &mut [f32]) {
        let Product { a, b, .. } = self;
        for i in 0..self.m {
            for j in 0..self.n {
                let terms =
                    (0..self.k).map(|l| a.data[i * a.rs + l * a.cs] * b.data[l * b.rs + j * b.cs]);
                let sum: f32 = terms.sum();
                let c = &mut c[i * self.ldc + j];
                *c = if self.write == Write::Set { sum } else { *c + sum };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Small whole numbers, so that every order of sums gives the same bits.
    fn value(i: usize) -> f32 {
        ((i * 31 + 7) % 13) as f32 - 6.0
    }

    /// The instruction sets of this processor.
    fn sets() -> Vec<Isa> {
        match isa() {
            Isa::V4 => vec![Isa::V4, Isa::V3, Isa::Plain],
            Isa::V3 => vec![Isa::V3, Isa::Plain],
            Isa::Plain => vec![Isa::Plain],
        }
    }

    fn check(m: usize, n: usize, k: usize, ta: bool, tb: bool, write: Write, pad: usize) {
        let (ac, bc) = (if ta { m } else { k } + pad, if tb { k } else { n } + pad);
        let a: Vec<f32> = (0..(m + k + 1) * ac).map(value).collect();
        let b: Vec<f32> = (0..(k + n + 1) * bc).map(|i| value(i + 5)).collect();
        let view = |d, ld, t| if t { Mat::rows(d, ld).t() } else { Mat::rows(d, ld) };
        let (a, b) = (view(&a, ac, ta), view(&b, bc, tb));
        let ldc = n + pad;
        let before: Vec<f32> = (0..m * ldc).map(|i| value(i + 2)).collect();
        let mut want = before.clone();
        let product = Product { m, n, k, a, b, ldc, write };
        if m * n * k > 0 {
            product.plain(&mut want);
        } else if write == Write::Set {
            want.chunks_mut(ldc.max(1)).for_each(|row| row[..n].fill(0.0));
        }
        let mut c = before.clone();
        gemm(m, n, k, a, b, &mut c, ldc, write);
        assert_eq!(c, want, "{m} x {n} x {k}");
        if m * n * k > 0 {
            for set in sets() {
                c.copy_from_slice(&before);
                product.run(set, &mut c);
                assert_eq!(c, want, "{set:?}: {m} x {n} x {k}");
            }
        }
    }

    proptest! {
        #[test]
        fn equals_the_definition(m in 0usize..20, n in 0usize..70, k in 0usize..40,
                                 ta: bool, tb: bool, add: bool, pad in 0usize..3) {
            check(m, n, k, ta, tb, if add { Write::Add } else { Write::Set }, pad);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too slow in an interpreter; the small shapes run there")]
    fn several_blocks_each_way() {
        for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
            check(331, 497, 389, ta, tb, Write::Add, 1);
        }
    }
}
