//! The logistic function and its integral, in numbers that do not overflow.

/// `ln(1 + e^x)`.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `1 / (1 + e^-x)`.
pub(crate) fn logistic(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_slopes() {
        assert_eq!((softplus(0.0), logistic(0.0)), (2f64.ln(), 0.5));
        assert_eq!((softplus(800.0), logistic(-800.0)), (800.0, 0.0));
        for x in [-30.0, -2.0, 0.1, 5.0] {
            let slope = (softplus(x + 1e-5) - softplus(x - 1e-5)) / 2e-5;
            assert!((slope - logistic(x)).abs() < 1e-9);
        }
    }
}
