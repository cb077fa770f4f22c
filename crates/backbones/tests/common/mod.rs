//! Small tables and batches for tests of models.
#![allow(dead_code)]

pub mod twins;

use sidereal_core::{Code, CodeOrder, ItemId, SidTable};
use sidereal_nn::{Batch, BatchBuilder};
use std::sync::Arc;

/// Distinct IDs of fixed length: item `i` in the mixed radix of `widths`, scrambled.
pub fn fixed_table(n: usize, widths: &[Code]) -> Arc<SidTable> {
    let total: u32 = widths.iter().product();
    let codes: Vec<Vec<Code>> = (0..n as u32)
        .map(|i| {
            let mut x = (i * 7 + 3) % total;
            widths.iter().map(|w| (x % w, x /= w).0).collect()
        })
        .collect();
    let rows = codes.iter().enumerate().map(|(i, c)| (ItemId(i as u32), &c[..]));
    Arc::new(SidTable::new(n, CodeOrder::Sequence, rows).unwrap())
}

/// One row a sequence: its last item (or every item but the first) is a target.
pub fn batch_of(table: &Arc<SidTable>, sequences: &[&[u32]], every: bool) -> Batch {
    let builder = BatchBuilder::new(Some(table.clone()), 50);
    let mut batch = Batch::default();
    builder.clear(&mut batch);
    for s in sequences {
        let ids: Vec<ItemId> = s.iter().map(|&i| ItemId(i)).collect();
        if every {
            builder.push_every(&mut batch, &ids).unwrap();
        } else {
            let (last, history) = ids.split_last().unwrap();
            builder.push_next(&mut batch, history, *last).unwrap();
        }
    }
    batch
}

/// Names of the matrices of a feed-forward with `mlp_layers` hidden layers.
pub fn feed_forward_names(prefix: &str, mlp_layers: usize) -> Vec<String> {
    match mlp_layers {
        1 => vec![format!("{prefix}.wi"), format!("{prefix}.wo")],
        n => {
            let middle = (1..n).map(|i| format!("{prefix}.wm.{}", i - 1));
            std::iter::once(format!("{prefix}.wi"))
                .chain(middle)
                .chain([format!("{prefix}.wo")])
                .collect()
        }
    }
}
