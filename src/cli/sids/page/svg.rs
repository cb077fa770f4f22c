//! Line charts and bars as SVG, each with its data in a table below.

use std::fmt::Write;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 36.0;
/// Charts with longer curves have no dots and no table.
const DOTS: usize = 24;

/// A named line.
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Number of its colour.
    pub color: usize,
    /// Points, x ascending.
    pub points: Vec<(f64, f64)>,
}

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heights {
    /// As they are, with 0 or the reference on the axis.
    Linear,
    /// Their logarithms; for counts, from 1.
    Logarithmic,
}

/// A chart of lines over one x axis.
pub struct Chart<'a> {
    /// What it shows.
    pub title: &'a str,
    /// How to read it, in a sentence.
    pub note: &'a str,
    /// Name of x.
    pub x: &'a str,
    /// Lines; those without points are left out.
    pub series: Vec<Series>,
    /// Scale of y.
    pub heights: Heights,
    /// A value of y that means something, with its name.
    pub reference: Option<(f64, &'a str)>,
}

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
fn ticks(low: f64, high: f64, n: usize) -> Vec<f64> {
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
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn at(&self, v: f64) -> f64 {
        let range = self.high - self.low;
        let share = if range > 0.0 { (v - self.low) / range } else { 0.5 };
        self.from + share * (self.to - self.from)
    }
}

impl Chart<'_> {
    /// The card with legend, picture and data; nothing without data.
    pub fn card(&self) -> String {
        let series: Vec<&Series> = self.series.iter().filter(|s| !s.points.is_empty()).collect();
        if series.is_empty() {
            return String::new();
        }
        let points = || series.iter().flat_map(|s| s.points.iter());
        let bound = |of: fn(&(f64, f64)) -> f64, pick: fn(f64, f64) -> f64| {
            points().map(of).reduce(pick).unwrap_or(0.0)
        };
        let (x0, x1) = (bound(|p| p.0, f64::min), bound(|p| p.0, f64::max));
        let log = self.heights == Heights::Logarithmic;
        let height = |v: f64| if log { v.max(1.0).log10() } else { v };
        let reference = self.reference.map(|r| r.0);
        // Zero belongs to every axis of y, or where a reference stands for it, the reference.
        let base = reference.unwrap_or(0.0);
        let (mut y0, mut y1) = (
            height(bound(|p| p.1, f64::min)).min(base),
            height(bound(|p| p.1, f64::max)).max(base),
        );
        let room = ((y1 - y0) * 0.06).max(1e-9);
        y1 += room;
        if y0 < base {
            y0 -= room;
        }
        let x = Scale { low: x0, high: x1, from: LEFT + 6.0, to: WIDTH - RIGHT - 6.0 };
        let y = Scale { low: y0, high: y1, from: HEIGHT - BOTTOM, to: TOP };
        let whole = points().all(|p| p.0.fract() == 0.0) && x1 - x0 <= 12.0;
        let x_ticks = match whole {
            true => (0..=(x1 - x0) as usize).map(|i| x0 + i as f64).collect(),
            false => ticks(x0, x1, 5),
        };
        let y_ticks: Vec<(f64, String)> = match log {
            true => (0..=y1 as i32).map(|p| (f64::from(p), short(10f64.powi(p)))).collect(),
            false => ticks(y0, y1, 5).into_iter().map(|v| (v, short(v))).collect(),
        };
        let mut svg = axes(&x, &y, &x_ticks, &y_ticks, self.x);
        let dots = series.iter().all(|s| s.points.len() <= DOTS);
        if let Some(value) = reference {
            let at = y.at(value);
            let _ = write!(
                svg,
                "<line class=\"reference\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
                WIDTH - RIGHT
            );
        }
        for s in &series {
            svg.push_str(&curve(s, &x, &|v| y.at(height(v)), dots));
        }
        card(
            self.title,
            self.note,
            &legend(&series, self.reference.map(|r| r.1)),
            &frame(WIDTH, HEIGHT, self.title, &svg),
        )
        .replace("</section>", &format!("{}</section>", self.data(&series)))
    }

    /// The numbers, where they are few.
    fn data(&self, series: &[&Series]) -> String {
        let mut xs: Vec<f64> = series.iter().flat_map(|s| s.points.iter().map(|p| p.0)).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        if xs.len() > DOTS {
            return String::new();
        }
        let mut out = format!(
            "<details><summary>data</summary><div class=\"scroll\"><table><tr><th>{}</th>",
            escape(self.x)
        );
        xs.iter().for_each(|x| out.push_str(&format!("<th>{}</th>", short(*x))));
        out.push_str("</tr>");
        for s in series {
            out.push_str(&format!("<tr><td>{}</td>", escape(&s.name)));
            for x in &xs {
                let value = s.points.iter().find(|p| p.0 == *x).map(|p| short(p.1));
                out.push_str(&format!("<td>{}</td>", value.unwrap_or_default()));
            }
            out.push_str("</tr>");
        }
        out.push_str("</table></div></details>");
        out
    }
}

/// A box with heading, note, legend and picture.
pub fn card(title: &str, note: &str, legend: &str, picture: &str) -> String {
    format!(
        "<section class=\"card\"><h3>{}</h3><p>{}</p>{legend}{picture}</section>",
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

fn legend(series: &[&Series], reference: Option<&str>) -> String {
    let mut entries = String::new();
    if series.len() > 1 {
        series.iter().for_each(|s| entries.push_str(&entry(s.color, &s.name)));
    }
    if let Some(name) = reference {
        let _ = write!(entries, "<li><b></b><span>{}</span></li>", escape(name));
    }
    if entries.is_empty() { entries } else { format!("<ul class=\"legend\">{entries}</ul>") }
}

/// One line of a legend.
pub fn entry(color: usize, name: &str) -> String {
    format!("<li style=\"color:var(--c{})\"><i></i><span>{}</span></li>", color % 8, escape(name))
}

fn axes(x: &Scale, y: &Scale, x_ticks: &[f64], y_ticks: &[(f64, String)], name: &str) -> String {
    let mut out = String::new();
    for (v, text) in y_ticks {
        let at = y.at(*v);
        let _ = write!(
            out,
            "<line class=\"grid-line\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 3.5
        );
    }
    let bottom = HEIGHT - BOTTOM;
    for v in x_ticks {
        let at = x.at(*v);
        let _ = write!(
            out,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 15.0,
            short(*v)
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

fn curve(s: &Series, x: &Scale, y: &dyn Fn(f64) -> f64, dots: bool) -> String {
    let mut path = String::new();
    for (i, p) in s.points.iter().enumerate() {
        let _ = write!(path, "{}{:.1} {:.1}", if i == 0 { "M" } else { "L" }, x.at(p.0), y(p.1));
    }
    let mut out = format!(
        "<g style=\"color:var(--c{})\"><path class=\"curve\" d=\"{path}\"><title>{}</title></path>",
        s.color % 8,
        escape(&s.name)
    );
    if dots {
        for p in &s.points {
            let _ = write!(
                out,
                "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{}: {} at \
                 {}</title></circle>",
                x.at(p.0),
                y(p.1),
                escape(&s.name),
                short(p.1),
                short(p.0)
            );
        }
    }
    out.push_str("</g>");
    out
}

/// Groups of bars: a group a label, a bar a series, on a logarithmic axis from 1 where `counts`
/// span more than two powers of ten.
pub struct Bars<'a> {
    /// What it shows.
    pub title: &'a str,
    /// How to read it, in a sentence.
    pub note: &'a str,
    /// Name of the groups.
    pub x: &'a str,
    /// Labels of the groups.
    pub labels: Vec<String>,
    /// Name and one count a label.
    pub series: Vec<(String, Vec<usize>)>,
}

impl Bars<'_> {
    /// The card with legend, picture and data.
    pub fn card(&self) -> String {
        let most = self.series.iter().flat_map(|s| s.1.iter()).copied().max().unwrap_or(0);
        let log = most > 200;
        let value = |count: usize| match log {
            true => (count as f64).max(0.5).log10(),
            false => count as f64,
        };
        let low = if log { 0.5f64.log10() } else { 0.0 };
        let high = value(most.max(1)) * 1.06;
        let y = Scale { low, high, from: HEIGHT - BOTTOM, to: TOP };
        let bottom = HEIGHT - BOTTOM;
        let mut svg = String::new();
        let marks: Vec<(f64, String)> = match log {
            true => (0..=high as i32).map(|p| (f64::from(p), short(10f64.powi(p)))).collect(),
            false => ticks(0.0, high, 4).into_iter().map(|v| (v, short(v))).collect(),
        };
        for (v, text) in marks {
            let at = y.at(v);
            let _ = write!(
                svg,
                "<line class=\"grid-line\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 3.5
            );
        }
        let group = (WIDTH - LEFT - RIGHT) / self.labels.len().max(1) as f64;
        let bar = (group * 0.7 / self.series.len().max(1) as f64).min(26.0);
        for (g, label) in self.labels.iter().enumerate() {
            let middle = LEFT + (g as f64 + 0.5) * group;
            let _ = write!(
                svg,
                "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 15.0,
                escape(label)
            );
            for (s, (name, counts)) in self.series.iter().enumerate() {
                let count = counts.get(g).copied().unwrap_or(0);
                if count == 0 {
                    continue;
                }
                let x = middle + (s as f64 - self.series.len() as f64 / 2.0) * bar;
                let at = y.at(value(count));
                let _ = write!(
                    svg,
                    "<rect class=\"bar\" style=\"color:var(--c{})\" x=\"{:.1}\" y=\"{at:.1}\" \
                     width=\"{:.1}\" height=\"{:.1}\" rx=\"1.5\"><title>{}: {count} at \
                     {}</title></rect>",
                    s % 8,
                    x + 0.5,
                    (bar - 1.0).max(1.0),
                    bottom - at,
                    escape(name),
                    escape(label)
                );
            }
        }
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            WIDTH - RIGHT,
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 5.0,
            escape(self.x)
        );
        let names = self.series.iter().enumerate().map(|(i, s)| entry(i, &s.0));
        let legend = match self.series.len() {
            0 | 1 => String::new(),
            _ => format!("<ul class=\"legend\">{}</ul>", names.collect::<String>()),
        };
        let mut data = String::from("<details><summary>data</summary><table><tr><th></th>");
        self.labels.iter().for_each(|l| data.push_str(&format!("<th>{}</th>", escape(l))));
        for (name, counts) in &self.series {
            data.push_str(&format!("</tr><tr><td>{}</td>", escape(name)));
            counts.iter().for_each(|c| data.push_str(&format!("<td>{c}</td>")));
        }
        data.push_str("</tr></table></details>");
        card(self.title, self.note, &legend, &frame(WIDTH, HEIGHT, self.title, &svg))
            .replace("</section>", &format!("{data}</section>"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_values() {
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(0.0, 37.0, 4), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(ticks(2.0, 2.0, 4), [2.0]);
        assert_eq!(["0", "0.125", "1234", "0.5"], [0.0, 0.125, 1234.0, 0.5].map(short)[..]);
    }

    #[test]
    fn charts_hold_their_data_and_escape_names() {
        let chart = |points| Chart {
            title: "T",
            note: "",
            x: "x",
            series: vec![Series { name: "<a&b>".into(), color: 9, points }],
            heights: Heights::Linear,
            reference: Some((0.5, "chance")),
        };
        let html = chart(vec![(1.0, 0.5), (2.0, 0.75)]).card();
        assert!(html.contains("&lt;a&amp;b&gt;: 0.75 at 2") && html.contains("<td>0.75</td>"));
        assert!(html.contains("var(--c1)") && !html.contains("NaN"), "{html}");
        assert!(chart(vec![]).card().is_empty());
        assert!(!chart(vec![(1.0, 0.5)]).card().contains("NaN"));
    }

    #[test]
    fn bars_span_powers_of_ten() {
        let bars = Bars {
            title: "T",
            note: "",
            x: "items",
            labels: vec!["1".into(), "2".into()],
            series: vec![("a".into(), vec![1000, 0])],
        };
        let html = bars.card();
        assert!(html.contains("a: 1000 at 1") && html.contains("<td>0</td>"));
        assert_eq!(html.matches("class=\"bar\"").count(), 1);
    }
}
