//! Listeners: progress bars for people, JSON lines for programs, event files for TensorBoard.

mod board;
mod course;
mod jsonl;
mod progress;
mod tensorboard;

pub use board::{Board, BoardLine};
pub use jsonl::JsonlLog;
pub use progress::ProgressBar;
pub use tensorboard::TensorBoard;
