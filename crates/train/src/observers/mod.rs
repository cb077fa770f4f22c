//! Listeners: a progress bar for people, JSON lines for programs, event files for TensorBoard.

mod jsonl;
mod progress;
mod tensorboard;

pub use jsonl::JsonlLog;
pub use progress::ProgressBar;
pub use tensorboard::TensorBoard;
