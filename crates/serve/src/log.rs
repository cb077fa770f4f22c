//! One JSON line a request. A thread writes; a reader that is too slow loses lines (they are
//! counted) and never holds up an answer.

use crate::answer::Timing;
use serde::Serialize;
use std::io::Write;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines that wait to be written.
const WAITING: usize = 4096;

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Unix time in seconds.
    pub time: f64,
    /// HTTP method.
    pub method: String,
    /// Route as in the interface description; what was asked for stays out of the log.
    pub route: String,
    /// HTTP status.
    pub status: u16,
    /// Milliseconds from the head of the request to the answer.
    pub ms: f64,
    /// Which swap the answer comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Where the time went.
    #[serde(flatten)]
    pub timing: Option<Timing>,
}

/// Where lines go.
#[derive(Clone, Default)]
pub struct Log(Option<SyncSender<Line>>);

impl Log {
    /// Writes no line.
    pub fn none() -> Self {
        Log(None)
    }

    /// Writes to `out`, in a thread that ends with the last copy of the log.
    pub fn to(mut out: impl Write + Send + 'static) -> Self {
        let (sender, lines) = sync_channel::<Line>(WAITING);
        std::thread::spawn(move || {
            while let Ok(line) = lines.recv() {
                let mut text = serde_json::to_vec(&line).unwrap_or_default();
                text.push(b'\n');
                // Nobody is left to tell that the log cannot be written.
                if out.write_all(&text).and_then(|()| out.flush()).is_err() {
                    break;
                }
            }
        });
        Log(Some(sender))
    }

    /// Whether lines are wanted.
    pub fn wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Hands a line over; false when it is lost.
    #[must_use]
    pub fn write(&self, line: Line) -> Written {
        match self.0.as_ref().is_none_or(|s| s.try_send(line).is_ok()) {
            true => Written::Yes,
            false => Written::Lost,
        }
    }
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It will be written.
    Yes,
    /// The log was too slow.
    Lost,
}

/// Unix time in seconds, to the millisecond.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as f64 / 1e3
}
