//! Triples of a user, an item the user met and one the user did not.
//!
//! As in the program of LightGCN's authors: users uniformly, with replacement, so a user of few items counts as
//! much as one of many; one of the user's items uniformly; another item uniformly, drawn again while
//! the user met it. Every [`CHUNK`] triples have their own random stream.

use rand::Rng;
use rayon::prelude::*;
use sidereal_core::{Error, Result, seed};
use sidereal_nn::algebra::sparse::Csr;

/// Triples drawn from one stream.
pub const CHUNK: usize = 1024;

/// Nodes of the graph: users count from 0, items from the number of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Triple {
    /// A user.
    pub user: u32,
    /// An item of the user.
    pub liked: u32,
    /// Any other item.
    pub other: u32,
}

/// Draws triples.
pub struct Sampler<'a> {
    user_items: &'a Csr,
    /// Users with an item, and with an item left.
    users: Vec<u32>,
}

impl<'a> Sampler<'a> {
    /// Over the user-item matrix.
    ///
    /// Errors: every user met no item or all of them.
    pub fn new(user_items: &'a Csr) -> Result<Self> {
        let usable = |&u: &u32| {
            let met = user_items.row_len(u as usize);
            met > 0 && met < user_items.cols()
        };
        let users: Vec<u32> = (0..user_items.rows() as u32).filter(usable).collect();
        if users.is_empty() {
            return Err(Error::input(
                "every user met all items in training or none, so no item can be told from another",
            ));
        }
        Ok(Sampler { user_items, users })
    }

    /// The triples of a step; `purpose` names the random streams.
    pub fn draw(&self, seed: u64, purpose: &str, step: u64, count: usize) -> Vec<Triple> {
        let mut out = vec![Triple { user: 0, liked: 0, other: 0 }; count];
        let pieces = count.div_ceil(CHUNK) as u64;
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
            let index = step * pieces + chunk as u64;
            let mut rng = seed::stream(seed, purpose, index);
            let shift = self.user_items.rows() as u32;
            for t in out {
                let user = self.users[rng.random_range(0..self.users.len())];
                let met = self.user_items.row(user as usize).0;
                let liked = met[rng.random_range(0..met.len())];
                let other = loop {
                    let item = rng.random_range(0..self.user_items.cols() as u32);
                    if met.binary_search(&item).is_err() {
                        break item;
                    }
                };
                *t = Triple { user, liked: shift + liked, other: shift + other };
            }
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_drawn_alike_and_negatives_were_never_met() {
        // u0: i0, u1: i0 i1 i2, u2: nothing, u3: all.
        let columns = vec![0, 0, 1, 2, 0, 1, 2, 3];
        let r = Csr::from_parts(4, vec![0, 1, 4, 4, 8], columns, vec![1.0; 8]);
        let sampler = Sampler::new(&r).unwrap();
        let triples = sampler.draw(1, "test", 0, 6000);
        let of = |user| triples.iter().filter(move |t| t.user == user);
        assert_eq!(of(2).count() + of(3).count(), 0);
        let first = of(0).count() as f64 / 6000.0;
        assert!((first - 0.5).abs() < 0.05, "{first}");
        assert!(of(0).all(|t| t.liked == 4 && t.other > 4));
        assert!(of(1).all(|t| t.liked < 7 && t.other == 7));
        let middle = of(1).filter(|t| t.liked == 5).count() as f64 / of(1).count() as f64;
        assert!((middle - 1.0 / 3.0).abs() < 0.05, "{middle}");
        assert_ne!(sampler.draw(1, "test", 1, 9), sampler.draw(1, "test", 0, 9));
        assert_ne!(sampler.draw(2, "test", 0, 9), sampler.draw(1, "other", 0, 9));
    }

    #[test]
    fn nothing_to_tell_apart_is_an_error() {
        let all = Csr::from_parts(2, vec![0, 2, 2], vec![0, 1], vec![1.0; 2]);
        let message = Sampler::new(&all).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(message.contains("met all items"), "{message}");
    }
}
