//! Points with names on two axes, x by powers of ten where it spans many, and the front of those that
//! no other point is better than on both.

use super::svg::{
    BOTTOM, HEIGHT, LEFT, RIGHT, Scale, TOP, WIDTH, card, clip_middle, escape, frame, grid, short,
    ticks, x_label,
};
use std::fmt::Write;

/// Width of a letter and height of a line of names.
const LETTER: f64 = 6.3;
const LINE: f64 = 11.0;
/// Letters of a name.
const LETTERS: usize = 22;
/// Largest x over smallest from which x goes by powers of ten.
const DECADES: f64 = 20.0;
/// Powers of ten from which the values between them have no tick of their own.
const BARE: f64 = 2.5;
/// Least share of the largest value that an axis spans.
const LEAST: f64 = 0.1;
/// Names of points that are not on the front.
const NAMED: usize = 6;

/// A named point.
pub struct Mark {
    /// Its name.
    pub name: String,
    /// Number of its colour; none is grey.
    pub color: Option<usize>,
    /// Place.
    pub x: f64,
    /// Place.
    pub y: f64,
}

/// Which end of an axis is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    /// Small values.
    Low,
    /// Large values.
    High,
}

/// Points, and the line of those that no other is better than at less cost.
pub struct Scatter<'a> {
    /// What it shows.
    pub title: &'a str,
    /// How to read it, in a sentence.
    pub note: &'a str,
    /// Name of x.
    pub x: &'a str,
    /// Name of y.
    pub y: &'a str,
    /// The points.
    pub marks: Vec<Mark>,
    /// The better ends of x and y, where there is a front.
    pub good: Option<[Good; 2]>,
}

/// A place that is taken.
#[derive(Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    w: f64,
    h: f64,
}

/// Where a name may stand.
struct Spot {
    anchor: &'static str,
    x: f64,
    y: f64,
    left: f64,
}

impl Area {
    fn meets(&self, other: &Area) -> bool {
        self.x < other.x + other.w
            && other.x < self.x + self.w
            && self.y < other.y + other.h
            && other.y < self.y + self.h
    }
}

impl Scatter<'_> {
    /// The card with picture and data; nothing with fewer than two points.
    pub fn card(&self) -> String {
        if self.marks.len() < 2 {
            return String::new();
        }
        let bound = |of: fn(&Mark) -> f64, pick: fn(f64, f64) -> f64| {
            self.marks.iter().map(of).reduce(pick).unwrap_or(0.0)
        };
        let (x0, x1) = (bound(|m| m.x, f64::min), bound(|m| m.x, f64::max));
        let (y0, y1) = (bound(|m| m.y, f64::min), bound(|m| m.y, f64::max));
        let log = x0 > 0.0 && x1 / x0 > DECADES;
        let width = |v: f64| if log { v.log10() } else { v };
        // Values that are all but equal must not fill the picture.
        let least = |low: f64, high: f64| LEAST * low.abs().max(high.abs());
        let x_least = if log { 0.0 } else { least(x0, x1) };
        let room = |range: f64, share: f64, least: f64| {
            (range * share).max((least - range) / 2.0).max(1e-9)
        };
        let x_room = room(width(x1) - width(x0), 0.06, x_least);
        let y_room = room(y1 - y0, 0.1, least(y0, y1));
        let x = Scale {
            low: width(x0) - x_room,
            high: width(x1) + x_room,
            from: LEFT,
            to: WIDTH - RIGHT,
        };
        let y = Scale { low: y0 - y_room, high: y1 + y_room, from: HEIGHT - BOTTOM, to: TOP };
        let marks: Vec<(f64, String)> =
            ticks(y.low, y.high, 5).into_iter().map(|v| (y.at(v), short(v))).collect();
        let mut svg = grid(&marks, self.x);
        let x_ticks: Vec<f64> = match log {
            true => {
                let steps: &[f64] = if x.high - x.low < BARE { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let powers = x.low.floor() as i32..=x.high.ceil() as i32;
                let all = powers.flat_map(|p| steps.iter().map(move |s| s * 10f64.powi(p)));
                all.filter(|v| (x.low..=x.high).contains(&v.log10())).collect()
            }
            false => ticks(x.low, x.high, 4),
        };
        x_ticks.iter().for_each(|&v| svg.push_str(&x_label(x.at(width(v)), &count(v))));
        let place = |m: &Mark| (x.at(width(m.x)), y.at(m.y));
        let front = self.front();
        svg.push_str(&path(front.iter().map(|&i| place(&self.marks[i]))));
        svg.push_str(&self.names(&front, &place));
        let picture = frame(WIDTH, HEIGHT, self.title, &svg);
        let front =
            if front.len() > 1 { " Dotted: no other point is better on both axes." } else { "" };
        let note = format!("{}{front}", self.note);
        card(self.title, &note, &format!("{picture}{}", self.data()))
    }

    /// Numbers of the points that no other is better than on both axes, by x.
    fn front(&self) -> Vec<usize> {
        let Some([x, y]) = self.good else { return Vec::new() };
        let worth = |good: Good, v: f64| if good == Good::High { v } else { -v };
        let of = |m: &Mark| (worth(x, m.x), worth(y, m.y));
        let beaten = |m: &Mark| {
            let a = of(m);
            self.marks.iter().map(of).any(|b| b.0 >= a.0 && b.1 >= a.1 && b != a)
        };
        let mut out: Vec<usize> =
            (0..self.marks.len()).filter(|&i| !beaten(&self.marks[i])).collect();
        out.sort_by(|&a, &b| self.marks[a].x.total_cmp(&self.marks[b].x));
        out
    }

    /// Dots, and names where there is room for them: those of the front, then a few others.
    fn names(&self, front: &[usize], place: &dyn Fn(&Mark) -> (f64, f64)) -> String {
        let mut taken: Vec<Area> = self
            .marks
            .iter()
            .map(|m| {
                let (x, y) = place(m);
                Area { x: x - 4.0, y: y - 4.0, w: 8.0, h: 8.0 }
            })
            .collect();
        let mut out = String::new();
        let colored = (0..self.marks.len()).filter(|i| self.marks[*i].color.is_some());
        let mut named: Vec<usize> = front.to_vec();
        named.extend(colored.filter(|i| !front.contains(i)).take(NAMED));
        let others = (0..self.marks.len()).filter(|i| !named.contains(i));
        for (order, i) in named.iter().copied().chain(others).enumerate() {
            let mark = &self.marks[i];
            let (x, y) = place(mark);
            let color = mark.color.map_or("var(--other)".into(), |c| format!("var(--c{})", c % 8));
            let text = clip_middle(&mark.name, LETTERS);
            let w = text.chars().count() as f64 * LETTER;
            let spots = [
                Spot { anchor: "start", x: x + 7.0, y, left: x + 7.0 },
                Spot { anchor: "end", x: x - 7.0, y, left: x - 7.0 - w },
                Spot { anchor: "middle", x, y: y - 11.0, left: x - w / 2.0 },
                Spot { anchor: "middle", x, y: y + 11.0, left: x - w / 2.0 },
            ];
            let mut spots = spots.into_iter().filter(|_| order < named.len());
            let free = spots.find(|spot| {
                let area = Area { x: spot.left, y: spot.y - LINE / 2.0, w, h: LINE };
                let inside = area.x >= LEFT
                    && area.x + w <= WIDTH - RIGHT + 4.0
                    && area.y >= 0.0
                    && area.y + LINE <= HEIGHT - BOTTOM;
                let free = inside && !taken.iter().any(|t| t.meets(&area));
                if free {
                    taken.push(area);
                }
                free
            });
            let _ = write!(
                out,
                "<g style=\"color:{color}\"><circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" \
                 r=\"4.2\"><title>{}: {} at {}</title></circle>",
                escape(&mark.name),
                short(mark.y),
                short(mark.x)
            );
            if let Some(spot) = free {
                let _ = write!(
                    out,
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{}\">{}</text>",
                    spot.x,
                    spot.y + 3.5,
                    spot.anchor,
                    escape(&text)
                );
            }
            out.push_str("</g>");
        }
        out
    }

    fn data(&self) -> String {
        let mut out = format!(
            "<details><summary>data</summary><div class=\"scroll\"><table><tr><th></th>\
             <th>{}</th><th>{}</th></tr>",
            escape(self.x),
            escape(self.y)
        );
        for m in &self.marks {
            let _ = write!(
                out,
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&m.name),
                short(m.x),
                short(m.y)
            );
        }
        out.push_str("</table></div></details>");
        out
    }
}

/// A line through places.
fn path(places: impl Iterator<Item = (f64, f64)>) -> String {
    let mut line = String::new();
    for (i, (x, y)) in places.enumerate() {
        let _ = write!(line, "{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" });
    }
    if line.is_empty() { line } else { format!("<path class=\"front\" d=\"{line}\"/>") }
}

/// A number on an axis: thousands and millions by their letter.
fn count(v: f64) -> String {
    match v.abs() {
        size if size >= 1e6 => format!("{}M", short(v / 1e6)),
        size if size >= 1e4 => format!("{}k", short(v / 1e3)),
        _ => short(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(xs: &[f64]) -> Scatter<'static> {
        let mark =
            |(i, &x): (usize, &f64)| Mark { name: format!("<m{i}>"), color: Some(i), x, y: 0.5 };
        Scatter {
            title: "T",
            note: "",
            x: "s",
            y: "r",
            marks: xs.iter().enumerate().map(mark).collect(),
            good: None,
        }
    }

    #[test]
    fn names_never_lie_on_each_other() {
        // All at one place: at most the four spots around it have names.
        let html = marks(&[1.0; 9]).card();
        assert_eq!(html.matches("class=\"dot\"").count(), 9);
        let named = html.matches("&lt;m").count() - 9 - 9;
        assert!((1..=4).contains(&named), "{named}");
        assert!(!html.contains("NaN"));
    }

    #[test]
    fn wide_ranges_go_by_powers_of_ten() {
        let html = marks(&[1.0, 1000.0]).card();
        for tick in [">1<", ">10<", ">100<", ">1000<"] {
            assert!(html.contains(tick), "{tick}");
        }
        assert!(marks(&[1.0]).card().is_empty());
        let html = marks(&[90_000.0, 3_000_000.0]).card();
        for tick in [">100k<", ">200k<", ">500k<", ">1M<", ">2M<"] {
            assert!(html.contains(tick), "{tick}");
        }
    }

    #[test]
    fn values_that_are_all_but_equal_stay_close() {
        let mut scatter = marks(&[1.0, 2.0]);
        scatter.marks[1].y = 0.5001;
        let html = scatter.card();
        let height = |at: usize| -> f64 {
            let text = html.split("cy=\"").nth(at + 1).unwrap().split('"').next().unwrap();
            text.parse().unwrap()
        };
        // A five-hundredth of the height that a tenth of the value has.
        assert!((height(0) - height(1)).abs() < 1.0);
        assert!(html.contains(">0.5<") && html.contains(">0.48<"), "{html}");
    }

    #[test]
    fn the_front_has_those_that_no_other_beats() {
        let mut scatter = marks(&[1.0, 2.0, 3.0, 4.0, 4.0]);
        for (mark, y) in scatter.marks.iter_mut().zip([0.2, 0.5, 0.4, 0.9, 0.9]) {
            mark.y = y;
        }
        assert!(scatter.front().is_empty());
        // Cheap and good: the third is dearer and worse than the second; equal ones both stay.
        scatter.good = Some([Good::Low, Good::High]);
        assert_eq!(scatter.front(), [0, 1, 3, 4]);
        // Fast and good: the last two are best on both.
        scatter.good = Some([Good::High, Good::High]);
        assert_eq!(scatter.front(), [3, 4]);
        scatter.good = Some([Good::Low, Good::Low]);
        assert_eq!(scatter.front(), [0]);
        assert_eq!(scatter.card().matches("class=\"front\"").count(), 1);
    }
}
