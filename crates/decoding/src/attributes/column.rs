//! One column: its distinct values in order, each with its items, and its numbers in order.

use super::filter::{Range, Value};
use crate::constraints::partition;
use sidereal_core::{Error, ItemId, ItemSet, Result, StringColumn};

#[derive(Debug, Clone)]
pub(super) struct Column {
    /// Distinct values, ascending.
    values: StringColumn,
    /// First of `items` for each value, and the end.
    starts: Vec<u32>,
    /// Items of each value.
    items: Vec<u32>,
    /// Values that are numbers, ascending, and the item of each.
    numbers: Vec<f64>,
    numbered: Vec<u32>,
}

impl Column {
    pub fn new(name: &str, texts: &StringColumn) -> Result<Self> {
        let mut pairs: Vec<(&str, u32)> = Vec::with_capacity(texts.len());
        for (item, text) in (0u32..).zip(texts.iter()) {
            match name {
                "categories" => each_category(text, |value| pairs.push((value, item))),
                _ => pairs.push((text, item)),
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        if u32::try_from(pairs.len()).is_err() {
            return Err(Error::input(format!(
                "attribute `{name}` has {} values, at most {} fit",
                pairs.len(),
                u32::MAX
            )));
        }
        let (mut values, mut starts) = (StringColumn::default(), Vec::new());
        let mut numbers: Vec<(f64, u32)> = Vec::new();
        let mut start = 0;
        for group in pairs.chunk_by(|a, b| a.0 == b.0) {
            starts.push(start);
            start += group.len() as u32;
            values.push(group[0].0);
            if let Some(number) = number(group[0].0) {
                numbers.extend(group.iter().map(|&(_, item)| (number, item)));
            }
        }
        starts.push(start);
        numbers.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Ok(Column {
            values,
            starts,
            items: pairs.iter().map(|p| p.1).collect(),
            numbers: numbers.iter().map(|n| n.0).collect(),
            numbered: numbers.iter().map(|n| n.1).collect(),
        })
    }

    /// Adds the items with this value.
    pub fn equal(&self, value: &Value, set: &mut ItemSet) -> Result<()> {
        let items = match value {
            Value::Number(x) => {
                let from = self.numbers.partition_point(|n| n < x);
                &self.numbered[from..self.numbers.partition_point(|n| n <= x).max(from)]
            }
            Value::Text(text) => {
                let n = self.values.len();
                let at = partition(0, n, |i| self.values.get(i) < text.as_str());
                if at == n || self.values.get(at) != text {
                    return Ok(());
                }
                &self.items[self.starts[at] as usize..self.starts[at + 1] as usize]
            }
        };
        items.iter().try_for_each(|&i| set.insert(ItemId(i)))
    }

    /// Adds the items whose number lies in the range.
    pub fn within(&self, name: &str, range: &Range, set: &mut ItemSet) -> Result<()> {
        if self.numbers.is_empty() && self.values.iter().any(|v| !v.is_empty()) {
            return Err(Error::input(format!(
                "attribute `{name}` has no numbers, as in `{}`: compare it with `=`",
                self.values.iter().find(|v| !v.is_empty()).unwrap_or_default()
            )));
        }
        let from = self.numbers.partition_point(|&n| range.is_above(n));
        let to = self.numbers.partition_point(|&n| !range.is_below(n)).max(from);
        self.numbered[from..to].iter().try_for_each(|&i| set.insert(ItemId(i)))
    }
}

/// The number that a text reads as.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let text = text.strip_prefix(['$', '€', '£']).unwrap_or(text).trim_start();
    // `inf` and `nan` are words here; Rust reads them as numbers.
    let number: f64 = text.parse().ok().filter(|n: &f64| n.is_finite())?;
    // -0 is 0: the order of floats that sorts them tells the two apart.
    Some(number + 0.0)
}

/// Every path, every beginning of a path and every part, with repeats.
fn each_category<'t>(text: &'t str, mut value: impl FnMut(&'t str)) {
    for path in text.split(" | ") {
        let mut at = 0;
        for part in path.split(" > ") {
            value(part);
            at += part.len();
            value(&path[..at]);
            at += " > ".len();
        }
    }
}
