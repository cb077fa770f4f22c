//! The order of all suffixes of a text, in linear time: SA-IS (Nong, Zhang and Chan 2009, "Linear
//! suffix array construction by almost pure induced-sorting").
//!
//! A suffix is small (S) when it is less than the next one, else large (L); the end counts as
//! smaller than everything. S suffixes behind an L suffix are the leftmost of their kind (LMS).
//! Once these are in order, one pass puts the L suffixes in order and one pass back the S suffixes.
//! The LMS suffixes are put in order by the same two passes over their first parts and, where equal
//! parts are left, by the same function over the numbers of the parts.

const NONE: u32 = u32::MAX;

/// Starts of the suffixes, least first. Symbols are below `symbols`; the text is shorter than
/// 2^32 - 1.
pub(super) fn sort(text: &[u32], symbols: usize) -> Vec<u32> {
    let n = text.len();
    let mut small = vec![false; n];
    for i in (0..n.saturating_sub(1)).rev() {
        small[i] = text[i] < text[i + 1] || (text[i] == text[i + 1] && small[i + 1]);
    }
    let is_lms = |i: usize| i > 0 && small[i] && !small[i - 1];
    let lms: Vec<u32> = (1..n).filter(|&i| is_lms(i)).map(|i| i as u32).collect();
    let mut heads = vec![0u32; symbols + 1];
    text.iter().for_each(|&s| heads[s as usize + 1] += 1);
    for s in 0..symbols {
        heads[s + 1] += heads[s];
    }

    let mut order = vec![NONE; n];
    induce(text, &small, &heads, &lms, &mut order);
    if lms.len() < 2 {
        return order;
    }
    // Numbers of the parts between LMS suffixes, by their order; part k begins at lms[k].
    let part_of = {
        let mut part_of = vec![NONE; n];
        lms.iter().enumerate().for_each(|(k, &i)| part_of[i as usize] = k as u32);
        part_of
    };
    let end = |k: u32| lms.get(k as usize + 1).map_or(n, |&i| i as usize + 1);
    let part = |k: u32| &text[lms[k as usize] as usize..end(k)];
    // The last part runs to the end of the text, which no other part has.
    let same = |a: u32, b: u32| {
        let last = lms.len() as u32 - 1;
        a != last && b != last && part(a) == part(b)
    };
    let mut numbers = vec![0u32; lms.len()];
    let (mut number, mut previous) = (0, None);
    for k in order.iter().map(|&i| part_of[i as usize]).filter(|&k| k != NONE) {
        number += u32::from(previous.is_some_and(|p| !same(p, k)));
        numbers[k as usize] = number;
        previous = Some(k);
    }
    drop(part_of);
    let sorted: Vec<u32> = sort_numbers(&numbers, number as usize + 1);
    let sorted: Vec<u32> = sorted.iter().map(|&k| lms[k as usize]).collect();
    order.fill(NONE);
    induce(text, &small, &heads, &sorted, &mut order);
    order
}

/// Places of the suffixes of the parts' numbers.
fn sort_numbers(numbers: &[u32], distinct: usize) -> Vec<u32> {
    if distinct < numbers.len() {
        return sort(numbers, distinct);
    }
    let mut places = vec![0; numbers.len()];
    numbers.iter().enumerate().for_each(|(k, &number)| places[number as usize] = k as u32);
    places
}

/// Fills `order`, all `NONE`, from LMS suffixes in their order.
fn induce(text: &[u32], small: &[bool], heads: &[u32], lms: &[u32], order: &mut [u32]) {
    let Some(last) = text.len().checked_sub(1) else { return };
    let symbol = |i: usize| text[i] as usize;
    let mut tails: Vec<u32> = heads[1..].to_vec();
    for &i in lms.iter().rev() {
        let tail = &mut tails[symbol(i as usize)];
        *tail -= 1;
        order[*tail as usize] = i;
    }
    let mut next = heads.to_vec();
    let mut put = |order: &mut [u32], i: usize| {
        let head = &mut next[symbol(i)];
        order[*head as usize] = i as u32;
        *head += 1;
    };
    // The end of the text comes before everything and has the last suffix, an L, before it.
    put(order, last);
    for at in 0..order.len() {
        let i = order[at];
        if i != NONE && i > 0 && !small[i as usize - 1] {
            put(order, i as usize - 1);
        }
    }
    tails.copy_from_slice(&heads[1..]);
    for at in (0..order.len()).rev() {
        let i = order[at];
        if i != NONE && i > 0 && small[i as usize - 1] {
            let tail = &mut tails[symbol(i as usize - 1)];
            *tail -= 1;
            order[*tail as usize] = i - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(text: &[u32]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..text.len() as u32).collect();
        order.sort_by_key(|&i| &text[i as usize..]);
        order
    }

    #[test]
    fn texts_that_repeat() {
        let fibonacci = (0..14).fold((vec![0], vec![1, 0]), |(a, b), _| {
            let next = [&b[..], &a[..]].concat();
            (b, next)
        });
        let texts = [vec![], vec![0], vec![0; 50], fibonacci.1, (0..40).rev().collect()];
        for text in texts {
            assert_eq!(sort(&text, 40), naive(&text));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn equals_sorting(
            symbols in 1u32..6,
            text in proptest::collection::vec(0u32..1_000, 0..120),
            again in 0usize..3,
        ) {
            let once: Vec<u32> = text.iter().map(|s| s % symbols).collect();
            let text = vec![once; again + 1].concat();
            prop_assert_eq!(sort(&text, symbols as usize), naive(&text));
        }
    }
}
