//! A training step allocates nothing once its buffers have grown.

#![allow(missing_docs, clippy::expect_used)]

use sidereal::backbones::Backbone;
use sidereal::backbones::hstu::{Hstu, HstuOptions};
use sidereal::backbones::tiger::{Tiger, TigerOptions};
use sidereal::core::{CodeOrder, ItemId, Result, Run, SidTable};
use sidereal::losses::{CrossEntropy, CrossEntropyOptions, FullSoftmax, FullSoftmaxOptions};
use sidereal::nn::{Batch, BatchBuilder, Objective};
use sidereal::train::source::NoValidation;
use sidereal::train::{Examples, TrainOptions, train};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc`, hence from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const ITEMS: u32 = 64;
const ROWS: usize = 24;

/// Histories of one length; notes the number of allocations when a step's first rows are asked for.
struct Histories {
    builder: BatchBuilder,
    at: Mutex<Vec<u64>>,
    filled: Mutex<usize>,
}

impl Examples for Histories {
    fn len(&self) -> usize {
        ROWS
    }

    fn cost(&self, _: usize) -> usize {
        25
    }

    fn fill(&self, ids: &[usize], batch: &mut Batch) -> Result<()> {
        let mut filled = self.filled.lock().expect("no panic");
        if filled.is_multiple_of(ROWS) {
            self.at.lock().expect("no panic").push(ALLOCATIONS.load(Relaxed));
        }
        *filled += ids.len();
        self.builder.clear(batch);
        for &i in ids {
            let mut items = [ItemId(0); 6];
            for (j, item) in items.iter_mut().enumerate() {
                *item = ItemId((i * 7 + j * 11) as u32 % ITEMS);
            }
            self.builder.push_next(batch, &items[..5], items[5])?;
        }
        Ok(())
    }
}

fn table() -> Arc<SidTable> {
    let codes: Vec<[u32; 3]> = (0..ITEMS).map(|i| [i % 4, i / 4 % 4, i / 16]).collect();
    let rows = codes.iter().enumerate().map(|(i, c)| (ItemId(i as u32), &c[..]));
    Arc::new(SidTable::new(ITEMS as usize, CodeOrder::Sequence, rows).expect("distinct items"))
}

fn tiger() -> Tiger {
    let options = TigerOptions {
        d_model: 32,
        d_ff: 64,
        layers: 1,
        decoder_layers: 1,
        heads: 2,
        d_kv: 16,
        ..TigerOptions::default()
    };
    Tiger::new(options, 3, 4, 0).expect("valid options")
}

fn hstu() -> Hstu {
    let options =
        HstuOptions { d_model: 16, d_qk: 16, d_v: 16, max_history: 5, ..Default::default() };
    Hstu::new(options, ITEMS as usize, 0).expect("valid options")
}

/// Allocations of each step but the first ones and the last.
fn allocations(model: &mut dyn Backbone, objective: &dyn Objective, threads: usize) -> Vec<u64> {
    let histories = Histories {
        builder: BatchBuilder::new(Some(table()), 5),
        at: Mutex::new(Vec::with_capacity(4096)),
        filled: Mutex::new(0),
    };
    let options = TrainOptions {
        batch: ROWS,
        epochs: 300,
        micro_batch: 100,
        // Logs, validations and checkpoints may allocate: none of them between the first and the
        // last step.
        log_every: 1 << 30,
        validate_every: 1e9,
        checkpoint_minutes: 0.0,
        ..TrainOptions::default()
    };
    let dir = tempfile::tempdir().expect("a folder");
    let run = Run { threads, ..Run::quiet(0) };
    train(
        model.as_model_mut(),
        objective,
        &histories,
        &mut NoValidation,
        &options,
        dir.path(),
        &run,
    )
    .expect("trains");
    let at = histories.at.into_inner().expect("no panic");
    assert_eq!(at.len(), 300);
    at.windows(2).map(|w| w[1] - w[0]).skip(100).collect()
}

// One test, so that no other test of this program allocates at the same time.
#[test]
fn a_step_in_steady_state_allocates_nothing() {
    let codes = CrossEntropy::new(CrossEntropyOptions::default()).expect("defaults");
    let items = FullSoftmax::new(FullSoftmaxOptions::default()).expect("defaults");
    let alone = allocations(&mut tiger(), &codes, 1);
    assert!(alone.iter().all(|n| *n == 0), "{alone:?}");
    let alone = allocations(&mut hstu(), &items, 1);
    assert!(alone.iter().all(|n| *n == 0), "{alone:?}");
    // With two threads a buffer grows when a thread meets its first micro-batch, at some step.
    let two = allocations(&mut tiger(), &codes, 2);
    let with = two.iter().filter(|n| **n > 0).count();
    assert!(with <= 2, "{two:?}");
}
