//! The nearest of K points, exactly, by a screen in 8-bit integers.
//!
//! Products of 8-bit integers run at four times the rate of f32 ones (AVX-512 VNNI). They are too
//! coarse to name the nearest point, but their error has a bound, and the bound leaves few points
//! to look at in f32. No probability is involved.
//!
//! Rows and points are first moved by the mean of the points, which changes no distance. With a row
//! `r ~ s q` and a point `c ~ t p` (`q`, `p` whole numbers in `-127..=127`):
//!
//! ```text
//! score_k = |c_k|^2 - 2 s t_k (q . p_k)               (squared distance less |r|^2, about)
//! error_k = 2 (|s q| |c_k - t_k p_k| + |r - s q| |c_k|)        (Cauchy-Schwarz, both halves)
//! looked at: every k with score_k - error_k <= min_j (score_j + error_j)
//! ```
//!
//! and slack for the rounding of the f32 arithmetic, about `4e-6 |r| |c|`. The nearest point is
//! always among those looked at; their distances are `sum (r - c)^2` in f32, ties to the lowest.
//!
//! Shapes: rows `n x D` in blocks of [`BLOCK`], points `K x D`, with D padded to whole vectors of 16
//! and K likewise. Cost a row: `K D` integer products, `D` steps of rounding and `D` a point looked
//! at. Where more than one in [`CROWD`] is left the block is given back ([`Screened::Crowded`]) and
//! a plain product is the better way: vectors whose largest value is many times their typical one,
//! points closer to each other than 8 bits can tell, values that are not finite.

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod vnni;

/// Rows that are screened at once: with 768 values each, 48 KiB as bytes and 192 KiB as f32.
pub const BLOCK: usize = 64;

/// A block is crowded when more than one in `CROWD` of its pairs of row and point is left.
pub const CROWD: usize = 8;

/// Rows of a register tile; columns are one to three vectors of [`LANES`].
const HEIGHT: usize = 8;
const LANES: usize = 16;

/// Largest D: sums of `255 * 127 * D` must fit 32 bits.
const MOST: usize = 1 << 16;

/// What came of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screened {
    /// Every row has its nearest point.
    Found,
    /// Too many points are left, or values are beyond what the bound holds for; nothing is written.
    Crowded,
}

/// K points prepared for screening.
#[derive(Debug, Clone, PartialEq)]
pub struct Screen {
    dim: usize,
    points: usize,
    /// Mean of the points, length D.
    shift: Vec<f32>,
    /// `p`, panel by panel, four values of a column together; padding is zero.
    panels: Vec<i8>,
    columns: Columns,
}

/// One number a point for each term of score and error; padding has an infinite score.
#[derive(Debug, Clone, PartialEq, Default)]
struct Columns {
    /// `-128 sum p`: rows are stored as `q + 128`.
    start: Vec<i32>,
    /// `2 t`.
    scale: Vec<f32>,
    /// `|c|^2`.
    square: Vec<f32>,
    /// `2 |c - t p|` and slack.
    error: Vec<f32>,
    /// `2 |c|`.
    length: Vec<f32>,
    /// Rounding of `|c|^2`.
    rounding: Vec<f32>,
}

/// A row in 8 bits.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// `s`.
    scale: f32,
    /// `|s q|`, not less.
    length: f32,
    /// `|r - s q|`, not less.
    error: f32,
}

/// Working memory of a thread.
#[derive(Debug, Default)]
pub struct Scratch {
    /// `q + 128`, `BLOCK x D`.
    bytes: Vec<u8>,
    rows: Vec<Row>,
    /// `score - error`, `BLOCK x K`.
    lower: Vec<f32>,
    /// Lowest `score + error` of each lane, `BLOCK x 16`.
    upper: Vec<f32>,
    /// Points looked at, row by row, and where each row's end.
    left: Vec<u32>,
    ends: Vec<usize>,
}

impl Scratch {
    /// Points that were looked at in f32 in the last block.
    pub fn looked_at(&self) -> usize {
        self.left.len()
    }
}

/// Whether this processor has the instructions and the sizes are worth it: below, bringing a row to
/// bytes takes longer than its products in f32 (measured on Zen 5).
pub fn pays(points: usize, dim: usize) -> bool {
    (64..=MOST).contains(&dim) && points >= 64 && points * dim >= 1 << 14 && available()
}

/// Whether this processor has the instructions.
fn available() -> bool {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        super::isa() == super::Isa::V4 && is_x86_feature_detected!("avx512vnni")
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    false
}

impl Screen {
    /// Prepares points of shape `K x D`; none where the processor cannot, where D is 0 or above
    /// 65536, and where a point is not finite or too long for its square.
    pub fn new(points: &[f32], dim: usize) -> Option<Screen> {
        if !available() || dim == 0 || dim > MOST || points.is_empty() {
            return None;
        }
        let count = points.len() / dim;
        let mut mean = vec![0f64; dim];
        for c in points.chunks_exact(dim) {
            add(c, &mut mean);
        }
        let shift: Vec<f32> = mean.iter().map(|m| (m / count as f64) as f32).collect();
        let width = count.next_multiple_of(LANES);
        let groups = dim.next_multiple_of(LANES) / 4;
        let mut panels = vec![0i8; width * groups * 4];
        let mut columns = Columns::padding(width);
        let (mut moved, mut bytes) = (vec![0f32; dim], vec![0i8; groups * 4]);
        let mut column = 0;
        for panel in widths(width) {
            let out = &mut panels[column * groups * 4..(column + panel) * groups * 4];
            for (j, c) in points.chunks_exact(dim).skip(column).take(panel).enumerate() {
                for ((m, c), s) in moved.iter_mut().zip(c).zip(&shift) {
                    *m = c - s;
                }
                columns.set(column + j, &moved, &mut bytes)?;
                for (group, four) in out.chunks_exact_mut(panel * 4).zip(bytes.chunks_exact(4)) {
                    group[j * 4..j * 4 + 4].copy_from_slice(four);
                }
            }
            column += panel;
        }
        Some(Screen { dim, points: count, shift, panels, columns })
    }

    /// Nearest point of each row of a block (`codes.len() x D`, at most [`BLOCK`] rows), ties to the
    /// lowest, and its squared distance. `points` are those that were prepared; rows that come next
    /// (`ahead`, or none) are fetched into the cache on the way.
    ///
    /// # Panics
    /// When the shapes do not fit: a mistake of the caller.
    pub fn nearest(
        &self,
        points: &[f32],
        rows: &[f32],
        ahead: &[f32],
        scratch: &mut Scratch,
        codes: &mut [u32],
        distances: &mut [f32],
    ) -> Screened {
        let n = codes.len();
        assert!(n <= BLOCK && rows.len() == n * self.dim && distances.len() == n, "shapes");
        assert_eq!(points.len(), self.points * self.dim, "the points that were prepared");
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            vnni::nearest(self, points, rows, ahead, scratch, codes, distances)
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        {
            let _ = (ahead, scratch);
            Screened::Crowded
        }
    }
}

/// Widths of the panels of `width` columns: 48, and the last so that none is 16 if others are.
fn widths(width: usize) -> impl Iterator<Item = usize> {
    let mut left = width;
    std::iter::from_fn(move || {
        let panel = match left {
            0 => return None,
            64 => 32,
            _ => left.min(3 * LANES),
        };
        left -= panel;
        Some(panel)
    })
}

impl Columns {
    fn padding(width: usize) -> Self {
        let zero = || vec![0f32; width];
        Columns {
            start: vec![0; width],
            scale: zero(),
            square: vec![f32::INFINITY; width],
            error: zero(),
            length: zero(),
            rounding: zero(),
        }
    }

    /// Column `k` of a point that was moved; `bytes` receives `p`. None where it is out of range.
    fn set(&mut self, k: usize, point: &[f32], bytes: &mut [i8]) -> Option<()> {
        let scale = round(point, bytes);
        let sums = measure(point, bytes, scale);
        let [square, off, total] = sums;
        if square.is_nan() || square > 1e36 {
            return None;
        }
        let length = square.sqrt();
        self.start[k] = -128 * total as i32;
        self.scale[k] = 2.0 * scale;
        self.square[k] = square as f32;
        self.error[k] = (2.0 * (off.sqrt() + 1e-6 * length)) as f32;
        self.length[k] = (2.0 * length * (1.0 + 1e-6)) as f32;
        // The last term stands for products that vanish.
        self.rounding[k] = (3e-7 * square + 1e-36) as f32;
        Some(())
    }
}

simd! {
    fn add(row: &[f32], sums: &mut [f64]) {
        for (s, x) in sums.iter_mut().zip(row) {
            *s += f64::from(*x);
        }
    }
}

simd! {
    /// Rounds a point to multiples of the returned scale; a point that is too small gives zeros.
    fn round(point: &[f32], bytes: &mut [i8]) -> f32 {
        let mut most = 0f32;
        for x in point {
            most = if x.abs() > most { x.abs() } else { most };
        }
        let (scale, inverse) = scales(most);
        for (b, x) in bytes.iter_mut().zip(point) {
            *b = (x * inverse).round_ties_even() as i8;
        }
        scale
    }
}

/// `s` and `1 / s` of the largest magnitude; zeros for one so small that the inverse would not fit.
#[inline(always)]
fn scales(most: f32) -> (f32, f32) {
    if most < TINY { (0.0, 0.0) } else { (most / 127.0, 127.0 / most) }
}

/// Rows with no value as large count as zero, all of them as error.
const TINY: f32 = 1e-30;

/// `|c|^2`, `|c - t p|^2` and `sum p`.
fn measure(point: &[f32], bytes: &[i8], scale: f32) -> [f64; 3] {
    let mut sums = [[0f64; 3]; 4];
    for (c, p) in point.chunks(4).zip(bytes.chunks(4)) {
        for (i, (c, p)) in c.iter().zip(p).enumerate() {
            let (c, p) = (f64::from(*c), f64::from(*p));
            let off = c - f64::from(scale) * p;
            sums[i][0] += c * c;
            sums[i][1] += off * off;
            sums[i][2] += p;
        }
    }
    std::array::from_fn(|t| sums.iter().map(|s| s[t]).sum())
}

#[cfg(test)]
mod tests;
