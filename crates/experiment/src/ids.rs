//! Sets of IDs to be judged: those of finished runs, and tables from files.
//!
//! A run brings its data set, the vectors of its encoder and its codebook's report. A file brings
//! nothing but codes; [`Ground`], made from a configuration, says what its items are. Given for
//! runs too, it puts all of them on the same vectors.

use crate::config::Config;
use crate::folder::RunFolder;
use crate::results::Results;
use crate::serve::{plan_of, same_data};
use crate::stages::Context;
use crate::stages::data::{Data, data};
use crate::stages::embeddings::embeddings;
use crate::stages::{evaluation, sids};
use crate::{Cache, Plan, Registry};
use serde::Deserialize;
use sidereal_core::{Error, Matrix, Result, Run, SidTable, files};
use sidereal_quantizers::report::validate::Measurement;
use sidereal_quantizers::report::{AnalysisInput, figures};
use sidereal_quantizers::tables::{Keys, import, import_alone};
use sidereal_quantizers::{SidAnalysis, SidReport, load_sids};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What items are: a data set and vectors.
pub struct Ground {
    /// Catalogue, histories, split.
    pub data: Data,
    /// Vectors of the encoder, shape `N x D`; none where the configuration has no model with IDs.
    pub vectors: Option<Matrix>,
}

/// A set of IDs with what is known of its items.
pub struct Subject {
    /// Where it comes from, as given.
    pub name: String,
    /// The IDs.
    pub table: SidTable,
    /// Data set and vectors.
    pub ground: Option<Rc<Ground>>,
    /// Health of the quantizer's codes, where a run wrote it.
    pub codes: Option<SidReport>,
}

/// Components, finished stages and the run: what opening a subject needs.
pub struct Opener<'a> {
    /// All components.
    pub registry: &'a Registry,
    /// Finished stages; runs may name their own.
    pub cache: &'a dyn Fn(&Plan) -> PathBuf,
    /// Observer, stop flag, threads.
    pub run: Run<'a>,
}

impl Opener<'_> {
    /// Data set and vectors of a configuration.
    pub fn ground(&self, plan: &Plan) -> Result<Ground> {
        let cache = Cache::new((self.cache)(plan));
        let run = Run { seed: plan.seed, ..self.run.clone() };
        let cx = Context { registry: self.registry, plan, cache: &cache, run };
        let data = data(&cx)?;
        let generative = plan.model.as_ref().and_then(|m| m.generative.as_ref());
        let vectors = match generative {
            Some(g) => Some(embeddings(&cx, &g.encoder, &data)?.vectors()?.clone()),
            None => None,
        };
        Ok(Ground { data, vectors })
    }

    /// Data set and vectors of a configuration file.
    pub fn ground_of(&self, file: &Path) -> Result<Ground> {
        let config = Config::load(file)?;
        let plan = Plan::resolve(self.registry, &config).map_err(|e| config.locate(e))?;
        self.ground(&plan).map_err(|e| config.locate(e))
    }

    /// A run folder or a table's file. `ground` takes the place of a run's own.
    ///
    /// Errors: a run without IDs, data that have changed, a file of no known format, IDs of another
    /// catalogue.
    pub fn open(&self, path: &Path, ground: Option<&Rc<Ground>>) -> Result<Subject> {
        let name = path.display().to_string();
        if !path.is_dir() {
            let table = match ground {
                Some(g) => import(path, &g.data.dataset.items, Keys::Auto, 0)?,
                None => import_alone(path)?,
            };
            return Ok(Subject { name, table, ground: ground.cloned(), codes: None });
        }
        RunFolder::open(path)?;
        let file = path.join(sids::TABLE);
        if !file.is_file() {
            let message = format!("{} is missing: the run has no semantic IDs", sids::TABLE);
            return Err(Error::data(path, message));
        }
        let table = load_sids(&file)?;
        let ground = match ground {
            Some(ground) => Rc::clone(ground),
            None => {
                let own = self.ground(&plan_of(self.registry, path, &[])?)?;
                same_data(path, &own.data)?;
                Rc::new(own)
            }
        };
        let items = ground.data.dataset.items.len();
        if table.n_items() != items {
            let message = format!("IDs of {} items, the data set has {items}", table.n_items());
            return Err(Error::data(file, message));
        }
        #[derive(Deserialize)]
        struct Codes {
            codes: Option<SidReport>,
        }
        let report: Option<Codes> = files::read_json(&path.join(sids::REPORT)).ok();
        let codes = report.and_then(|r| r.codes);
        Ok(Subject { name, table, ground: Some(ground), codes })
    }

    /// What a finished run came to: the figures of its IDs and `metric` on its test cases. The
    /// report that the run wrote is taken; without a whole one, and with `ground`, the IDs are
    /// measured.
    ///
    /// Errors: a run that is not finished or has no such metric.
    pub fn measurement(
        &self,
        path: &Path,
        metric: &str,
        ground: Option<&Rc<Ground>>,
    ) -> Result<Measurement> {
        let file = path.join(evaluation::METRICS);
        if !file.is_file() {
            return Err(Error::data(path, "the run has no metrics.json: it is not finished"));
        }
        let results: Results = files::read_json(&file)?;
        let recall = *results.test.get(metric).ok_or_else(|| {
            let known: Vec<&str> = results.test.keys().map(String::as_str).collect();
            Error::data(&file, format!("no metric `{metric}`; known: {}", known.join(", ")))
        })?;
        let written: Option<SidAnalysis> = match ground {
            None => files::read_json(&path.join(sids::REPORT)).ok(),
            Some(_) => None,
        };
        let analysis = match written {
            Some(analysis) => analysis,
            None => self.open(path, ground)?.analyse(&self.run)?,
        };
        Ok(measured(path.display().to_string(), &analysis, recall))
    }

    /// The measurements that a JSON list names: `[{"name": .., "report": PATH, "recall": x}, ..]`,
    /// each path a report, or a folder that holds one, beside the list.
    pub fn measurements(&self, list: &Path) -> Result<Vec<Measurement>> {
        #[derive(Deserialize)]
        struct Entry {
            name: String,
            report: PathBuf,
            recall: f64,
        }
        let entries: Vec<Entry> = files::read_json(list)?;
        let beside = list.parent().unwrap_or(Path::new(""));
        let read = |e: Entry| {
            let path = beside.join(&e.report);
            let path = if path.is_dir() { path.join(sids::REPORT) } else { path };
            Ok(measured(e.name, &files::read_json(&path)?, e.recall))
        };
        entries.into_iter().map(read).collect()
    }
}

fn measured(name: String, analysis: &SidAnalysis, recall: f64) -> Measurement {
    let figures = figures(analysis).into_iter().map(|f| (f.name, f.value)).collect();
    Measurement { name, figures, recall }
}

/// The run folders that a path stands for: itself, or the finished runs of a sweep's folder.
pub fn run_folders(path: &Path) -> Result<Vec<PathBuf>> {
    let runs = crate::report::collect::runs(path)?;
    // A run without results is the caller's to refuse.
    match runs.finished.is_empty() && runs.unfinished.len() == 1 {
        true => Ok(runs.unfinished.into_iter().map(|u| u.folder).collect()),
        false => Ok(runs.finished.into_iter().map(|f| f.folder).collect()),
    }
}

impl Subject {
    /// Everything that can be said of the IDs.
    pub fn analyse(&self, run: &Run<'_>) -> Result<SidAnalysis> {
        let mut input = AnalysisInput::table(&self.table);
        if let Some(ground) = &self.ground {
            input.items = Some(&ground.data.dataset.items);
            input.train = Some(&ground.data.train);
            input.vectors = ground.vectors.as_ref().map(Matrix::view);
        }
        Ok(SidAnalysis { codes: self.codes.clone(), ..SidAnalysis::of(&input, run)? })
    }
}
