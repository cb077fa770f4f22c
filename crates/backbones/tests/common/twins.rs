//! Fused models beside their networks in candle operations: outputs, gradients and sessions.

use super::fixed_table;
use rand::Rng;
use sidereal_backbones::causal::{Causal, CausalOptions};
use sidereal_backbones::hstu::{Hstu, HstuOptions};
use sidereal_backbones::plain::{
    CausalNetwork, HstuNetwork, RpgNetwork, SasrecNetwork, TigerNetwork,
};
use sidereal_backbones::rpg::{Rpg, RpgOptions};
use sidereal_backbones::sasrec::{Sasrec, SasrecOptions};
use sidereal_backbones::tiger::{Tiger, TigerOptions};
use sidereal_backbones::{Backbone, Output};
use sidereal_core::{ItemId, UserId, seed};
use sidereal_decoding::Row;
use sidereal_nn::{Batch, BatchBuilder, Device, Pass};

pub const WIDTHS: [u32; 3] = [5, 6, 4];
pub const ITEMS: usize = 40;
/// Largest difference of outputs and gradients, relative to the norm of what is compared.
const CLOSE: f64 = 1e-4;

/// Shapes of a model; what a model does not have is ignored.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub heads: usize,
    pub head_width: usize,
    pub d_ff: usize,
    pub layers: usize,
    pub mlp_layers: usize,
    pub dropout: f32,
    pub separator: bool,
    pub user_tokens: u32,
    pub causal_encoder: bool,
    pub mlp_bias: bool,
    pub gate: &'static str,
    pub head: &'static str,
    pub positions: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            heads: 3,
            head_width: 4,
            d_ff: 20,
            layers: 2,
            mlp_layers: 2,
            dropout: 0.3,
            separator: true,
            user_tokens: 3,
            causal_encoder: false,
            mlp_bias: true,
            gate: "none",
            head: "levels",
            positions: "relative",
        }
    }
}

/// A fused model and its network, with the same weights.
pub struct Twins {
    pub fused: Box<dyn Backbone>,
    pub plain: Box<dyn Backbone>,
}

impl Twins {
    /// Moves the weights that both start with, so that no norm is one and no bias zero.
    fn new(mut fused: Box<dyn Backbone>, mut plain: Box<dyn Backbone>) -> Self {
        assert_eq!(fused.params().infos(), plain.params().infos());
        assert_eq!(fused.params().values(), plain.params().values());
        let mut rng = seed::stream(4, "test-weights", 0);
        let weights = fused.params_mut().values_mut();
        weights.iter_mut().for_each(|w| *w += 0.1 * rng.random_range(-1.7..1.7));
        plain.params_mut().values_mut().copy_from_slice(fused.params().values());
        Twins { fused, plain }
    }

    pub fn tiger(s: Shape, device: Device) -> Self {
        let options = TigerOptions {
            d_model: 12,
            d_ff: s.d_ff,
            layers: s.layers,
            decoder_layers: 3 - s.layers.min(2),
            heads: s.heads,
            d_kv: s.head_width,
            mlp_layers: if s.gate == "none" { s.mlp_layers } else { 1 },
            mlp_bias: s.mlp_bias,
            gate: s.gate.to_string(),
            head: s.head.to_string(),
            dropout: s.dropout,
            separator: s.separator,
            user_tokens: s.user_tokens,
            encoder: if s.causal_encoder { "causal" } else { "bidirectional" }.to_string(),
            buckets: 8,
            max_distance: 20,
            ..Default::default()
        };
        let plain = TigerNetwork::model(options.clone(), 3, 6, 1, device).unwrap();
        Self::new(Box::new(Tiger::new(options, 3, 6, 1).unwrap()), Box::new(plain))
    }

    pub fn causal(s: Shape, device: Device) -> Self {
        let options = CausalOptions {
            d_model: 12,
            d_ff: s.d_ff,
            layers: s.layers,
            heads: s.heads,
            d_kv: s.head_width,
            mlp_layers: if s.gate == "none" { s.mlp_layers } else { 1 },
            mlp_bias: s.mlp_bias,
            gate: s.gate.to_string(),
            head: s.head.to_string(),
            dropout: s.dropout,
            positions: s.positions.to_string(),
            max_history: 10,
            buckets: 8,
            max_distance: 20,
        };
        let plain = CausalNetwork::model(options.clone(), &WIDTHS, 2, device).unwrap();
        Self::new(Box::new(Causal::new(options, &WIDTHS, 2).unwrap()), Box::new(plain))
    }

    pub fn rpg(s: Shape, device: Device) -> Self {
        let options = RpgOptions {
            // Wide for the reason that sasrec has.
            d_model: s.heads * (s.head_width + 12),
            d_ff: s.d_ff,
            layers: s.layers,
            heads: s.heads,
            temperature: 0.2,
            dropout: s.dropout,
            max_history: 10,
        };
        let plain = RpgNetwork::model(options.clone(), &WIDTHS, 3, device).unwrap();
        Self::new(Box::new(Rpg::new(options, &WIDTHS, 3).unwrap()), Box::new(plain))
    }

    pub fn sasrec(s: Shape, device: Device) -> Self {
        let options = SasrecOptions {
            // A norm over few values, some dropped, gives little but signs: all gradients behind it
            // would be rounding.
            d_model: s.heads * (s.head_width + 12),
            d_ff: s.d_ff,
            layers: s.layers,
            heads: s.heads,
            dropout: s.dropout,
            max_history: 10,
        };
        let plain = SasrecNetwork::model(options.clone(), ITEMS, 3, device).unwrap();
        Self::new(Box::new(Sasrec::new(options, ITEMS, 3).unwrap()), Box::new(plain))
    }

    pub fn hstu(s: Shape, device: Device) -> Self {
        let options = HstuOptions {
            // Wide for the reason that sasrec has.
            d_model: s.heads * (s.head_width + 12),
            layers: s.layers,
            heads: s.heads,
            d_qk: s.head_width,
            d_v: s.head_width + 12,
            dropout: s.dropout,
            max_history: 10,
        };
        let plain = HstuNetwork::model(options.clone(), ITEMS, 4, device).unwrap();
        Self::new(Box::new(Hstu::new(options, ITEMS, 4).unwrap()), Box::new(plain))
    }

    /// Outputs and gradients agree, without dropout and with the masks of a training pass.
    pub fn learn_alike(&self, batch: &Batch) {
        for pass in [Pass::Evaluate, Pass::Train { key: 77 }] {
            let (fused, plain) =
                (learn(&*self.fused, batch, pass), learn(&*self.plain, batch, pass));
            let names = |p: &Learned| p.outputs.iter().map(|o| o.0.clone()).collect::<Vec<_>>();
            assert_eq!(names(&fused), names(&plain));
            for ((name, want), (_, got)) in fused.outputs.iter().zip(&plain.outputs) {
                assert_close(&format!("{pass:?} {name}"), want, got, 0.0);
            }
            // A gradient that is zero but for rounding is measured by the whole.
            let floor = 1e-6 * norm(&fused.grads);
            for info in self.fused.params().infos() {
                let (want, got) = (info.slot.of(&fused.grads), info.slot.of(&plain.grads));
                assert_close(&format!("{pass:?} gradient of {}", info.name), want, got, floor);
            }
        }
    }

    /// Sessions or queries agree for the histories of `batch`.
    pub fn answer_alike(&self, batch: &Batch) {
        assert_eq!(self.fused.output(), self.plain.output());
        assert_eq!(self.fused.max_history(), self.plain.max_history());
        match self.fused.output() {
            Output::Items => {
                let queries = |m: &dyn Backbone| m.queries(batch).unwrap();
                let (want, got) = (queries(&*self.fused), queries(&*self.plain));
                assert_close("queries", want.data(), got.data(), 0.0);
                assert_eq!(self.fused.item_vectors().unwrap(), self.plain.item_vectors().unwrap());
                assert!(self.plain.session(batch).is_err());
            }
            Output::Codes => {
                let (want, got) = (walk(&*self.fused, batch), walk(&*self.plain, batch));
                for (level, (want, got)) in want.iter().zip(&got).enumerate() {
                    assert_close(&format!("level {level}"), want, got, 0.0);
                }
                assert!(self.plain.queries(batch).is_err() && self.plain.item_vectors().is_err());
            }
        }
    }
}

/// What a forward and a backward pass give.
struct Learned {
    outputs: Vec<(String, Vec<f32>)>,
    grads: Vec<f32>,
}

/// Gradients of a fixed random combination of all outputs, added to what is there.
fn learn(model: &dyn Backbone, batch: &Batch, pass: Pass) -> Learned {
    let mut ws = model.workspace();
    model.forward(batch, pass, &mut ws).unwrap();
    let name = if model.output() == Output::Codes { "logits" } else { "query" };
    let mut outputs = Vec::new();
    for level in 0..ws.bag.levels(name) {
        let field = ws.bag.get_mut(name, level).unwrap();
        outputs.push((format!("{name} {level}"), field.value.clone()));
        let probe = |i: usize| ((i + 31 * level) as f32 * 0.61).sin();
        field.grad.iter_mut().enumerate().for_each(|(i, g)| *g = probe(i));
    }
    assert!(!outputs.is_empty());
    let items = ws.bag.items.map(|i| (i.slot, i.rows, i.cols));
    assert_eq!(items.is_some(), name == "query");
    let mut grads = vec![0.0; model.params().len()];
    model.backward(batch, pass, &mut ws, &mut grads).unwrap();
    Learned { outputs, grads }
}

/// Logits of every level of a walk in which beams have parents out of order.
fn walk(model: &dyn Backbone, batch: &Batch) -> Vec<Vec<f32>> {
    let mut session = model.session(batch).unwrap();
    let (requests, levels) = (session.requests(), session.levels());
    assert_eq!(requests, batch.rows());
    let mut beams = 1;
    let mut seen = Vec::new();
    for level in 0..levels {
        let mut rows = Vec::new();
        let next = if level == 0 { 1 } else { 3 };
        for request in 0..requests {
            // The second request has no beam left at the last level.
            let width = if level + 1 == levels && request == 1 { 0 } else { next };
            for i in 0..width {
                let parent = (request * beams + (2 * i + 1) % beams) as u32;
                // A code of every level, whatever else competes in a head.
                let code = ((7 * i + request + level) % 4) as u32;
                rows.push(Row { request: request as u32, parent, code });
            }
        }
        let mut logits = Vec::new();
        session.advance(level, &rows, &mut logits).unwrap();
        assert_eq!(logits.len(), rows.len() * session.width(level));
        seen.push(logits);
        beams = next;
    }
    seen
}

fn norm(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

fn assert_close(what: &str, want: &[f32], got: &[f32], floor: f64) {
    assert_eq!(want.len(), got.len(), "{what}");
    let difference: Vec<f32> = want.iter().zip(got).map(|(a, b)| a - b).collect();
    let (difference, size) = (norm(&difference), norm(want));
    assert!(difference <= CLOSE * size + floor, "{what}: difference {difference} of {size}");
}

/// How targets lie in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Targets {
    /// The last item of each row.
    Last,
    /// Every item but the first.
    Every,
}

/// Times from a second to decades apart, some of them equal.
pub fn with_times(mut batch: Batch) -> Batch {
    batch.times = (0..batch.items.len() as i64).map(|i| (i / 2).pow(5) * 997).collect();
    batch
}

/// A batch of these sequences with users.
pub fn batch(sequences: &[Vec<u32>], targets: Targets) -> Batch {
    let builder = BatchBuilder::new(Some(fixed_table(ITEMS, &WIDTHS)), 10);
    let mut batch = Batch::default();
    builder.clear(&mut batch);
    for (row, sequence) in sequences.iter().enumerate() {
        let ids: Vec<ItemId> = sequence.iter().map(|&i| ItemId(i)).collect();
        match targets {
            Targets::Every => builder.push_every(&mut batch, &ids).unwrap(),
            Targets::Last => {
                let (last, history) = ids.split_last().unwrap();
                builder.push_next(&mut batch, history, *last).unwrap();
            }
        }
        let user = (row % 3 != 1).then_some(UserId(5 * row as u32));
        builder.push_user(&mut batch, user);
    }
    batch
}
