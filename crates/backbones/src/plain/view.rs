//! Which queries of a padded batch see which keys, and the dropout masks of attention weights.

use candle_core::{DType, Device, Result, Tensor};
use sidereal_nn::kernels::attention::Mask;
use sidereal_nn::kernels::dropout::Dropout;

/// What hidden scores get added: their weights become exactly 0 in f32.
const HIDDEN: f64 = 1e9;

/// Query rows `first..first + queries` of a group see its first `keys` key rows (under
/// [`Mask::Causal`] query `i` of them only up to key `i`). One for each span of the fused model, in
/// its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) group: usize,
    pub(crate) first: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
}

/// Attention of `groups x q_len` queries to `groups x k_len` keys.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) groups: usize,
    pub(crate) q_len: usize,
    pub(crate) k_len: usize,
    pub(crate) mask: Mask,
    pub(crate) seen: Vec<Seen>,
}

impl View {
    /// Groups that look at themselves: group `g` at its first `lens[g]` rows.
    pub(crate) fn of_itself(lens: &[usize], len: usize, mask: Mask) -> Self {
        let seen = |(group, &n): (usize, &usize)| Seen { group, first: 0, queries: n, keys: n };
        let seen = lens.iter().enumerate().map(seen).collect();
        View { groups: lens.len().max(1), q_len: len, k_len: len, mask, seen }
    }

    /// Calls `work` with the place of each query's keys in `groups x q_len x k_len`, its span and
    /// its number in it.
    fn for_queries(&self, mut work: impl FnMut(usize, usize, &Seen, usize)) {
        for (s, seen) in self.seen.iter().enumerate() {
            for i in 0..seen.queries {
                let row = seen.group * self.q_len + seen.first + i;
                work(row * self.k_len, s, seen, i);
            }
        }
    }

    /// `groups x 1 x q_len x k_len` of 1 where a query sees a key, else 0.
    pub(crate) fn visible(&self, device: &Device) -> Result<Tensor> {
        let mut bytes = vec![0u8; self.groups * self.q_len * self.k_len];
        self.for_queries(|at, _, seen, i| {
            let keys = match self.mask {
                Mask::Full => seen.keys,
                Mask::Causal => seen.keys.min(i + 1),
            };
            bytes[at..at + keys].fill(1);
        });
        let shape = (self.groups, 1, self.q_len, self.k_len);
        Tensor::from_vec(bytes, shape, device)?.to_dtype(DType::F32)
    }

    /// What is added to scores, from [`View::visible`].
    pub(crate) fn hiding(visible: &Tensor) -> Result<Tensor> {
        visible.affine(HIDDEN, -HIDDEN)
    }

    /// Whether a query sees no key at all: its attended value is zero.
    pub(crate) fn is_blind(&self) -> bool {
        self.seen.iter().any(|s| s.keys == 0 && s.queries > 0)
    }

    /// `groups x heads x q_len x k_len` of 1 where a weight is kept, else 0.
    pub(crate) fn kept(
        &self,
        dropout: Dropout,
        site: u32,
        heads: usize,
        device: &Device,
    ) -> Result<Tensor> {
        let mut bytes = vec![0u8; self.groups * heads * self.q_len * self.k_len];
        let mut span = Vec::new();
        for (s, seen) in self.seen.iter().enumerate().filter(|(_, s)| s.keys > 0) {
            span.resize(seen.queries * seen.keys, 0);
            for head in 0..heads {
                dropout.mask_part(site, (s * heads + head) as u64, &mut span);
                let first = (seen.group * heads + head) * self.q_len + seen.first;
                for (i, mask) in span.chunks_exact(seen.keys).enumerate() {
                    bytes[(first + i) * self.k_len..][..seen.keys].copy_from_slice(mask);
                }
            }
        }
        Tensor::from_vec(bytes, (self.groups, heads, self.q_len, self.k_len), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_nn::Pass;

    #[test]
    fn queries_see_their_keys_and_masks_are_those_of_the_spans() {
        // Two spans in group 0, the second sees fewer keys; group 1 sees none.
        let seen = |group, first, queries, keys| Seen { group, first, queries, keys };
        let seen = vec![seen(0, 0, 2, 3), seen(0, 2, 1, 2), seen(1, 0, 1, 0)];
        let view = View { groups: 2, q_len: 3, k_len: 3, mask: Mask::Full, seen };
        let visible: Vec<f32> =
            view.visible(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        #[rustfmt::skip]
        assert_eq!(visible, [
            1., 1., 1.,  1., 1., 1.,  1., 1., 0.,
            0., 0., 0.,  0., 0., 0.,  0., 0., 0.,
        ]);
        assert!(view.is_blind());
        let dropout = Dropout::new(0.4, Pass::Train { key: 8 });
        let kept = view.kept(dropout, 5, 2, &Device::Cpu).unwrap();
        let kept: Vec<u8> = kept.flatten_all().unwrap().to_vec1().unwrap();
        for head in 0..2 {
            // Span 1, its only query, key 1: index 1 of part `1 * heads + head`.
            let at = (head * 3 + 2) * 3 + 1;
            let want = dropout.keep_part(5, 2 + head as u64, 1) > 0.0;
            assert_eq!(kept[at] == 1, want);
            // Span 0, query 1, key 2.
            let at = (head * 3 + 1) * 3 + 2;
            assert_eq!(kept[at] == 1, dropout.keep_part(5, head as u64, 5) > 0.0);
        }
        let own = View::of_itself(&[1, 2], 2, Mask::Causal);
        let visible: Vec<f32> =
            own.visible(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(visible, [1., 0., 0., 0., 1., 0., 1., 1.]);
        assert!(!own.is_blind());
    }
}
