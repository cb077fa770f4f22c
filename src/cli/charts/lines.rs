//! Line charts, each with its data in a table below.

use super::svg::{
    BOTTOM, HEIGHT, LEFT, RIGHT, Scale, TOP, WIDTH, card, entry, escape, frame, grid, powers,
    short, ticks, x_label,
};
use std::fmt::Write;

/// Charts with longer curves have no dots and no table.
const DOTS: usize = 24;
/// Distance between lines with intervals.
const ASIDE: f64 = 2.5;
/// So many places that each grow by this factor, and by that one in all, stand at their ratios.
const PLACES: usize = 8;
const FACTOR: f64 = 1.5;
const SPAN: f64 = 4.0;

/// A named line.
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Number of its colour.
    pub color: usize,
    /// Points, x ascending.
    pub points: Vec<(f64, f64)>,
    /// Interval of each point's y; empty where there are none.
    pub ranges: Vec<Option<(f64, f64)>>,
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
        let ends = || series.iter().flat_map(|s| s.ranges.iter().flatten());
        let (low, high) = (
            ends().map(|r| r.0).fold(bound(|p| p.1, f64::min), f64::min),
            ends().map(|r| r.1).fold(bound(|p| p.1, f64::max), f64::max),
        );
        let (mut y0, mut y1) = (height(low).min(base), height(high).max(base));
        let room = ((y1 - y0) * 0.06).max(1e-9);
        y1 += room;
        if y0 < base {
            y0 -= room;
        }
        let places = places(&series);
        let width = |v: f64| if places.is_some() { v.ln() } else { v };
        let x =
            Scale { low: width(x0), high: width(x1), from: LEFT + 6.0, to: WIDTH - RIGHT - 6.0 };
        let x = |v: f64| x.at(width(v));
        let y = Scale { low: y0, high: y1, from: HEIGHT - BOTTOM, to: TOP };
        let whole = points().all(|p| p.0.fract() == 0.0) && x1 - x0 <= 12.0;
        let x_ticks = match (&places, whole) {
            (Some(places), _) => places.clone(),
            (None, true) => (0..=(x1 - x0) as usize).map(|i| x0 + i as f64).collect(),
            (None, false) => ticks(x0, x1, 5),
        };
        let marks = match log {
            true => powers(y1).into_iter().map(|p| (y.at(p), short(10f64.powf(p)))).collect(),
            false => ticks(y0, y1, 5).into_iter().map(|v| (y.at(v), short(v))).collect::<Vec<_>>(),
        };
        let mut svg = grid(&marks, self.x);
        x_ticks.iter().for_each(|v| svg.push_str(&x_label(x(*v), &short(*v))));
        let dots = series.iter().all(|s| s.points.len() <= DOTS);
        if let Some(value) = reference {
            let at = y.at(value);
            let _ = write!(
                svg,
                "<line class=\"reference\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
                WIDTH - RIGHT
            );
        }
        for (i, s) in series.iter().enumerate() {
            // Lines with intervals stand beside each other, or equal ones would hide all but the last.
            let aside = match s.ranges.iter().all(Option::is_none) {
                true => 0.0,
                false => ASIDE * (i as f64 - (series.len() - 1) as f64 / 2.0),
            };
            svg.push_str(&curve(s, &|v| x(v) + aside, &|v| y.at(height(v)), dots));
        }
        let legend = legend(&series, self.reference.map(|r| r.1));
        let picture = frame(WIDTH, HEIGHT, self.title, &svg);
        card(self.title, self.note, &format!("{legend}{picture}{}", self.data(&series)))
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

/// The places of x, where they are few and grow by factors, as widths of a beam do.
fn places(series: &[&Series]) -> Option<Vec<f64>> {
    let mut xs: Vec<f64> = series.iter().flat_map(|s| s.points.iter().map(|p| p.0)).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let (first, last) = (*xs.first()?, *xs.last()?);
    let grow = xs.windows(2).all(|w| w[1] >= FACTOR * w[0]);
    (first > 0.0 && xs.len() <= PLACES && last >= SPAN * first && grow).then_some(xs)
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

fn curve(s: &Series, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64, dots: bool) -> String {
    let mut path = String::new();
    for (i, p) in s.points.iter().enumerate() {
        let _ = write!(path, "{}{:.1} {:.1}", if i == 0 { "M" } else { "L" }, x(p.0), y(p.1));
    }
    let mut out = format!(
        "<g style=\"color:var(--c{})\"><path class=\"curve\" d=\"{path}\"><title>{}</title></path>",
        s.color % 8,
        escape(&s.name)
    );
    for (p, (low, high)) in s.points.iter().zip(&s.ranges).filter_map(|(p, r)| Some((p, (*r)?))) {
        let _ = write!(
            out,
            "<line class=\"range\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{2:.1}\"/>",
            x(p.0),
            y(low),
            y(high)
        );
    }
    if dots {
        for p in &s.points {
            let _ = write!(
                out,
                "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{}: {} at \
                 {}</title></circle>",
                x(p.0),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_hold_their_data_and_escape_names() {
        let chart = |points| Chart {
            title: "T",
            note: "",
            x: "x",
            series: vec![Series { name: "<a&b>".into(), color: 9, points, ranges: vec![] }],
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
    fn places_that_grow_by_factors_stand_evenly() {
        let line = |xs: &[f64]| Series {
            name: "a".into(),
            color: 0,
            points: xs.iter().map(|&x| (x, 0.5)).collect(),
            ranges: vec![Some((0.25, 0.75)); xs.len()],
        };
        let widths = line(&[10.0, 20.0, 40.0, 80.0]);
        assert_eq!(places(&[&widths]), Some(vec![10.0, 20.0, 40.0, 80.0]));
        for even in [&[5.0, 10.0, 15.0, 20.0][..], &[0.0, 1.0, 10.0], &[1.0, 2.0, 3.0], &[1.0]] {
            assert_eq!(places(&[&line(even)]), None);
        }
        let html = Chart {
            title: "T",
            note: "",
            x: "width",
            series: vec![widths],
            heights: Heights::Linear,
            reference: None,
        }
        .card();
        assert_eq!(html.matches("class=\"range\"").count(), 4);
        for tick in [">10<", ">20<", ">40<", ">80<"] {
            assert!(html.contains(tick), "{tick}");
        }
    }
}
