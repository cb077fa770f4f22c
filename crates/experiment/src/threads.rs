//! Thread pools of the size that the run asks for.

use sidereal_core::{Error, Result};

/// A pool of `threads` workers.
pub fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .build()
        .map_err(|e| Error::other("starting threads", e))
}
