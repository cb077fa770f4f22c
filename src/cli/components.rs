//! `sidereal components [NAME]`.

use super::args::ComponentsArguments;
use super::output;
use super::tables::Table;
use crate::Registry;
use serde_json::Value;
use sidereal_core::component::nearest;
use sidereal_core::{Error, OptionDoc, Result};
use sidereal_experiment::ComponentDoc;
use sidereal_experiment::config::{evaluate_docs, train_docs};
use std::fmt::Write;
use std::process::ExitCode;

pub fn components(registry: &Registry, a: ComponentsArguments) -> Result<ExitCode> {
    let mut found = registry.components();
    found.extend(sections());
    if let Some(name) = &a.name {
        let known: Vec<String> = found
            .iter()
            .flat_map(|c| [c.name.clone(), c.kind.clone()])
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        let kind = found.iter().any(|c| c.kind == *name);
        found.retain(|c| if kind { c.kind == *name } else { c.name == *name });
        if found.is_empty() {
            return Err(Error::UnknownName {
                kind: "component".into(),
                name: name.clone(),
                nearest: nearest(name, known.iter().map(String::as_str)),
                known,
            });
        }
    }
    if a.json {
        output::print_json(&found)?;
    } else if a.markdown {
        output::print(&reference(&found))?;
    } else if a.name.is_some() {
        output::print(&found.iter().map(page).collect::<Vec<_>>().join("\n"))?;
    } else {
        output::print(&overview(&found))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sections without a component, as if they were one.
fn sections() -> [ComponentDoc; 2] {
    let section = |kind: &str, doc: &str, options| ComponentDoc {
        kind: kind.into(),
        name: kind.into(),
        origin: "sidereal".into(),
        doc: doc.into(),
        options,
    };
    [
        section(
            "train",
            "Training: length, batches, optimiser, schedule, checkpoints.",
            train_docs(),
        ),
        section(
            "evaluate",
            "Evaluation: metrics, seen items, choice of the checkpoint.",
            evaluate_docs(),
        ),
    ]
}

/// Where a kind of component stands in a configuration.
fn place(kind: &str) -> String {
    match kind {
        "split" => "[data] split".into(),
        "metric" => "[evaluate] metrics".into(),
        "reranker" => "[[reranker]] type".into(),
        "train" | "evaluate" => format!("[{kind}]"),
        kind => format!("[{kind}] type"),
    }
}

/// One line a component, by kind.
fn overview(components: &[ComponentDoc]) -> String {
    let mut out = String::new();
    let width = components.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    let mut kind = "";
    for c in components {
        if c.kind != kind {
            kind = &c.kind;
            let _ = writeln!(out, "{}{}", if out.is_empty() { "" } else { "\n" }, place(kind));
        }
        let _ = writeln!(out, "  {:width$}  {}", c.name, one_line(&c.doc));
    }
    out.push_str("\n`sidereal components NAME` shows options, defaults and ranges.\n");
    out
}

/// The book's page of all options.
fn reference(components: &[ComponentDoc]) -> String {
    let mut out = String::from(
        "# Reference of all options\n\nMade by `sidereal components --markdown`; do not edit. \
         [Configuration](configuration.md) says what holds for all of them.\n",
    );
    let mut kind = "";
    for c in components {
        if c.kind != kind {
            kind = &c.kind;
            let _ = writeln!(out, "\n## `{}`", place(kind));
        }
        if c.kind != c.name {
            let _ = writeln!(out, "\n### `{}`", c.name);
        }
        let _ = writeln!(out, "\n{}", one_line(&c.doc));
        match c.options.is_empty() {
            true => out.push_str("\nNo options.\n"),
            false => out.push_str("\n| key | default | type | meaning |\n|---|---|---|---|\n"),
        }
        for o in &c.options {
            let cell = |text: String| text.replace('|', "\\|");
            let default = match &o.default {
                Value::Null => "unset".to_string(),
                _ => format!("`{}`", cell(default(o))),
            };
            let (doc, ty) = (cell(one_line(&o.doc)), type_name(o.ty));
            let _ = writeln!(out, "| `{}` | {default} | {ty} | {doc} |", o.name);
        }
    }
    out
}

fn page(c: &ComponentDoc) -> String {
    let mut out = format!("{} = \"{}\"", place(&c.kind), c.name);
    if c.kind == c.name {
        out = place(&c.kind);
    }
    let _ = writeln!(out, "\n{} ({})", one_line(&c.doc), c.origin);
    if c.options.is_empty() {
        out.push_str("no options\n");
    }
    let mut table = Table::default();
    for o in &c.options {
        table.row([format!("{} = {}", o.name, default(o))]);
        table.row([format!("    {} ({})", one_line(&o.doc), type_name(o.ty))]);
    }
    out.push_str(&table.text(2));
    out
}

fn default(option: &OptionDoc) -> String {
    match &option.default {
        Value::Null => "(unset)".into(),
        // f32 defaults are kept wide; people read the short form.
        Value::Number(n) if option.ty.contains("f32") => {
            n.as_f64().map_or(n.to_string(), |v| (v as f32).to_string())
        }
        other => other.to_string(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What to write, rather than what Rust calls it.
fn type_name(ty: &str) -> String {
    let ty: String = ty.split_whitespace().collect();
    if let Some(inner) = ty.strip_prefix("Option<").and_then(|t| t.strip_suffix('>')) {
        return format!("{}, may be left out", type_name(inner));
    }
    if let Some(inner) = ty.strip_prefix("Vec<").and_then(|t| t.strip_suffix('>')) {
        return format!("list of {}", type_name(inner));
    }
    match ty.rsplit("::").next().unwrap_or_default() {
        "bool" => "true or false".into(),
        "String" => "text".into(),
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => "whole number".into(),
        "f32" | "f64" => "number".into(),
        "Value" | "Inner" => "name or table".into(),
        _ => "one of the names in the text".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_has_a_page_that_names_its_options() {
        let registry = Registry::builtin().unwrap();
        let all = registry.components();
        let text = overview(&all);
        let reference = reference(&all);
        for c in &all {
            assert!(!c.doc.is_empty() && text.contains(&c.name), "{}", c.name);
            let page = page(c);
            assert!(reference.contains(&format!("### `{}`", c.name)), "{}", c.name);
            for o in &c.options {
                assert!(page.contains(o.name) && !o.doc.is_empty(), "{}.{}", c.name, o.name);
            }
        }
    }

    #[test]
    fn types_are_words() {
        assert_eq!(type_name("Vec < u32 >"), "list of whole number");
        assert_eq!(type_name("Option < f64 >"), "number, may be left out");
    }
}
