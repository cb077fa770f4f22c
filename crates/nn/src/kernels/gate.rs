//! Gated linear units (Shazeer, arXiv 2002.05202): `y = drop(f(a) * b)` for rows `[a, b]`.

use super::activation::Activation;
use super::dropout::{Dropout, Keep};

/// Sets `out` (`rows x width`) from `halves` (`rows x 2 width`): `drop(f(a) * b)`.
pub fn forward(
    f: Activation,
    halves: &[f32],
    width: usize,
    dropout: Dropout,
    site: u32,
    out: &mut [f32],
) {
    assert_eq!(halves.len(), 2 * out.len(), "two halves a value");
    let keep = dropout.keeper(site, 0);
    let rows = halves.chunks_exact(2 * width.max(1)).zip(out.chunks_exact_mut(width.max(1)));
    for (r, (row, out)) in rows.enumerate() {
        let (a, b) = row.split_at(width);
        out.copy_from_slice(a);
        f.forward(out);
        multiply(out, b);
        if let Some(keep) = keep {
            drop(out, keep, (r * width) as u32);
        }
    }
}

/// Sets the gradient of `halves` from that of the output in `dy`, which is overwritten.
pub fn backward(
    f: Activation,
    halves: &[f32],
    width: usize,
    dropout: Dropout,
    site: u32,
    dy: &mut [f32],
    d_halves: &mut [f32],
) {
    assert!(halves.len() == 2 * dy.len() && d_halves.len() == halves.len(), "two halves a value");
    let keep = dropout.keeper(site, 0);
    let w = width.max(1);
    let rows = halves.chunks_exact(2 * w).zip(dy.chunks_exact_mut(w));
    for (r, ((row, dy), d)) in rows.zip(d_halves.chunks_exact_mut(2 * w)).enumerate() {
        if let Some(keep) = keep {
            drop(dy, keep, (r * width) as u32);
        }
        let ((a, b), (da, db)) = (row.split_at(width), d.split_at_mut(width));
        // d b = dy f(a), and d a = dy b f'(a).
        db.copy_from_slice(a);
        f.forward(db);
        multiply(db, dy);
        da.copy_from_slice(dy);
        multiply(da, b);
        f.backward(a, da);
    }
}

simd! {
    fn multiply(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x *= *y;
        }
    }
}

simd! {
    fn drop(x: &mut [f32], keep: Keep, first: u32) {
        for (i, x) in x.iter_mut().enumerate() {
            *x *= keep.at(first.wrapping_add(i as u32));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pass;

    #[test]
    fn by_hand_with_relu() {
        let halves = [2.0, -1.0, 3.0, 5.0];
        let mut y = [9.0; 2];
        forward(Activation::Relu, &halves, 2, Dropout::none(), 0, &mut y);
        assert_eq!(y, [6.0, 0.0]);
        let (mut dy, mut d) = ([1.0, 10.0], [9.0; 4]);
        backward(Activation::Relu, &halves, 2, Dropout::none(), 0, &mut dy, &mut d);
        // The second a is negative: nothing passes to it, nor through it to b.
        assert_eq!(d, [3.0, 0.0, 2.0, 0.0]);
    }

    #[test]
    fn dropped_values_pass_nothing_back() {
        let (rows, width) = (3, 37);
        let dropout = Dropout::new(0.4, Pass::Train { key: 5 });
        let halves: Vec<f32> = (0..2 * rows * width).map(|i| 0.5 + (i % 7) as f32).collect();
        let mut y = vec![0.0; rows * width];
        forward(Activation::Silu, &halves, width, dropout, 3, &mut y);
        let (mut dy, mut d) = (vec![1.0; rows * width], vec![0.0; halves.len()]);
        backward(Activation::Silu, &halves, width, dropout, 3, &mut dy, &mut d);
        for (i, y) in y.iter().enumerate() {
            assert_eq!(*y == 0.0, dropout.keep(3, i as u32) == 0.0);
            let (r, c) = (i / width, i % width);
            assert_eq!(*y == 0.0, d[2 * r * width + width + c] == 0.0);
            assert_eq!(*y == 0.0, d[2 * r * width + c] == 0.0);
        }
    }
}
