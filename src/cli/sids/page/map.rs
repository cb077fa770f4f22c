//! Pictures of the codes: items on the plane of their vectors, and prefixes by their size.

use crate::cli::charts::svg::{card, entry, escape, frame};
use sidereal_core::{ItemId, Matrix, Result, SidTable, sid::token};
use sidereal_experiment::ids::Subject;
use sidereal_quantizers::report::Prefixes;
use sidereal_quantizers::report::principal::components;
use std::collections::BTreeMap;
use std::fmt::Write;

/// First codes that have a colour: the largest.
const COLORED: usize = 7;
/// Items on a map; more would only lie on each other.
const ITEMS: usize = 3000;
const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 440.0;
const MARGIN: f64 = 10.0;
/// Letters of titles shown.
const TITLE: usize = 70;
/// Items named in a cell's text.
const NAMED: usize = 4;

/// Colours of the first codes, and what their items are about.
pub struct Palette {
    /// Groups of prefix length 1, largest first: group, items, theme.
    largest: Vec<(u32, usize, String)>,
}

impl Palette {
    /// Of a set of IDs.
    pub fn of(subject: &Subject, prefixes: &Prefixes) -> Self {
        if prefixes.longest() == 0 {
            return Palette { largest: Vec::new() };
        }
        let mut groups: Vec<(u32, usize)> = (0..).zip(prefixes.sizes(1)).collect();
        groups.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        groups.truncate(COLORED);
        let theme = |(group, size): (u32, usize)| {
            let items = &prefixes.order()[prefixes.places(1, group as usize)];
            (group, size, theme(subject, items))
        };
        Palette { largest: groups.into_iter().map(theme).collect() }
    }

    fn color(&self, group: u32) -> String {
        match self.largest.iter().position(|g| g.0 == group) {
            Some(i) => format!("var(--c{i})"),
            None => "var(--other)".into(),
        }
    }

    fn legend(&self, table: &SidTable, prefixes: &Prefixes) -> String {
        let mut out = String::from("<ul class=\"legend\">");
        for (i, (group, size, theme)) in self.largest.iter().enumerate() {
            let code = first_code(table, prefixes, *group as usize);
            let theme = if theme.is_empty() { String::new() } else { format!(" {theme}") };
            out.push_str(&entry(i, &format!("{code}{theme} ({size})")));
        }
        out.push_str("</ul>");
        out
    }
}

/// The first code of a group as a token.
fn first_code(table: &SidTable, prefixes: &Prefixes, group: usize) -> String {
    let item = prefixes.order().get(prefixes.places(1, group).start);
    let sid = item.and_then(|&i| table.first_sid(ItemId(i)));
    sid.and_then(|s| s.first()).map_or(String::new(), |&c| token(0, c))
}

fn title(subject: &Subject, item: u32) -> String {
    let Some(ground) = &subject.ground else { return format!("item {item}") };
    let title = ground.data.dataset.items.title(ItemId(item));
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    match title.chars().count() > TITLE {
        true => title.chars().take(TITLE - 1).chain(['…']).collect(),
        false => title,
    }
}

/// The most common last part of the items' categories.
fn theme(subject: &Subject, items: &[u32]) -> String {
    let column = subject.ground.as_ref().and_then(|g| g.data.dataset.items.column("categories"));
    let Some(column) = column else { return String::new() };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for &item in items {
        let path = column.get(item as usize).split(" | ").next().unwrap_or_default();
        let last = path.rsplit(" > ").next().unwrap_or_default().trim();
        if !last.is_empty() {
            *counts.entry(last).or_insert(0) += 1;
        }
    }
    let most = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)));
    most.map_or(String::new(), |m| m.0.to_string())
}

fn tokens(table: &SidTable, item: u32) -> String {
    let codes = table.first_sid(ItemId(item)).unwrap_or_default();
    codes.iter().enumerate().map(|(l, &c)| token(l, c)).collect()
}

/// Items at their first two principal components, coloured by their first code.
pub fn scatter(
    name: &str,
    subject: &Subject,
    prefixes: &Prefixes,
    palette: &Palette,
) -> Result<String> {
    let vectors = subject.ground.as_ref().and_then(|g| g.vectors.as_ref());
    let (Some(vectors), true) = (vectors.map(Matrix::view), prefixes.longest() > 0) else {
        return Ok(String::new());
    };
    let places = components(vectors)?;
    let order = prefixes.order();
    let stride = order.len().div_ceil(ITEMS).max(1);
    let shown: Vec<u32> = order.iter().copied().step_by(stride).collect();
    let bound = |axis: usize| {
        let mut values: Vec<f64> = shown.iter().map(|&i| places[i as usize][axis]).collect();
        values.sort_by(f64::total_cmp);
        // A few far items must not squeeze all others: they stand at the border.
        let cut = values.len() / 200;
        let low = values.get(cut).copied().unwrap_or(0.0);
        let high = values.get(values.len().saturating_sub(1 + cut)).copied().unwrap_or(0.0);
        (low, (high - low).max(1e-12))
    };
    let (x, y) = (bound(0), bound(1));
    let at = |v: f64, (low, range): (f64, f64), length: f64| {
        MARGIN + ((v - low) / range).clamp(0.0, 1.0) * (length - 2.0 * MARGIN)
    };
    // Coloured items last, so that they lie on top; the largest colour first.
    let first = prefixes.labels(1);
    let layer = |i: u32| palette.largest.iter().position(|g| g.0 == first[i as usize]);
    let mut svg = String::new();
    for wanted in std::iter::once(None).chain((0..palette.largest.len()).map(Some)) {
        let color = wanted.map_or("var(--other)".into(), |c| format!("var(--c{c})"));
        let _ = write!(svg, "<g class=\"item\" style=\"color:{color}\">");
        for &i in shown.iter().filter(|&&i| layer(i) == wanted) {
            let place = places[i as usize];
            let _ = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.2\"><title>{} {}</title></circle>",
                at(place[0], x, WIDTH),
                HEIGHT - at(place[1], y, HEIGHT),
                escape(&title(subject, i)),
                escape(&tokens(&subject.table, i))
            );
        }
        svg.push_str("</g>");
    }
    let heading = format!("Map of {name}");
    let note = format!(
        "{} of {} items at the first two principal components of their vectors; colour: the seven \
         largest first codes, with the most common category of their items.",
        shown.len(),
        order.len()
    );
    let legend = palette.legend(&subject.table, prefixes);
    let picture = frame(WIDTH, HEIGHT, &heading, &svg);
    Ok(card(&heading, &note, &format!("{legend}{picture}")))
}

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Area {
    x: f64,
    y: f64,
    w: f64,
    h: f64,
}

/// First codes as areas of their numbers of items, split by the second code.
pub fn treemap(name: &str, subject: &Subject, prefixes: &Prefixes, palette: &Palette) -> String {
    if prefixes.longest() == 0 || prefixes.order().is_empty() {
        return String::new();
    }
    let mut groups: Vec<(usize, usize)> = prefixes.sizes(1).enumerate().collect();
    groups.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let sizes: Vec<f64> = groups.iter().map(|g| g.1 as f64).collect();
    let whole = Area { x: 0.0, y: 0.0, w: WIDTH, h: HEIGHT };
    let mut svg = String::new();
    let mut names = String::new();
    for (&(group, size), area) in groups.iter().zip(squarify(&sizes, whole)) {
        let items = &prefixes.order()[prefixes.places(1, group)];
        let code = first_code(&subject.table, prefixes, group);
        let theme = theme(subject, items);
        let stride = items.len().div_ceil(NAMED);
        let examples: Vec<String> =
            items.iter().step_by(stride).map(|&i| title(subject, i)).collect();
        let colored = palette.largest.iter().any(|g| g.0 == group as u32);
        let _ = write!(
            svg,
            "<g style=\"color:{}\">{}<title>{} {}: {size} items\n{}</title></rect>{}</g>",
            palette.color(group as u32),
            rect(area, if colored { "cell named" } else { "cell" }, ">"),
            escape(&code),
            escape(&theme),
            escape(&examples.join("\n")),
            parts(prefixes, group, area)
        );
        let fits = |text: &str| text.chars().count() as f64 * 6.2 + 8.0 < area.w;
        let full = format!("{code} {theme}");
        let label = if fits(&full) { full } else { code };
        if area.h > 16.0 && fits(&label) {
            let _ = write!(
                names,
                "<text class=\"cell-name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                area.x + 4.0,
                area.y + 13.0,
                escape(&label)
            );
        }
    }
    svg.push_str(&names);
    let heading = format!("Prefixes of {name}");
    let note = "Each area is a first code, as large as its number of items, split by the second \
                code.";
    card(&heading, note, &frame(WIDTH, HEIGHT, &heading, &svg))
}

/// The second codes inside of a first one, where they are large enough to be seen.
fn parts(prefixes: &Prefixes, group: usize, area: Area) -> String {
    if prefixes.longest() < 2 {
        return String::new();
    }
    let places = prefixes.places(1, group);
    let labels = prefixes.labels(2);
    let items = &prefixes.order()[places];
    let same = |a: &u32, b: &u32| labels[*a as usize] == labels[*b as usize];
    let mut sizes: Vec<f64> = items.chunk_by(same).map(|c| c.len() as f64).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    if sizes.len() < 2 || area.w * area.h / (sizes.len() as f64) < 24.0 {
        return String::new();
    }
    squarify(&sizes, area).into_iter().map(|a| rect(a, "part", "/>")).collect()
}

fn rect(a: Area, class: &str, end: &str) -> String {
    format!(
        "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"{end}",
        a.x, a.y, a.w, a.h
    )
}

/// Areas proportional to sizes (descending, above 0), as square as they come: rows are filled along
/// the shorter side while that makes their worst cell squarer (Bruls, Huizing and van Wijk 2000).
fn squarify(sizes: &[f64], whole: Area) -> Vec<Area> {
    let total: f64 = sizes.iter().sum();
    let scale = whole.w * whole.h / total;
    let mut out = Vec::with_capacity(sizes.len());
    let (mut rest, mut free) = (sizes, whole);
    while !rest.is_empty() {
        let side = free.w.min(free.h).max(1e-9);
        let worst = |row: &[f64]| {
            let sum: f64 = row.iter().sum::<f64>() * scale;
            let (first, last) = (row[0] * scale, row[row.len() - 1] * scale);
            let squared = (sum / side).powi(2);
            (squared / last).max(first / squared)
        };
        let mut n = 1;
        while n < rest.len() && worst(&rest[..n + 1]) <= worst(&rest[..n]) {
            n += 1;
        }
        let (row, after) = rest.split_at(n);
        let thickness = row.iter().sum::<f64>() * scale / side;
        let mut along = 0.0;
        for size in row {
            let length = size * scale / thickness.max(1e-12);
            out.push(match free.w >= free.h {
                true => Area { x: free.x, y: free.y + along, w: thickness, h: length },
                false => Area { x: free.x + along, y: free.y, w: length, h: thickness },
            });
            along += length;
        }
        free = match free.w >= free.h {
            true => Area { x: free.x + thickness, w: (free.w - thickness).max(0.0), ..free },
            false => Area { y: free.y + thickness, h: (free.h - thickness).max(0.0), ..free },
        };
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_proportional_and_inside() {
        // The example of the paper: 6 x 4 with 6, 6, 4, 3, 2, 2, 1.
        let whole = Area { x: 0.0, y: 0.0, w: 6.0, h: 4.0 };
        let sizes = [6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0];
        let areas = squarify(&sizes, whole);
        assert_eq!(areas[0], Area { x: 0.0, y: 0.0, w: 3.0, h: 2.0 });
        assert_eq!(areas[1], Area { x: 0.0, y: 2.0, w: 3.0, h: 2.0 });
        for (a, size) in areas.iter().zip(sizes) {
            assert!((a.w * a.h - size).abs() < 1e-9, "{a:?}");
            assert!(a.x + a.w < 6.0 + 1e-9 && a.y + a.h < 4.0 + 1e-9);
        }
    }
}
