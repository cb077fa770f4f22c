//! Is a set of IDs any good? Figures that need no recommender.
//!
//! | file | asks |
//! |---|---|
//! | [`health`] | are the codes used, do IDs collide, what do vectors lose? |
//! | [`shape`] | how long are IDs, how full is their space, how even are prefixes? |
//! | [`nearness`] | are items of a shared prefix near each other? |
//! | [`behaviour`] | do items that follow each other share prefixes? |
//! | [`taxonomy`] | do prefixes follow the categories? |
//! | [`prediction`] | what does the last item's ID say about the next item? |
//! | [`agreement`] | are two sets of IDs the same groups? |
//! | [`analysis`] | all of it at once |
//! | [`mod@figures`] | every figure by name |
//! | [`validate`] | which figure goes with the recall of recommenders? |
//! | [`prefixes`] | groups of items by prefix |
//! | [`principal`] | places of items on a map |

pub mod agreement;
pub mod analysis;
pub mod behaviour;
pub mod figures;
pub mod health;
pub mod nearness;
pub mod prediction;
pub mod prefixes;
pub mod principal;
pub mod shape;
pub mod taxonomy;
pub mod validate;

pub use agreement::Agreement;
pub use analysis::{AnalysisInput, SidAnalysis, stability};
pub use behaviour::BehaviourReport;
pub use figures::{Direction, Figure, figures};
pub use health::{LevelReport, SidReport};
pub use nearness::NearnessReport;
pub use prediction::PredictionReport;
pub use prefixes::Prefixes;
pub use shape::ShapeReport;
pub use taxonomy::TaxonomyReport;
pub use validate::{Correlation, correlations};
