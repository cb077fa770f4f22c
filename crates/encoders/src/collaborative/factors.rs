//! Vectors of users and items that one dot product compares.

use sidereal_core::{ItemId, Matrix, Result, UserId};
use sidereal_nn::kernels::math::dot;

/// Vectors of U users and N items in one space of width D.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// Shape `U x D`; row `u` is user `u` of the training histories.
    pub users: Matrix,
    /// Shape `N x D`.
    pub items: Matrix,
}

impl Factors {
    /// From vectors of width `dim`, first those of all users, then those of the items.
    pub(crate) fn from_rows(all: &[f32], users: usize, dim: usize) -> Result<Self> {
        let (u, i) = all.split_at(users * dim);
        Ok(Factors {
            users: Matrix::new(users, dim, u.to_vec())?,
            items: Matrix::new(i.len() / dim, dim, i.to_vec())?,
        })
    }

    /// The dot product that ranks item `item` for user `user`.
    ///
    /// # Panics
    /// When there is no such user or item: a mistake of the caller.
    pub fn score(&self, user: UserId, item: ItemId) -> f32 {
        dot(self.users.row(user.index()), self.items.row(item.index()))
    }
}
