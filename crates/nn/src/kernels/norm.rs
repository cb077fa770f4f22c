//! RMSNorm (Zhang and Sennrich, arXiv 1910.07467) and LayerNorm (Ba et al., arXiv 1607.06450) over
//! rows.

use super::gemm::Write;
use super::math::{dot_body, fold_add, sum_body};

simd! {
    /// `y = x / sqrt(mean(x^2) + eps) * weight` for each row; `inv` gets the factor of each row.
    pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32], inv: &mut [f32]) {
        assert!(y.len() == x.len() && inv.len() * weight.len() == x.len(), "one y a value, one inv a row");
        let d = weight.len();
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
        assert!(inv.len() * weight.len() == x.len() && dweight.len() == weight.len(), "one inv a row");
        let d = weight.len();
        if write == Write::Set {
            dx.fill(0.0);
        }
        let rows = x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)).zip(inv);
        for (((x, dy), dx), &r) in rows {
            // With g = dy * weight: dx = r g - x r^3 (g . x) / d.
            let mut lanes = [0f32; 16];
            let full = d / 16 * 16;
            for i in (0..full).step_by(16) {
                for l in 0..16 {
                    lanes[l] += dy[i + l] * weight[i + l] * x[i + l];
                }
            }
            let mut gx = fold_add(lanes);
            for i in full..d {
                gx += dy[i] * weight[i] * x[i];
            }
            let s = gx * r * r * r / d as f32;
            for i in 0..d {
                dx[i] += dy[i] * weight[i] * r - x[i] * s;
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
        assert!(y.len() == x.len() && stats.len() * weight.len() == 2 * x.len(), "one y a value, two stats a row");
        assert_eq!(bias.len(), weight.len(), "one bias a weight");
        let d = weight.len();
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
        assert!(stats.len() * weight.len() == 2 * x.len(), "two stats a row");
        assert!(dweight.len() == weight.len() && dbias.len() == weight.len(), "one gradient a weight");
        let d = weight.len();
        if write == Write::Set {
            dx.fill(0.0);
        }
        let rows = x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d));
        for (((x, dy), dx), stats) in rows.zip(stats.chunks_exact(2)) {
            let (mean, r) = (stats[0], stats[1]);
            // With g = dy * weight and n = (x - mean) r: dx = r (g - mean(g) - n mean(g n)).
            let mut lanes = [[0f32; 16]; 2];
            let full = d / 16 * 16;
            for i in (0..full).step_by(16) {
                for l in 0..16 {
                    let g = dy[i + l] * weight[i + l];
                    lanes[0][l] += g;
                    lanes[1][l] += g * (x[i + l] - mean) * r;
                }
            }
            let (mut g_sum, mut gx_sum) = (fold_add(lanes[0]), fold_add(lanes[1]));
            for i in full..d {
                let g = dy[i] * weight[i];
                g_sum += g;
                gx_sum += g * (x[i] - mean) * r;
            }
            let (a, b) = (g_sum / d as f32, gx_sum / d as f32);
            for i in 0..d {
                let n = (x[i] - mean) * r;
                dx[i] += r * (dy[i] * weight[i] - a - n * b);
                dweight[i] += dy[i] * n;
                dbias[i] += dy[i];
            }
        }
    }
}
