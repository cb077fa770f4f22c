//! `log.jsonl`: one JSON object a line, in the order of events.
//!
//! `{"event":"scalars","group":"train","loss":7.31,"step":20,"time":1700000000.123}`. Progress is
//! not logged. When a training resumes at a step, lines of later steps are taken out: they will
//! come again, and the log reads as if nothing had happened.

use crate::train::RESUMED;
use serde_json::{Map, Value, json};
use sidereal_core::{Error, Event, Observer, Result, files};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes events to a file, line by line.
#[derive(Debug)]
pub struct JsonlLog {
    path: PathBuf,
    /// `None` once writing failed.
    file: Mutex<Option<File>>,
}

impl JsonlLog {
    /// Starts an empty log.
    pub fn create(path: &Path) -> Result<Self> {
        files::write_bytes(path, b"")?;
        Self::append(path)
    }

    /// Goes on with a log; half a line at its end, from a killed process, is cut off.
    pub fn append(path: &Path) -> Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) if bytes.last().is_some_and(|b| *b != b'\n') => {
                let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
                files::write_bytes(path, &bytes[..end])?;
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => files::write_bytes(path, b"")?,
            Err(e) => return Err(Error::read(path, e)),
            Ok(_) => {}
        }
        Ok(JsonlLog { path: path.into(), file: Mutex::new(Some(open(path)?)) })
    }

    fn line(&self, event: &str, fields: Map<String, Value>) -> Result<()> {
        let mut line = Map::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        line.insert("time".into(), json!(now.as_millis() as f64 / 1e3));
        line.insert("event".into(), json!(event));
        line.extend(fields);
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        let mut file = self.file.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(f) = file.as_mut() {
            // One write a line: a kill can only cut the last one.
            if let Err(e) = f.write_all(text.as_bytes()) {
                *file = None;
                return Err(Error::write(&self.path, e));
            }
        }
        Ok(())
    }

    /// Takes out the scalars of steps after `step`, or after the step of their group.
    fn rewind(&self, step: u64, groups: &[(&str, f64)]) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(|e| e.into_inner());
        if file.is_none() {
            return Ok(());
        }
        let stays = |line: &[u8]| {
            let value: Value = serde_json::from_slice(line).unwrap_or(Value::Null);
            let last = groups.iter().find(|g| value["group"] == g.0).map_or(step, |g| g.1 as u64);
            value["event"] != "scalars" || value["step"].as_u64().is_none_or(|s| s <= last)
        };
        let bytes = std::fs::read(&self.path).map_err(|e| Error::read(&self.path, e))?;
        let lines = bytes.split_inclusive(|b| *b == b'\n');
        let kept: Vec<u8> = lines.filter(|l| stays(l)).flatten().copied().collect();
        if kept.len() < bytes.len() {
            files::write_bytes(&self.path, &kept)?;
            *file = Some(open(&self.path)?);
        }
        Ok(())
    }

    fn write(&self, event: &Event<'_>) -> Result<()> {
        let mut fields = Map::new();
        let mut put = |key: &str, value: Value| fields.insert(key.into(), value);
        let name = match event {
            Event::Started { task, total, unit } => {
                put("task", json!(task));
                put("total", json!(total));
                put("unit", json!(unit));
                "started"
            }
            Event::Finished { task } => {
                put("task", json!(task));
                "finished"
            }
            Event::Scalars { group: RESUMED, step, numbers } => {
                put("step", json!(step));
                self.rewind(*step, numbers)?;
                "resumed"
            }
            Event::Scalars { group, step, numbers } => {
                put("group", json!(group));
                put("step", json!(step));
                for (name, value) in *numbers {
                    put(name, json!(value));
                }
                "scalars"
            }
            Event::Note(text) => {
                put("text", json!(text));
                "note"
            }
            Event::Warning(text) => {
                put("text", json!(text));
                "warning"
            }
            _ => return Ok(()),
        };
        self.line(name, fields)
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new().append(true).open(path).map_err(|e| Error::write(path, e))
}

impl Observer for JsonlLog {
    fn observe(&self, event: &Event<'_>) {
        if let Err(e) = self.write(event) {
            // A log must not stop the work it watches.
            eprintln!("warning: {e}; the log ends here");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    #[test]
    fn writes_rewinds_and_mends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let log = JsonlLog::create(&path).unwrap();
        log.observe(&Event::Started { task: "train", total: 3, unit: "examples" });
        for step in 1..=4 {
            let numbers = &[("loss", f64::from(step as u32) / 3.0), ("nan", f64::NAN)];
            log.observe(&Event::Scalars { group: "train", step, numbers });
            log.observe(&Event::Scalars { group: "valid", step, numbers });
            log.observe(&Event::Advanced { task: "train", done: step, numbers });
        }
        log.observe(&Event::Warning("a \"quoted\"\nline"));
        drop(log);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(b"{\"half\": ");
        std::fs::write(&path, bytes).unwrap();

        let log = JsonlLog::append(&path).unwrap();
        log.observe(&Event::Scalars { group: RESUMED, step: 2, numbers: &[("valid", 1.0)] });
        log.observe(&Event::Scalars { group: "train", step: 3, numbers: &[("loss", 9.0)] });
        let lines = lines(&path);
        let seen: Vec<(&str, Option<u64>)> =
            lines.iter().map(|l| (l["event"].as_str().unwrap(), l["step"].as_u64())).collect();
        let want = [
            ("started", None),
            ("scalars", Some(1)),
            ("scalars", Some(1)),
            ("scalars", Some(2)),
            ("warning", None),
            ("resumed", Some(2)),
            ("scalars", Some(3)),
        ];
        assert_eq!(seen, want);
        assert_eq!(lines[1]["loss"].as_f64(), Some(1.0 / 3.0));
        assert!(lines[1]["nan"].is_null());
        assert_eq!(lines[4]["text"], "a \"quoted\"\nline");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let e = JsonlLog::create(dir.path()).unwrap_err().to_string();
        assert!(e.contains(dir.path().to_str().unwrap()), "{e}");
    }
}
