//! Many exact sums side by side, for values that are small, as nearly all of a metric are.
//!
//! A value is cut into a multiple of 2^-32 and a rest, each rounded by adding and taking away a
//! constant whose last bit has that worth; both parts go into 64-bit integers. The loop has no
//! branch and no 128-bit arithmetic, so it compiles to vector code. Bit for bit what [`Sum`] adds.

use super::Sum;

/// Largest absolute value that is added here.
const LIMIT: f64 = 2.0;
/// Additions before 64-bit integers could overflow: each adds at most 2^33.
const ROOM: u32 = 1 << 29;
/// 1.5 * 2^20, whose last bit is worth 2^-32.
const HIGH: f64 = 1_572_864.0;
/// 1.5 * 2^-12, whose last bit is worth 2^-64.
const LOW: f64 = 1.5 / 4096.0;

/// As many sums as there are columns.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// In units of 2^-32.
    high: Vec<i64>,
    /// In units of 2^-64.
    low: Vec<i64>,
    used: u32,
    /// What did not fit, and what was moved on to make room.
    sums: Vec<Sum>,
}

impl Lanes {
    pub(crate) fn new(columns: usize) -> Self {
        Lanes {
            high: vec![0; columns],
            low: vec![0; columns],
            used: 0,
            sums: vec![Sum::default(); columns],
        }
    }

    /// Adds one value to each column.
    pub(crate) fn add(&mut self, values: &[f64]) {
        // NaN is not within the limit.
        if !values.iter().fold(true, |all, v| all & (v.abs() <= LIMIT)) {
            return self.sums.iter_mut().zip(values).for_each(|(sum, &v)| sum.add(v));
        }
        for ((high, low), &value) in self.high.iter_mut().zip(&mut self.low).zip(values) {
            let shifted = value + HIGH;
            let rest = value - (shifted - HIGH);
            *high += shifted.to_bits() as i64 - HIGH.to_bits() as i64;
            *low += (rest + LOW).to_bits() as i64 - LOW.to_bits() as i64;
        }
        self.used += 1;
        if self.used == ROOM {
            self.move_on();
        }
    }

    /// Adds a value to one column `times` times.
    pub(crate) fn add_times(&mut self, column: usize, value: f64, times: u64) {
        self.sums[column].add_times(value, times);
    }

    /// The sums.
    pub(crate) fn into_sums(mut self) -> Vec<Sum> {
        self.move_on();
        self.sums
    }

    fn move_on(&mut self) {
        for ((sum, high), low) in self.sums.iter_mut().zip(&mut self.high).zip(&mut self.low) {
            sum.add_units(Some((i128::from(*high) << 32) + i128::from(*low)));
            (*high, *low) = (0, 0);
        }
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values of metrics, and what they rarely are: tiny, halfway between two steps, too large.
    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => 0.0f64..=1.0,
            1 => (1u32..50, 1u32..50).prop_map(|(a, b)| f64::from(a) / f64::from(b)),
            1 => (-1e6f64..1e6, -80i32..0).prop_map(|(v, e)| v * f64::from(e).exp2()),
            1 => (-(1i64 << 40)..1 << 40).prop_map(|n| n as f64 * (-65f64).exp2()),
            1 => (-(1i64 << 40)..1 << 40).prop_map(|n| n as f64 * (-33f64).exp2()),
            1 => Just(f64::NAN), 1 => Just(-0.0), 1 => Just(2.0), 1 => Just(-2.0), 1 => Just(1e300),
        ]
    }

    proptest! {
        #[test]
        fn the_same_bits_as_single_sums(
            rows in proptest::collection::vec(proptest::collection::vec(value(), 3), 1..40),
            stop in 0usize..40
        ) {
            let (mut lanes, mut sums) = (Lanes::new(3), [Sum::default(); 3]);
            for (r, row) in rows.iter().enumerate() {
                lanes.add(row);
                row.iter().zip(&mut sums).for_each(|(&v, sum)| sum.add(v));
                if r == stop {
                    lanes.used = ROOM - 1;
                }
            }
            prop_assert_eq!(lanes.into_sums(), sums);
        }
    }
}
