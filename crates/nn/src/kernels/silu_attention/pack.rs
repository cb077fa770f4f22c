//! Copies of a block's rows of one head, as tiles want them: zeros fill what is missing.

use super::vector::LANES;

/// `count` rows of `width` scaled values, each filled up to whole vectors; rows from `count` to
/// `all` are zero.
pub(super) fn rows(
    from: &[f32],
    ld: usize,
    count: usize,
    width: usize,
    scale: f32,
    all: usize,
    to: &mut [f32],
) {
    let row = width.next_multiple_of(LANES);
    let (live, rest) = to[..all * row].split_at_mut(count * row);
    rest.fill(0.0);
    for (r, to) in live.chunks_exact_mut(row).enumerate() {
        let (values, end) = to.split_at_mut(width);
        end.fill(0.0);
        let from = &from[r * ld..r * ld + width];
        values.iter_mut().zip(from).for_each(|(t, f)| *t = f * scale);
    }
}

/// `count` rows of `width` values as panels of sixteen rows beside each other, one line a column;
/// rows from `count` to `all`, a multiple of sixteen, are zero.
pub(super) fn panels(
    from: &[f32],
    ld: usize,
    count: usize,
    width: usize,
    all: usize,
    to: &mut [f32],
) {
    for (p, panel) in to[..all * width].chunks_exact_mut(LANES * width).enumerate() {
        let live = count.saturating_sub(p * LANES).min(LANES);
        if live < LANES {
            panel.fill(0.0);
        }
        for r in 0..live {
            let from = &from[(p * LANES + r) * ld..][..width];
            for (c, f) in from.iter().enumerate() {
                panel[c * LANES + r] = *f;
            }
        }
    }
}
