//! The values of a few top-level keys of a JSON object, without building the object.
//!
//! The scanner walks the bytes once, jumping over strings, and stops after the last wanted key;
//! what follows is only checked to end in `}`. Cost: one pass over the bytes up to that key.
//! When it stumbles, serde_json has the last word and words the error.

use memchr::memchr2;
use serde_json::Value;
use std::borrow::Cow;

/// A value as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Raw<'a> {
    /// Between the quotes, nothing escaped.
    Plain(&'a [u8]),
    /// With the quotes and escapes in it.
    Escaped(&'a [u8]),
    /// Number, `true` or `false`.
    Scalar(&'a [u8]),
    /// Array or object.
    Nested(&'a [u8]),
    /// `null`.
    Null,
}

impl<'a> Raw<'a> {
    /// Text of a string, digits of a number; `None` for the rest.
    #[inline]
    pub(crate) fn text(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Raw::Plain(s) | Raw::Scalar(s) => Some(Cow::Borrowed(s)),
            Raw::Escaped(s) => {
                serde_json::from_slice::<String>(s).ok().map(|s| Cow::Owned(s.into_bytes()))
            }
            _ => None,
        }
    }
}

/// Looks for `keys` in the object `line`; `out[i]` becomes the first value of `keys[i]`.
///
/// Errors are sentences about the line.
#[inline]
pub(crate) fn scan<'a, const K: usize>(
    line: &'a [u8],
    keys: &[&[u8]; K],
    out: &mut [Option<Raw<'a>>; K],
) -> Result<(), String> {
    *out = [None; K];
    if line.last() == Some(&b'}') {
        let mut walk = Walk { line, at: 0 };
        if walk.object(keys, out).is_some() {
            return Ok(());
        }
    }
    rescue(line, keys, out)
}

/// The slow way for lines that the scanner did not take.
#[cold]
fn rescue<'a, const K: usize>(
    line: &'a [u8],
    keys: &[&[u8]; K],
    out: &mut [Option<Raw<'a>>; K],
) -> Result<(), String> {
    *out = [None; K];
    let trimmed = line.trim_ascii();
    match serde_json::from_slice::<Value>(trimmed) {
        Err(e) => Err(format!("not valid JSON ({e})")),
        Ok(Value::Object(_)) => {
            // Blanks around the object, or escapes in a key: the walk copes once they are gone.
            let mut walk = Walk { line: trimmed, at: 0 };
            walk.object(keys, out).ok_or_else(|| "an object that cannot be scanned".to_string())
        }
        Ok(_) => Err("expected a JSON object".to_string()),
    }
}

struct Walk<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// Walks an object; `None` when it is not well formed.
    #[inline]
    fn object<const K: usize>(
        &mut self,
        keys: &[&[u8]; K],
        out: &mut [Option<Raw<'a>>; K],
    ) -> Option<()> {
        let mut left = K;
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            return Some(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            let wanted = match key {
                Raw::Plain(k) => keys.iter().position(|w| *w == k),
                escaped => {
                    let k = escaped.text()?;
                    keys.iter().position(|w| *w == k.as_ref())
                }
            };
            let value = self.value()?;
            if let Some(k) = wanted.filter(|&k| out[k].is_none()) {
                out[k] = Some(value);
                left -= 1;
                if left == 0 {
                    return Some(());
                }
            }
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => return Some(()),
                _ => return None,
            }
            self.peek()?;
        }
    }

    #[inline]
    fn value(&mut self) -> Option<Raw<'a>> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' | b'[' => self.nested(),
            _ => {
                let start = self.at;
                while !matches!(self.line.get(self.at)?, b',' | b'}' | b']' | b' ' | b'\t') {
                    self.at += 1;
                }
                let scalar = &self.line[start..self.at];
                match scalar.first()? {
                    b'n' => (scalar == b"null").then_some(Raw::Null),
                    b't' => (scalar == b"true").then_some(Raw::Scalar(scalar)),
                    b'f' => (scalar == b"false").then_some(Raw::Scalar(scalar)),
                    b'-' | b'0'..=b'9' => Some(Raw::Scalar(scalar)),
                    _ => None,
                }
            }
        }
    }

    /// The next byte that is no blank.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.line.get(self.at)? {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b => return Some(b),
            }
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// A string from its opening quote.
    #[inline]
    fn string(&mut self) -> Option<Raw<'a>> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += memchr2(b'"', b'\\', self.line.get(self.at..)?)?;
            if self.line[self.at] == b'"' {
                break;
            }
            escaped = true;
            self.at += 2;
        }
        self.at += 1;
        Some(if escaped {
            Raw::Escaped(&self.line[start - 1..self.at])
        } else {
            Raw::Plain(&self.line[start..self.at - 1])
        })
    }

    /// An array or object from its opening bracket; only strings and depth are looked at.
    fn nested(&mut self) -> Option<Raw<'a>> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.line.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Some(Raw::Nested(&self.line[start..self.at]));
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];

    /// The value as a tree.
    fn tree_of(raw: Raw<'_>) -> Value {
        match raw {
            Raw::Plain(s) => Value::String(std::str::from_utf8(s).unwrap().into()),
            Raw::Null => Value::Null,
            Raw::Escaped(s) | Raw::Scalar(s) | Raw::Nested(s) => serde_json::from_slice(s).unwrap(),
        }
    }

    fn values(line: &str) -> Result<Vec<Option<Value>>, String> {
        let mut out = [None; 3];
        scan(line.as_bytes(), &KEYS, &mut out)?;
        Ok(out.iter().map(|r| r.map(tree_of)).collect())
    }

    #[test]
    fn hand_cases() {
        let got = values(r#"{"x": ["}", {"a": 1}], "a": "q\"\u00e9", "b" : -1.5e3 ,"c":null}"#);
        assert_eq!(got.unwrap(), [Some(json!("q\"é")), Some(json!(-1500.0)), Some(json!(null))]);
        assert_eq!(values("{}").unwrap(), [None, None, None]);
        assert_eq!(values(r#"{"\u0061": true} "#).unwrap()[0], Some(json!(true)));
        for bad in ["", "[]", "1", "{", r#"{"a": }"#, r#"{"a": 1 "b": 2}"#, r#"{"a": "x}"#, "{a:1}"]
        {
            let err = values(bad).unwrap_err();
            assert!(err.contains("JSON"), "{bad}: {err}");
        }
        assert!(values(r#"{"a": "cut off in the mid"#).unwrap_err().contains("JSON"));
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9f64..1e9).prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-e\"\\\\]{0,3}", inner), 0..4)
                    .prop_map(|kv| Value::Object(kv.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(
            fields in prop::collection::vec(("[a-d\"\\\\é]{1,2}", tree()), 0..6), pretty in any::<bool>(),
        ) {
            let object = Value::Object(fields.into_iter().collect());
            let text = if pretty {
                serde_json::to_string_pretty(&object).unwrap().replace('\n', " ")
            } else {
                object.to_string()
            };
            let got = values(&text).unwrap();
            for (key, got) in ["a", "b", "c"].iter().zip(got) {
                prop_assert_eq!(object.get(key), got.as_ref());
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(prop_oneof![
            Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b'\\'), Just(b':'),
            Just(b','), Just(b'a'), Just(b' '), Just(b'1'), any::<u8>(),
        ], 0..40)) {
            let mut out = [None; 3];
            let _ = scan(&bytes, &KEYS, &mut out);
        }
    }
}
