//! What charts share: numbers and names, axes, boxes.

use std::fmt::Write;

/// Width of a chart.
pub const WIDTH: f64 = 420.0;
/// Height of a chart.
pub const HEIGHT: f64 = 230.0;
/// Margin for the values of y.
pub const LEFT: f64 = 48.0;
/// Margin on the right.
pub const RIGHT: f64 = 12.0;
/// Margin above.
pub const TOP: f64 = 10.0;
/// Margin for the values of x and their name.
pub const BOTTOM: f64 = 36.0;
/// Text inside of HTML.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// The first letters of a text, with a mark where it goes on.
pub fn clip(text: &str, letters: usize) -> String {
    match text.chars().count() > letters {
        true => text.chars().take(letters.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_string(),
    }
}

/// Both ends of a name, with a mark between them: names that begin alike stay apart.
pub fn clip_middle(text: &str, letters: usize) -> String {
    let all: Vec<char> = text.chars().collect();
    if all.len() <= letters {
        return text.to_string();
    }
    let end = letters / 2;
    let start = letters.saturating_sub(end + 1);
    all[..start].iter().chain(&['…']).chain(&all[all.len() - end..]).collect()
}

/// A number for people: up to four significant digits.
pub fn short(v: f64) -> String {
    if v == 0.0 {
        return "0".into();
    }
    let digits = (3.0 - v.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{v:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

/// Round values across a range, about `n` of them.
pub fn ticks(low: f64, high: f64, n: usize) -> Vec<f64> {
    let raw = (high - low) / n as f64;
    if raw <= 0.0 || !raw.is_finite() {
        return vec![low];
    }
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * power).find(|s| *s >= raw * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// From values to places.
pub struct Scale {
    /// Smallest value.
    pub low: f64,
    /// Largest value.
    pub high: f64,
    /// Place of the smallest.
    pub from: f64,
    /// Place of the largest.
    pub to: f64,
}

impl Scale {
    /// The place of a value; the middle where all are equal.
    pub fn at(&self, v: f64) -> f64 {
        let range = self.high - self.low;
        let share = if range > 0.0 { (v - self.low) / range } else { 0.5 };
        self.from + share * (self.to - self.from)
    }
}

/// A box with heading, note and content.
pub fn card(title: &str, note: &str, content: &str) -> String {
    format!(
        "<section class=\"card\"><h3>{}</h3><p>{}</p>{content}</section>",
        escape(title),
        escape(note)
    )
}

/// An SVG element.
pub fn frame(width: f64, height: f64, title: &str, content: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">{content}</svg>",
        escape(title)
    )
}

/// Horizontal lines at values of y (place and text), and the axis of x with its name.
pub fn grid(marks: &[(f64, String)], name: &str) -> String {
    let bottom = HEIGHT - BOTTOM;
    let mut out = String::new();
    for (at, text) in marks {
        let _ = write!(
            out,
            "<line class=\"grid-line\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 3.5
        );
    }
    let _ = write!(
        out,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        WIDTH - RIGHT,
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 5.0,
        escape(name)
    );
    out
}

/// A value of x below its axis.
pub fn x_label(at: f64, text: &str) -> String {
    let below = HEIGHT - BOTTOM + 15.0;
    format!("<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{}</text>", escape(text))
}

/// Powers of ten up to a logarithm.
pub fn powers(high: f64) -> Vec<f64> {
    (0..=high.max(0.0) as i32).map(f64::from).collect()
}

/// Letters of a name in a legend.
const ENTRY: usize = 40;

/// One line of a legend.
pub fn entry(color: usize, name: &str) -> String {
    format!(
        "<li style=\"color:var(--c{})\" title=\"{}\"><i></i><span>{}</span></li>",
        color % 8,
        escape(name),
        escape(&clip_middle(name, ENTRY))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_clipped() {
        assert_eq!((clip("größe", 5).as_str(), clip("größer", 5).as_str()), ("größe", "größ…"));
        assert_eq!(clip_middle("a long name 12", 8), "a l…e 12");
        assert_eq!(
            (clip_middle("same", 4), clip_middle("größer", 5)),
            ("same".into(), "gr…er".into())
        );
    }

    #[test]
    fn axes_have_round_values() {
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(0.0, 37.0, 4), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(ticks(2.0, 2.0, 4), [2.0]);
        assert_eq!(["0", "0.125", "1234", "0.5"], [0.0, 0.125, 1234.0, 0.5].map(short)[..]);
    }
}
