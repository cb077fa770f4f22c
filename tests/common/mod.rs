//! Runs the binary in a folder of its own.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A run that takes a fraction of a second.
pub const TINY: &str = include_str!("../tiny.toml");

/// A folder that holds `tiny.toml` and everything the tests make.
pub struct Place {
    dir: tempfile::TempDir,
}

/// What a command did.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    /// Refuses failure, showing what was said.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stderr:\n{}\nstdout:\n{}", self.err, self.out);
        self
    }
}

impl From<Output> for Done {
    fn from(o: Output) -> Self {
        Done {
            code: o.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&o.stdout).into_owned(),
            err: String::from_utf8_lossy(&o.stderr).into_owned(),
        }
    }
}

impl Place {
    pub fn new() -> Self {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        place.write("tiny.toml", TINY);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// The binary, to be run in this folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidereal"));
        command.args(args).current_dir(self.dir.path());
        command
    }

    pub fn sidereal(&self, args: &[&str]) -> Done {
        self.command(args).output().unwrap().into()
    }

    /// `run tiny.toml` with more arguments.
    pub fn run(&self, args: &[&str]) -> Done {
        self.sidereal(&[&["run", "tiny.toml", "-q"], args].concat())
    }
}

/// Names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
