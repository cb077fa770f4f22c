//! What every Sidereal crate shares: ids and codes, the SID table, the columns that flow between
//! stages, the traits of the stages themselves, components by name, seeds, errors and events.
//!
//! A stage is a function from columns to columns. Read [`stages`] first: it is the pipeline on one
//! screen. [`component`] explains how a part gets a name in a TOML file.

pub mod component;
pub mod error;
pub mod files;
pub mod ids;
pub mod item_set;
pub mod items;
pub mod matrix;
pub mod observe;
pub mod ranked;
pub mod seed;
pub mod sequences;
pub mod sid;
pub mod stages;

pub use component::{Catalog, Entry, Inner, OptionDoc, Options, Spec};
pub use error::{Category, Error, Result};
pub use ids::{Code, ItemId, UserId};
pub use item_set::ItemSet;
pub use items::{ItemTable, StringColumn};
pub use matrix::{Matrix, MatrixRef};
pub use observe::{Cancel, Event, Observer, Run, Silent};
pub use ranked::RankedLists;
pub use sequences::Sequences;
pub use sid::{CodeOrder, SidTable};
pub use stages::{
    Codebook, Codes, EncoderInput, Identifier, IdentifierInput, ItemEncoder, Quantized, Quantizer,
    QuantizerInput, Recommendation, Recommender, Request, Response,
};

// The `options!` macro expands in other crates and needs this path.
#[doc(hidden)]
pub use serde_json;
