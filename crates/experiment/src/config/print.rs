//! A resolved configuration as TOML text.

use serde_json::{Map, Value};

/// `root` as TOML: plain keys first, then the sections named in `order`. Nulls mean "unset" and
/// are left out.
pub(super) fn print(root: &Map<String, Value>, order: &[&str]) -> String {
    let mut out = String::new();
    let section = |key: &str, v: &Value| v.is_object() || (v.is_array() && order.contains(&key));
    for (key, value) in root.iter().filter(|(k, v)| !section(k, v) && !v.is_null()) {
        out.push_str(&format!("{} = {}\n", quoted_key(key), inline(value)));
    }
    for section in order {
        match root.get(*section) {
            Some(Value::Object(table)) => print_table(&mut out, &format!("[{section}]"), table),
            Some(Value::Array(tables)) => tables
                .iter()
                .filter_map(Value::as_object)
                .for_each(|t| print_table(&mut out, &format!("[[{section}]]"), t)),
            _ => {}
        }
    }
    out
}

fn print_table(out: &mut String, header: &str, table: &Map<String, Value>) {
    out.push_str(&format!("\n{header}\n"));
    let named = table.iter().filter(|(k, _)| *k == "type");
    let rest = table.iter().filter(|(k, _)| *k != "type");
    for (key, value) in named.chain(rest).filter(|(_, v)| !v.is_null()) {
        out.push_str(&format!("{} = {}\n", quoted_key(key), inline(value)));
    }
}

fn quoted_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) { key.to_string() } else { quoted(key) }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(s) => quoted(s),
        // `{:?}` keeps the point of whole floats and round-trips every value.
        Value::Number(n) if n.is_f64() => format!("{:?}", n.as_f64().unwrap_or_default()),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter(|v| !v.is_null()).map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(table) => {
            let pairs = table.iter().filter(|(_, v)| !v.is_null());
            let pairs: Vec<_> =
                pairs.map(|(k, v)| format!("{} = {}", quoted_key(k), inline(v))).collect();
            if pairs.is_empty() { "{}".into() } else { format!("{{ {} }}", pairs.join(", ")) }
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_back_as_it_was() {
        let root = json!({
            "seed": 7,
            "data": {"type": "csv", "path": "a \"b\"\\c\n", "split": {"type": "ratio", "valid": 0.1}},
            "reranker": [{"type": "a", "weights": [0.5, 1.0]}, {"type": "b"}],
            "train": {"lr": 1e-5, "whole": 2.0, "big": 1e300, "names": ["a", "b"], "unset": null},
        });
        let Value::Object(mut map) = root else { unreachable!() };
        let text = print(&map, &["data", "train", "reranker"]);
        let back = crate::config::document::parse(&text, "x").unwrap().root;
        map["train"].as_object_mut().unwrap().remove("unset");
        assert_eq!(Value::Object(back), Value::Object(map), "{text}");
    }
}
