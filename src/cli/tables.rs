//! Results as aligned text.

use sidereal_experiment::Results;
use sidereal_experiment::serve::{Example, ShownItem};
use std::fmt::Write;

/// Rows of cells: columns of numbers to the right, all others to the left.
#[derive(Default)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }

    /// The text, a line a row.
    pub fn text(&self, indent: usize) -> String {
        let number = |s: &String| s == "-" || s.trim_end_matches(" %").parse::<f64>().is_ok();
        self.lines(indent, |c| self.0.iter().filter_map(|r| r.get(c)).skip(1).any(number))
    }

    /// The text with the columns to the right that `right` says.
    pub fn aligned(&self, right: impl Fn(usize) -> bool) -> String {
        self.lines(0, right)
    }

    fn lines(&self, indent: usize, right: impl Fn(usize) -> bool) -> String {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &Vec<String>, c: usize| row.get(c).map_or(0, |s| s.chars().count());
        let widths: Vec<usize> = (0..columns)
            .map(|c| self.0.iter().map(|row| cell(row, c)).max().unwrap_or(0))
            .collect();
        let right: Vec<bool> = (0..columns).map(right).collect();
        let mut out = String::new();
        for row in &self.0 {
            let mut line = " ".repeat(indent);
            for (c, text) in row.iter().enumerate() {
                let padding = " ".repeat(widths[c] - cell(row, c));
                if c > 0 {
                    line.push_str("  ");
                }
                match right[c] {
                    true => line.extend([padding.as_str(), text.as_str()]),
                    false => line.extend([text.as_str(), padding.as_str()]),
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Metrics of both parts, the optimum where it is known, and results on rare targets. `order` is
/// the order of the metrics in the configuration.
pub fn results(results: &Results, order: &[String]) -> String {
    let mut table = Table::default();
    let best = results.optimum.get("test");
    let mut header = vec!["".to_string(), "valid".into(), "test".into()];
    if best.is_some() {
        header.extend(["optimum".into(), "of optimum".into()]);
    }
    table.row(header);
    let number = |v: Option<&f64>| v.map_or("-".to_string(), |v| format!("{v:.4}"));
    for name in order {
        let test = results.test.get(name);
        let mut row = vec![name.clone(), number(results.valid.get(name)), number(test)];
        if let (Some(best), Some(test)) = (best.and_then(|b| b.get(name)), test) {
            row.push(format!("{:.4}", best.expected));
            row.push(format!("{:.1} %", 100.0 * test / best.expected));
        }
        table.row(row);
    }
    let mut out = table.text(0);
    if let Some(groups) = results.groups.get("test").filter(|g| g.len() > 1) {
        let mut table = Table::default();
        let head = "test, by training interactions of the target".to_string();
        let names = groups.iter().map(|g| g.items.clone());
        table.row(std::iter::once(head).chain(names));
        let cases = groups.iter().map(|g| g.cases.to_string());
        table.row(std::iter::once("users".to_string()).chain(cases));
        for name in order {
            if groups.iter().any(|g| g.values.contains_key(name)) {
                let values = groups.iter().map(|g| number(g.values.get(name)));
                table.row(std::iter::once(name.clone()).chain(values));
            }
        }
        let _ = write!(out, "\n{}", table.text(0));
    }
    out
}

/// Users shown at the end of a run, and items of each; the run folder has more.
const SHOWN: usize = 3;
/// Longest title shown, in characters.
const TITLE: usize = 60;

fn title(item: &ShownItem) -> String {
    let title = item.title.split_whitespace().collect::<Vec<_>>().join(" ");
    if title.chars().count() <= TITLE {
        return title;
    }
    title.chars().take(TITLE - 1).chain(['…']).collect()
}

/// Some test users: what they had, what is recommended, what they took.
pub fn examples(examples: &[Example]) -> String {
    let mut out = String::new();
    for example in examples.iter().take(SHOWN) {
        let user = example.user.as_deref().unwrap_or("?");
        let _ = writeln!(out, "user {user}, {}", history(example));
        let mut table = Table::default();
        for (rank, item) in example.recommendations.iter().take(SHOWN).enumerate() {
            let sid = item.sid.clone().unwrap_or_default();
            let mark = if item.hit == Some(true) { "<- taken next" } else { "" };
            let text = [title(item), sid, mark.to_string()];
            table.row([format!("{}. {}", rank + 1, text[0]), text[1].clone(), text[2].clone()]);
        }
        out.push_str(&table.text(2));
        if example.recommendations.iter().take(SHOWN).all(|r| r.hit != Some(true)) {
            let taken: Vec<String> = example.targets.iter().take(3).map(title).collect();
            let _ = writeln!(out, "  taken next: {}", taken.join(" | "));
        }
        out.push('\n');
    }
    out
}

/// The last items of a history in one line.
pub fn history(example: &Example) -> String {
    let shown: Vec<String> = example.history.iter().map(title).collect();
    let cut = if example.history_length > shown.len() { "... | " } else { "" };
    format!("history of {}: {cut}{}", example.history_length, shown.join(" | "))
}

/// Recommendations with everything that is known of them.
pub fn recommendations(example: &Example) -> String {
    let mut table = Table::default();
    let sids = example.recommendations.iter().any(|r| r.sid.is_some());
    let left = |row: &mut Vec<String>, sid: String| {
        if sids {
            row.push(sid);
        }
    };
    let mut head = vec!["rank".to_string(), "item".into(), "title".into()];
    left(&mut head, "semantic ID".into());
    head.push("score".into());
    table.row(head);
    for (rank, item) in example.recommendations.iter().enumerate() {
        let mut row = vec![(rank + 1).to_string(), item.id.clone(), title(item)];
        left(&mut row, item.sid.clone().unwrap_or_default());
        row.push(item.score.map_or("-".into(), |s| format!("{s:.4}")));
        table.row(row);
    }
    table.text(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut t = Table::default();
        t.row(["".to_string(), "share".into(), "text".into()]);
        t.row(["a".to_string(), "-".into(), "y".into()]);
        t.row(["bücher".to_string(), "10 %".into(), "x".into()]);
        assert_eq!(t.text(1), "         share  text\n a           -  y\n bücher   10 %  x\n");
    }
}
