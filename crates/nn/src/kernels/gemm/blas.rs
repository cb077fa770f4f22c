//! Products through a C library that the user has, with the feature `mkl` or `openblas`: `cblas_sgemm`
//! of `libmkl_rt` or `libopenblas`, which the linker must find. On one thread, like our own.

use super::{Mat, Product, Write};
use std::ffi::{c_float, c_int};

const ROW_MAJOR: c_int = 101;
const PLAIN: c_int = 111;
const TRANSPOSED: c_int = 112;

#[cfg_attr(feature = "mkl", link(name = "mkl_rt"))]
#[cfg_attr(not(feature = "mkl"), link(name = "openblas"))]
unsafe extern "C" {
    fn cblas_sgemm(
        order: c_int,
        trans_a: c_int,
        trans_b: c_int,
        m: c_int,
        n: c_int,
        k: c_int,
        alpha: c_float,
        a: *const c_float,
        lda: c_int,
        b: *const c_float,
        ldb: c_int,
        beta: c_float,
        c: *mut c_float,
        ldc: c_int,
    );
    #[cfg(feature = "mkl")]
    #[link_name = "MKL_Set_Num_Threads"]
    fn set_threads(n: c_int);
    #[cfg(not(feature = "mkl"))]
    #[link_name = "openblas_set_num_threads"]
    fn set_threads(n: c_int);
}

/// How the library names a matrix of `cols` columns: transposition and leading dimension.
fn layout(a: &Mat<'_>, rows: usize, cols: usize) -> Option<(c_int, c_int)> {
    let (form, ld, least) = match (a.rs, a.cs) {
        (rs, 1) if rs >= cols.max(1) => (PLAIN, rs, cols),
        (1, cs) => (TRANSPOSED, cs, rows),
        _ => return None,
    };
    (ld >= least.max(1)).then_some(())?;
    Some((form, c_int::try_from(ld).ok()?))
}

/// Runs the product, or gives `false` when the library cannot name the operands.
pub(super) fn run(product: &Product<'_>, c: &mut [f32]) -> bool {
    let Product { m, n, k, a, b, ldc, write } = *product;
    static ONE_THREAD: std::sync::Once = std::sync::Once::new();
    // SAFETY: the function takes a number and returns nothing.
    ONE_THREAD.call_once(|| unsafe { set_threads(1) });
    let (Some((trans_a, lda)), Some((trans_b, ldb))) = (layout(&a, m, k), layout(&b, k, n)) else {
        return false;
    };
    let sizes = [m, n, k, ldc].map(|x| c_int::try_from(x).unwrap_or(0));
    if sizes.contains(&0) {
        return false;
    }
    let [m, n, k, ldc] = sizes;
    let beta = if write == Write::Add { 1.0 } else { 0.0 };
    // SAFETY: every element of the operands lies in its slice, as `Product` says; `c` is
    // borrowed mutably and overlaps neither.
    unsafe {
        cblas_sgemm(
            ROW_MAJOR,
            trans_a,
            trans_b,
            m,
            n,
            k,
            1.0,
            a.data.as_ptr(),
            lda,
            b.data.as_ptr(),
            ldb,
            beta,
            c.as_mut_ptr(),
            ldc,
        );
    }
    true
}
