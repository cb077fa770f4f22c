//! The constraints, one a file.
//!
//! [`Trie`] allows the identifiers of a catalogue, [`Subset`] some of its rows, made from items by
//! [`ItemIndex`]; [`LiveIndex`] is a trie that changes, [`SetIndex`] has codes in any order,
//! [`FmIndex`] any part of any text. [`Both`] and [`Without`] are made of others.

mod bits;
pub mod both;
mod build;
pub mod file;
pub mod fm_index;
pub mod item_index;
pub mod live;
mod rows;
mod section;
pub mod set_index;
pub mod subset;
mod sums;
pub mod trie;
mod version;
pub mod without;

pub use both::Both;
pub use file::{Place, Verify};
pub use fm_index::{FmIndex, Occurrence};
pub use item_index::ItemIndex;
pub use live::{Changes, LiveIndex};
pub use rows::Rows;
pub use set_index::SetIndex;
pub use subset::Subset;
pub use trie::Trie;
pub(crate) use trie::partition;
pub use without::Without;
