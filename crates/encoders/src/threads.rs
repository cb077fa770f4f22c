//! Work on as many threads as the run asks for.

use sidereal_core::{Error, Result};

/// Runs `work` in a pool of `threads` workers. Work is cut into pieces of fixed size, so the
/// number of threads changes no result.
pub(crate) fn with_threads<T: Send>(
    threads: usize,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .build()
        .map_err(|e| Error::other("starting encoder threads", e))?
        .install(work)
}
