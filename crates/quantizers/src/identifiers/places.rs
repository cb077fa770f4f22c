//! Which IDs are taken, as a tree of counts: how many below each prefix.

use sidereal_core::Code;
use std::collections::HashMap;

/// Counts of taken IDs below every prefix of one. Nodes are prefixes, 0 the empty one. Cost of
/// every method: one look-up; memory about 40 bytes a distinct prefix.
pub(super) struct Places {
    children: HashMap<(u32, Code), u32>,
    taken: Vec<u64>,
    /// IDs that a prefix of each length has room for.
    room: Vec<u64>,
}

/// The empty prefix.
pub(super) const ROOT: u32 = 0;

impl Places {
    /// No ID is taken; IDs have one code a level, below its width.
    pub fn new(widths: &[u32]) -> Self {
        let mut room = vec![1u64; widths.len() + 1];
        for l in (0..widths.len()).rev() {
            room[l] = room[l + 1].saturating_mul(u64::from(widths[l]));
        }
        Places { children: HashMap::new(), taken: vec![0], room }
    }

    /// IDs that are free.
    pub fn left(&self) -> u64 {
        self.room[0].saturating_sub(self.taken[ROOT as usize])
    }

    /// Whether an ID is taken.
    pub fn taken(&self, id: &[Code]) -> bool {
        self.taken.len() > 1 && self.find(id).is_some()
    }

    /// Takes one ID below the child: counts it there alone.
    pub fn take(&mut self, node: u32, code: Code) -> u32 {
        let next = self.taken.len() as u32;
        let child = *self.children.entry((node, code)).or_insert(next);
        if child == next {
            self.taken.push(0);
        }
        self.taken[child as usize] += 1;
        child
    }

    /// Takes an ID, or one somewhere below the prefix `codes`: counts it at all prefixes.
    pub fn take_path(&mut self, codes: &[Code]) -> u32 {
        self.taken[ROOT as usize] += 1;
        codes.iter().fold(ROOT, |node, &code| self.take(node, code))
    }

    /// The node of a prefix, if an ID below it is taken.
    pub fn find(&self, prefix: &[Code]) -> Option<u32> {
        prefix.iter().try_fold(ROOT, |node, &code| self.children.get(&(node, code)).copied())
    }

    /// Whether an ID is free below the code that follows a prefix of `level` codes.
    pub fn free(&self, node: Option<u32>, level: usize, code: Code) -> bool {
        let child = node.and_then(|node| self.children.get(&(node, code)));
        child.is_none_or(|&child| self.taken[child as usize] < self.room[level + 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_hand() {
        let mut p = Places::new(&[2, 3]);
        assert_eq!(p.left(), 6);
        p.take_path(&[0, 1]);
        assert!(
            p.free(Some(ROOT), 0, 0) && !p.free(p.find(&[0]), 1, 1) && p.free(p.find(&[0]), 1, 0)
        );
        p.take_path(&[0, 0]);
        let node = p.take_path(&[0]); // somewhere below 0
        assert!(!p.free(Some(ROOT), 0, 0) && p.free(Some(node), 1, 2) && p.free(None, 1, 0));
        p.take(node, 2);
        assert!(!p.free(Some(node), 1, 2) && p.find(&[1]).is_none());
        assert_eq!(p.left(), 3);
        assert!(p.taken(&[0, 2]) && !p.taken(&[1, 2]));
        assert_eq!(Places::new(&[u32::MAX; 5]).left(), u64::MAX);
    }
}
