//! Sweep files: an experiment with a `[sweep]` section that says what changes.
//!
//! ```toml
//! [sweep]
//! base = "tiger-beauty.toml"      # optional: the experiment that this file writes over
//! seeds = [0, 1, 2]
//!
//! [[sweep.case]]                  # values that change together
//! name = "no text"
//! quantizer = "random"
//!
//! [[sweep.case]]
//! name = "wide"
//! "quantizer.levels" = [512, 512]
//!
//! [sweep.grid]                    # every combination, with every case
//! "decoder.width" = [10, 20]
//! ```
//!
//! A whole section replaces the base's; a dotted key changes one value. Without cases there is one,
//! the base itself. `points.rs` tells what stands beside the grid.

use super::halving::Halving;
use super::points::{Setting, points};
use crate::Config;
use serde_json::{Map, Value};
use sidereal_core::{Error, Result, component::nearest};
use std::collections::BTreeSet;
use std::path::Path;

const SECTION: &str = "sweep";
const KEYS: [&str; 7] = ["base", "case", "grid", "halving", "random", "seeds", "zip"];

/// A sweep: distinct experiments, each with every seed.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Stem of the file.
    pub name: String,
    /// Seeds, in the order of the file.
    pub seeds: Vec<u64>,
    /// Experiments by name, in the order of the file.
    pub cases: Vec<Case>,
    /// How cases are chosen before they are trained to the end, if they are.
    pub halving: Option<Halving>,
    /// What the sweep is for.
    pub aim: Aim,
    /// How far its runs go.
    pub until: Until,
}

/// What a sweep is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// To compare its cases.
    Compare,
    /// To choose one of them: a search.
    Choose,
}

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// To the model and its validation metric; test cases are not looked at.
    Training,
    /// To the end.
    Evaluation,
}

/// One row of the sweep's table.
#[derive(Debug, Clone)]
pub struct Case {
    /// Name of the case and its values on the grid.
    pub name: String,
    /// The experiment; its seed is set for each run.
    pub config: Config,
}

impl Sweep {
    /// Reads a file.
    ///
    /// Errors name file, line and key: no `[sweep]`, unknown keys, cases without a name or with one
    /// name, empty lists.
    pub fn load(path: &Path) -> Result<Self> {
        Sweep::find(path)?.ok_or_else(|| Error::ConfigAt {
            place: path.display().to_string(),
            message: "no [sweep] section: it says what changes from run to run".into(),
        })
    }

    /// Reads a file; none where it has no `[sweep]` and so is one experiment.
    pub fn find(path: &Path) -> Result<Option<Self>> {
        let (own, section) = Config::split(path, SECTION)?;
        let reader = Reader { config: &own };
        let Some(section) = section else { return Ok(None) };
        let Value::Object(section) = section else {
            return Err(reader.wrong(SECTION, "expected a section"));
        };
        if let Some(key) = section.keys().find(|k| !KEYS.contains(&k.as_str())) {
            let key = format!("{SECTION}.{key}");
            return Err(own.locate(Error::UnknownOption {
                nearest: nearest(&key[SECTION.len() + 1..], KEYS),
                known: KEYS.map(String::from).into(),
                key,
            }));
        }
        let base = reader.base(&section)?;
        let points = points(&own, &section)?;
        let mut cases = Vec::new();
        for case in reader.cases(&section, &base)? {
            for point in &points {
                cases.push(at_point(&case, point)?);
            }
        }
        let mut names = BTreeSet::new();
        if let Some(case) = cases.iter().find(|c| !names.insert(folder_name(&c.name))) {
            return Err(reader.wrong("sweep.case", &format!("two cases are named `{}`", case.name)));
        }
        let halving = reader.halving(&section, &cases)?;
        let aim = match halving.is_some() || section.contains_key("random") {
            true => Aim::Choose,
            false => Aim::Compare,
        };
        let (name, seeds) = (own.name.clone(), reader.seeds(&section)?);
        Ok(Some(Sweep { name, seeds, cases, halving, aim, until: Until::Evaluation }))
    }

    /// Overrides a key of every case: `assignment` is `a.b=value`.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        self.cases.iter_mut().try_for_each(|case| case.config.set(assignment))
    }
}

impl Case {
    /// The experiment with a seed.
    pub fn with_seed(&self, seed: u64) -> Result<Config> {
        let mut config = self.config.clone();
        config.put("seed", seed.into(), "sweep.seeds")?;
        config.name = self.name.clone();
        Ok(config)
    }

    /// The name as a folder.
    pub fn folder(&self) -> String {
        folder_name(&self.name)
    }
}

/// Letters, digits and `.-_=`; everything else becomes `-`.
fn folder_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || ".-_=".contains(c) { c } else { '-' };
    name.chars().map(plain).collect()
}

struct Reader<'a> {
    config: &'a Config,
}

impl Reader<'_> {
    fn wrong(&self, key: &str, message: &str) -> Error {
        self.config.locate(Error::config(key, message))
    }

    fn base(&self, section: &Map<String, Value>) -> Result<Config> {
        match section.get("base") {
            None => Ok(self.config.clone()),
            Some(Value::String(base)) => {
                let path = self.config.beside(base);
                if !path.is_file() {
                    let message = format!("there is no file {}", path.display());
                    return Err(self.wrong("sweep.base", &message));
                }
                let mut config = Config::load(&path)?;
                config.overlay(self.config)?;
                Ok(config)
            }
            Some(other) => {
                Err(self.wrong("sweep.base", &format!("expected a file in quotes, got {other}")))
            }
        }
    }

    fn seeds(&self, section: &Map<String, Value>) -> Result<Vec<u64>> {
        let Some(written) = section.get("seeds") else { return Ok(vec![0]) };
        let seeds: Option<Vec<u64>> =
            written.as_array().and_then(|a| a.iter().map(Value::as_u64).collect());
        let seeds =
            seeds.filter(|s| !s.is_empty() && s.iter().collect::<BTreeSet<_>>().len() == s.len());
        seeds.ok_or_else(|| {
            let message = format!("expected distinct whole numbers, as in [0, 1], got {written}");
            self.wrong("sweep.seeds", &message)
        })
    }

    fn halving(&self, section: &Map<String, Value>, cases: &[Case]) -> Result<Option<Halving>> {
        const KEYS: [&str; 4] = ["eta", "from", "resource", "to"];
        const RESOURCES: [&str; 2] = ["train.epochs", "train.max_steps"];
        let Some(written) = section.get("halving") else { return Ok(None) };
        let wrong = |message: String| self.wrong("sweep.halving", &message);
        let table = written.as_object().ok_or_else(|| wrong("expected a section".into()))?;
        if let Some(key) = table.keys().find(|k| !KEYS.contains(&k.as_str())) {
            return Err(self.config.locate(Error::UnknownOption {
                key: format!("sweep.halving.{key}"),
                known: KEYS.map(String::from).into(),
                nearest: nearest(key, KEYS),
            }));
        }
        let number = |key: &str, least: u64, default: Option<u64>| {
            let value = table.get(key).map(|v| v.as_u64().filter(|n| *n >= least));
            value.unwrap_or(default).ok_or_else(|| {
                let got = table.get(key).map_or("nothing".into(), Value::to_string);
                wrong(format!("`{key}`: expected a whole number from {least}, got {got}"))
            })
        };
        let (eta, from) = (number("eta", 2, Some(3))?, number("from", 1, None)?);
        let to = number("to", from.saturating_add(1), None)?;
        let resource = table.get("resource").map_or(Some(RESOURCES[0]), Value::as_str);
        let resource = resource.filter(|r| RESOURCES.contains(r)).ok_or_else(|| {
            wrong(format!(
                "`resource`: expected one of {}",
                RESOURCES.map(|r| format!("\"{r}\"")).join(", ")
            ))
        })?;
        let short = resource.trim_start_matches("train.");
        let of = |case: &Case| case.config.tree()["train"].get(short).cloned();
        if cases.windows(2).any(|pair| of(&pair[0]) != of(&pair[1])) {
            return Err(wrong(format!(
                "`{resource}` is what grows, and it varies between the cases"
            )));
        }
        Ok(Some(Halving { eta, resource: resource.into(), from, to }))
    }

    fn cases(&self, section: &Map<String, Value>, base: &Config) -> Result<Vec<Case>> {
        let Some(written) = section.get("case") else {
            return Ok(vec![Case { name: "base".into(), config: base.clone() }]);
        };
        let tables: Option<Vec<&Map<String, Value>>> =
            written.as_array().and_then(|a| a.iter().map(Value::as_object).collect());
        let tables = tables.filter(|t| !t.is_empty());
        let tables =
            tables.ok_or_else(|| self.wrong("sweep.case", "expected tables [[sweep.case]]"))?;
        tables.into_iter().map(|table| self.case(table, base)).collect()
    }

    fn case(&self, table: &Map<String, Value>, base: &Config) -> Result<Case> {
        let name = table.get("name").and_then(Value::as_str).filter(|n| !n.is_empty());
        let Some(name) = name else {
            return Err(self.wrong("sweep.case", "every case needs a name in quotes"));
        };
        let mut config = base.clone();
        let place = self.config.place("sweep.case").unwrap_or(SECTION);
        let place = format!("{place}, case `{name}`");
        for (key, value) in table.iter().filter(|(k, _)| *k != "name") {
            config.put(key, value.clone(), &place)?;
        }
        Ok(Case { name: name.into(), config })
    }
}

/// A case with the values of a point, which its name tells.
fn at_point(case: &Case, point: &[Setting]) -> Result<Case> {
    let (mut name, mut config) = (case.name.clone(), case.config.clone());
    for setting in point {
        let (key, value) = (&setting.key, &setting.value);
        let short = key.rsplit('.').next().unwrap_or(key);
        let shown = match value {
            Value::String(text) => text.clone(),
            Value::Object(table) => table.get("type").and_then(Value::as_str).unwrap_or("?").into(),
            other => other.to_string(),
        };
        name.push_str(&format!(" {short}={shown}"));
        config.put(key, value.clone(), &format!("[sweep], `{key}`"))?;
    }
    Ok(Case { name, config })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Sweep> {
        let dir = tempfile::tempdir().unwrap();
        let base = "seed = 3\n[quantizer]\ntype = \"rq-kmeans\"\nlevels = [4, 4]\n";
        std::fs::write(dir.path().join("base.toml"), base).unwrap();
        let path = dir.path().join("ids.toml");
        std::fs::write(&path, text).unwrap();
        Sweep::load(&path)
    }

    #[test]
    fn cases_times_grid() {
        let text = r#"
            [decoder]
            width = 7
            [sweep]
            base = "base.toml"
            seeds = [5, 1]
            [[sweep.case]]
            name = "usual"
            [[sweep.case]]
            name = "by chance"
            quantizer = "random"
            "decoder.width" = 9
            [sweep.grid]
            "backbone.layers" = [1, 2]
            threads = [1]
        "#;
        let sweep = load(text).unwrap();
        let names: Vec<&str> = sweep.cases.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(sweep.name, "ids");
        assert_eq!(sweep.seeds, [5, 1]);
        assert_eq!(
            names,
            [
                "usual layers=1 threads=1",
                "usual layers=2 threads=1",
                "by chance layers=1 threads=1",
                "by chance layers=2 threads=1"
            ]
        );
        assert_eq!(sweep.cases[2].folder(), "by-chance-layers=1-threads=1");
        let tree = sweep.cases[3].with_seed(5).unwrap().tree();
        assert_eq!(tree["seed"], 5);
        assert_eq!(tree["quantizer"], serde_json::json!({"type": "random"}));
        assert_eq!(tree["decoder"]["width"], 9);
        assert_eq!(tree["backbone"]["layers"], 2);
        let tree = sweep.cases[0].config.tree();
        assert_eq!(
            (&tree["decoder"]["width"], &tree["quantizer"]["levels"][0]),
            (&7.into(), &4.into())
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| load(text).err().unwrap().to_string();
        assert!(error("seed = 1").contains("no [sweep] section"));
        assert!(error("[sweep]\nsedes = [1]").contains("did you mean `seeds`"));
        assert!(error("[sweep]\nseeds = [1, 1]").contains("ids.toml:2"));
        assert!(error("[sweep]\nbase = \"none.toml\"").contains("there is no file"));
        assert!(error("[sweep]\n[[sweep.case]]\nquantizer = \"random\"").contains("needs a name"));
        let twice = "[[sweep.case]]\nname = \"a b\"\n[[sweep.case]]\nname = \"a-b\"\n";
        assert!(error(twice).contains("two cases are named `a-b`"));
        let unknown = error("[[sweep.case]]\nname = \"a\"\nquantiser = \"random\"\n");
        assert!(unknown.contains("did you mean `quantizer`"), "{unknown}");
        assert!(error("[sweep.grid]\nseed = 3\n").contains("expected a list"));
        let halving = |text: &str| error(&format!("[sweep.halving]\n{text}"));
        assert!(halving("from = 1").contains("`to`: expected a whole number from 2, got nothing"));
        assert!(halving("from = 4\nto = 4").contains("from 5, got 4"));
        assert!(halving("form = 1\nto = 4").contains("did you mean `from`"));
        assert!(halving("eta = 1\nfrom = 1\nto = 4").contains("`eta`"));
        assert!(halving("from = 1\nto = 4\nresource = \"train.lr\"").contains("train.max_steps"));
        let varies = "from = 1\nto = 4\n[sweep.grid]\n\"train.epochs\" = [1, 2]";
        assert!(halving(varies).contains("varies between the cases"));
    }
}
