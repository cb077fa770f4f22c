//! The compute layer: flat parameters, packed batches, fused blocks with their own backward pass,
//! optimisers and schedules.
//!
//! A [`Model`] runs forward and backward over one micro-batch that fits the cache; threads work on
//! different micro-batches. Between the two passes an [`Objective`] reads the named outputs in the
//! [`Bag`] and writes their gradients. Plain candle models join through the same trait.

pub mod algebra;
pub mod bag;
pub mod batch;
pub mod candle;
pub mod device;
pub mod directions;
pub mod gradcheck;
pub mod hstu;
pub mod kernels;
pub mod lanes;
pub mod layers;
pub mod mlp;
pub mod model;
pub mod optim;
pub mod parallel;
pub mod params;
pub mod retrieval;
pub mod schedule;
pub mod vector_file;

pub use bag::{Bag, Field};
pub use batch::{Batch, BatchBuilder, Target};
pub use device::{Device, Engine};
pub use directions::Directions;
pub use mlp::{Mlp, MlpLayer, MlpState};
pub use model::{Model, Objective, ObjectiveInput, Pass, Terms, Workspace};
pub use params::{Init, Params, Slot};
