//! From paths to systems: runs that differ in the seed only are one system with several seeds.

use super::names::{common_beginning, shortest_ends};
use super::per_user::PerUser;
use super::record::{Label, Record};
use crate::folder::{CONFIG, RunFolder};
use crate::stages::evaluation::METRICS;
use crate::sweep::State;
use serde::Deserialize;
use sidereal_core::{Error, Event, Result, Run, files};
use std::path::{Path, PathBuf};

/// A run folder and what its sweep calls it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The run folder.
    pub folder: PathBuf,
    /// Its name.
    pub label: Label,
}

/// A path's runs: itself, or the finished runs of a sweep's folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runs {
    /// Finished runs in the order of the sweep.
    pub finished: Vec<Found>,
    /// Runs without results.
    pub unfinished: Vec<Unfinished>,
}

/// A run without results.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfinished {
    /// The run folder.
    pub folder: PathBuf,
    /// Why, as in `it has no results`.
    pub reason: String,
}

/// The runs that a path stands for. A sweep's folder may have been moved since.
///
/// Errors: a path that is neither a run nor a sweep.
pub fn runs(path: &Path) -> Result<Runs> {
    #[derive(Deserialize)]
    struct Row {
        case: String,
        folder: PathBuf,
        #[serde(default)]
        state: Option<State>,
    }
    #[derive(Deserialize)]
    struct Sweep {
        runs: Vec<Row>,
    }
    let mut out = Runs::default();
    let mut take = |folder: PathBuf, label: Label, failure: Option<State>| match folder
        .join(METRICS)
        .is_file()
        && folder.join(CONFIG).is_file()
    {
        true => out.finished.push(Found { folder, label }),
        false => {
            let reason = match failure {
                Some(State::Failed(error)) => format!("it failed: {error}"),
                _ => "it has no results".into(),
            };
            out.unfinished.push(Unfinished { folder, reason });
        }
    };
    let summary = path.join("summary.json");
    if path.join(CONFIG).is_file() || !summary.is_file() {
        RunFolder::open(path)?;
        take(path.to_path_buf(), Label::Folder(path.display().to_string()), None);
        return Ok(out);
    }
    let sweep: Sweep = files::read_json(&summary)?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    for row in sweep.runs {
        // `CASE/seed-N` below the sweep's folder, wherever that is now.
        let mut end: Vec<_> = row.folder.components().rev().take(2).collect();
        end.reverse();
        let here = path.join(end.iter().collect::<PathBuf>());
        let label = Label::Case { sweep: name.clone(), case: row.case };
        take(if here.is_dir() { here } else { row.folder }, label, row.state);
    }
    Ok(out)
}

/// Runs that differ in the seed only.
#[derive(Debug, Clone)]
pub struct System {
    /// A name that no other system has.
    pub name: String,
    /// Its runs by seed, without their values a user.
    pub runs: Vec<Record>,
    /// Means over the seeds of each test case's values; ranks are those of the first seed.
    pub per_user: Option<PerUser>,
}

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub struct Collection {
    /// Systems in the order of the paths.
    pub systems: Vec<System>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Reads all runs of all paths. With several paths, one that holds no run is left out and named.
///
/// Errors: no finished run at all, files that are damaged.
pub fn collect(paths: &[PathBuf], run: &Run<'_>) -> Result<Collection> {
    let mut out = Collection::default();
    let mut found: Vec<Found> = Vec::new();
    for path in paths {
        match runs(path) {
            Ok(runs) => {
                for Unfinished { folder, reason } in &runs.unfinished {
                    out.notes.push(format!("{} is left out: {reason}", folder.display()));
                }
                found.extend(runs.finished);
            }
            Err(e) if paths.len() == 1 || !path.exists() => return Err(e),
            Err(_) => out.notes.push(format!("{} is left out: no run folder", path.display())),
        }
    }
    if found.is_empty() {
        return Err(Error::input(format!(
            "no finished run in {}",
            paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
        )));
    }
    let task = "read runs";
    let quiet = Run { observer: &sidereal_core::Silent, threads: 1, ..run.clone() };
    run.emit(Event::Started { task, total: found.len() as u64, unit: "runs" });
    for (done, Found { folder, label }) in found.into_iter().enumerate() {
        run.check()?;
        let record = Record::read(&folder, label, &quiet)?;
        out.add(record)?;
        run.emit(Event::Advanced { task, done: done as u64 + 1, numbers: &[] });
    }
    run.emit(Event::Finished { task });
    out.name();
    Ok(out)
}

impl Collection {
    fn add(&mut self, mut record: Record) -> Result<()> {
        let values = record.per_user.take();
        let same = |s: &&mut System| {
            let first = &s.runs[0];
            first.config == record.config && first.data == record.data
        };
        let Some(system) = self.systems.iter_mut().find(same) else {
            self.systems.push(System { name: String::new(), runs: vec![record], per_user: values });
            return Ok(());
        };
        if let Some(twin) = system.runs.iter().find(|r| r.seed == record.seed) {
            self.notes.push(format!(
                "{} is left out: it repeats {} (same configuration, same seed)",
                record.folder.display(),
                twin.folder.display()
            ));
            return Ok(());
        }
        let seeds = system.runs.len() as f64;
        system.per_user = match (system.per_user.take(), values) {
            (Some(mean), Some(values)) => Some(merge(mean, values, seeds, &record.folder)?),
            _ => None,
        };
        system.runs.push(record);
        Ok(())
    }

    /// Names that tell the systems apart, and seeds in order.
    fn name(&mut self) {
        // Folders by their shortest ends; the name of a case as it is.
        let folders: Vec<String> = self.systems.iter().filter_map(folder_name).collect();
        let mut short =
            shortest_ends(&folders.iter().map(String::as_str).collect::<Vec<_>>()).into_iter();
        let mut name = |s: &System| match case_of(s) {
            Some((_, case)) => case.to_string(),
            None => short.next().unwrap_or_default(),
        };
        let mut names: Vec<String> = self.systems.iter().map(&mut name).collect();
        let plain = names.clone();
        for (name, system) in names.iter_mut().zip(&self.systems) {
            // The same case of two sweeps.
            let twins = plain.iter().filter(|p| *p == name).count();
            if let (true, Some((sweep, case))) = (twins > 1, case_of(system)) {
                *name = format!("{sweep}: {case}");
            }
        }
        for i in 0..names.len() {
            let twins = names[..i].iter().filter(|n| **n == names[i]).count();
            if twins > 0 {
                names[i] = format!("{} ({})", names[i], twins + 1);
            }
        }
        for (system, name) in self.systems.iter_mut().zip(names) {
            system.name = name;
            system.runs.sort_by_key(|r| r.seed);
        }
    }
}

/// What a system's folders have in common; nothing where a sweep names it.
fn folder_name(system: &System) -> Option<String> {
    let folder = |r: &Record| match &r.label {
        Label::Folder(folder) => Some(folder.clone()),
        Label::Case { .. } => None,
    };
    let all: Vec<String> = system.runs.iter().map(folder).collect::<Option<_>>()?;
    // One run of a seed each: `NAME/seed-0`, `NAME-0`.
    Some(match &all[..] {
        [one] => {
            let seed = format!("seed-{}", system.runs[0].seed);
            let path = one.trim_end_matches(['/', '\\']);
            let parent = path.strip_suffix(&seed).map(|p| p.trim_end_matches('/'));
            parent.filter(|p| !p.is_empty()).unwrap_or(path).to_string()
        }
        all => common_beginning(&all.iter().map(String::as_str).collect::<Vec<_>>()),
    })
}

/// The sweep and the case that name a system; nothing where only folders do.
fn case_of(system: &System) -> Option<(&str, &str)> {
    system.runs.iter().find_map(|r| match &r.label {
        Label::Case { sweep, case } => Some((&sweep[..], &case[..])),
        Label::Folder(_) => None,
    })
}

/// The mean over one seed more.
fn merge(mut mean: PerUser, values: PerUser, seeds: f64, folder: &Path) -> Result<PerUser> {
    if mean.users != values.users {
        let message = "its users are others than those of the same configuration's other seeds";
        return Err(Error::data(folder.join("per_user.csv"), message));
    }
    mean.found.resize(mean.found.len().max(values.found.len()), 0);
    mean.found.iter_mut().zip(&values.found).for_each(|(a, b)| *a += b);
    mean.columns.retain(|c| values.values(&c.name).is_some());
    for column in &mut mean.columns {
        let more = values.values(&column.name).unwrap_or_default();
        for (m, v) in column.values.iter_mut().zip(more) {
            *m = (*m * seeds + v) / (seeds + 1.0);
        }
    }
    Ok(mean)
}

impl System {
    /// Seeds, rising.
    pub fn seeds(&self) -> Vec<u64> {
        self.runs.iter().map(|r| r.seed).collect()
    }

    /// A test metric of each seed that has it.
    pub fn values(&self, metric: &str) -> Vec<f64> {
        self.runs.iter().filter_map(|r| r.metric(metric)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Fake, write};
    use super::*;

    fn place() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn seeds_of_one_configuration_are_one_system() {
        let dir = place();
        let base = Fake { hits: vec![1, 0, 1, 0], ..Fake::default() };
        write(&dir.path().join("a-0"), &base);
        write(&dir.path().join("a-1"), &Fake { seed: 1, hits: vec![1, 1, 0, 0], ..base.clone() });
        write(&dir.path().join("b/seed-0"), &Fake { width: 50, ..base.clone() });
        let paths: Vec<PathBuf> =
            ["a-1", "a-0", "b/seed-0"].iter().map(|n| dir.path().join(n)).collect();
        let found = collect(&paths, &Run::quiet(0)).unwrap();
        let names: Vec<&str> = found.systems.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(found.systems[0].seeds(), [0, 1]);
        let mean = found.systems[0].per_user.as_ref().unwrap();
        assert_eq!(mean.values("recall@10"), Some(&[1.0, 0.5, 0.5, 0.0][..]));
        assert_eq!(found.systems[0].values("recall@10"), [0.5, 0.5]);
        assert!(found.notes.is_empty());
    }

    #[test]
    fn what_is_no_run_is_named() {
        let dir = place();
        let at = |name: &str| dir.path().join(name);
        write(&at("a"), &Fake::default());
        write(&at("again"), &Fake::default());
        std::fs::create_dir_all(at("cache")).unwrap();
        std::fs::create_dir_all(at("half")).unwrap();
        std::fs::write(at("half/config.toml"), "seed = 0\n").unwrap();
        let all = [at("a"), at("again"), at("cache"), at("half")];
        let found = collect(&all, &Run::quiet(0)).unwrap();
        assert_eq!(found.systems.len(), 1);
        let notes = found.notes.join("\n");
        for text in ["cache is left out: no run folder", "half is left out: it has no results"] {
            assert!(notes.contains(text), "{notes}");
        }
        assert!(notes.contains("again is left out: it repeats"), "{notes}");
        let error = |paths: &[PathBuf]| collect(paths, &Run::quiet(0)).unwrap_err().to_string();
        assert!(error(&[at("cache")]).contains("config.toml is missing"));
        assert!(error(&[at("half"), at("cache")]).contains("no finished run in"));
        assert!(error(&[at("a"), at("none")]).contains("none"));
    }

    #[test]
    fn a_sweep_that_was_moved_is_found() {
        let dir = place();
        let old = dir.path().join("old");
        write(&old.join("wide/seed-0"), &Fake::default());
        let summary = serde_json::json!({"name": "s", "runs": [
            {"case": "1/2 beam\\", "folder": "elsewhere/old/wide/seed-0"},
            {"case": "1/2 beam\\", "folder": "elsewhere/old/wide/seed-1",
             "state": {"failed": "no memory"}},
        ]});
        std::fs::write(old.join("summary.json"), summary.to_string()).unwrap();
        let new = dir.path().join("new");
        std::fs::rename(&old, &new).unwrap();
        let runs = runs(&new).unwrap();
        assert_eq!(runs.finished.len(), 1);
        let label = Label::Case { sweep: "new".into(), case: "1/2 beam\\".into() };
        assert_eq!(runs.finished[0].label, label);
        assert_eq!(runs.unfinished.len(), 1);
        assert_eq!(runs.unfinished[0].reason, "it failed: no memory");
        // What a case is called is no path, and another sweep may have one of the same name.
        let found = collect(std::slice::from_ref(&new), &Run::quiet(0)).unwrap();
        assert_eq!(found.systems[0].name, "1/2 beam\\");
        let twin = dir.path().join("twin");
        write(&twin.join("wide/seed-0"), &Fake { width: 7, ..Fake::default() });
        std::fs::copy(new.join("summary.json"), twin.join("summary.json")).unwrap();
        write(&dir.path().join("single"), &Fake { width: 9, ..Fake::default() });
        let found = collect(&[new, twin, dir.path().join("single")], &Run::quiet(0)).unwrap();
        let names: Vec<&str> = found.systems.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["new: 1/2 beam\\", "twin: 1/2 beam\\", "single"]);
    }

    #[test]
    fn users_must_be_those_of_the_other_seeds() {
        let dir = place();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        write(&a, &Fake::default());
        write(&b, &Fake { seed: 1, ..Fake::default() });
        let text = std::fs::read_to_string(b.join("per_user.csv")).unwrap();
        std::fs::write(b.join("per_user.csv"), text.replace("u0", "x0")).unwrap();
        let error = collect(&[a.clone(), b.clone()], &Run::quiet(0)).unwrap_err().to_string();
        assert!(error.contains("its users are others"), "{error}");
        std::fs::write(b.join("per_user.csv"), "user,rank\nu0,1\n").unwrap();
        let error = collect(&[a, b], &Run::quiet(0)).unwrap_err().to_string();
        assert!(error.contains("1 rows for 4 test cases"), "{error}");
    }
}
