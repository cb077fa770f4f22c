//! Values with their intervals, one line each, against a reference.

use super::svg::{RIGHT, Scale, WIDTH, card, clip_middle, escape, frame, short, ticks};
use std::fmt::Write;

/// Height of a line.
const LINE: f64 = 19.0;
/// Width of the names beside their lines.
const NAMES: f64 = 148.0;
/// Letters of a name that fit beside its line; longer ones stand above theirs.
const LETTERS: usize = 18;
/// Height of a name above its line.
const ABOVE: f64 = 14.0;
/// Letters of a name that fit above its line.
const ACROSS: usize = 64;
/// Least share of the values that the axis spans.
const LEAST: f64 = 0.1;
/// Room above and below.
const MARGIN: f64 = 8.0;
/// Room for the axis.
const AXIS: f64 = 34.0;

/// What a value is beside the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the reference.
    Reference,
    /// Shown to be better.
    Better,
    /// Shown to be worse.
    Worse,
    /// Better in what was seen; more is not known.
    MaybeBetter,
    /// Worse in what was seen.
    MaybeWorse,
    /// Nothing is shown.
    Open,
}

/// A value.
pub struct ForestRow {
    /// Its name.
    pub name: String,
    /// Middle of the line.
    pub value: f64,
    /// Ends of the line.
    pub interval: Option<(f64, f64)>,
    /// Small marks: the values that the middle is made of.
    pub parts: Vec<f64>,
    /// Colour and mark.
    pub standing: Standing,
}

/// Lines from the best to the worst.
pub struct Forest<'a> {
    /// What it shows.
    pub title: &'a str,
    /// How to read it, in a sentence.
    pub note: &'a str,
    /// Name of the values.
    pub x: &'a str,
    /// The values in their order.
    pub rows: Vec<ForestRow>,
    /// A value with a line through all rows.
    pub reference: Option<f64>,
}

impl Standing {
    /// A mark that needs no colour.
    pub fn mark(self) -> &'static str {
        match self {
            Standing::Reference => "◆",
            Standing::Better => "▲",
            Standing::Worse => "▼",
            Standing::MaybeBetter => "△",
            Standing::MaybeWorse => "▽",
            Standing::Open => "",
        }
    }

    fn color(self) -> &'static str {
        match self {
            Standing::Reference => "var(--ink)",
            Standing::Better | Standing::MaybeBetter => "var(--c2)",
            Standing::Worse | Standing::MaybeWorse => "var(--c7)",
            Standing::Open => "var(--c0)",
        }
    }
}

impl Forest<'_> {
    /// The card with picture and data; nothing without rows.
    pub fn card(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let ends = |r: &ForestRow| -> Vec<f64> {
            let interval = r.interval.iter().flat_map(|i| [i.0, i.1]);
            interval.chain([r.value]).chain(r.parts.iter().copied()).collect()
        };
        let all = || self.rows.iter().flat_map(ends).chain(self.reference);
        let (mut low, mut high) =
            (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        // Values that are all but equal must not fill the picture; around 0 they may.
        let least = LEAST * low.abs().min(high.abs());
        let room = ((high - low) * 0.05).max((least - (high - low)) / 2.0).max(1e-9);
        (low, high) = (low - room, high + room);
        let long = self.rows.iter().any(|r| r.name.chars().count() > LETTERS);
        let (left, line_height) = if long { (RIGHT, ABOVE + LINE) } else { (NAMES, LINE) };
        let height = MARGIN + self.rows.len() as f64 * line_height + AXIS;
        let bottom = height - AXIS;
        let x = Scale { low, high, from: left, to: WIDTH - RIGHT };
        let mut svg = String::new();
        for v in ticks(low, high, 5) {
            let at = x.at(v);
            let _ = write!(
                svg,
                "<line class=\"grid-line\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{MARGIN}\" \
                 y2=\"{bottom}\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 14.0,
                short(v)
            );
        }
        if let Some(v) = self.reference {
            let at = x.at(v);
            let _ = write!(
                svg,
                "<line class=\"reference\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{MARGIN}\" \
                 y2=\"{bottom}\"/>"
            );
        }
        for (i, row) in self.rows.iter().enumerate() {
            let middle = MARGIN + (i + 1) as f64 * line_height - LINE / 2.0;
            svg.push_str(&line(row, &x, middle, long));
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            (left + WIDTH - RIGHT) / 2.0,
            height - 5.0,
            escape(self.x)
        );
        let picture = frame(WIDTH, height, self.title, &svg);
        card(self.title, self.note, &format!("{picture}{}", self.data()))
    }

    fn data(&self) -> String {
        let mut out = format!(
            "<details><summary>data</summary><div class=\"scroll\"><table><tr><th></th>\
             <th>{}</th><th>low</th><th>high</th></tr>",
            escape(self.x)
        );
        for row in &self.rows {
            let end = |v: Option<f64>| v.map_or("–".into(), short);
            let _ = write!(
                out,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&row.name),
                short(row.value),
                end(row.interval.map(|i| i.0)),
                end(row.interval.map(|i| i.1))
            );
        }
        out.push_str("</table></div></details>");
        out
    }
}

/// A row whose line is at `y`: its name above, or left of it.
fn line(row: &ForestRow, x: &Scale, y: f64, above: bool) -> String {
    let letters = if above { ACROSS } else { LETTERS };
    let name = format!("{} {}", row.standing.mark(), clip_middle(&row.name, letters));
    let (at, height, anchor) = match above {
        true => (0.0, y - ABOVE + 2.0, "start"),
        false => (NAMES - 8.0, y + 3.5, "end"),
    };
    let mut out = format!(
        "<g style=\"color:{}\"><title>{}: {}</title><text class=\"name\" x=\"{at:.1}\" \
         y=\"{height:.1}\" text-anchor=\"{anchor}\">{}</text>",
        row.standing.color(),
        escape(&row.name),
        short(row.value),
        escape(name.trim())
    );
    if let Some((low, high)) = row.interval {
        let _ = write!(
            out,
            "<line class=\"range\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            x.at(low),
            x.at(high)
        );
    }
    for v in &row.parts {
        let at = x.at(*v);
        let _ = write!(
            out,
            "<line class=\"tick\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
            y - 5.0,
            y + 5.0
        );
    }
    let _ = write!(
        out,
        "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3.8\"/></g>",
        x.at(row.value)
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_line_and_its_data() {
        let row = |name: &str, value: f64, interval, standing| ForestRow {
            name: name.into(),
            value,
            interval,
            parts: vec![value],
            standing,
        };
        let forest = |rows| Forest { title: "T", note: "", x: "x", rows, reference: Some(0.5) };
        let html = forest(vec![
            row("<a>", 0.5, Some((0.25, 0.75)), Standing::Reference),
            row(&"long ".repeat(20), 0.5, None, Standing::Better),
        ])
        .card();
        assert_eq!(html.matches("class=\"dot\"").count(), 2);
        assert_eq!(html.matches("class=\"range\"").count(), 1);
        assert!(html.contains("<td>&lt;a&gt;</td><td>0.5</td><td>0.25</td><td>0.75</td>"));
        assert!(html.contains("▲ long") && html.contains('…') && !html.contains("NaN"));
        assert!(forest(vec![]).card().is_empty());
        // Names that do not fit beside the lines stand above them, whole.
        let name = "a name of thirty letters, whole";
        let html = forest(vec![row(name, 0.5, None, Standing::MaybeWorse)]).card();
        assert!(html.contains(&format!("text-anchor=\"start\">▽ {name}</text>")), "{html}");
    }
}
