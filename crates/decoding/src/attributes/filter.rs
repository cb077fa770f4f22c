//! A condition on the attributes of an item, and its text.

use std::fmt;

/// What an attribute is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Equal byte for byte.
    Text(String),
    /// Equal as a number.
    Number(f64),
}

/// Numbers between two bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// From here, or from above.
    pub from: Bound,
    /// To here, or to below.
    pub to: Bound,
}

/// One end of a [`Range`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// No end.
    None,
    /// The number itself belongs to it.
    With(f64),
    /// The number itself does not.
    Without(f64),
}

impl Range {
    /// Whether the range begins above a number.
    pub(super) fn is_above(&self, n: f64) -> bool {
        match self.from {
            Bound::None => false,
            Bound::With(from) => n < from,
            Bound::Without(from) => n <= from,
        }
    }

    /// Whether the range ends below a number.
    pub(super) fn is_below(&self, n: f64) -> bool {
        match self.to {
            Bound::None => false,
            Bound::With(to) => n > to,
            Bound::Without(to) => n >= to,
        }
    }
}

/// A condition on the attributes of an item. Its `Display` is what [`Filter::parse`] reads
/// (`And` and `Or` of nothing have no text).
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// One of the item's values in the column is one of these.
    AnyOf {
        /// The column.
        column: String,
        /// The values.
        values: Vec<Value>,
    },
    /// The item has a value in the column, and none of these.
    NoneOf {
        /// The column.
        column: String,
        /// The values.
        values: Vec<Value>,
    },
    /// One of the item's values in the column is a number in the range.
    Within {
        /// The column.
        column: String,
        /// The range.
        range: Range,
    },
    /// The condition does not hold.
    Not(Box<Filter>),
    /// All hold; none is always true.
    And(Vec<Filter>),
    /// One holds; none is always false.
    Or(Vec<Filter>),
}

impl Filter {
    /// `column = value`.
    pub fn equal(column: &str, value: Value) -> Self {
        Filter::AnyOf { column: column.into(), values: vec![value] }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(x) => write!(f, "{x:?}"),
            Value::Text(text) => quoted(f, text, '"'),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::AnyOf { column, values } => compared(f, column, values, "=", "in"),
            Filter::NoneOf { column, values } => compared(f, column, values, "!=", "not in"),
            Filter::Within { column, range } => {
                let from = bound(range.from, ">");
                let to = bound(range.to, "<");
                named(f, column)?;
                match (from, to) {
                    (Some((from, a)), Some((to, b))) => {
                        write!(f, " {from} {a:?} and ")?;
                        named(f, column)?;
                        write!(f, " {to} {b:?}")
                    }
                    (Some((op, x)), None) | (None, Some((op, x))) => write!(f, " {op} {x:?}"),
                    // Written as what it means: any number.
                    (None, None) => write!(f, " >= {:?}", f64::MIN),
                }
            }
            Filter::Not(inner) => write!(f, "not ({inner})"),
            Filter::And(parts) => joined(f, parts, "and"),
            Filter::Or(parts) => joined(f, parts, "or"),
        }
    }
}

fn bound(bound: Bound, op: &'static str) -> Option<(String, f64)> {
    match bound {
        Bound::None => None,
        Bound::With(x) => Some((format!("{op}="), x)),
        Bound::Without(x) => Some((op.to_string(), x)),
    }
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[Filter], word: &str) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            write!(f, " {word} ")?;
        }
        write!(f, "({part})")?;
    }
    Ok(())
}

fn compared(
    f: &mut fmt::Formatter<'_>,
    column: &str,
    values: &[Value],
    one: &str,
    many: &str,
) -> fmt::Result {
    named(f, column)?;
    if let [value] = values {
        return write!(f, " {one} {value}");
    }
    write!(f, " {many} (")?;
    for (i, value) in values.iter().enumerate() {
        write!(f, "{}{value}", if i > 0 { ", " } else { "" })?;
    }
    write!(f, ")")
}

/// Plain where the name is a word of its own, else between backticks.
fn named(f: &mut fmt::Formatter<'_>, column: &str) -> fmt::Result {
    match super::parse::is_plain(column) {
        true => f.write_str(column),
        false => quoted(f, column, '`'),
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str, quote: char) -> fmt::Result {
    write!(f, "{quote}")?;
    for c in text.chars() {
        if c == quote || c == '\\' {
            write!(f, "\\")?;
        }
        write!(f, "{c}")?;
    }
    write!(f, "{quote}")
}
