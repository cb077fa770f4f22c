//! Exact sums of f64 values: the order of addition and the cuts between threads, blocks and shards
//! change no bit.
//!
//! A value is rounded once to a multiple of 2^-64, ties to even (values from 2^-12 up lie on that
//! grid already), and added as a 128-bit integer, so sums are associative. Values of 2^62 and above,
//! infinities, NaN and sums beyond 2^63 make the sum NaN. Cost: a few integer operations a value;
//! many sums side by side are cheaper ([`Lanes`]).

mod lanes;

pub(crate) use lanes::Lanes;

use serde::{Deserialize, Serialize};

/// Place of the unit: one is 2^64.
const FRACTION: i32 = 64;

/// A sum that can be merged with others in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sum {
    units: i128,
    broken: bool,
}

impl Sum {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.add_units(fixed(value));
    }

    /// Adds a value `times` times.
    pub fn add_times(&mut self, value: f64, times: u64) {
        self.add_units(fixed(value).and_then(|u| u.checked_mul(i128::from(times))));
    }

    /// Adds what another sum holds.
    pub fn merge(&mut self, other: &Sum) {
        self.add_units((!other.broken).then_some(other.units));
    }

    /// The sum, rounded once; NaN where a value was none or out of range.
    pub fn value(&self) -> f64 {
        if self.broken {
            return f64::NAN;
        }
        self.units as f64 * (-f64::from(FRACTION)).exp2()
    }

    fn add_units(&mut self, units: Option<i128>) {
        match units.and_then(|u| self.units.checked_add(u)) {
            Some(sum) => self.units = sum,
            None => self.broken = true,
        }
    }
}

/// `value` in units of 2^-64, ties to even; none for what does not fit.
fn fixed(value: f64) -> Option<i128> {
    let bits = value.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    let mantissa = (bits & ((1 << 52) - 1)) | 1 << 52;
    let shift = exponent - 1075 + FRACTION;
    let units = match shift {
        0..=73 => i128::from(mantissa) << shift,
        -53..=-1 => {
            let (whole, half) = (mantissa >> -shift, 1 << (-shift - 1));
            let rest = mantissa - (whole << -shift);
            i128::from(whole + u64::from(rest > half || rest == half && whole & 1 == 1))
        }
        i32::MIN..=-54 => 0,
        _ => return None,
    };
    Some(if value.is_sign_negative() { -units } else { units })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = Sum::default();
        values.iter().for_each(|&v| sum.add(v));
        sum.value()
    }

    #[test]
    fn by_hand() {
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[0.1]), 0.1);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[1e9, 0.5, -1e9]), 0.5);
        assert_eq!(sum(&[1e-300, -0.0]), 0.0);
        let mut weighted = Sum::default();
        weighted.add_times(0.25, 3);
        assert_eq!(weighted.value(), 0.75);
    }

    #[test]
    fn what_has_no_sum_says_so() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 4.7e18] {
            assert!(sum(&[1.0, bad]).is_nan(), "{bad}");
        }
        assert!(sum(&[4.6e18; 3]).is_nan());
        let mut a = Sum::default();
        let mut b = Sum::default();
        b.add(f64::NAN);
        a.merge(&b);
        assert!(a.value().is_nan());
    }

    proptest! {
        #[test]
        fn order_and_cuts_change_nothing(
            values in proptest::collection::vec(-1e6f64..1e6, 1..60), cut in 0usize..60, turn in 0usize..60
        ) {
            let cut = cut % values.len();
            let (mut a, mut b) = (Sum::default(), Sum::default());
            values[..cut].iter().for_each(|&v| a.add(v));
            values[cut..].iter().for_each(|&v| b.add(v));
            b.merge(&a);
            let mut turned = values.clone();
            turned.rotate_left(turn % values.len());
            prop_assert_eq!(sum(&values).to_bits(), b.value().to_bits());
            prop_assert_eq!(sum(&values).to_bits(), sum(&turned).to_bits());
            let plain: f64 = values.iter().sum();
            prop_assert!((sum(&values) - plain).abs() <= 1e-9 * (1.0 + plain.abs()));
        }

        #[test]
        fn one_value_comes_back(value in -1e15f64..1e15) {
            prop_assert!((sum(&[value]) - value).abs() <= (-65f64).exp2());
        }
    }
}
