//! Bars in groups, with their data in a table below.

use super::svg::{
    BOTTOM, HEIGHT, LEFT, RIGHT, Scale, TOP, WIDTH, card, entry, escape, frame, grid, powers,
    short, ticks, x_label,
};
use std::fmt::Write;

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
        let marks = match log {
            true => powers(high).into_iter().map(|p| (y.at(p), short(10f64.powf(p)))).collect(),
            false => {
                ticks(0.0, high, 4).into_iter().map(|v| (y.at(v), short(v))).collect::<Vec<_>>()
            }
        };
        let mut svg = grid(&marks, self.x);
        let group = (WIDTH - LEFT - RIGHT) / self.labels.len().max(1) as f64;
        let bar = (group * 0.7 / self.series.len().max(1) as f64).min(26.0);
        for (g, label) in self.labels.iter().enumerate() {
            let middle = LEFT + (g as f64 + 0.5) * group;
            svg.push_str(&x_label(middle, label));
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
            labels: vec!["1".into(), "2".into()],
            series: vec![("a".into(), vec![1000, 0])],
        };
        let html = bars.card();
        assert!(html.contains("a: 1000 at 1") && html.contains("<td>0</td>"));
        assert_eq!(html.matches("class=\"bar\"").count(), 1);
    }
}
