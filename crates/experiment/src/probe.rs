//! A look at a backbone before any work: how it names items, and whether it, the objective and
//! the kind of samples fit together.
//!
//! The backbone is built over a catalogue of three items with made-up IDs and runs once over one
//! history. That costs the initialisation of its weights and saves the surprise after an hour of
//! preparation.

use crate::Registry;
use sidereal_backbones::{Backbone, BackboneContext, Output};
use sidereal_core::{CodeOrder, ItemId, Result, SidTable, Spec};
use sidereal_data::Augment;
use sidereal_nn::{Batch, BatchBuilder, Engine, Objective, ObjectiveInput, Pass, Terms};
use std::sync::Arc;

/// Items of the tiny catalogue.
pub(crate) const ITEMS: usize = 3;

/// A backbone over a tiny catalogue.
pub struct Probe {
    backbone: Box<dyn Backbone>,
    sids: Arc<SidTable>,
}

impl Probe {
    /// Builds the backbone; wrong options are errors here.
    pub fn new(registry: &Registry, backbone: &Spec, seed: u64, engine: Engine) -> Result<Self> {
        let ids: [[u32; 3]; ITEMS] = [[0, 0, 0], [0, 1, 0], [1, 0, 1]];
        let rows = ids.iter().enumerate().map(|(i, id)| (ItemId(i as u32), &id[..]));
        let sids = Arc::new(SidTable::new(ITEMS, CodeOrder::Sequence, rows)?);
        let context = BackboneContext { sids: Some(sids.clone()), n_items: ITEMS, seed };
        let backbone = registry.backbone(backbone, &context, engine)?;
        Ok(Probe { backbone, sids })
    }

    /// How the backbone names items.
    pub fn output(&self) -> Output {
        self.backbone.output()
    }

    /// Number of parameters over the tiny catalogue.
    pub fn parameters(&self) -> usize {
        self.backbone.params().len()
    }

    /// Most items of a history that the backbone reads.
    pub fn max_history(&self) -> usize {
        self.backbone.max_history()
    }

    /// The richest kind of samples that the backbone can learn from.
    pub fn usual(&self, objective: &dyn Objective) -> Result<Augment> {
        match self.check(objective, Augment::Packed) {
            Ok(()) => Ok(Augment::Packed),
            Err(_) => self.check(objective, Augment::Contiguous).map(|()| Augment::Contiguous),
        }
    }

    /// Runs one sample through backbone and objective.
    pub fn check(&self, objective: &dyn Objective, augmentation: Augment) -> Result<()> {
        let table = match self.output() {
            Output::Codes => Some(self.sids.clone()),
            Output::Items => None,
        };
        let builder = BatchBuilder::new(table, self.backbone.max_history());
        let mut batch = Batch::default();
        builder.clear(&mut batch);
        let items = [0, 1, 2].map(ItemId);
        match augmentation {
            Augment::Packed => builder.push_every(&mut batch, &items)?,
            _ => builder.push_next(&mut batch, &items[..2], items[2])?,
        }
        builder.push_user(&mut batch, None);
        let model = self.backbone.as_model();
        let mut workspace = model.workspace();
        model.forward(&batch, Pass::Evaluate, &mut workspace)?;
        let input =
            ObjectiveInput { batch: &batch, weights: model.params().values(), scale: 1.0, key: 0 };
        objective.evaluate(&input, &mut workspace.bag, None, &mut Terms::default())
    }
}
