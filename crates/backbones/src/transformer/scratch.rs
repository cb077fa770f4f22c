//! Work space of a thread. Each use takes it out and puts it back, so that a task which is stolen
//! while another waits gets a fresh one instead of the same.

use sidereal_nn::kernels::attention;
use sidereal_nn::layers::PackedScratch;
use std::cell::Cell;

/// Buffers of one tile of rows: a few hundred KiB, so that a tile stays in a core's cache.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) x: Vec<f32>,
    pub(crate) normed: Vec<f32>,
    pub(crate) stats: Vec<f32>,
    pub(crate) q: Vec<f32>,
    pub(crate) kv: Vec<f32>,
    pub(crate) attended: Vec<f32>,
    /// Attention weights of the prompt, and of generated codes.
    pub(crate) weights: Vec<f32>,
    pub(crate) chain: Vec<f32>,
    pub(crate) top: Vec<f32>,
    pub(crate) logits: Vec<f32>,
    pub(crate) feed_forward: PackedScratch,
    pub(crate) attention: attention::Scratch,
}

/// Keys and values of one unit of prompts, of the layer that is read and of the next one.
#[derive(Default)]
pub(crate) struct UnitScratch {
    pub(crate) q: Vec<f32>,
    pub(crate) kv: Vec<f32>,
    pub(crate) next: Vec<f32>,
}

thread_local! {
    static TILE: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
    static UNIT: Cell<Option<Box<UnitScratch>>> = const { Cell::new(None) };
}

/// Calls `work` with this thread's buffers for a tile.
pub(crate) fn with_tile<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = TILE.take().unwrap_or_default();
    let result = work(&mut scratch);
    TILE.set(Some(scratch));
    result
}

/// Calls `work` with this thread's buffers for a unit.
pub(crate) fn with_unit<R>(work: impl FnOnce(&mut UnitScratch) -> R) -> R {
    let mut scratch = UNIT.take().unwrap_or_default();
    let result = work(&mut scratch);
    UNIT.set(Some(scratch));
    result
}
