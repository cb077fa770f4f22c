//! Register tiles: `C[m x n] (+)= A[m x k] B[k x n]` for a few rows and a few vectors of columns.
//!
//! All sums of a tile stay in registers. Values of A are broadcast from wherever they lie, B comes
//! packed: `k` rows of `V` vectors. One multiply-add a lane and clock needs more loads than the
//! processor has only when V is 1.

use super::Write;

/// A tile's operands. The pointers are good for what [`Tile`] documents.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    /// Number of products a sum.
    pub k: usize,
    /// `A[i, p]` at `a + i * rs + p * cs`.
    pub a: *const f32,
    pub rs: usize,
    pub cs: usize,
    /// `B[p, j]` at `b + p * V * lanes + j`.
    pub b: *const f32,
    /// `C[i, j]` at `c + i * ldc + j`.
    pub c: *mut f32,
    pub ldc: usize,
    /// Columns of C, at most `V * lanes`.
    pub cols: usize,
    pub write: Write,
}

/// A function that computes a tile of a fixed shape.
///
/// # Safety
/// The processor must have the instructions. With `M` rows and `V` vectors, the caller vouches for
/// reads of `A[..M, ..k]` and of `k * V * lanes` values of B, and for reads and writes of
/// `C[..M, ..cols]`, which overlaps neither.
pub(super) type Tile = unsafe fn(Operands);

macro_rules! tiles {
    ($module:ident, $features:literal, $vector:ty, lanes $lanes:literal,
     zero $zero:ident, load $load:ident, store $store:ident, set $set:ident,
     add $add:ident, fma $fma:ident, rows [$($row:literal)*], table $table:ident) => {
        pub(super) mod $module {
            use super::{Operands, Tile, Write};
            use std::arch::x86_64::*;

            /// Values of a vector.
            pub const LANES: usize = $lanes;

            /// # Safety
            /// See [`Tile`].
            #[target_feature(enable = $features)]
            unsafe fn tile<const M: usize, const V: usize>(o: Operands) {
                // SAFETY: all accesses are those that `Tile` lists, vouched for by the caller.
                unsafe {
                    let mut sums: [[$vector; V]; M] = [[$zero(); V]; M];
                    let (mut a, mut b) = (o.a, o.b);
                    for _ in 0..o.k {
                        let mut row = [$zero(); V];
                        for (v, x) in row.iter_mut().enumerate() {
                            *x = $load(b.add(v * LANES));
                        }
                        for (i, sums) in sums.iter_mut().enumerate() {
                            let x = $set(*a.add(i * o.rs));
                            for (s, y) in sums.iter_mut().zip(&row) {
                                *s = $fma(x, *y, *s);
                            }
                        }
                        a = a.add(o.cs);
                        b = b.add(V * LANES);
                    }
                    if o.cols == V * LANES {
                        for (i, sums) in sums.iter().enumerate() {
                            for (v, s) in sums.iter().enumerate() {
                                let c = o.c.add(i * o.ldc + v * LANES);
                                let s = if o.write == Write::Add { $add($load(c), *s) } else { *s };
                                $store(c, s);
                            }
                        }
                        return;
                    }
                    // The last columns: through memory, because fewer than a vector are ours.
                    for (i, sums) in sums.iter().enumerate() {
                        let mut all = [[0f32; LANES]; V];
                        for (out, s) in all.iter_mut().zip(sums) {
                            $store(out.as_mut_ptr(), *s);
                        }
                        for (j, s) in all.as_flattened()[..o.cols].iter().enumerate() {
                            let c = o.c.add(i * o.ldc + j);
                            *c = if o.write == Write::Add { *c + *s } else { *s };
                        }
                    }
                }
            }

            /// Tiles by rows less one, then by vectors less one.
            pub static TILES: &[&[Tile]] = $table!(tile, $($row)*);
        }
    };
}

macro_rules! three_vectors {
    ($tile:ident, $($row:literal)*) => {
        &[$(&[$tile::<$row, 1>, $tile::<$row, 2>, $tile::<$row, 3>]),*]
    };
}

macro_rules! two_vectors {
    ($tile:ident, $($row:literal)*) => { &[$(&[$tile::<$row, 1>, $tile::<$row, 2>]),*] };
}

// 8 x 48 keeps 24 sums, 3 vectors of B and a broadcast in the 32 registers of AVX-512; 8 rows of A
// that lie a power of two apart still fit the ways of a first-level cache.
tiles!(v4, "avx512f", __m512, lanes 16, zero _mm512_setzero_ps, load _mm512_loadu_ps,
       store _mm512_storeu_ps, set _mm512_set1_ps, add _mm512_add_ps, fma _mm512_fmadd_ps,
       rows [1 2 3 4 5 6 7 8], table three_vectors);

// 6 x 16 keeps 12 sums, 2 vectors of B and a broadcast in 16 registers.
tiles!(v3, "avx2,fma", __m256, lanes 8, zero _mm256_setzero_ps, load _mm256_loadu_ps,
       store _mm256_storeu_ps, set _mm256_set1_ps, add _mm256_add_ps, fma _mm256_fmadd_ps,
       rows [1 2 3 4 5 6], table two_vectors);
