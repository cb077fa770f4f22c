//! The constraints, one a file.
//!
//! [`Trie`] allows the identifiers of a catalogue, [`Subset`] some of its rows, made from items by
//! [`ItemIndex`]; [`Without`] takes identifiers away from any other constraint.

mod bits;
pub mod item_index;
mod rows;
pub mod subset;
pub mod trie;
pub mod without;

pub use item_index::ItemIndex;
pub use rows::Rows;
pub use subset::Subset;
pub use trie::Trie;
pub(crate) use trie::partition;
pub use without::Without;
