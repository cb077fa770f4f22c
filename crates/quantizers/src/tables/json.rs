//! Tables as JSON: an object of lists of tokens or of numbers.

use super::Row;
use serde_json::Value;
use sidereal_core::{Error, Result, sid::parse_token};
use std::collections::BTreeMap;
use std::path::Path;

/// Keys and codes of every entry, by key.
pub(super) fn rows(path: &Path, text: &str) -> Result<Vec<Row>> {
    let entries: BTreeMap<String, Vec<Value>> = serde_json::from_str(text)
        .map_err(|e| Error::data_line(path, e.line() as u64, e.to_string()))?;
    let row = |(key, tokens): (String, Vec<Value>)| {
        let codes: Option<Vec<String>> = tokens.iter().enumerate().map(code).collect();
        match codes {
            Some(codes) => Ok((key, codes)),
            None => Err(Error::data(
                path,
                format!(
                    "item {key} has {}; expected [\"<a_1>\", \"<b_2>\", ...] or whole numbers",
                    Value::from(tokens)
                ),
            )),
        }
    };
    entries.into_iter().map(row).collect()
}

fn code((level, token): (usize, &Value)) -> Option<String> {
    match token {
        Value::String(token) => parse_token(level, token).map(|c| c.to_string()),
        Value::Number(n) => n.as_u64().map(|c| c.to_string()),
        _ => None,
    }
}
