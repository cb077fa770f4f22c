//! IDs cut behind the first code that no other ID has there.

use super::super::Ids;

/// Keeps of each ID the shortest prefix that no different ID begins with, or the whole ID where
/// another one begins with it. Equal IDs stay equal. ZeroGR (arXiv 2510.10419) cuts so, one ID after
/// the other; its code loses all but one of equal IDs.
///
/// Neighbours in sorted order share the longest prefixes: `O(N L log N)`.
pub fn shortest(ids: &Ids) -> Ids {
    let order = ids.sorted();
    let runs: Vec<&[u32]> =
        order.chunk_by(|&a, &b| ids.get(a as usize) == ids.get(b as usize)).collect();
    let id = |run: &[u32]| ids.get(run[0] as usize);
    let shared = |a: &[u32], b: &[u32]| id(a).iter().zip(id(b)).take_while(|(x, y)| x == y).count();
    let mut keep = vec![0; ids.len()];
    for (r, run) in runs.iter().enumerate() {
        let before = if r > 0 { shared(runs[r - 1], run) } else { 0 };
        let behind = runs.get(r + 1).map_or(0, |next| shared(run, next));
        run.iter().for_each(|&i| keep[i as usize] = before.max(behind) + 1);
    }
    let mut out = Ids::new();
    ids.iter().zip(keep).for_each(|(id, keep)| out.push(&id[..keep.min(id.len())]));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(list: &[Vec<u32>]) -> Vec<Vec<u32>> {
        let mut ids = Ids::new();
        list.iter().for_each(|id| ids.push(id));
        shortest(&ids).iter().map(<[u32]>::to_vec).collect()
    }

    #[test]
    fn cases_of_the_paper() {
        let list = [vec![5, 6, 7], vec![5, 6, 8], vec![9, 1, 2]];
        assert_eq!(cut(&list), [vec![5, 6, 7], vec![5, 6, 8], vec![9]]);
        assert_eq!(cut(&[vec![5, 6], vec![5, 6, 8, 1]]), [vec![5, 6], vec![5, 6, 8]]);
        // Two documents with one ID both come back.
        assert_eq!(cut(&[vec![4, 1], vec![4, 1], vec![3]]), [vec![4], vec![4], vec![3]]);
    }

    proptest! {
        #[test]
        fn the_definition(list in prop::collection::vec(prop::collection::vec(0u32..3, 1..5), 1..40)) {
            for (id, kept) in list.iter().zip(cut(&list)) {
                let free = |n: usize| list.iter().all(|o| o == id || !o.starts_with(&id[..n]));
                let want = (1..=id.len()).find(|&n| free(n)).unwrap_or(id.len());
                prop_assert_eq!(&kept[..], &id[..want]);
            }
        }
    }
}
