//! RMSNorm (Zhang and Sennrich, arXiv 1910.07467) and LayerNorm (Ba et al., arXiv 1607.06450) over
//! rows. Rows are as long as the weight, which must not be empty; slices that do not fit are a
//! mistake of the caller and panic.

use super::gemm::Write;
use super::math::{dot_body, dot3_body, sum_body};

simd! {
    /// `y = x / sqrt(mean(x^2) + eps) * weight` for each row; `inv` gets the factor of each row.
    pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32], inv: &mut [f32]) {
        let d = weight.len();
        assert!(y.len() == x.len() && inv.len() * d == x.len(), "one y a value, one inv a row");
        let rows = x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(inv.iter_mut());
        for ((x, y), inv) in rows {
            let r = 1.0 / (dot_body(x, x) / d as f32 + eps).sqrt();
            *inv = r;
            for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                *y = *x * r * *w;
            }
        }
    }
}

simd! {
    /// Gradients of [`rms_norm`]: sets or adds to `dx`, adds to `dweight`.
    pub fn rms_norm_backward(
        x: &[f32],
        weight: &[f32],
        inv: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        dweight: &mut [f32],
        write: Write,
    ) {
        assert!(dy.len() == x.len() && dx.len() == x.len(), "one gradient a value");
        let d = weight.len();
        assert!(inv.len() * d == x.len() && dweight.len() == d, "one inv a row");
        if write == Write::Set {
            dx.fill(0.0);
        }
        let rows = x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)).zip(inv);
        for (((x, dy), dx), &r) in rows {
            // With g = dy * weight: dx = r g - x r^3 (g . x) / d.
            let gx = dot3_body(dy, weight, x, 0.0);
            let s = gx * r * r * r / d as f32;
            for i in 0..d {
                dx[i] += dy[i] * weight[i] * r - x[i] * s;
            }
            for i in 0..d {
                dweight[i] += dy[i] * x[i] * r;
            }
        }
    }
}

simd! {
    /// `y = (x - mean) / sqrt(var + eps) * weight + bias` for each row; `stats` gets mean and
    /// factor of each row.
    pub fn layer_norm(
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        eps: f32,
        y: &mut [f32],
        stats: &mut [f32],
    ) {
        let d = weight.len();
        assert!(y.len() == x.len() && bias.len() == d, "one y a value, one bias a weight");
        assert_eq!(stats.len() * d, 2 * x.len(), "two stats a row");
        let rows = x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(stats.chunks_exact_mut(2));
        for ((x, y), stats) in rows {
            let mean = sum_body(x) / d as f32;
            for (y, x) in y.iter_mut().zip(x) {
                *y = *x - mean;
            }
            let r = 1.0 / (dot_body(y, y) / d as f32 + eps).sqrt();
            (stats[0], stats[1]) = (mean, r);
            for ((y, w), b) in y.iter_mut().zip(weight).zip(bias) {
                *y = *y * r * *w + *b;
            }
        }
    }
}

simd! {
    /// Gradients of [`layer_norm`]: sets or adds to `dx`, adds to `dweight` and `dbias`.
    pub fn layer_norm_backward(
        x: &[f32],
        weight: &[f32],
        stats: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        dweight: &mut [f32],
        dbias: &mut [f32],
        write: Write,
    ) {
        assert!(dy.len() == x.len() && dx.len() == x.len(), "one gradient a value");
        let d = weight.len();
        assert_eq!(stats.len() * d, 2 * x.len(), "two stats a row");
        assert!(dweight.len() == d && dbias.len() == d, "one gradient a weight");
        if write == Write::Set {
            dx.fill(0.0);
        }
        let rows = x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d));
        for (((x, dy), dx), stats) in rows.zip(stats.chunks_exact(2)) {
            let (mean, r) = (stats[0], stats[1]);
            // With g = dy * weight and n = (x - mean) r: dx = r (g - mean(g) - n mean(g n)).
            let g_sum = dot_body(dy, weight);
            let gx_sum = dot3_body(dy, weight, x, mean) * r;
            let (a, b) = (g_sum / d as f32, gx_sum / d as f32);
            for i in 0..d {
                dx[i] += r * (dy[i] * weight[i] - a - (x[i] - mean) * r * b);
            }
            for i in 0..d {
                dweight[i] += dy[i] * ((x[i] - mean) * r);
                dbias[i] += dy[i];
            }
        }
    }
}
