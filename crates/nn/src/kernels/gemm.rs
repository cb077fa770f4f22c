//! Matrix products on strided views, through the `gemm` crate on the calling thread.

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
    if cfg!(miri) {
        return plain(m, n, k, a, b, c, ldc, write);
    }
    // SAFETY: the assertions above keep every element that the product reads or writes inside its
    // slice, and `c` is borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            ldc as isize,
            write == Write::Add,
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

/// The definition, for interpreters that cannot run the vector code of the `gemm` crate.
fn plain(
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    c: &mut [f32],
    ldc: usize,
    write: Write,
) {
    for i in 0..m {
        for j in 0..n {
            let sum: f32 =
                (0..k).map(|l| a.data[i * a.rs + l * a.cs] * b.data[l * b.rs + j * b.cs]).sum();
            let c = &mut c[i * ldc + j];
            *c = if write == Write::Set { sum } else { *c + sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_definition(m in 0usize..9, n in 0usize..9, k in 0usize..9,
                                 ta: bool, tb: bool, add: bool, pad in 0usize..3) {
            let value = |i: usize| ((i * 31 + 7) % 13) as f32 - 6.0;
            let (ac, bc) = (if ta { m } else { k } + pad, if tb { k } else { n } + pad);
            let a: Vec<f32> = (0..(m + k + 1) * ac).map(value).collect();
            let b: Vec<f32> = (0..(k + n + 1) * bc).map(|i| value(i + 5)).collect();
            let view = |d, ld, t| if t { Mat::rows(d, ld).t() } else { Mat::rows(d, ld) };
            let (a, b) = (view(&a, ac, ta), view(&b, bc, tb));
            let ldc = n + pad;
            let mut c: Vec<f32> = (0..m * ldc).map(|i| value(i + 2)).collect();
            let before = c.clone();
            gemm(m, n, k, a, b, &mut c, ldc, if add { Write::Add } else { Write::Set });
            for i in 0..m {
                for j in 0..ldc {
                    let mut want = before[i * ldc + j];
                    if j < n {
                        if !add { want = 0.0; }
                        for l in 0..k {
                            want += a.data[i * a.rs + l * a.cs] * b.data[l * b.rs + j * b.cs];
                        }
                    }
                    prop_assert_eq!(c[i * ldc + j], want);
                }
            }
        }
    }
}
