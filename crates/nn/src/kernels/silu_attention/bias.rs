//! The bias of a tile, shared by all heads: one table by distance, one by time.

use super::tile::{AREA, KEYS, QUERIES, Seen};
use super::vector::{LANES, Lines};
use crate::kernels::math::sum_body;
use std::sync::OnceLock;

/// Bias by distance: `table[reach + j - i]` for key `j` and query `i`, both counted from the end
/// of their span's keys, with `reach = table.len() - 1`. Covers spans of up to `table.len()` keys.
/// The causal half of the reference's table of `2 N - 1` values, in its order.
#[derive(Debug, Clone, Copy)]
pub struct PositionBias<'a> {
    /// Values.
    pub table: &'a [f32],
}

/// Bias by the bucket of the time between query and key; see [`time_bucket`].
#[derive(Debug, Clone, Copy)]
pub struct TimeBias<'a> {
    /// One value a bucket; at most [`MAX_BUCKETS`]. The reference has 129.
    pub table: &'a [f32],
    /// Seconds of each query row. The reference takes the time of the next event; see
    /// [`next_times`].
    pub queries: &'a [i64],
    /// Seconds of each key row.
    pub keys: &'a [i64],
}

/// The most buckets that a table can have.
pub const MAX_BUCKETS: usize = 256;

/// Logarithmic width of a bucket.
const BUCKET: f64 = 0.301;

/// First difference of each bucket as f32, infinite beyond what fits 64 bits.
fn starts() -> &'static [f32; MAX_BUCKETS + 1] {
    static STARTS: OnceLock<[f32; MAX_BUCKETS + 1]> = OnceLock::new();
    STARTS.get_or_init(|| {
        std::array::from_fn(|b| {
            let exact = (BUCKET * b as f64).exp();
            // The first f32 that is not below: differences are compared as f32.
            let near = exact as f32;
            match b {
                _ if exact > 2e19 => f32::INFINITY,
                _ if f64::from(near) < exact => near.next_up(),
                _ => near,
            }
        })
    })
}

/// Bucket of two times: `floor(ln(max(1, |a - b|)) / 0.301)`, at most `buckets - 1`. The
/// difference is rounded to f32 first, as the reference does.
pub fn time_bucket(a: i64, b: i64, buckets: usize) -> usize {
    bucket(a.abs_diff(b) as f32, starts()).min(buckets.saturating_sub(1))
}

/// Bucket of a difference, without an upper end below [`MAX_BUCKETS`].
#[inline(always)]
fn bucket(difference: f32, starts: &[f32; MAX_BUCKETS + 1]) -> usize {
    /// `ln 2 / (2^23 * 0.301)`, a little low.
    const STEP: f32 = 2.745_1e-7;
    // The bits of a float are its base-2 logarithm, too low by up to 0.0861 between powers of two
    // and exact at them: a guess that is right or one too low.
    let x = difference.max(1.0);
    let guess = ((x.to_bits() - 1f32.to_bits()) as f32 * STEP) as usize & (MAX_BUCKETS - 1);
    guess + usize::from(x >= starts[guess + 1])
}

/// Turns times of rows into those of queries as the reference has them: each row gets the time of
/// the next row of its span, the last row keeps its own. `spans` give first row and length.
pub fn next_times(times: &mut [i64], spans: &[super::Span]) {
    for span in spans.iter().filter(|s| s.q_len > 0) {
        times.copy_within(span.q + 1..span.q + span.q_len, span.q);
    }
}

/// Where a tile lies in its span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    /// First query row, of all rows.
    pub(super) query: usize,
    /// Query rows.
    pub(super) rows: usize,
    /// First key row, of all rows.
    pub(super) key: usize,
    /// What each row sees.
    pub(super) seen: Seen,
}

/// Buckets of one query and a run of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Buckets {
    /// The same for all keys.
    One(u8),
    /// Of a row: one for each panel of keys. Of a panel: one for each key.
    Many,
}

/// Panels of keys of a tile.
const PANELS: usize = KEYS / LANES;

/// What the time bias of a tile read, for its gradient.
#[derive(Debug)]
struct Found {
    rows: [Buckets; QUERIES],
    panels: [[Buckets; PANELS]; QUERIES],
    keys: Vec<u8>,
}

/// The bias of a tile, and its gradient.
#[derive(Debug)]
pub(super) struct BiasTile {
    values: Lines,
    grads: Lines,
    found: Found,
}

impl Default for BiasTile {
    fn default() -> Self {
        let (mut values, mut grads) = (Lines::default(), Lines::default());
        values.size(AREA);
        grads.size(AREA);
        let found = Found {
            rows: [Buckets::Many; QUERIES],
            panels: [[Buckets::Many; PANELS]; QUERIES],
            keys: vec![0; AREA],
        };
        BiasTile { values, grads, found }
    }
}

/// Gradients of both tables, each empty when it is not wanted. Sums over time buckets have many
/// terms, hence f64.
#[derive(Debug, Default)]
pub(super) struct TableGrads {
    pub(super) position: Vec<f32>,
    pub(super) time: Vec<f64>,
}

impl BiasTile {
    /// Computes the bias of a tile. Values that no row sees are unspecified but finite.
    pub(super) fn fill(
        &mut self,
        tile: &Tile,
        position: Option<PositionBias<'_>>,
        time: Option<TimeBias<'_>>,
    ) -> &[f32] {
        let values = self.values.all_mut();
        fill(tile, position, time, values, &mut self.found, starts());
        self.values.all()
    }

    /// The bias, and room for its gradient, which starts as zero.
    pub(super) fn parts(&mut self) -> Parts<'_> {
        self.grads.all_mut()[..AREA].fill(0.0);
        Parts { values: self.values.all(), grads: self.grads.all_mut() }
    }

    /// Adds the tile's gradient to those of the tables.
    pub(super) fn add_to(&self, tile: &Tile, tables: &mut TableGrads) {
        let TableGrads { position, time } = tables;
        add(tile, self.grads.all(), &self.found, position, time);
    }
}

/// Both halves of a [`BiasTile`].
pub(super) struct Parts<'a> {
    pub(super) values: &'a [f32],
    pub(super) grads: &'a mut [f32],
}

impl Tile {
    /// Entries of a position table of `len` values that a row's keys read.
    #[inline(always)]
    fn places(&self, len: usize, row: usize) -> std::ops::Range<usize> {
        // Key `c` of the tile is `seen.first + row - 1 - c` before the query.
        let start = len as isize - (self.seen.first + row as isize);
        start as usize..start as usize + self.seen.of(row)
    }
}

/// `row += x`, unrolled for whole rows of a tile.
#[inline(always)]
fn add_rows(row: &mut [f32], x: &[f32]) {
    let whole = (<&mut [f32; KEYS]>::try_from(&mut *row), <&[f32; KEYS]>::try_from(x));
    if let (Ok(row), Ok(x)) = whole {
        row.iter_mut().zip(x).for_each(|(r, x)| *r += x);
    } else {
        row.iter_mut().zip(x).for_each(|(r, x)| *r += x);
    }
}

/// The earliest and the latest of some times.
#[derive(Clone, Copy)]
struct Ends {
    low: i64,
    high: i64,
}

impl Ends {
    #[inline(always)]
    fn of(times: &[i64]) -> Self {
        let mut ends = Ends { low: i64::MAX, high: i64::MIN };
        for &t in times {
            ends.low = ends.low.min(t);
            ends.high = ends.high.max(t);
        }
        ends
    }

    /// The bucket of all of them: they lie on one side of `at`, and the nearest has the bucket of
    /// the farthest.
    #[inline(always)]
    fn bucket(self, at: i64, last: usize, starts: &[f32; MAX_BUCKETS + 1]) -> Buckets {
        let low = bucket(at.abs_diff(self.low) as f32, starts).min(last);
        let high = bucket(at.abs_diff(self.high) as f32, starts).min(last);
        let one = low == high && (at >= self.high || at <= self.low);
        if one { Buckets::One(low as u8) } else { Buckets::Many }
    }
}

crate::kernels::simd! {
    /// Bias of a tile, row by row, and the buckets behind it.
    fn fill(
        tile: &Tile,
        position: Option<PositionBias<'_>>,
        time: Option<TimeBias<'_>>,
        values: &mut [f32],
        found: &mut Found,
        starts: &[f32; 257],
    ) {
        values[..AREA].fill(0.0);
        if let Some(p) = position {
            for (r, row) in values.chunks_exact_mut(KEYS).enumerate().take(tile.rows) {
                let n = tile.seen.of(r);
                if n > 0 {
                    add_rows(&mut row[..n], &p.table[tile.places(p.table.len(), r)]);
                }
            }
        }
        let Some(t) = time else { return };
        let keys = &t.keys[tile.key..tile.key + tile.seen.keys];
        let all = Ends::of(keys);
        let mut ends = [all; PANELS];
        for (e, keys) in ends.iter_mut().zip(keys.chunks(LANES)) {
            *e = Ends::of(keys);
        }
        let last = t.table.len() - 1;
        for (r, row) in values.chunks_exact_mut(KEYS).enumerate().take(tile.rows) {
            let (n, at) = (tile.seen.of(r), t.queries[tile.query + r]);
            found.rows[r] = all.bucket(at, last, starts);
            if let Buckets::One(b) = found.rows[r] {
                add_rows(&mut row[..n], &[t.table[usize::from(b)]; KEYS][..n]);
                continue;
            }
            let buckets = &mut found.keys[r * KEYS..(r + 1) * KEYS];
            let panels = row[..n].chunks_mut(LANES).zip(buckets.chunks_exact_mut(LANES));
            for (p, (row, buckets)) in panels.enumerate() {
                found.panels[r][p] = ends[p].bucket(at, last, starts);
                if let Buckets::One(b) = found.panels[r][p] {
                    let value = t.table[usize::from(b)];
                    row.iter_mut().for_each(|x| *x += value);
                    continue;
                }
                for ((b, k), x) in buckets.iter_mut().zip(&keys[p * LANES..]).zip(row) {
                    let found = bucket(at.abs_diff(*k) as f32, starts).min(last);
                    *b = found as u8;
                    *x += t.table[found];
                }
            }
        }
    }
}

crate::kernels::simd! {
    /// Adds a tile's gradient to those of the tables that are not empty.
    fn add(
        tile: &Tile,
        grads: &[f32],
        found: &Found,
        position: &mut [f32],
        time: &mut [f64],
    ) {
        for (r, row) in grads.chunks_exact(KEYS).enumerate().take(tile.rows) {
            let n = tile.seen.of(r);
            if n == 0 {
                continue;
            }
            let row = &row[..n];
            if !position.is_empty() {
                let places = tile.places(position.len(), r);
                add_rows(&mut position[places], row);
            }
            if time.is_empty() {
                continue;
            }
            if let Buckets::One(b) = found.rows[r] {
                time[usize::from(b)] += f64::from(sum_body(row));
                continue;
            }
            let buckets = found.keys[r * KEYS..(r + 1) * KEYS].chunks_exact(LANES);
            for (p, (row, buckets)) in row.chunks(LANES).zip(buckets).enumerate() {
                if let Buckets::One(b) = found.panels[r][p] {
                    time[usize::from(b)] += f64::from(sum_body(row));
                    continue;
                }
                // Times usually rise, so that buckets come in runs.
                let (mut bucket, mut sum) = (buckets[0], 0f32);
                for (b, g) in buckets.iter().zip(row) {
                    if *b != bucket {
                        time[usize::from(bucket)] += f64::from(sum);
                        (bucket, sum) = (*b, 0.0);
                    }
                    sum += g;
                }
                time[usize::from(bucket)] += f64::from(sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_of_known_times() {
        let day = 86_400;
        for (seconds, want) in [
            (0, 0),
            (1, 0),
            (2, 2),
            (60, 13),
            (3600, 27),
            (day, 37),
            (30 * day, 49),
            (365 * day, 57),
        ] {
            assert_eq!(time_bucket(1_000_000_000 + seconds, 1_000_000_000, 129), want, "{seconds}");
            assert_eq!(time_bucket(0, seconds, 129), want, "{seconds}");
        }
        assert_eq!(time_bucket(i64::MIN, i64::MAX, 129), 128);
        assert_eq!(time_bucket(i64::MIN, i64::MAX, 256), 147);
        assert_eq!(time_bucket(0, i64::MAX, 64), 63);
    }

    #[test]
    fn buckets_equal_the_logarithm() {
        let mut x = 1u64;
        while x < 1 << 62 {
            for d in x.saturating_sub(40)..x + 40 {
                // As f32, because that is what is compared.
                let exact = f64::from((d as f32).max(1.0)).ln() / 0.301;
                assert_eq!(time_bucket(0, d as i64, 256), exact as usize, "{d}");
            }
            x += x / 4 + 1;
        }
    }

    #[test]
    fn queries_take_the_time_of_the_next_row() {
        let span = |q, q_len| super::super::Span { q, q_len, k: q, k_len: q_len };
        let times = [1, 2, 3, 4, 5, 6];
        let mut next = times.to_vec();
        next_times(&mut next, &[span(0, 3), span(3, 0), span(4, 2)]);
        assert_eq!(next, [2, 3, 3, 4, 6, 6]);
    }
}
