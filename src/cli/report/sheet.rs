//! Tables before they have a form: text, Markdown, LaTeX and HTML are made from the same cells.

/// What a cell stands out by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mark {
    /// Nothing.
    #[default]
    Plain,
    /// Better than every other system: bold.
    Winner,
}

/// What is shown beside the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrow {
    /// Nothing.
    #[default]
    None,
    /// Better.
    Up,
    /// Worse.
    Down,
    /// Better on these users; other trainings are not known.
    MaybeUp,
    /// Worse in the same sense.
    MaybeDown,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    /// Plain text, not escaped for any form.
    pub text: String,
    /// Bold or not.
    pub mark: Mark,
    /// Better or worse than the base.
    pub arrow: Arrow,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell { text, ..Cell::default() }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_string().into()
    }
}

/// A table: the first column has names, the others numbers unless `words` names them.
#[derive(Debug, Clone, Default)]
pub struct Sheet {
    /// What it shows.
    pub title: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Rows as long as the head.
    pub rows: Vec<Vec<Cell>>,
    /// Columns with words, which stand to the left; the first always does.
    pub words: Vec<usize>,
}

impl Sheet {
    /// Whether a column stands to the left.
    pub fn left(&self, column: usize) -> bool {
        column == 0 || self.words.contains(&column)
    }
}

/// A value: four places, fewer for larger ones.
pub fn value(v: f64) -> String {
    let size = v.abs();
    match size {
        _ if size >= 1000.0 => format!("{v:.0}"),
        _ if size >= 10.0 => format!("{v:.2}"),
        _ => format!("{v:.4}"),
    }
}

/// A spread or another value that is never 0 by rounding alone.
pub fn spread(v: f64) -> String {
    match value(v) {
        text if v > 0.0 && text == value(0.0) => format!("<{}", value(0.0001)),
        text => text,
    }
}

/// A value with its sign.
pub fn signed(v: f64) -> String {
    let text = value(v);
    match v {
        _ if text.trim_matches(['-', '0', '.']).is_empty() => text.trim_start_matches('-').into(),
        _ if v > 0.0 => format!("+{text}"),
        _ => text,
    }
}

/// A p value; what is smaller than the last place says so.
pub fn probability(p: f64) -> String {
    match p {
        _ if p < 0.0001 => "<0.0001".into(),
        _ => format!("{p:.4}"),
    }
}

/// A text, or a dash where there is none.
pub fn or_dash<T>(v: Option<T>, text: impl Fn(T) -> String) -> Cell {
    v.map_or_else(|| "-".into(), |v| text(v).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [0.03512, 12.345, 12345.6, 0.0].map(value),
            ["0.0351", "12.35", "12346", "0.0000"]
        );
        assert_eq!([0.0123, 0.00004, 0.0].map(spread), ["0.0123", "<0.0001", "0.0000"]);
        assert_eq!([0.01, -0.01, -0.00001].map(signed), ["+0.0100", "-0.0100", "0.0000"]);
        assert_eq!([0.04999, 0.00001, 1.0].map(probability), ["0.0500", "<0.0001", "1.0000"]);
    }
}
