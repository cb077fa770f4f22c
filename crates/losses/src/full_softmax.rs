//! Softmax over the whole catalogue for dense retrievers.
//!
//! For T queries `q_t` and N item vectors `e_n`, both of width d, and target item `y_t`:
//!
//! `loss = 1/T sum_t CE(s_t, y_t)` with `s_tn = <q_t, e_n> / temperature`,
//!
//! on the vectors as they are or on their directions (`normalize = "cosine"`). GRID trains its
//! dense baseline this way, without a temperature. Scores exist for a few queries at a time, never
//! for all T of them.
//!
//! A vector without a direction ([`sidereal_nn::directions`]) scores 0 with everything and gets no
//! gradient.
//!
//! Terms: `loss`. Cost: three products of T x d x N a pass, one exponential a score; cosine adds a
//! pass over the item vectors for each micro-batch.

use crate::rows::targets_of;
use serde::{Deserialize, Serialize};
use sidereal_core::{Catalog, Entry, Error, Result, options};
use sidereal_nn::kernels::cross_entropy::streamed_cross_entropy;
use sidereal_nn::{Bag, Directions, Objective, ObjectiveInput, Terms};
use std::cell::RefCell;

/// Whether vectors count or only their directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalize {
    /// Dot products of the vectors as they are.
    #[default]
    None,
    /// Queries and items are scaled to length 1 first.
    Cosine,
}

options! {
    /// Options of `full-softmax`.
    pub struct FullSoftmaxOptions {
        /// Scores are divided by this, above 0 (GRID: 1; with cosine 0.05 to 0.1 is common).
        pub temperature: f64 = 1.0,
        /// Vectors as they are (none) or scaled to length 1 (cosine).
        pub normalize: Normalize = Normalize::None,
    }
}

/// The objective `full-softmax`.
#[derive(Debug, Clone)]
pub struct FullSoftmax {
    sharpness: f32,
    normalize: Normalize,
}

impl FullSoftmax {
    /// Checks the options.
    pub fn new(options: FullSoftmaxOptions) -> Result<Self> {
        let sharpness = (1.0 / options.temperature) as f32;
        if options.temperature <= 0.0 || !sharpness.is_normal() {
            let message = format!("{}; allowed: finite numbers above 0", options.temperature);
            return Err(Error::config("objective.temperature", message));
        }
        Ok(FullSoftmax { sharpness, normalize: options.normalize })
    }
}

/// Buffers of one worker thread, kept from call to call.
#[derive(Default)]
struct Buffers {
    targets: Vec<u32>,
    scores: Vec<f32>,
    queries: Directions,
    items: Directions,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl Objective for FullSoftmax {
    fn evaluate(
        &self,
        input: &ObjectiveInput<'_>,
        bag: &mut Bag,
        grads: Option<&mut [f32]>,
        terms: &mut Terms,
    ) -> Result<()> {
        let matrix = bag.items.ok_or_else(|| {
            Error::mismatch("objective `full-softmax` needs a backbone with item vectors")
        })?;
        let field = bag.get_mut("query", 0)?;
        let d = matrix.cols;
        if field.cols != d {
            return Err(Error::mismatch(format!(
                "queries have width {}, item vectors {d}",
                field.cols
            )));
        }
        BUFFERS.with_borrow_mut(|b| {
            b.targets.clear();
            for t in targets_of("query", field, input.batch)? {
                let item = input.batch.targets[t].item;
                if item.index() >= matrix.rows {
                    return Err(Error::mismatch(format!(
                        "target item {} of {} items",
                        item.0, matrix.rows
                    )));
                }
                b.targets.push(item.0);
            }
            let items = matrix.slot.of(input.weights);
            let item_grads = grads.map(|g| matrix.slot.of_mut(g));
            let (k, scale) = (self.sharpness, input.scale);
            let loss = match self.normalize {
                Normalize::None => {
                    let pair = item_grads.map(|g| (&mut field.grad[..], g));
                    let (t, s) = (&b.targets, &mut b.scores);
                    streamed_cross_entropy(&field.value, items, d, t, k, scale, pair, s)
                }
                Normalize::Cosine => {
                    b.queries.set(&field.value, d);
                    b.items.set(items, d);
                    let (q, e) = (&mut b.queries, &mut b.items);
                    let pair = item_grads.is_some().then_some((&mut q.grad[..], &mut e.grad[..]));
                    let (t, s) = (&b.targets, &mut b.scores);
                    let loss = streamed_cross_entropy(&q.unit, &e.unit, d, t, k, scale, pair, s);
                    if let Some(item_grads) = item_grads {
                        q.backward(d, &mut field.grad);
                        e.backward(d, item_grads);
                    }
                    loss
                }
            };
            terms.add("loss", loss, b.targets.len() as u64);
            Ok(())
        })
    }
}

pub(crate) fn register(catalog: &mut Catalog<dyn Objective>) -> Result<()> {
    catalog.add(Entry::new(
        "full-softmax",
        env!("CARGO_PKG_NAME"),
        "Softmax over all items for dense retrievers, dot product or cosine.",
        |options: FullSoftmaxOptions, _: &()| {
            Ok(Box::new(FullSoftmax::new(options)?) as Box<dyn Objective>)
        },
    ))
}
