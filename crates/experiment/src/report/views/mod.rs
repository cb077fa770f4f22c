//! What the figures of a comparison look like from other sides. Each file makes one view out of
//! systems; how it is drawn is left to the caller.

pub mod ablation;
pub mod breakdown;
pub mod choice;
pub mod cost;
pub mod curves;
pub mod examples;
pub mod responses;
pub mod users;
