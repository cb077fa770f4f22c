//! How rows are cut for the cache and for threads. Cuts depend on the rows alone, and rows do not
//! depend on each other, so neither threads nor cuts change a result.

use std::ops::Range;

/// Cuts `rows` into equal parts of at most about `cap`, in steps of eight rows: the tile of a
/// matrix product.
pub(crate) fn equal_parts(rows: Range<usize>, cap: usize, out: &mut Vec<Range<usize>>) {
    let mut parts = rows.len().div_ceil(cap.max(1));
    let mut start = rows.start;
    while parts > 0 {
        let left = rows.end - start;
        let len = if parts == 1 { left } else { ((left / parts + 4) / 8 * 8).clamp(1, left) };
        out.push(start..start + len);
        start += len;
        parts -= 1;
    }
    out.retain(|part| !part.is_empty());
}

/// Joins neighbours up to `cap` rows and cuts what is longer.
pub(crate) fn tiles(
    groups: impl Iterator<Item = Range<usize>>,
    cap: usize,
    out: &mut Vec<Range<usize>>,
) {
    out.clear();
    let mut open = 0..0;
    for group in groups {
        if open.len() + group.len() <= cap && open.end == group.start {
            open.end = group.end;
            continue;
        }
        equal_parts(std::mem::replace(&mut open, group), cap, out);
    }
    equal_parts(open, cap, out);
}

/// Cuts `values`, rows of `cols`, at these ranges of rows, which cover it in order.
pub(crate) fn cut<'a, T>(
    values: &'a mut [T],
    parts: &[Range<usize>],
    cols: usize,
) -> impl Iterator<Item = &'a mut [T]> {
    let mut rest = values;
    parts.iter().map(move |part| {
        let (now, after) = std::mem::take(&mut rest).split_at_mut(part.len() * cols);
        rest = after;
        now
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_whole_tiles() {
        let parts = |n, cap| {
            let mut out = Vec::new();
            equal_parts(0..n, cap, &mut out);
            out.iter().map(Range::len).collect::<Vec<_>>()
        };
        assert_eq!(parts(50, 32), [24, 26]);
        assert_eq!(parts(80, 48), [40, 40]);
        assert_eq!(parts(50, 64), [50]);
        assert_eq!(parts(0, 64), [0; 0]);
    }

    proptest! {
        #[test]
        fn every_row_once_and_none_too_long(
            lens in proptest::collection::vec(0usize..150, 0..20),
            cap in 8usize..100,
        ) {
            let mut at = 0;
            let groups: Vec<Range<usize>> = lens.iter().map(|&l| { at += l; at - l..at }).collect();
            let mut out = Vec::new();
            tiles(groups.into_iter(), cap, &mut out);
            let mut end = 0;
            for part in out {
                prop_assert_eq!(part.start, end);
                prop_assert!(!part.is_empty() && part.len() <= cap + 8);
                end = part.end;
            }
            prop_assert_eq!(end, at);
        }
    }
}
