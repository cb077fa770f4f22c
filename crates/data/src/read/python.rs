//! Python literals (`repr` of dicts, lists, strings, numbers) as JSON values.
//!
//! The 2014 Amazon metadata were printed by Python, one dict a line. Understood: dict, list,
//! tuple, single- and double-quoted strings with the escapes of the language and the prefixes `u`
//! and `b`, whole and decimal numbers (`L` suffix too), `True`, `False`, `None`. Not understood:
//! sets, complex numbers, triple quotes, expressions.

use serde_json::{Map, Number, Value};

/// Deeper nesting than any real line; guards the stack.
const DEEPEST: usize = 64;

/// Parses one literal that fills the text.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut p = Parser { text, at: 0 };
    let value = p.value(0)?;
    p.blanks();
    if p.at < text.len() {
        return Err(p.wrong("the end"));
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn wrong(&self, expected: &str) -> String {
        match self.text[self.at..].chars().next() {
            Some(c) => format!("expected {expected} at column {}, got `{c}`", self.at + 1),
            None => format!("expected {expected}, but the text ends at column {}", self.at + 1),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!("nested deeper than {DEEPEST} levels"));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.dict(depth),
            Some(b'[') => self.list(b']', depth),
            Some(b'(') => self.list(b')', depth),
            Some(b'\'' | b'"') => self.string().map(Value::String),
            Some(b'u' | b'b' | b'U' | b'B')
                if matches!(self.text.as_bytes().get(self.at + 1), Some(b'\'' | b'"')) =>
            {
                self.at += 1;
                self.string().map(Value::String)
            }
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.number(),
            Some(b'a'..=b'z' | b'A'..=b'Z') => self.word(),
            _ => Err(self.wrong("a value")),
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut map = Map::new();
        loop {
            if self.take(b'}') {
                return Ok(Value::Object(map));
            }
            let key = match self.value(depth + 1)? {
                Value::String(s) => s,
                other => other.to_string(),
            };
            if !self.take(b':') {
                return Err(self.wrong("`:`"));
            }
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            if !self.take(b',') && self.peek() != Some(b'}') {
                return Err(self.wrong("`,` or `}`"));
            }
        }
    }

    fn list(&mut self, close: u8, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut list = Vec::new();
        loop {
            if self.take(close) {
                return Ok(Value::Array(list));
            }
            list.push(self.value(depth + 1)?);
            if !self.take(b',') && self.peek() != Some(close) {
                return Err(self.wrong(&format!("`,` or `{}`", close as char)));
            }
        }
    }

    fn word(&mut self) -> Result<Value, String> {
        let rest = &self.text[self.at..];
        for (word, value) in [
            ("True", Value::Bool(true)),
            ("False", Value::Bool(false)),
            ("None", Value::Null),
            ("nan", Value::Null),
            ("inf", Value::Null),
        ] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.wrong("a value"))
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
        if matches!(self.peek(), Some(b'L' | b'l')) {
            self.at += 1;
        }
        if let Ok(whole) = digits.parse::<i64>() {
            return Ok(whole.into());
        }
        let value = digits.parse::<f64>().map_err(|_| {
            self.at = start;
            self.wrong("a number")
        })?;
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn string(&mut self) -> Result<String, String> {
        let quote = self.text.as_bytes()[self.at];
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(n) = memchr::memchr2(quote, b'\\', rest.as_bytes()) else {
                self.at = self.text.len();
                return Err(self.wrong("the closing quote"));
            };
            out.push_str(&rest[..n]);
            self.at += n + 1;
            if rest.as_bytes()[n] == quote {
                return Ok(out);
            }
            self.escape(&mut out)?;
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, out: &mut String) -> Result<(), String> {
        let Some(c) = self.text[self.at..].chars().next() else {
            return Err(self.wrong("an escape"));
        };
        self.at += c.len_utf8();
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(c),
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'v' => out.push('\u{b}'),
            'x' => self.code(2, out)?,
            'u' => self.code(4, out)?,
            'U' => self.code(8, out)?,
            '0'..='7' => {
                let mut code = c as u32 - '0' as u32;
                for _ in 0..2 {
                    let Some(d @ b'0'..=b'7') = self.peek() else { break };
                    code = code * 8 + u32::from(d - b'0');
                    self.at += 1;
                }
                out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            // The language keeps the backslash of an escape it does not know.
            _ => {
                out.push('\\');
                out.push(c);
            }
        }
        Ok(())
    }

    /// A character of `digits` hexadecimal digits; surrogate pairs join, lone ones are replaced.
    fn code(&mut self, digits: usize, out: &mut String) -> Result<(), String> {
        let first = self.hex(digits)?;
        if digits == 4
            && (0xd800..0xdc00).contains(&first)
            && self.text[self.at..].starts_with("\\u")
        {
            let back = self.at;
            self.at += 2;
            let second = self.hex(4)?;
            if (0xdc00..0xe000).contains(&second) {
                let joined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                out.push(char::from_u32(joined).unwrap_or('\u{fffd}'));
                return Ok(());
            }
            self.at = back;
        }
        out.push(char::from_u32(first).unwrap_or('\u{fffd}'));
        Ok(())
    }

    fn hex(&mut self, digits: usize) -> Result<u32, String> {
        let code = self
            .text
            .get(self.at..self.at + digits)
            .filter(|s| s.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|s| u32::from_str_radix(s, 16).ok())
            .ok_or_else(|| self.wrong(&format!("{digits} hexadecimal digits")))?;
        self.at += digits;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_metadata_line() {
        let line = r#"{'asin': '0000031852', 'title': "Girl's \"Tutu\"", 'price': 3.17, 'related': {'also_bought': ['B00JHONN1S', u'B002BZX8Z6']}, 'salesRank': {'Toys & Games': 211836L}, 'brand': None, 'categories': [['Sports & Outdoors', 'Dance',], ('x',)], 'ok': True, 'n': -1e3, 'd': 'caf\xe9 \u2122 \ud83d\ude00 \q \101'}"#;
        let want = json!({
            "asin": "0000031852", "title": "Girl's \"Tutu\"", "price": 3.17,
            "related": {"also_bought": ["B00JHONN1S", "B002BZX8Z6"]},
            "salesRank": {"Toys & Games": 211836}, "brand": null,
            "categories": [["Sports & Outdoors", "Dance"], ["x"]], "ok": true, "n": -1000.0,
            "d": "café ™ 😀 \\q A",
        });
        assert_eq!(parse(line).unwrap(), want);
    }

    #[test]
    fn bad_literals_tell_the_column() {
        for (bad, at) in [
            ("{'a': 1", "column 8"),
            ("{'a' 1}", "column 6"),
            ("{'a': 'x}", "column 10"),
            ("[1, 2] x", "column 8"),
            ("'\\xzz'", "column 4"),
            ("foo", "column 1"),
            ("1-2", "column 1"),
            ("", "column 1"),
        ] {
            let err = parse(bad).unwrap_err();
            assert!(err.contains(at), "{bad}: {err}");
        }
        assert!(parse(&"[".repeat(100_000)).unwrap_err().contains("deeper"));
    }

    /// Prints as Python does: single quotes unless the text has them and no double ones.
    fn repr(value: &Value, out: &mut String) {
        match value {
            Value::Null => out.push_str("None"),
            Value::Bool(b) => out.push_str(if *b { "True" } else { "False" }),
            Value::Number(n) => out.push_str(&n.to_string()),
            Value::String(s) => {
                let quote = if s.contains('\'') && !s.contains('"') { '"' } else { '\'' };
                out.push(quote);
                for c in s.chars() {
                    match c {
                        '\\' => out.push_str("\\\\"),
                        '\n' => out.push_str("\\n"),
                        c if c == quote => {
                            out.push('\\');
                            out.push(c);
                        }
                        c if (c as u32) < 32 || c as u32 == 127 => {
                            out.push_str(&format!("\\x{:02x}", c as u32));
                        }
                        c if c as u32 > 0xffff => out.push_str(&format!("\\U{:08x}", c as u32)),
                        c if c as u32 > 0xff => out.push_str(&format!("\\u{:04x}", c as u32)),
                        c => out.push(c),
                    }
                }
                out.push(quote);
            }
            Value::Array(list) => {
                out.push('[');
                for (i, v) in list.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    repr(v, out);
                }
                out.push(']');
            }
            Value::Object(map) => {
                out.push('{');
                for (i, (k, v)) in map.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    repr(&Value::String(k.clone()), out);
                    out.push_str(": ");
                    repr(v, out);
                }
                out.push('}');
            }
        }
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[\\PC\n\t'\"\\\\\u{1}]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|kv| Value::Object(kv.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_back_what_python_prints(value in tree()) {
            let mut text = String::new();
            repr(&value, &mut text);
            prop_assert_eq!(parse(&text), Ok(value));
        }

        #[test]
        fn never_panics(text in "[\\[\\](){}'\"\\\\,:xuU0-9a é]{0,30}") {
            let _ = parse(&text);
        }
    }
}
