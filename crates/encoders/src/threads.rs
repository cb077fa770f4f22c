//! Work on as many threads as the run asks for.

use sidereal_core::Result;

/// Runs `work` in a pool of `threads` workers. Work is cut into pieces of fixed size, so the
/// number of threads changes no result.
pub(crate) fn with_threads<T: Send>(
    threads: usize,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    sidereal_nn::parallel::pool(threads)?.install(work)
}
