//! The run folder: everything that is needed to read, repeat and serve a run.
//!
//! | file | holds |
//! |---|---|
//! | `config.toml` | the resolved configuration, every default filled in |
//! | `versions.json` | versions of program, stages and components |
//! | `data.json` | checksums of the data files, what was read, dropped and split |
//! | `sids.safetensors`, `codebook.safetensors`, `sids.json`, `sid_report.json` | semantic IDs |
//! | `model.safetensors`, `config.json`, `training.json` | the trained model |
//! | `metrics.json`, `per_user.csv` | results; no times, the same run gives the same bytes |
//! | `examples.json` | a few test users with their recommendations |
//! | `provenance.json` | what each stage read, as sums |
//! | `log.jsonl`, `tensorboard/` | what happened |
//! | `summary.json` | times, memory, what was reused |
//! | `checkpoints/` | unfinished training |

use crate::results::differences;
use crate::stages::training::may_change;
use crate::{Config, Plan};
use serde_json::Value;
use sidereal_core::{Error, Result, files};
use sidereal_nn::Engine;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the resolved configuration.
pub const CONFIG: &str = "config.toml";

/// Name of the folder of unfinished training.
pub const CHECKPOINTS: &str = "checkpoints";

/// Everything that a run or its replay writes; only this is ever removed.
const OWN: [&str; 21] = [
    CHECKPOINTS,
    "metrics.json",
    "cache",
    "codebook.safetensors",
    "config.json",
    "data.json",
    "examples.json",
    "log.jsonl",
    "model.safetensors",
    "per_user.csv",
    "provenance.json",
    "replay",
    "sid_report.json",
    "sids.json",
    "sids.safetensors",
    "summary.json",
    "tensorboard",
    "training.json",
    "valid.json",
    "versions.json",
    CONFIG,
];

/// What to do with a folder that holds something already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// Refuse it.
    #[default]
    Refuse,
    /// Continue the run that is there; start when there is none.
    Resume,
    /// Remove the run that is there.
    Overwrite,
}

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
    /// Whether an earlier run is continued.
    pub continued: bool,
}

impl RunFolder {
    /// Makes the folder (or takes the one that is there, as `existing` says) and writes the
    /// configuration into it.
    pub fn prepare(root: &Path, plan: &Plan, existing: Existing) -> Result<Self> {
        let at = root.display();
        let found = content(root)?;
        let is_run = root.join(CONFIG).is_file();
        let mut continued = false;
        match existing {
            _ if found.is_empty() => {}
            // A run that failed before it came to anything does not stand in the way.
            Existing::Refuse if is_run && !has_work(root) => clear(root)?,
            Existing::Refuse => {
                return Err(Error::mismatch(format!(
                    "{at} is not empty: continue the run in it with --resume, replace it with \
                     --overwrite, or choose another folder with --out"
                )));
            }
            Existing::Resume | Existing::Overwrite if !is_run => {
                return Err(Error::mismatch(format!(
                    "{at} holds {} but no {CONFIG}: it is no run folder and is left alone; choose \
                     another with --out",
                    found[0]
                )));
            }
            Existing::Resume => {
                same_experiment(root, plan)?;
                continued = true;
            }
            Existing::Overwrite => clear(root)?,
        }
        fs::create_dir_all(root).map_err(|e| Error::write(root, e))?;
        let text = format!(
            "# The resolved configuration of this run: `sidereal replay` repeats it.\n\n{}",
            plan.to_toml()
        );
        files::write_bytes(&root.join(CONFIG), text.as_bytes())?;
        Ok(RunFolder { root: root.to_path_buf(), continued })
    }

    /// A finished run's folder.
    pub fn open(root: &Path) -> Result<Self> {
        if !root.join(CONFIG).is_file() {
            let message = format!("no run folder: {CONFIG} is missing");
            return Err(Error::data(root, message));
        }
        Ok(RunFolder { root: root.to_path_buf(), continued: true })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Copies a file into the folder under the same name.
    pub fn adopt(&self, from: &Path) -> Result<()> {
        let name = from.file_name().map(PathBuf::from).unwrap_or_default();
        let mut source = fs::File::open(from).map_err(|e| Error::read(from, e))?;
        files::write_atomic(&self.root.join(name), |out| io::copy(&mut source, out).map(drop))
    }
}

/// Names in a folder, sorted, without what an interrupted write left; none when it is missing.
fn content(root: &Path) -> Result<Vec<String>> {
    let fail = |e| Error::write(root, e);
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(fail)?.file_name().to_string_lossy().into_owned();
        if !(name.starts_with('.') && name.ends_with(".tmp")) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Whether a run folder holds results or training.
fn has_work(root: &Path) -> bool {
    ["metrics.json", "model.safetensors", CHECKPOINTS].iter().any(|name| root.join(name).exists())
}

/// Removes a run and leaves all other files.
fn clear(root: &Path) -> Result<()> {
    for name in OWN {
        let path = root.join(name);
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::write(&path, e)),
            _ => {}
        }
    }
    Ok(())
}

/// Writes `device` as [`Plan::resolved`] does: the usual one not at all, a GPU without its number.
fn same_rounding(tree: &mut Value) {
    let Some(tree) = tree.as_object_mut() else { return };
    let written = tree.get("device").and_then(Value::as_str);
    match written.and_then(|text| text.parse::<Engine>().ok()) {
        Some(engine) if engine == Engine::default() => drop(tree.remove("device")),
        Some(engine) => drop(tree.insert("device".into(), engine.kind().into())),
        None => {}
    }
}

/// Whether the folder holds `file`, what runs write last, of this very experiment.
pub(crate) fn finished(root: &Path, plan: &Plan, file: &str) -> Result<bool> {
    if !root.join(file).is_file() || !root.join(CONFIG).is_file() {
        return Ok(false);
    }
    same_experiment(root, plan).map(|()| true)
}

/// A run may only be continued as the experiment that it was.
fn same_experiment(root: &Path, plan: &Plan) -> Result<()> {
    let mut old = Config::load(&root.join(CONFIG))?.tree();
    same_rounding(&mut old);
    let mut changes = Vec::new();
    differences("", &old, &Value::Object(plan.resolved()), &mut changes);
    changes.retain(|c| {
        let key = c.split(':').next().unwrap_or_default();
        let free = key.strip_prefix("train.").is_some_and(may_change);
        !free && !matches!(key, "threads" | "cache" | "evaluate.leak_check")
    });
    if changes.is_empty() {
        return Ok(());
    }
    let shown = changes.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
    Err(Error::ConfigAt {
        place: "--resume".into(),
        message: format!(
            "{} holds another experiment ({shown}); choose another folder with --out, or replace \
             it with --overwrite",
            root.display()
        ),
    })
}
