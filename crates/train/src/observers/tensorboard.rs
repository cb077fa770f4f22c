//! Event files for TensorBoard, without its libraries.
//!
//! A file is a sequence of TFRecords: length (u64), masked CRC-32C of the length, the bytes,
//! masked CRC-32C of the bytes; all little-endian, `mask(c) = rotr(c, 15) + 0xa282ead8`. Each
//! record is a protocol-buffers `Event`: wall_time (1, double), step (2, int64), file_version (3)
//! or summary (5) or session_log (7). A summary holds values of tag (1) and simple_value (2,
//! float).
//!
//! A resumed training writes a new file that starts with session_log START: TensorBoard then
//! forgets later steps of older files.

use crate::crc32c::crc32c;
use crate::train::RESUMED;
use sidereal_core::{Error, Event, Observer, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes scalars as TensorBoard events, tagged `group/name`.
#[derive(Debug)]
pub struct TensorBoard {
    path: PathBuf,
    /// `None` once writing failed.
    file: Mutex<Option<File>>,
}

impl TensorBoard {
    /// A new event file in `dir`.
    pub fn create(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| Error::write(dir, e))?;
        let seconds = now() as u64;
        let mut number = 0;
        let (path, mut file) = loop {
            let path = dir.join(format!("events.out.tfevents.{seconds:010}.sidereal.{number}"));
            match File::create_new(&path) {
                Ok(file) => break (path, file),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(Error::write(&path, e)),
            }
        };
        file.write_all(&record(&version(now()))).map_err(|e| Error::write(&path, e))?;
        Ok(TensorBoard { path, file: Mutex::new(Some(file)) })
    }

    /// The event file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Observer for TensorBoard {
    fn observe(&self, event: &Event<'_>) {
        let bytes = match event {
            Event::Scalars { group: RESUMED, step, .. } => start(now(), step + 1),
            Event::Scalars { group, step, numbers } => scalars(now(), group, *step, numbers),
            _ => return,
        };
        let mut file = self.file.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(f) = file.as_mut()
            && let Err(e) = f.write_all(&record(&bytes))
        {
            // A log must not stop the work it watches.
            eprintln!("warning: {}; TensorBoard events end here", Error::write(&self.path, e));
            *file = None;
        }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// TFRecord framing.
fn record(data: &[u8]) -> Vec<u8> {
    let masked = |bytes: &[u8]| crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8);
    let length = (data.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(data.len() + 16);
    out.extend(length);
    out.extend(masked(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked(data).to_le_bytes());
    out
}

/// The first event of a file.
fn version(time: f64) -> Vec<u8> {
    let mut e = Message::event(time, 0);
    e.bytes(3, b"brain.Event:2");
    e.0
}

/// A session begins at `step`: older events from that step on are void.
fn start(time: f64, step: u64) -> Vec<u8> {
    let mut e = Message::event(time, step);
    let mut log = Message::default();
    log.varint_field(1, 1);
    e.bytes(7, &log.0);
    e.0
}

fn scalars(time: f64, group: &str, step: u64, numbers: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Message::default();
    for (name, value) in numbers {
        let mut v = Message::default();
        v.bytes(1, format!("{group}/{name}").as_bytes());
        v.fixed32(2, (*value as f32).to_le_bytes());
        summary.bytes(1, &v.0);
    }
    let mut e = Message::event(time, step);
    e.bytes(5, &summary.0);
    e.0
}

/// A protocol-buffers message, field by field.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn event(time: f64, step: u64) -> Self {
        let mut e = Message::default();
        e.key(1, 1);
        e.0.extend(time.to_le_bytes());
        if step > 0 {
            e.varint_field(2, step);
        }
        e
    }

    fn varint(&mut self, mut v: u64) {
        while v >= 128 {
            self.0.push(v as u8 | 128);
            v >>= 7;
        }
        self.0.push(v as u8);
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    fn varint_field(&mut self, field: u64, v: u64) {
        self.key(field, 0);
        self.varint(v);
    }

    fn fixed32(&mut self, field: u64, v: [u8; 4]) {
        self.key(field, 5);
        self.0.extend(v);
    }

    fn bytes(&mut self, field: u64, v: &[u8]) {
        self.key(field, 2);
        self.varint(v.len() as u64);
        self.0.extend(v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_byte_by_byte() {
        let mut want = vec![0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x1a, 13];
        want.extend(b"brain.Event:2");
        assert_eq!(version(1.5), want);

        // time 1.5, step 300, one value a/b = 0.5
        let mut want = vec![0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x10, 0xac, 0x02];
        want.extend([0x2a, 12, 0x0a, 10, 0x0a, 3, b'a', b'/', b'b', 0x15, 0, 0, 0, 0x3f]);
        assert_eq!(scalars(1.5, "a", 300, &[("b", 0.5)]), want);

        let want = [0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x10, 7, 0x3a, 2, 0x08, 1];
        assert_eq!(start(1.5, 7), want);
    }

    #[test]
    fn frames_are_checked_by_masked_sums() {
        let framed = record(b"123456789");
        assert_eq!(framed[..8], 9u64.to_le_bytes());
        assert_eq!(&framed[12..21], b"123456789");
        // Check value of CRC-32C, rotated by 15 and shifted.
        let sum = 0xE306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(framed[21..], sum.to_le_bytes());
    }

    #[test]
    fn two_writers_in_one_second_get_two_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("events");
        let (a, b) = (TensorBoard::create(&at).unwrap(), TensorBoard::create(&at).unwrap());
        assert_ne!(a.path(), b.path());
        a.observe(&Event::Scalars { group: "train", step: 1, numbers: &[("loss", 2.0)] });
        let size = |t: &TensorBoard| std::fs::metadata(t.path()).unwrap().len();
        assert!(size(&a) > size(&b));
    }
}
