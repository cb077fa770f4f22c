//! Identifiers as unordered sets: one code of each of M parallel codebooks, in any order.
//!
//! | file | holds |
//! |---|---|
//! | [`scorer`] | how a model scores the next member, of whichever codebook |
//! | [`index`] | which identifiers hold a partial set |
//! | [`order_free`] | the search over orders (REG4Rec), with [`pruning`] by consistency |

pub mod index;
pub mod order_free;
mod paths;
pub mod pruning;
pub mod scorer;

pub use index::PostingLists;
pub use order_free::{Merge, Next, OrderFree, OrderFreeOptions};
pub use scorer::{SetRow, SetScorer};
