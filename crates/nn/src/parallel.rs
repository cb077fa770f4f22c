//! Pools of threads, and work split over the current one without allocating: every split is a
//! `rayon::join`. How work is split never changes a result, because parts share no sum.

use sidereal_core::{Error, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A pool of `threads` workers, at least one.
pub fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .build()
        .map_err(|e| Error::other("starting threads", e))
}

/// A pool of `threads` workers, at least one, that stays for whoever asks next: for work so short
/// that starting threads would show. Its workers keep what they have in thread-local buffers.
pub fn shared(threads: usize) -> Result<Arc<rayon::ThreadPool>> {
    static POOLS: Mutex<BTreeMap<usize, Arc<rayon::ThreadPool>>> = Mutex::new(BTreeMap::new());
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = pools.get(&threads.max(1)) {
        return Ok(pool.clone());
    }
    let pool = Arc::new(pool(threads)?);
    pools.insert(threads.max(1), pool.clone());
    Ok(pool)
}

/// Calls `work` on every item, as many at a time as the pool has threads for.
pub fn each<T: Send>(items: &mut [T], work: &(impl Fn(&mut T) + Sync)) {
    match items {
        [] => {}
        [one] => work(one),
        many => {
            let (a, b) = many.split_at_mut(many.len() / 2);
            rayon::join(|| each(a, work), || each(b, work));
        }
    }
}

/// Several slices of one length, cut at the same places; those that are not in use are empty.
///
/// Calls `work` on parts of at most `part` values, with the place of the first of them.
pub(crate) fn parts<const N: usize>(
    slices: [&mut [f32]; N],
    part: usize,
    work: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
) {
    parts_from(0, slices, part, work);
}

fn parts_from<const N: usize>(
    first: usize,
    slices: [&mut [f32]; N],
    part: usize,
    work: &(impl Fn(usize, [&mut [f32]; N]) + Sync),
) {
    let len = slices.first().map_or(0, |s| s.len());
    if len <= part {
        return work(first, slices);
    }
    // Whole parts on either side.
    let middle = part * len.div_ceil(part).div_ceil(2);
    let mut right: [&mut [f32]; N] = std::array::from_fn(|_| Default::default());
    let mut rest = right.iter_mut();
    let left = slices.map(|s| {
        let (a, b) = s.split_at_mut(middle.min(s.len()));
        if let Some(place) = rest.next() {
            *place = b;
        }
        a
    });
    rayon::join(
        || parts_from(first, left, part, work),
        || parts_from(first + middle, right, part, work),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_once() {
        for (len, part) in [(0, 4), (1, 4), (4, 4), (5, 4), (1000, 16), (1001, 7)] {
            let (mut a, mut b) = (vec![1f32; len], vec![0f32; len]);
            a.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
            parts([&mut a, &mut b, &mut []], part, &|first, [a, b, none]| {
                assert!(a.len() <= part && a.len() == b.len() && none.is_empty());
                assert!(a.first().is_none_or(|x| *x == first as f32));
                a.iter().zip(b).for_each(|(a, b)| *b += *a + 1.0);
            });
            assert!(b.iter().enumerate().all(|(i, x)| *x == i as f32 + 1.0));
            let mut items = vec![0; len];
            each(&mut items, &|x| *x += 1);
            assert!(items.iter().all(|x| *x == 1));
        }
    }
}
