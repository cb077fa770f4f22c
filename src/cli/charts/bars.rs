//! Bars in groups, with their data in a table below.

use super::lines::Heights;
use super::svg::{
    BOTTOM, HEIGHT, LEFT, RIGHT, Scale, TOP, WIDTH, card, entry, escape, frame, grid, powers,
    short, ticks, x_label,
};
use std::fmt::Write;

/// Groups of bars: a group a label, a bar a series.
pub struct Bars<'a> {
    /// What it shows.
    pub title: &'a str,
    /// How to read it, in a sentence.
    pub note: &'a str,
    /// Name of the groups.
    pub x: &'a str,
    /// Labels of the groups.
    pub labels: Vec<String>,
    /// Name and one value a label, from 0; no bar for what is not known.
    pub series: Vec<BarSeries>,
    /// Numbers of labels whose bars are pale: they rest on little.
    pub pale: Vec<usize>,
    /// Scale of the values; logarithms are for counts.
    pub heights: Heights,
}

/// Bars of one colour.
pub struct BarSeries {
    /// Name in the legend.
    pub name: String,
    /// Number of its colour.
    pub color: usize,
    /// One value a label.
    pub values: Vec<Option<f64>>,
    /// Interval of each value; empty where there are none. What reaches above the picture is cut.
    pub ranges: Vec<Option<(f64, f64)>>,
}

/// Largest share of the highest bar that intervals may add to the picture.
const ROOM: f64 = 1.4;
/// Width of a letter of a label.
const LETTER: f64 = 5.8;

impl Bars<'_> {
    /// The card with legend, picture and data.
    pub fn card(&self) -> String {
        let all = self.series.iter().flat_map(|s| s.values.iter().flatten().copied());
        let most = all.fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        let log = self.heights == Heights::Logarithmic;
        let value = |v: f64| if log { v.max(0.5).log10() } else { v };
        let low = if log { 0.5f64.log10() } else { 0.0 };
        // Intervals have some room, but those of the smallest groups must not flatten all others.
        let ends = self.series.iter().flat_map(|s| s.ranges.iter().flatten().map(|r| r.1));
        let top = ends.fold(most, f64::max).min(most * ROOM);
        let high = value(top) * 1.06;
        let y = Scale { low, high, from: HEIGHT - BOTTOM, to: TOP };
        let bottom = HEIGHT - BOTTOM;
        let marks = match log {
            true => powers(high).into_iter().map(|p| (y.at(p), short(10f64.powf(p)))).collect(),
            false => {
                ticks(0.0, high, 4).into_iter().map(|v| (y.at(v), short(v))).collect::<Vec<_>>()
            }
        };
        let mut svg = grid(&marks, self.x);
        let group = (WIDTH - LEFT - RIGHT) / self.labels.len().max(1) as f64;
        let bar = (group * 0.7 / self.series.len().max(1) as f64).min(26.0);
        // Labels must not lie on each other: every second or third one where they are long.
        let longest = self.labels.iter().map(|l| l.chars().count()).max().unwrap_or(0);
        let stride = ((longest as f64 * LETTER + 6.0) / group).ceil().max(1.0) as usize;
        for (g, label) in self.labels.iter().enumerate() {
            let middle = LEFT + (g as f64 + 0.5) * group;
            if g % stride == 0 {
                svg.push_str(&x_label(middle, label));
            }
            for (s, series) in self.series.iter().enumerate() {
                let Some(v) = series.values.get(g).copied().flatten().filter(|v| *v > 0.0) else {
                    continue;
                };
                let x = middle + (s as f64 - self.series.len() as f64 / 2.0) * bar;
                let at = y.at(value(v));
                let _ = write!(
                    svg,
                    "<rect class=\"bar{}\" style=\"color:var(--c{})\" x=\"{:.1}\" y=\"{at:.1}\" \
                     width=\"{:.1}\" height=\"{:.1}\" rx=\"1.5\"><title>{}: {} at \
                     {}</title></rect>",
                    if self.pale.contains(&g) { " pale" } else { "" },
                    series.color % 8,
                    x + 0.5,
                    (bar - 1.0).max(1.0),
                    bottom - at,
                    escape(&series.name),
                    short(v),
                    escape(label)
                );
                if let Some((low, high)) = series.ranges.get(g).copied().flatten() {
                    let end = |v: f64| y.at(value(v)).clamp(TOP, bottom);
                    let _ = write!(
                        svg,
                        "<line class=\"whisker\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" \
                         y2=\"{2:.1}\"/>",
                        x + bar / 2.0,
                        end(low),
                        end(high)
                    );
                }
            }
        }
        let names = self.series.iter().map(|s| entry(s.color, &s.name));
        let legend = match self.series.len() {
            0 | 1 => String::new(),
            _ => format!("<ul class=\"legend\">{}</ul>", names.collect::<String>()),
        };
        let mut data = String::from(
            "<details><summary>data</summary><div class=\"scroll\"><table><tr><th></th>",
        );
        self.labels.iter().for_each(|l| data.push_str(&format!("<th>{}</th>", escape(l))));
        for series in &self.series {
            data.push_str(&format!("</tr><tr><td>{}</td>", escape(&series.name)));
            for v in &series.values {
                data.push_str(&format!("<td>{}</td>", v.map_or("–".into(), short)));
            }
        }
        data.push_str("</tr></table></div></details>");
        let picture = frame(WIDTH, HEIGHT, self.title, &svg);
        card(self.title, self.note, &format!("{legend}{picture}{data}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_span_powers_of_ten() {
        let bars = Bars {
            title: "T",
            note: "",
            x: "items",
            labels: vec!["1".into(), "2".into(), "3".into()],
            series: vec![BarSeries {
                name: "a".into(),
                color: 0,
                values: vec![Some(1000.0), Some(0.0), None],
                ranges: vec![],
            }],
            pale: vec![],
            heights: Heights::Logarithmic,
        };
        let html = bars.card();
        assert!(html.contains("a: 1000 at 1") && html.contains("<td>0</td><td>–</td>"));
        assert_eq!(html.matches("class=\"bar\"").count(), 1);
    }

    #[test]
    fn intervals_stay_inside() {
        let bars = Bars {
            title: "T",
            note: "",
            x: "items",
            labels: vec!["1".into(), "2".into()],
            series: vec![BarSeries {
                name: "a".into(),
                color: 0,
                values: vec![Some(0.5), Some(0.25)],
                ranges: vec![Some((0.45, 0.55)), Some((-3.0, 3.5))],
            }],
            pale: vec![1],
            heights: Heights::Linear,
        };
        let html = bars.card();
        assert_eq!(html.matches("class=\"bar pale\"").count(), 1);
        let bottom = format!("y1=\"{:.1}\" y2=\"{TOP:.1}\"", HEIGHT - BOTTOM);
        assert_eq!(html.matches("class=\"whisker\"").count(), 2);
        assert!(html.contains(&bottom), "{html}");
    }
}
