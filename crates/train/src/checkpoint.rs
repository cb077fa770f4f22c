//! Checkpoints: one file each, whole or not there.
//!
//! `checkpoint-<step>.safetensors` holds flat f32 tensors (weights, moments, best weights) and, in
//! its metadata, the state of the loop as JSON with a CRC-32C over state and tensors. A file is
//! written under a temporary name, synced and renamed; only then are older ones deleted, so at any
//! moment at least one good file exists. A file that fails its checksum is passed over for the one
//! before it.

use crate::crc32c::Crc32c;
use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};
use sidereal_core::{Error, Result, files};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

const PREFIX: &str = "checkpoint-";
const SUFFIX: &str = ".safetensors";

/// A checkpoint as read.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// State of the loop, JSON.
    pub state: String,
    /// Flat tensors by name.
    pub tensors: BTreeMap<String, Vec<f32>>,
}

impl Checkpoint {
    /// Takes a tensor out; its length must be `len`.
    pub fn take(&mut self, name: &str, len: usize) -> Result<Vec<f32>> {
        let tensor = self
            .tensors
            .remove(name)
            .ok_or_else(|| Error::data(&self.path, format!("tensor `{name}` is missing")))?;
        if tensor.len() != len {
            let message = format!("tensor `{name}` has {} values, expected {len}", tensor.len());
            return Err(Error::data(&self.path, message));
        }
        Ok(tensor)
    }
}

/// Files of a folder by step, the latest first; nothing when the folder does not exist.
pub fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::read(dir, e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::read(dir, e))?.path();
        let step = path.file_name().and_then(|n| n.to_str()).and_then(step_of);
        found.extend(step.map(|s| (s, path)));
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}

fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

/// The latest good checkpoint of a folder, `None` when there is no file at all. `damaged` hears of
/// files that were passed over; when no file is good, the error names the latest.
pub fn latest(dir: &Path, damaged: &mut dyn FnMut(&Error)) -> Result<Option<Checkpoint>> {
    let mut first = None;
    for (_, path) in list(dir)? {
        match read(&path) {
            Ok(checkpoint) => {
                if let Some(e) = &first {
                    damaged(e);
                }
                return Ok(Some(checkpoint));
            }
            Err(e) if first.is_none() => first = Some(e),
            Err(e) => damaged(&e),
        }
    }
    match first {
        Some(Error::Data { path, message, .. }) => Err(Error::Data {
            path,
            line: None,
            message: format!("{message}; no older checkpoint is good: delete it to start afresh"),
        }),
        Some(e) => Err(e),
        None => Ok(None),
    }
}

/// Reads and checks one file.
pub fn read(path: &Path) -> Result<Checkpoint> {
    let bytes = fs::read(path).map_err(|e| Error::read(path, e))?;
    let damaged = |why: &dyn std::fmt::Display| {
        Error::data(path, format!("damaged checkpoint ({} bytes): {why}", bytes.len()))
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(&e))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e))?;
    let metadata = header.metadata().as_ref();
    let text = |key: &str| {
        let value = metadata.and_then(|m| m.get(key)).cloned();
        value.ok_or_else(|| damaged(&format!("`{key}` is missing")))
    };
    let state = text("state")?;
    let mut views = file.tensors();
    views.sort_by_key(|(_, v)| v.data().as_ptr());
    let mut crc = Crc32c::new();
    crc.update(state.as_bytes());
    views.iter().for_each(|(_, v)| crc.update(v.data()));
    let (want, got) = (text("crc32c")?, format!("{:08x}", crc.finish()));
    if want != got {
        return Err(damaged(&format!("checksum {got} instead of {want}")));
    }
    let mut tensors = BTreeMap::new();
    for (name, view) in views {
        if view.dtype() != Dtype::F32 {
            return Err(damaged(&format!("tensor `{name}` is not F32")));
        }
        let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
        tensors.insert(name, values.collect());
    }
    Ok(Checkpoint { path: path.into(), state, tensors })
}

/// Writes the checkpoint of `step`, then deletes all but the `keep` latest up to it. Later ones
/// belong to a past that was given up (a damaged file) and go too.
pub fn save(
    dir: &Path,
    step: u64,
    state: &str,
    tensors: &[(&str, &[f32])],
    keep: usize,
) -> Result<PathBuf> {
    let path = dir.join(format!("{PREFIX}{step:010}{SUFFIX}"));
    let mut crc = Crc32c::new();
    crc.update(state.as_bytes());
    for (_, values) in tensors {
        in_bytes(values, |bytes| {
            crc.update(bytes);
            Ok(())
        })
        .map_err(|e| Error::write(&path, e))?;
    }
    let header = header(state, crc.finish(), tensors);
    files::write_atomic(&path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        tensors.iter().try_for_each(|(_, values)| in_bytes(values, |b| out.write_all(b)))
    })?;
    // The rename must be on disk before the older file goes. Not every system can sync a folder.
    if let Ok(folder) = fs::File::open(dir) {
        let _ = folder.sync_all();
    }
    let all = list(dir)?;
    let past = all.iter().filter(|(s, _)| *s <= step).skip(keep.max(1));
    for (_, old) in all.iter().filter(|(s, _)| *s > step).chain(past) {
        fs::remove_file(old).map_err(|e| Error::write(old, e))?;
    }
    Ok(path)
}

/// Deletes what a killed process left behind while writing.
pub fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&format!(".{PREFIX}")) && name.ends_with(".tmp") {
            // Rubbish that cannot be deleted does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn header(state: &str, crc: u32, tensors: &[(&str, &[f32])]) -> String {
    let mut map = Map::new();
    let metadata =
        json!({"format": "sidereal-checkpoint", "state": state, "crc32c": format!("{crc:08x}")});
    map.insert("__metadata__".into(), metadata);
    let mut at = 0;
    for (name, values) in tensors {
        let end = at + values.len() * 4;
        let entry = json!({"dtype": "F32", "shape": [values.len()], "data_offsets": [at, end]});
        map.insert(name.to_string(), entry);
        at = end;
    }
    let mut text = Value::Object(map).to_string();
    // Tensors begin at a multiple of 8 bytes.
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    text
}

/// Little-endian bytes in pieces that stay in the cache.
fn in_bytes(
    values: &[f32],
    mut each: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut buffer = [0u8; 1 << 14];
    for piece in values.chunks(buffer.len() / 4) {
        for (b, v) in buffer.as_chunks_mut::<4>().0.iter_mut().zip(piece) {
            *b = v.to_le_bytes();
        }
        each(&buffer[..piece.len() * 4])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, step: u64, keep: usize) -> PathBuf {
        let w: Vec<f32> = (0..9000).map(|i| (i as f32).sin()).collect();
        let tensors: &[(&str, &[f32])] = &[("weights", &w), ("best", &[step as f32])];
        save(dir, step, &format!("{{\"step\":{step}}}"), tensors, keep).unwrap()
    }

    #[test]
    fn round_trip_and_pruning() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("a/b");
        assert!(latest(&at, &mut |_| ()).unwrap().is_none());
        [1, 20, 3].into_iter().for_each(|s| drop(write(&at, s, 2)));
        // 20 is later than 3, the newest: it goes.
        let steps: Vec<u64> = list(&at).unwrap().into_iter().map(|c| c.0).collect();
        assert_eq!(steps, [3, 1]);
        let mut c = latest(&at, &mut |_| panic!("nothing is damaged")).unwrap().unwrap();
        assert_eq!(c.state, "{\"step\":3}");
        assert_eq!(c.take("weights", 9000).unwrap()[2], 2f32.sin());
        assert!(c.take("best", 2).unwrap_err().to_string().contains("1 values, expected 2"));
        assert!(c.take("other", 1).unwrap_err().to_string().contains("`other` is missing"));
        write(&at, 1, 2);
        assert_eq!(list(&at).unwrap().len(), 1);
        fs::write(at.join(".checkpoint-7.safetensors.1.tmp"), b"half").unwrap();
        sweep(&at);
        assert_eq!(fs::read_dir(&at).unwrap().count(), 1);
    }

    #[test]
    fn any_damage_is_seen_and_the_previous_file_used() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 1, 2);
        let path = write(dir.path(), 2, 2);
        let good = fs::read(&path).unwrap();
        let mut bad: Vec<Vec<u8>> = [0, 4, 8, 100, good.len() / 2, good.len() - 1]
            .into_iter()
            .map(|n| good[..n].to_vec())
            .collect();
        for at in (0..400).chain((400..good.len()).step_by(997)).chain([good.len() - 1]) {
            let mut flipped = good.clone();
            flipped[at] ^= 4;
            bad.push(flipped);
        }
        let padding = good.iter().position(|b| *b == b'}').unwrap();
        assert!(padding > 0);
        let mut accepted = 0;
        for bytes in bad {
            fs::write(&path, &bytes).unwrap();
            let mut heard = 0;
            let c = latest(dir.path(), &mut |e| {
                assert!(e.to_string().contains("checkpoint-0000000002"), "{e}");
                heard += 1;
            });
            let c = c.unwrap().unwrap();
            if c.state.contains('2') {
                // Only a flip in a name or word that nobody reads may pass.
                accepted += 1;
            } else {
                assert_eq!((c.state.as_str(), heard), ("{\"step\":1}", 1));
            }
        }
        assert!(accepted < 40, "{accepted}");
    }

    #[test]
    fn no_good_file_at_all_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("checkpoint-0000000005.safetensors"), b"").unwrap();
        let e = latest(dir.path(), &mut |_| ()).unwrap_err().to_string();
        assert!(e.contains("checkpoint-0000000005.safetensors") && e.contains("delete it"), "{e}");
    }

    #[test]
    fn other_readers_understand_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = fs::read(write(dir.path(), 4, 1)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("weights").unwrap().shape(), [9000]);
        let start = u64::from_le_bytes(bytes[..8].try_into().unwrap()) + 8;
        assert_eq!(start % 8, 0);
    }
}
