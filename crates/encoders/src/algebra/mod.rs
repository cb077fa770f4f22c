//! Linear algebra that several encoders share: sparse rows, tall dense matrices, a sketched SVD,
//! small symmetric systems.

pub mod dense;
pub mod solve;
pub mod sparse;
pub mod svd;
