//! One JSON line a request. A thread writes; a reader that is too slow loses lines (they are
//! counted) and never holds up an answer.

use crate::answer::Timing;
use serde::Serialize;
use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Lines that wait to be written.
const WAITING: usize = 4096;
/// How long the end of the service waits for a reader of the log.
const LAST_WAIT: Duration = Duration::from_secs(2);

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
#[derive(Default)]
pub struct Log(Mutex<Option<Writer>>);

struct Writer {
    lines: SyncSender<Line>,
    /// Closed by the thread when it ends.
    ended: Receiver<()>,
}

impl Log {
    /// Writes no line.
    pub fn none() -> Self {
        Log::default()
    }

    /// Writes to `out`, in a thread of its own.
    pub fn to(mut out: impl Write + Send + 'static) -> Self {
        let (sender, lines) = sync_channel::<Line>(WAITING);
        let (end, ended) = sync_channel(0);
        std::thread::spawn(move || {
            let _end: SyncSender<()> = end;
            while let Ok(line) = lines.recv() {
                let mut text = serde_json::to_vec(&line).unwrap_or_default();
                text.push(b'\n');
                // Nobody is left to tell that the log cannot be written.
                if out.write_all(&text).and_then(|()| out.flush()).is_err() {
                    break;
                }
            }
        });
        Log(Mutex::new(Some(Writer { lines: sender, ended })))
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all lines are written, but no longer than two seconds, and takes no more.
    pub fn close(&self) {
        let writer = self.writer().take();
        if let Some(Writer { lines, ended }) = writer {
            drop(lines);
            // Nothing is ever sent: the end of the thread, or of the time.
            let _ = ended.recv_timeout(LAST_WAIT);
        }
    }

    /// Whether lines are wanted.
    pub fn wanted(&self) -> bool {
        self.writer().is_some()
    }

    /// Hands a line over; false when it is lost.
    pub fn write(&self, line: Line) -> Written {
        match self.writer().as_ref().is_none_or(|w| w.lines.try_send(line).is_ok()) {
            true => Written::Yes,
            false => Written::Lost,
        }
    }
}

/// What became of a line.
#[must_use]
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Collects what is written.
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_log_has_written_every_line() {
        let buffer = Buffer::default();
        let log = Log::to(buffer.clone());
        let line = Line {
            time: 1.5,
            method: "GET".into(),
            route: "/".into(),
            status: 200,
            ms: 0.25,
            generation: None,
            timing: Some(Timing { queue_ms: 0.0, model_ms: 1.0, batch: 2 }),
        };
        for _ in 0..1000 {
            assert_eq!(log.write(line.clone()), Written::Yes);
        }
        log.close();
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1000);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((first["status"].as_u64(), first["batch"].as_u64()), (Some(200), Some(2)));
        assert!(!log.wanted() && log.write(line) == Written::Yes);
    }
}
