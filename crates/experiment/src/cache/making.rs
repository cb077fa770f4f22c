//! Who makes a stage: one at a time, in this process and all others.
//!
//! A stage in the making is a locked file `.locks/STAGE-HASH` of the cache. The system drops the
//! lock when its process ends, however it ends, so the next in line takes over from one that was
//! killed. The files are empty and stay: to remove one is to race against whoever opens it.

use super::Key;
use sidereal_core::{Error, Event, Result, Run};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

/// Folder of the locks in a cache.
pub(super) const LOCKS: &str = ".locks";

/// How often somebody who waits looks again.
const LOOK: Duration = Duration::from_millis(20);

/// The right to make a stage, until it is dropped.
pub(super) struct Making {
    _file: File,
}

impl Making {
    /// Waits until nobody else makes the stage of `key` in the cache `root`.
    ///
    /// Where the file system has no locks, a stage may be made twice, which wastes time and
    /// changes nothing. Errors: a cache that cannot be written, a stop while waiting.
    pub fn begin(root: &Path, key: &Key, run: &Run<'_>) -> Result<Self> {
        let folder = root.join(LOCKS);
        fs::create_dir_all(&folder).map_err(|e| Error::write(&folder, e))?;
        let path = folder.join(key.name());
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|e| Error::write(&path, e))?;
        let task = format!("waiting for {}", key.stage);
        let mut since: Option<Instant> = None;
        let made = loop {
            match file.try_lock() {
                Ok(()) => break Ok(Making { _file: file }),
                Err(TryLockError::Error(why)) => {
                    let text = format!("{} cannot be locked: {why}", path.display());
                    run.emit(Event::Warning(&text));
                    break Ok(Making { _file: file });
                }
                Err(TryLockError::WouldBlock) => {}
            }
            let began = *since.get_or_insert_with(|| {
                run.emit(Event::Started { task: &task, total: 0, unit: "s" });
                let text = format!("another run makes the same {}: waiting for it", key.stage);
                run.emit(Event::Note(&text));
                Instant::now()
            });
            if let Err(stopped) = run.check() {
                break Err(stopped);
            }
            run.emit(Event::Advanced {
                task: &task,
                done: began.elapsed().as_secs(),
                numbers: &[],
            });
            std::thread::sleep(LOOK);
        };
        if since.is_some() {
            run.emit(Event::Finished { task: &task });
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cache;
    use super::*;
    use serde_json::json;
    use sidereal_core::files;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// However many ask at once, one makes it.
    #[test]
    fn a_stage_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, made) = (Cache::new(dir.path()), AtomicUsize::new(0));
        let key = Key::new("sids", 1, json!({"a": 1}));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let make = |folder: &Path| {
                        made.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(50));
                        files::write_bytes(&folder.join("a.txt"), b"one")
                    };
                    let entry = cache.get(&key, &Run::quiet(0), make).unwrap();
                    assert_eq!(fs::read(entry.path("a.txt")).unwrap(), b"one");
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    /// Who waits hears a stop, and takes over from one that failed.
    #[test]
    fn waiting_ends_with_a_stop_or_with_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let key = Key::new("sids", 1, json!({}));
        let held = Making::begin(dir.path(), &key, &Run::quiet(0)).unwrap();
        let never = |_: &Path| -> Result<()> { panic!("it was made beside its maker") };
        let run = Run::quiet(0);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| cache.get(&key, &run, never).map(drop));
            std::thread::sleep(Duration::from_millis(60));
            assert!(!waits.is_finished());
            run.cancel.cancel();
            assert!(matches!(waits.join().unwrap(), Err(Error::Cancelled(_))));
        });
        std::thread::scope(|scope| {
            let run = Run::quiet(0);
            let waits = scope.spawn(|| cache.get(&key, &Run::quiet(0), |_| Ok(())).map(drop));
            std::thread::sleep(Duration::from_millis(60));
            assert!(!waits.is_finished());
            drop(held);
            waits.join().unwrap().unwrap();
            // Another key needs no turn.
            let _other = Making::begin(dir.path(), &key, &run).unwrap();
            cache.get(&Key::new("sids", 2, json!({})), &run, |_| Ok(())).unwrap();
        });
    }
}
