//! The stages of a run as its plan tells them, before anything is made.
//!
//! The keys of the cache hold what earlier stages came to. Here a stage is known by what it will
//! be made from: its component and options and the stages before it. Runs that agree in that share
//! the stage; that two different stages come to the same bytes is only seen when they are there.

use crate::hash;
use crate::stages::training::WITHOUT_EFFECT;
use crate::{GenerativePlan, Plan};
use serde_json::{Value, json};
use std::fmt;

/// Stages in the order of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StageKind {
    /// Files to a data set.
    Data,
    /// Items to vectors.
    Vectors,
    /// Vectors to IDs.
    Ids,
    /// Samples to a model.
    Training,
    /// A model to metrics.
    Evaluation,
}

impl StageKind {
    /// All of them.
    pub const ALL: [StageKind; 5] = [
        StageKind::Data,
        StageKind::Vectors,
        StageKind::Ids,
        StageKind::Training,
        StageKind::Evaluation,
    ];

    /// The name that runs give it.
    pub fn name(self) -> &'static str {
        match self {
            StageKind::Data => "data",
            StageKind::Vectors => "embeddings",
            StageKind::Ids => "sids",
            StageKind::Training => "training",
            StageKind::Evaluation => "evaluation",
        }
    }

    /// The stage of a run's own name for it.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StageKind::Vectors => "vectors",
            StageKind::Ids => "IDs",
            other => other.name(),
        })
    }
}

/// A stage of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Which one.
    pub kind: StageKind,
    /// Name of its main component.
    pub component: String,
    /// Stages with the same number are the same work.
    pub id: String,
    /// The same over runs that differ in the seed.
    pub alike: String,
}

/// The stages of a plan in order.
pub fn stages(plan: &Plan) -> Vec<Stage> {
    let mut out = Vec::new();
    let mut before: [Value; 2] = [json!(null), json!(null)];
    let mut add = |kind: StageKind, component: &str, own: Value, seeded: bool| {
        let tree = |before: &Value, seed: Option<u64>| json!([kind.name(), before, own, seed]);
        let id = hash::of_json(&tree(&before[0], seeded.then_some(plan.seed)));
        let alike = hash::of_json(&tree(&before[1], None));
        before = [id.as_str().into(), alike.as_str().into()];
        out.push(Stage { kind, component: component.into(), id, alike });
    };
    let split = plan.split.identity();
    add(StageKind::Data, &plan.source.spec.name, plan.source.identity(), false);
    if let Some(model) = &plan.model {
        if let Some(g) = &model.generative {
            let reads = g.identifier.built.reads_codes();
            if reads {
                let (own, seeded) = vectors(g);
                add(StageKind::Vectors, &g.encoder.spec.name, json!([split, own]), seeded);
            }
            let quantizer = reads.then(|| g.quantizer.identity());
            let name = if reads { &g.quantizer.spec.name } else { &g.identifier.spec.name };
            let own = json!([split, quantizer, g.identifier.identity()]);
            add(StageKind::Ids, name, own, true);
        }
        let mut train = model.train.resolved.clone();
        train.retain(|key, _| !WITHOUT_EFFECT.contains(&key.as_str()));
        let own = json!([
            split,
            model.backbone_identity(),
            model.objective.identity(),
            train,
            plan.evaluate.select_identity,
            plan.evaluate.options.exclude_seen,
            plan.engine.kind(),
        ]);
        add(StageKind::Training, &model.backbone.name, own, true);
    }
    let baseline = plan.baseline.as_ref();
    let decoder = plan.model.as_ref().and_then(|m| m.generative.as_ref()).map(|g| &g.decoder);
    let rerankers: Vec<Value> = plan.rerankers.iter().map(|p| p.identity()).collect();
    let own = json!([
        split,
        baseline.map(|b| json!([b.name, b.options])),
        decoder.map(|d| d.identity()),
        rerankers,
        plan.evaluate.identities,
        plan.evaluate.options.exclude_seen,
        plan.evaluate.options.few,
    ]);
    let name = decoder.map(|d| &d.spec.name).or(baseline.map(|b| &b.name));
    add(StageKind::Evaluation, name.map_or("dense", String::as_str), own, true);
    out
}

/// The encoders, and whether one of them draws.
fn vectors(plan: &GenerativePlan) -> (Value, bool) {
    let side = plan.side.iter().map(|(name, p)| json!([name, p.identity()]));
    let all: Vec<Value> = std::iter::once(plan.encoder.identity()).chain(side).collect();
    let mut parts = std::iter::once(&plan.encoder).chain(plan.side.values());
    (all.into(), parts.any(|p| p.built.seeded()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Registry};

    fn of(text: &str) -> Vec<Stage> {
        let config = Config::parse(text, "x.toml").unwrap();
        stages(&Plan::resolve(&Registry::builtin().unwrap(), &config).unwrap())
    }

    /// How many stages from the first on two experiments share.
    fn shared(a: &str, b: &str) -> usize {
        let (a, b) = (of(a), of(b));
        let same = |(a, b): &(&Stage, &Stage)| a.id == b.id;
        a.iter().zip(&b).take_while(same).count()
    }

    #[test]
    fn a_stage_is_shared_up_to_what_differs() {
        assert_eq!(of("").iter().map(|s| s.kind).collect::<Vec<_>>(), StageKind::ALL);
        assert_eq!(shared("", "threads = 1\n[train]\nkeep = 3"), 5);
        assert_eq!(shared("", "[decoder]\nwidth = 30"), 4);
        assert_eq!(shared("", "[train]\nlr = 0.1"), 3);
        assert_eq!(shared("", "quantizer = \"random\""), 2);
        // The seed reaches what draws; a reader of files does not.
        assert_eq!(shared("", "seed = 1"), 1);
        assert_eq!(shared("", "encoder = \"svd\""), 1);
        assert_eq!(shared("", "[data]\ntype = \"synthetic\"\nusers = 9"), 0);
        let alike = |text: &str| -> Vec<String> { of(text).into_iter().map(|s| s.alike).collect() };
        assert_eq!(alike(""), alike("seed = 1"));
        assert_ne!(alike("")[4], alike("[decoder]\nwidth = 30")[4]);
        let dense: Vec<StageKind> = of("backbone = \"sasrec\"").iter().map(|s| s.kind).collect();
        assert_eq!(dense, [StageKind::Data, StageKind::Training, StageKind::Evaluation]);
    }
}
