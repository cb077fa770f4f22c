//! Activations in place, and their backward passes.

simd! {
    /// `x = max(x, 0)`.
    pub fn relu(x: &mut [f32]) {
        for v in x.iter_mut() {
            *v = if *v > 0.0 { *v } else { 0.0 };
        }
    }
}

simd! {
    /// Gradient through `y = drop(relu(x))` from the output: kept values pass `scale` times.
    pub fn relu_backward(y: &[f32], scale: f32, dy: &mut [f32]) {
        for (g, y) in dy.iter_mut().zip(y) {
            *g = if *y > 0.0 { *g * scale } else { 0.0 };
        }
    }
}
