//! Linear algebra in fixed order for any number of threads: sparse rows, tall dense matrices, a
//! sketched SVD, small symmetric systems, the nearest orthogonal matrix.

pub mod dense;
pub mod polar;
pub mod solve;
pub mod sparse;
pub mod svd;
