//! TOML text to a JSON tree that remembers where every key stands.

use serde_json::{Map, Number, Value};
use sidereal_core::{Error, Result};
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// A parsed text and the place (`file:line`) of every dotted key.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Document {
    pub root: Map<String, Value>,
    pub places: BTreeMap<String, String>,
}

/// Parses `text`; `name` is the file in places and errors.
pub(super) fn parse(text: &str, name: &str) -> Result<Document> {
    let lines = Lines { text, name };
    let table = DeTable::parse(text).map_err(|e| Error::ConfigAt {
        place: e.span().map_or(name.to_string(), |s| lines.place(s.start)),
        message: format!("not valid TOML: {}", e.message().trim().replace('\n', "; ")),
    })?;
    let mut document = Document::default();
    document.root = lines.table(table.get_ref(), "", &mut document.places)?;
    Ok(document)
}

/// A single value as it may stand behind `=`; text that is no TOML value is a string.
pub(super) fn value(text: &str) -> Value {
    let parsed = parse(&format!("v = {text}"), "").ok();
    match parsed.filter(|d| d.root.len() == 1).and_then(|mut d| d.root.remove("v")) {
        Some(value) => value,
        None => Value::String(text.to_string()),
    }
}

struct Lines<'a> {
    text: &'a str,
    name: &'a str,
}

impl Lines<'_> {
    fn place(&self, offset: usize) -> String {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        format!("{}:{line}", self.name)
    }

    fn table(
        &self,
        table: &DeTable<'_>,
        prefix: &str,
        places: &mut BTreeMap<String, String>,
    ) -> Result<Map<String, Value>> {
        let mut map = Map::new();
        for (key, value) in table.iter() {
            let name = key.get_ref().to_string();
            let dotted = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            let place = self.place(key.span().start);
            let value = self.value(value.get_ref(), &dotted, &place, places)?;
            places.insert(dotted, place);
            map.insert(name, value);
        }
        Ok(map)
    }

    fn value(
        &self,
        value: &DeValue<'_>,
        key: &str,
        place: &str,
        places: &mut BTreeMap<String, String>,
    ) -> Result<Value> {
        let number = |n: Option<Number>, text: &str| {
            n.map(Value::Number).ok_or_else(|| Error::ConfigAt {
                place: place.to_string(),
                message: format!("config key `{key}`: {text} is no number that can be used here"),
            })
        };
        Ok(match value {
            DeValue::String(s) => Value::String(s.to_string()),
            DeValue::Boolean(b) => Value::Bool(*b),
            DeValue::Datetime(d) => Value::String(d.to_string()),
            DeValue::Integer(i) => {
                let (text, radix) = (i.as_str(), i.radix());
                let unsigned = u64::from_str_radix(text, radix).map(Number::from);
                let any = unsigned.or_else(|_| i64::from_str_radix(text, radix).map(Number::from));
                number(any.ok(), text)?
            }
            DeValue::Float(f) => {
                let text = f.as_str();
                number(text.parse().ok().and_then(Number::from_f64), text)?
            }
            DeValue::Array(a) => {
                let mut list = Vec::with_capacity(a.len());
                for (i, v) in a.iter().enumerate() {
                    // A section that stands several times: each has a place of its own.
                    let entry = match v.get_ref() {
                        DeValue::Table(_) if super::LISTS.contains(&key) => format!("{key}[{i}]"),
                        _ => key.to_string(),
                    };
                    if entry != key {
                        places.insert(entry.clone(), self.place(v.span().start));
                    }
                    list.push(self.value(v.get_ref(), &entry, place, places)?);
                }
                Value::Array(list)
            }
            DeValue::Table(t) => Value::Object(self.table(t, key, places)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_know_their_lines() {
        let text = "seed = 3\n[data]\ntype = \"x\"\nsplit = { type = \"ratio\", valid = 0.1 }\n";
        let d = parse(text, "a.toml").unwrap();
        assert_eq!(d.places["data.type"], "a.toml:3");
        assert_eq!(d.places["data.split.valid"], "a.toml:4");
        assert_eq!(d.root["data"]["split"]["valid"], json!(0.1));
    }

    #[test]
    fn wrong_text_names_its_line() {
        let error = |t: &str| parse(t, "a.toml").unwrap_err().to_string();
        assert!(error("seed = 3\n[data\n").starts_with("a.toml:2: not valid TOML"));
        assert!(error("a = 1\na = 2\n").starts_with("a.toml:2: not valid TOML"));
        let nan = error("\n[train]\nlr = nan\n");
        assert!(nan.starts_with("a.toml:3: config key `train.lr`: nan"), "{nan}");
        assert!(error("a = 99999999999999999999999").contains("`a`"));
    }

    #[test]
    fn values_of_the_command_line() {
        assert_eq!(value("3"), json!(3));
        assert_eq!(value("[1, 2]"), json!([1, 2]));
        assert_eq!(value("\"3\""), json!("3"));
        assert_eq!(value("rq-kmeans"), json!("rq-kmeans"));
        assert_eq!(value("{type = \"x\"}"), json!({"type": "x"}));
        assert_eq!(value("1\nw = 2"), json!("1\nw = 2"));
        assert_eq!(value(""), json!(""));
        assert_eq!(value("0x10"), json!(16));
    }
}
