//! Finished stages by what they were made from.
//!
//! The key of a stage is a JSON tree: its resolved config, the checksums of its inputs, the seed
//! and the version of its code. An entry is a folder `<stage>-<hash of the key>` with the stage's
//! files and `entry.json`, which holds the key and a checksum of every file. Entries appear whole
//! (written beside, then renamed) and are checked when they are read: a damaged one is named,
//! thrown away and made again. A stage that several runs need at once is made by one of them, in
//! whatever process; the others wait (`making.rs`).

mod making;

use crate::hash;
use making::Making;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sidereal_core::{Error, Event, Result, Run, files};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const ENTRY: &str = "entry.json";
const UNFINISHED: &str = ".unfinished-";

/// A folder of finished stages. Several runs may share it.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    missing: Missing,
}

/// What becomes of a stage that the cache does not have.
#[derive(Debug, Clone)]
enum Missing {
    /// It is made.
    Make,
    /// It is made in another cache, so that this one stays as it is.
    MakeIn(PathBuf),
    /// It is an error.
    Refuse,
}

/// What a stage is made from.
#[derive(Debug, Clone)]
pub struct Key {
    stage: &'static str,
    tree: Value,
    digest: String,
}

impl Key {
    /// A key of `stage`, whose code has `version`.
    pub fn new(stage: &'static str, version: u32, inputs: Value) -> Self {
        let tree = json!({"stage": stage, "version": version, "inputs": inputs});
        let digest = hash::of_json(&tree);
        Key { stage, tree, digest }
    }

    /// The name of the entry: stage and the first 64 bits of the hash.
    pub fn name(&self) -> String {
        format!("{}-{}", self.stage, &self.digest[..16])
    }
}

/// A finished stage.
#[derive(Debug, Clone)]
pub struct Entry {
    folder: PathBuf,
    files: BTreeMap<String, Checksum>,
    /// Whether it was there before this run asked.
    pub reused: bool,
}

/// Length and SHA-256 of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

impl Checksum {
    /// Of a file as it is now.
    pub fn of(path: &Path) -> Result<Self> {
        let (sha256, bytes) = hash::of_file(path)?;
        Ok(Checksum { bytes, sha256 })
    }
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    key: Value,
    files: BTreeMap<String, Checksum>,
}

impl Entry {
    /// A file of the entry.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether the entry has a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// SHA-256 of a file of the entry, for the keys of later stages.
    pub fn sum(&self, name: &str) -> &str {
        self.files.get(name).map_or("", |c| &c.sha256)
    }
}

impl Cache {
    /// A cache below `root`, which is made when the first stage finishes.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Cache { root: root.into(), missing: Missing::Make }
    }

    /// The finished stages below `root`, to be looked at: one that is not there is an error, and
    /// nothing is written or removed.
    pub fn finished(root: impl Into<PathBuf>) -> Self {
        Cache { root: root.into(), missing: Missing::Refuse }
    }

    /// The finished stages below `root`; others are made below `scratch`.
    pub fn beside(root: impl Into<PathBuf>, scratch: impl Into<PathBuf>) -> Self {
        Cache { root: root.into(), missing: Missing::MakeIn(scratch.into()) }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The entry of `key`: the one that is there, else what `make` writes into an empty folder.
    pub fn get(
        &self,
        key: &Key,
        run: &Run<'_>,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Entry> {
        if let Some(entry) = self.find(key, run) {
            return Ok(entry);
        }
        match &self.missing {
            Missing::Make => {}
            Missing::MakeIn(scratch) => return Cache::new(scratch).get(key, run, make),
            Missing::Refuse => {
                return Err(Error::mismatch(format!("the cache has no {}", key.name())));
            }
        }
        run.check()?;
        let _making = Making::begin(&self.root, key, run)?;
        // Whoever made it meanwhile, or a moment ago.
        if let Some(entry) = self.find(key, run) {
            return Ok(entry);
        }
        self.drop_old_rubbish();
        let name = format!("{UNFINISHED}{}-{}", key.name(), std::process::id());
        let unfinished = self.root.join(name);
        let made = self.fill(key, &unfinished, make);
        if made.is_err() {
            // What is there of the stage is of no use; its removal may fail too.
            let _ = fs::remove_dir_all(&unfinished);
        }
        made
    }

    fn fill(
        &self,
        key: &Key,
        unfinished: &Path,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Entry> {
        let _ = fs::remove_dir_all(unfinished);
        fs::create_dir_all(unfinished).map_err(|e| Error::write(unfinished, e))?;
        make(unfinished)?;
        let mut sums = BTreeMap::new();
        for name in names(unfinished)? {
            let sum = Checksum::of(&unfinished.join(&name))?;
            sums.insert(name, sum);
        }
        let manifest = Manifest { key: key.tree.clone(), files: sums };
        files::write_json(&unfinished.join(ENTRY), &manifest)?;
        let folder = self.root.join(key.name());
        if fs::rename(unfinished, &folder).is_err() {
            // Someone else may have finished the same stage first; theirs has the same content.
            if self.read(key).ok().flatten().is_some() {
                let _ = fs::remove_dir_all(unfinished);
            } else {
                let _ = fs::remove_dir_all(&folder);
                fs::rename(unfinished, &folder).map_err(|e| Error::write(&folder, e))?;
            }
        }
        Ok(Entry { folder, files: manifest.files, reused: false })
    }

    /// The finished entry of `key`; a damaged one is warned of and removed.
    pub fn find(&self, key: &Key, run: &Run<'_>) -> Option<Entry> {
        match self.read(key) {
            Ok(entry) => entry,
            Err(_) if !matches!(self.missing, Missing::Make) => None,
            Err(why) => {
                let folder = self.root.join(key.name());
                let note = format!("the cached {} is damaged and is made again: {why}", key.stage);
                run.emit(Event::Warning(&note));
                let _ = fs::remove_dir_all(folder);
                None
            }
        }
    }

    fn read(&self, key: &Key) -> Result<Option<Entry>> {
        let folder = self.root.join(key.name());
        if !folder.exists() {
            return Ok(None);
        }
        let manifest: Manifest = files::read_json(&folder.join(ENTRY))?;
        if manifest.key != key.tree {
            return Err(Error::data(folder.join(ENTRY), "it belongs to another key"));
        }
        for (name, expected) in &manifest.files {
            let path = folder.join(name);
            let found = Checksum::of(&path)?;
            if found != *expected {
                let message = format!(
                    "{} bytes with SHA-256 {}; expected {} bytes with {}",
                    found.bytes, found.sha256, expected.bytes, expected.sha256
                );
                return Err(Error::data(path, message));
            }
        }
        Ok(Some(Entry { folder, files: manifest.files, reused: true }))
    }

    /// Removes what killed runs left a day ago or earlier.
    fn drop_old_rubbish(&self) {
        let day = Duration::from_secs(24 * 60 * 60);
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            let ours = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
            let modified = entry.metadata().and_then(|m| m.modified());
            let age = modified.ok().and_then(|m| SystemTime::now().duration_since(m).ok());
            if ours && age.is_some_and(|a| a > day) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Names of the files in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>> {
    let fail = |e| Error::read(folder, e);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::Observer;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Warnings(Mutex<Vec<String>>);

    impl Observer for Warnings {
        fn observe(&self, event: &Event<'_>) {
            if let Event::Warning(w) = event {
                self.0.lock().unwrap().push(w.to_string());
            }
        }
    }

    fn get(cache: &Cache, key: &Key, run: &Run<'_>, text: &str) -> (String, bool) {
        let make = |dir: &Path| files::write_bytes(&dir.join("a.txt"), text.as_bytes());
        let entry = cache.get(key, run, make).unwrap();
        (fs::read_to_string(entry.path("a.txt")).unwrap(), entry.reused)
    }

    #[test]
    fn the_second_time_is_free_and_other_keys_are_other_entries() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("cache"));
        let run = Run::quiet(0);
        let key = Key::new("sids", 1, json!({"a": 1}));
        assert_eq!(get(&cache, &key, &run, "one"), ("one".into(), false));
        assert_eq!(get(&cache, &key, &run, "two"), ("one".into(), true));
        let newer = Key::new("sids", 2, json!({"a": 1}));
        assert_eq!(get(&cache, &newer, &run, "three"), ("three".into(), false));
        let failed =
            cache.get(&Key::new("sids", 3, json!(null)), &run, |_| Err(Error::mismatch("no")));
        assert!(failed.is_err());
        let finished =
            names(cache.root()).unwrap().iter().filter(|n| n.starts_with("sids")).count();
        assert_eq!(finished, 2);
    }

    #[test]
    fn looking_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (root, scratch) = (dir.path().join("cache"), dir.path().join("scratch"));
        let key = |v| Key::new("sids", v, json!({}));
        let looking = Cache::finished(&root);
        assert!(looking.get(&key(1), &Run::quiet(0), |_| Ok(())).is_err() && !root.exists());
        get(&Cache::new(&root), &key(1), &Run::quiet(0), "one");
        assert_eq!(get(&looking, &key(1), &Run::quiet(0), "two"), ("one".into(), true));
        let beside = Cache::beside(&root, &scratch);
        assert_eq!(get(&beside, &key(1), &Run::quiet(0), "two"), ("one".into(), true));
        assert_eq!(get(&beside, &key(2), &Run::quiet(0), "two"), ("two".into(), false));
        assert!(scratch.join(key(2).name()).exists() && !root.join(key(2).name()).exists());
        // Damage is for those to mend who make it again.
        fs::write(root.join(key(1).name()).join("a.txt"), "?").unwrap();
        assert!(looking.get(&key(1), &Run::quiet(0), |_| Ok(())).is_err());
        assert!(root.join(key(1).name()).exists());
    }

    #[test]
    fn damage_is_noticed_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let warnings = Warnings::default();
        let run = Run { observer: &warnings, ..Run::quiet(0) };
        let key = Key::new("sids", 1, json!({}));
        get(&cache, &key, &run, "good");
        let file = dir.path().join(key.name()).join("a.txt");
        for (path, bytes) in [
            (file.clone(), &b"goOd"[..]),
            (file.clone(), b""),
            (dir.path().join(key.name()).join(ENTRY), b"{"),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(get(&cache, &key, &run, "good"), ("good".into(), false));
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(get(&cache, &key, &run, "good"), ("good".into(), false));
        let heard = warnings.0.lock().unwrap();
        assert_eq!(heard.len(), 4, "{heard:?}");
        assert!(heard[0].contains("damaged") && heard[0].contains("a.txt"));
    }

    #[test]
    fn a_cache_that_cannot_be_written_says_so() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let cache = Cache::new(dir.path().join("file/cache"));
        let key = Key::new("sids", 1, json!({}));
        let error = cache.get(&key, &Run::quiet(0), |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("cannot write"), "{error}");
    }
}
