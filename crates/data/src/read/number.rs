//! Numbers from bytes without a copy.

/// A whole number with an optional sign; `None` for anything else or on overflow.
#[inline]
pub(crate) fn integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    for &b in digits {
        let d = i64::from(b.wrapping_sub(b'0'));
        if d > 9 {
            return None;
        }
        // Built downwards, so that the smallest number fits too.
        value = value.checked_mul(10)?.checked_sub(d)?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// A finite decimal number.
#[inline]
pub(crate) fn decimal(bytes: &[u8]) -> Option<f64> {
    if let [digit @ b'0'..=b'9'] | [digit @ b'0'..=b'9', b'.', b'0'] = bytes {
        return Some(f64::from(digit - b'0'));
    }
    let value: f64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

/// A point in time: a whole number, or a decimal one whose fraction is cut off.
#[inline]
pub(crate) fn time(bytes: &[u8]) -> Option<i64> {
    integer(bytes).or_else(|| {
        let value = decimal(bytes)?.floor();
        // Beyond 2^62 a cast would clip silently.
        (value.abs() < 4.6e18).then_some(value as i64)
    })
}

/// A dense number: `0..u32::MAX`.
#[inline]
pub(crate) fn dense(bytes: &[u8]) -> Option<u32> {
    integer(bytes).and_then(|v| u32::try_from(v).ok()).filter(|&v| v < u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hand_cases() {
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer(b"9223372036854775808"), None);
        for bad in ["", "-", "1 ", "1.5", "x", "0x1", "--1"] {
            assert_eq!(integer(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(time(b"1.39e9"), Some(1_390_000_000));
        assert_eq!(time(b"978300760.9"), Some(978_300_760));
        assert_eq!(time(b"1e300"), None);
        assert_eq!(decimal(b"4.0"), Some(4.0));
        assert_eq!(decimal(b"nan"), None);
        assert_eq!(decimal(b"inf"), None);
        assert_eq!(dense(b"-1"), None);
        assert_eq!(dense(b"4294967295"), None);
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library(v in any::<i64>(), f in -1e6f64..1e6) {
            prop_assert_eq!(integer(v.to_string().as_bytes()), Some(v));
            prop_assert_eq!(decimal(f.to_string().as_bytes()), Some(f));
        }
    }
}
