//! Linear algebra in fixed order for any number of threads: sparse rows, tall dense matrices, a
//! sketched SVD, small symmetric systems, principal components, the nearest
//! orthogonal matrix.

pub mod dense;
pub mod pca;
pub mod polar;
pub mod solve;
pub mod sparse;
pub mod svd;
