//! From a configuration to built components: every name, option and range is checked before any
//! work begins, and every default is filled in.

use super::plan::identity;
use super::{
    Config, EvaluateOptions, EvaluatePlan, GenerativePlan, ModelPlan, Part, Plan, SECTIONS,
    SampleOptions, TOP_KEYS, TrainPlan, train_docs,
};
use crate::Registry;
use crate::probe::Probe;
use serde_json::{Map, Value, json};
use sidereal_backbones::Output;
use sidereal_core::{Catalog, Error, ItemEncoder, OptionDoc, Options, Result, Spec};
use sidereal_metrics::{Metric, Need};
use sidereal_nn::Engine;
use sidereal_rerank::{Reranker, check_chain};
use sidereal_train::TrainOptions;
use std::collections::BTreeMap;
use std::path::PathBuf;

impl Plan {
    /// Checks and builds everything that `config` names.
    pub fn resolve(registry: &Registry, config: &Config) -> Result<Self> {
        Resolver { registry, config, resolved: Map::new() }.plan().map_err(|e| config.locate(e))
    }
}

struct Resolver<'a> {
    registry: &'a Registry,
    config: &'a Config,
    resolved: Map<String, Value>,
}

impl Resolver<'_> {
    fn plan(mut self) -> Result<Plan> {
        let (registry, config) = (self.registry, self.config);
        let seed = self.top("seed", "a whole number from 0", Value::as_u64)?.unwrap_or(0);
        self.resolved.insert("seed".into(), seed.into());
        let at_least_one = |v: &Value| v.as_u64().filter(|&t| t > 0);
        let threads = self.top("threads", "a whole number from 1", at_least_one)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.map_or(cores, |t| t as usize);
        let text = |v: &Value| v.as_str().map(str::to_string);
        let cache = self.top("cache", "the path of a folder in quotes", text)?.map(PathBuf::from);
        let device = self.top("device", "a name in quotes", text)?;
        let engine = device.map_or(Ok(Engine::default()), |d| d.parse())?;

        let mut data = config.section("data").cloned().unwrap_or_default();
        let split = match data.remove("split") {
            Some(Value::Object(table)) => table,
            Some(name) => Map::from_iter([("type".to_string(), name)]),
            None => Map::new(),
        };
        let source = self.part(&registry.datasets, "data", data, "synthetic", &())?;
        let split = self.part(&registry.splits, "data.split", split, "leave-one-out", &())?;
        self.record(&source);
        if let Some(Value::Object(data)) = self.resolved.get_mut("data") {
            data.insert("split".into(), table_of(&split.spec).into());
        }

        let (mut model, mut baseline) = (None, None);
        if let Some(table) = config.section("recommender") {
            let spec = Spec::from_table("recommender", table.clone())?;
            let options = self.registry.recommenders.resolve(&spec)?;
            let spec = Spec { options, ..spec };
            self.resolved.insert("recommender".into(), table_of(&spec).into());
            baseline = Some(spec);
        } else {
            model = Some(self.model(seed, engine)?);
        }
        let rerankers = self.rerankers()?;
        let evaluate = self.evaluate()?;
        if let (Some(m), Some(k)) = (&model, evaluate.select_k)
            && m.generative.is_some()
            && (m.train.validate_width as usize) < k
        {
            return Err(Error::config(
                "train.validate_width",
                format!(
                    "{} is below the cut-off of evaluate.select = \"{}\"; allowed: {k} and up",
                    m.train.validate_width, evaluate.options.select
                ),
            ));
        }
        if let Some(generative) = model.as_ref().and_then(|m| m.generative.as_ref()) {
            let (width, length) = (generative.decoder.built.width(), evaluate.list_length);
            if width < length {
                return Err(Error::config(
                    "decoder.width",
                    format!(
                        "{width} is below the largest cut-off {length} of evaluate.metrics; \
                         allowed: {length} and up"
                    ),
                ));
            }
        }
        let vectors = evaluate.metrics.iter().find(|m| m.needs().contains(&Need::Vectors));
        if let (Some(metric), None) = (vectors, model.as_ref().and_then(|m| m.generative.as_ref()))
        {
            let message = format!(
                "`{}` needs item vectors, and this experiment has no [encoder] that makes them",
                metric.name()
            );
            return Err(Error::config("evaluate.metrics", message));
        }
        let unused = SECTIONS.iter().filter(|s| config.section(s).is_some());
        let unused =
            unused.filter(|s| !self.resolved.contains_key(**s)).map(|s| s.to_string()).collect();
        for key in TOP_KEYS {
            if let Some(value) = config.root.get(key) {
                self.resolved.insert(key.into(), value.clone());
            }
        }
        Ok(Plan {
            name: config.name.clone(),
            seed,
            threads,
            engine,
            cache,
            source,
            split,
            model,
            baseline,
            rerankers,
            evaluate,
            unused,
            resolved: self.resolved,
        })
    }

    /// A key above the sections.
    fn top<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.config.root.get(key) else { return Ok(None) };
        let wrong = || Error::config(key, format!("expected {expected}, got {value}"));
        read(value).map(Some).ok_or_else(wrong)
    }

    fn model(&mut self, seed: u64, engine: Engine) -> Result<ModelPlan> {
        let (registry, config) = (self.registry, self.config);
        let written = |name: &str| config.section(name).cloned().unwrap_or_default();
        let table = written("backbone");
        let (spec, origin) = self.spec(&registry.backbones, "backbone", table, "tiger")?;
        self.resolved.insert("backbone".into(), table_of(&spec).into());
        let probe = Probe::new(registry, &spec, seed, engine)?;
        let output = probe.output();
        let usual = match output {
            Output::Codes => "cross-entropy",
            Output::Items => "full-softmax",
        };
        let objective =
            self.part(&registry.objectives, "objective", written("objective"), usual, &())?;
        let mut train = self.train(written("train"))?;
        let unfit = |e| match e {
            Error::Mismatch(message) => Error::config("objective.type", message),
            other => other,
        };
        let loss = objective.built.as_ref();
        match train.0.augmentation {
            Some(augmentation) => probe.check(loss, augmentation).map_err(unfit)?,
            None => train.0.augmentation = Some(probe.usual(loss).map_err(unfit)?),
        }
        let (samples, options) = train;
        let mut resolved = samples.to_map();
        resolved.extend(options.to_map());
        resolved.remove("select");
        tidy(&mut resolved, &TrainOptions::describe());
        let augmentation = samples.augmentation.unwrap_or_default();
        let train = TrainPlan {
            options,
            augmentation,
            validate_width: samples.validate_width,
            validate_cases: samples.validate_cases,
            resolved,
        };
        let generative = match output {
            Output::Items => None,
            Output::Codes => Some(GenerativePlan {
                encoder: self.part(
                    &registry.encoders,
                    "encoder",
                    written("encoder"),
                    "lsa",
                    &(),
                )?,
                quantizer: self.part(
                    &registry.quantizers,
                    "quantizer",
                    written("quantizer"),
                    "rq-kmeans",
                    &(),
                )?,
                side: self.side()?,
                identifier: self.part(
                    &registry.identifiers,
                    "identifier",
                    written("identifier"),
                    "ordinal",
                    &(),
                )?,
                decoder: self.part(
                    &registry.decoders,
                    "decoder",
                    written("decoder"),
                    "beam",
                    &(),
                )?,
            }),
        };
        self.record(&objective);
        self.resolved.insert("train".into(), train.resolved.clone().into());
        if let Some(g) = &generative {
            if g.identifier.built.reads_codes() {
                self.record(&g.encoder);
                self.record(&g.quantizer);
                if !g.side.is_empty() {
                    let parts = g.side.iter();
                    let side: Map<_, _> =
                        parts.map(|(name, p)| (name.clone(), table_of(&p.spec).into())).collect();
                    self.resolved.insert("side".into(), side.into());
                }
            }
            self.record(&g.identifier);
            self.record(&g.decoder);
        }
        let (backbone, backbone_origin) = (spec, origin);
        Ok(ModelPlan { backbone, backbone_origin, output, objective, train, generative })
    }

    /// The chain of `[[reranker]]` sections.
    fn rerankers(&mut self) -> Result<Vec<Part<dyn Reranker>>> {
        let tables = self.config.list("reranker").enumerate();
        let part = |(i, table): (usize, &Map<String, Value>)| {
            let section = format!("reranker[{i}]");
            if !table.contains_key("type") {
                return Err(Error::config(
                    format!("{section}.type"),
                    "missing: name the component",
                ));
            }
            self.part(&self.registry.rerankers, &section, table.clone(), "", &())
                .map_err(|e| within(e, "reranker", &section))
        };
        let parts: Vec<Part<dyn Reranker>> = tables.map(part).collect::<Result<_>>()?;
        check_chain(parts.iter().map(|p| p.built.as_ref()))?;
        if !parts.is_empty() {
            let tables: Vec<Value> = parts.iter().map(|p| table_of(&p.spec).into()).collect();
            self.resolved.insert("reranker".into(), tables.into());
        }
        Ok(parts)
    }

    /// The encoders under `[side]`.
    fn side(&self) -> Result<BTreeMap<String, Part<dyn ItemEncoder>>> {
        let mut parts = BTreeMap::new();
        for (name, written) in self.config.section("side").into_iter().flatten() {
            let section = format!("side.{name}");
            let table = match written {
                Value::Object(table) => table.clone(),
                Value::String(kind) => Map::from_iter([("type".to_string(), kind.as_str().into())]),
                other => {
                    let message = format!("expected an encoder's name or a section, got {other}");
                    return Err(Error::config(section, message));
                }
            };
            let part = self.part(&self.registry.encoders, &section, table, "lsa", &())?;
            parts.insert(name.clone(), part);
        }
        Ok(parts)
    }

    fn train(&self, table: Map<String, Value>) -> Result<(SampleOptions, TrainOptions)> {
        let docs = train_docs();
        let known: Vec<&str> = docs.iter().map(|d| d.name).collect();
        let own: Vec<&str> = SampleOptions::describe().iter().map(|d| d.name).collect();
        let mut spec = Spec { section: "train".into(), name: String::new(), options: table };
        sidereal_core::component::check_keys(&spec, &known)?;
        let all = std::mem::take(&mut spec.options);
        let (samples, trainer) = all.into_iter().partition(|(k, _)| own.contains(&k.as_str()));
        let samples = SampleOptions::from_spec(&Spec { options: samples, ..spec.clone() })?;
        if samples.validate_width == 0 {
            return Err(Error::config("train.validate_width", "0; allowed: 1 and up"));
        }
        Ok((samples, TrainOptions::read(&Spec { options: trainer, ..spec })?))
    }

    fn evaluate(&mut self) -> Result<EvaluatePlan> {
        let options = self.config.section("evaluate").cloned().unwrap_or_default();
        let spec = Spec { section: "evaluate".into(), name: String::new(), options };
        let options = EvaluateOptions::from_spec(&spec)?;
        if options.metrics.is_empty() {
            return Err(Error::config(
                "evaluate.metrics",
                "empty; name one, as in [\"recall@10\"]",
            ));
        }
        let (mut metrics, mut identities) = (Vec::<Box<dyn Metric>>::new(), Vec::new());
        let mut list_length = 0;
        for written in &options.metrics {
            let (metric, identity, k) = self.metric("evaluate.metrics", written)?;
            if metrics.iter().any(|m| m.name() == metric.name()) {
                let message = format!("`{}` stands there twice", metric.name());
                return Err(Error::config("evaluate.metrics", message));
            }
            list_length = list_length.max(k);
            metrics.push(metric);
            identities.push(identity);
        }
        let (select, select_identity, select_k) = if options.select == "loss" {
            (None, json!("loss"), None)
        } else {
            let name = Value::from(options.select.as_str());
            let (metric, identity, k) = self.metric("evaluate.select", &name)?;
            if metric.needs().contains(&Need::Vectors) {
                let message =
                    format!("`{}` reads item vectors, which training does not", metric.name());
                return Err(Error::config("evaluate.select", message));
            }
            (Some(metric), identity, Some(k))
        };
        self.resolved.insert("evaluate".into(), options.to_map().into());
        Ok(EvaluatePlan {
            metrics,
            identities,
            select,
            select_identity,
            select_k,
            options,
            list_length,
        })
    }

    /// A metric, its identity and its cut-off.
    fn metric(&self, key: &str, written: &Value) -> Result<(Box<dyn Metric>, Value, usize)> {
        let spec = match written {
            Value::String(name) => Spec::from_short(key, name)?,
            Value::Object(table) => Spec::from_table(key, table.clone())?,
            other => {
                let message = format!("expected a name as in \"recall@10\", got {other}");
                return Err(Error::config(key, message));
            }
        };
        let catalog = &self.registry.metrics;
        let options = catalog.resolve(&spec)?;
        let metric = catalog.build(&spec, &())?;
        let k = options.get("k").and_then(Value::as_u64).unwrap_or(10) as usize;
        let spec = Spec { options, ..spec };
        let identity = identity(&spec, &catalog.get(&spec.name)?.origin);
        Ok((metric, identity, k))
    }

    /// The spec of a section with all options, and who registered the component.
    fn spec<T: ?Sized, C>(
        &self,
        catalog: &Catalog<T, C>,
        section: &str,
        mut table: Map<String, Value>,
        usual: &str,
    ) -> Result<(Spec, String)> {
        table.entry("type").or_insert_with(|| usual.into());
        let mut spec = Spec::from_table(section, table)?;
        self.find_files(&mut spec.options);
        let entry = catalog.get(&spec.name)?;
        spec.options = catalog.resolve(&spec)?;
        tidy(&mut spec.options, &entry.options);
        Ok((spec, entry.origin.clone()))
    }

    fn part<T: ?Sized, C>(
        &self,
        catalog: &Catalog<T, C>,
        section: &str,
        table: Map<String, Value>,
        usual: &str,
        context: &C,
    ) -> Result<Part<T>> {
        let (spec, origin) = self.spec(catalog, section, table, usual)?;
        let built = catalog.build(&spec, context)?;
        Ok(Part { spec, origin, built })
    }

    fn record<T: ?Sized>(&mut self, part: &Part<T>) {
        self.resolved.insert(part.spec.section.clone(), table_of(&part.spec).into());
    }

    /// Makes paths absolute where they lead somewhere, in inner components too.
    fn find_files(&self, options: &mut Map<String, Value>) {
        for (key, value) in options {
            match value {
                Value::String(path) if is_path(key) && !path.is_empty() => {
                    if let Some(found) = self.config.find(path) {
                        *value = found.to_string_lossy().into_owned().into();
                    }
                }
                Value::Object(inner) => self.find_files(inner),
                Value::Array(parts) => {
                    parts
                        .iter_mut()
                        .filter_map(Value::as_object_mut)
                        .for_each(|p| self.find_files(p));
                }
                _ => {}
            }
        }
    }
}

/// An error of a component, which knows its kind only, with the section of several that it is.
fn within(error: Error, kind: &str, section: &str) -> Error {
    match error {
        Error::Config { key, message } => {
            let own = key.strip_prefix(kind).filter(|rest| rest.starts_with('.'));
            Error::Config { key: own.map_or(key.clone(), |r| format!("{section}{r}")), message }
        }
        other => other,
    }
}

/// Whether an option names a file or folder.
pub(crate) fn is_path(key: &str) -> bool {
    matches!(key, "path" | "metadata" | "items" | "model") || key.ends_with("_path")
}

fn table_of(spec: &Spec) -> Map<String, Value> {
    let mut table = spec.options.clone();
    table.insert("type".into(), spec.name.as_str().into());
    table
}

/// Writes f32 options as they were typed: 0.15, not 0.15000000596046448.
fn tidy(options: &mut Map<String, Value>, docs: &[OptionDoc]) {
    for doc in docs.iter().filter(|d| d.ty.contains("f32")) {
        if let Some(value) = options.get_mut(doc.name)
            && let Some(wide) = value.as_f64()
            && let Ok(short) = (wide as f32).to_string().parse::<f64>()
        {
            *value = short.into();
        }
    }
}
