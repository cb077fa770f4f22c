//! Every component that a configuration can name, and how other crates add theirs.

use crate::baselines::{self, BaselineContext};
use sidereal_backbones::{Backbone, BackboneContext, CandleContext};
use sidereal_core::{
    Catalog, Entry, Error, Identifier, ItemEncoder, OptionDoc, Quantizer, Recommender, Result, Spec,
};
use sidereal_data::{Source, Splitter};
use sidereal_decoding::Decoder;
use sidereal_metrics::Metric;
use sidereal_nn::{Engine, Objective};
use sidereal_rerank::Reranker;

/// A crate that adds components.
///
/// ```
/// use sidereal_experiment::{Plugin, Registry};
/// use sidereal_core::{Entry, Result};
/// use sidereal_metrics::{CutOff, Metric, Recall};
///
/// struct MyMetrics;
///
/// impl Plugin for MyMetrics {
///     fn register(&self, registry: &mut Registry) -> Result<()> {
///         registry.metrics.add(Entry::new(
///             "my-recall",
///             env!("CARGO_PKG_NAME"),
///             "Recall under another name.",
///             |o: CutOff, _: &()| Ok(Box::new(Recall::new(o)?) as Box<dyn Metric>),
///         ))
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let registry = Registry::builtin()?.with(MyMetrics)?;
/// assert!(registry.metrics.get("my-recall").is_ok());
/// # Ok(())
/// # }
/// ```
pub trait Plugin {
    /// Adds the plugin's components; a name that is taken is an error that tells by whom.
    fn register(&self, registry: &mut Registry) -> Result<()>;
}

/// All catalogs.
pub struct Registry {
    /// `[data] type`.
    pub datasets: Catalog<dyn Source>,
    /// `[data] split`.
    pub splits: Catalog<dyn Splitter>,
    /// `[encoder] type`.
    pub encoders: Catalog<dyn ItemEncoder>,
    /// `[quantizer] type`.
    pub quantizers: Catalog<dyn Quantizer>,
    /// `[identifier] type`.
    pub identifiers: Catalog<dyn Identifier>,
    /// `[backbone] type`.
    pub backbones: Catalog<dyn Backbone, BackboneContext>,
    /// The same names as networks in candle operations, for other values of `device` than "cpu".
    pub networks: Catalog<dyn Backbone, CandleContext>,
    /// `[objective] type`.
    pub objectives: Catalog<dyn Objective>,
    /// `[decoder] type`.
    pub decoders: Catalog<dyn Decoder>,
    /// `[[reranker]] type`.
    pub rerankers: Catalog<dyn Reranker>,
    /// `[evaluate] metrics`.
    pub metrics: Catalog<dyn Metric>,
    /// `[recommender] type`: recommenders that need no training.
    pub recommenders: Catalog<dyn Recommender, BaselineContext>,
}

/// What the reference pages say of a component.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ComponentDoc {
    /// Section of the configuration, as in `quantizer`.
    pub kind: String,
    /// Name, as in `rq-kmeans`.
    pub name: String,
    /// Crate that registered it.
    pub origin: String,
    /// One line for people.
    pub doc: String,
    /// Options with types, defaults and docs.
    pub options: Vec<OptionDoc>,
}

impl Registry {
    /// No component at all.
    pub fn empty() -> Self {
        Registry {
            datasets: Catalog::new("data"),
            splits: Catalog::new("split"),
            encoders: Catalog::new("encoder"),
            quantizers: Catalog::new("quantizer"),
            identifiers: Catalog::new("identifier"),
            backbones: Catalog::new("backbone"),
            networks: Catalog::new("backbone"),
            objectives: Catalog::new("objective"),
            decoders: Catalog::new("decoder"),
            rerankers: Catalog::new("reranker"),
            metrics: Catalog::new("metric"),
            recommenders: Catalog::new("recommender"),
        }
    }

    /// Everything that the workspace's crates bring.
    pub fn builtin() -> Result<Self> {
        let mut r = Registry::empty();
        sidereal_data::register(&mut r.datasets)?;
        sidereal_data::register_splits(&mut r.splits)?;
        sidereal_encoders::register(&mut r.encoders)?;
        sidereal_quantizers::register(&mut r.quantizers)?;
        sidereal_quantizers::register_identifiers(&mut r.identifiers)?;
        sidereal_backbones::register(&mut r.backbones)?;
        sidereal_backbones::plain::register(&mut r.networks)?;
        sidereal_losses::register(&mut r.objectives)?;
        sidereal_decoding::register(&mut r.decoders)?;
        sidereal_rerank::register(&mut r.rerankers)?;
        sidereal_metrics::register(&mut r.metrics)?;
        baselines::register(&mut r.recommenders)?;
        Ok(r)
    }

    /// With the components of a plugin.
    pub fn with(mut self, plugin: impl Plugin) -> Result<Self> {
        plugin.register(&mut self)?;
        Ok(self)
    }

    /// A backbone with fresh weights, as `engine` runs it.
    pub fn backbone(
        &self,
        spec: &Spec,
        context: &BackboneContext,
        engine: Engine,
    ) -> Result<Box<dyn Backbone>> {
        let Engine::Candle(device) = engine else {
            return self.backbones.build(spec, context);
        };
        if self.networks.get(&spec.name).is_err() {
            let known: Vec<&str> = self.networks.entries().map(|e| e.name.as_str()).collect();
            let message = format!(
                "\"{engine}\", but `{}` has no network in candle operations; allowed: \"cpu\", or \
                 another backbone: {}",
                spec.name,
                known.join(", ")
            );
            return Err(Error::config("device", message));
        }
        self.networks.build(spec, &CandleContext { backbone: context.clone(), device })
    }

    /// Every component, in the order of the pipeline.
    pub fn components(&self) -> Vec<ComponentDoc> {
        let mut out = Vec::new();
        describe(&self.datasets, &mut out);
        describe(&self.splits, &mut out);
        describe(&self.encoders, &mut out);
        describe(&self.quantizers, &mut out);
        describe(&self.identifiers, &mut out);
        describe(&self.backbones, &mut out);
        describe(&self.objectives, &mut out);
        describe(&self.decoders, &mut out);
        describe(&self.rerankers, &mut out);
        describe(&self.metrics, &mut out);
        describe(&self.recommenders, &mut out);
        out
    }
}

fn describe<T: ?Sized, C>(catalog: &Catalog<T, C>, out: &mut Vec<ComponentDoc>) {
    out.extend(catalog.entries().map(|entry: &Entry<T, C>| ComponentDoc {
        kind: catalog.kind().to_string(),
        name: entry.name.clone(),
        origin: entry.origin.clone(),
        doc: entry.doc.clone(),
        options: entry.options.clone(),
    }));
}
