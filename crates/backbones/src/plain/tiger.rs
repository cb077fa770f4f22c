//! [`crate::tiger`] in candle operations; the paper and the conventions stand there.

use super::grid::Grid;
use super::head::Head;
use super::ops::{Gate, Heads, Norm};
use super::stack::{Memory, Shape};
use super::view::{Seen, View};
use super::{CandleBackbone, CandleContext};
use crate::tiger::{Tiger, TigerOptions};
use crate::{Backbone, Output};
use candle_core::Tensor;
use sidereal_core::{Catalog, Entry, Error, Result};
use sidereal_decoding::{CodeScorer, Row};
use sidereal_nn::candle::{self, CandleModel, Network, Weights, fault};
use sidereal_nn::kernels::attention::Mask;
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::{Batch, Device, Model, Pass};

/// The network.
#[derive(Debug, Clone)]
pub struct TigerNetwork {
    options: TigerOptions,
    /// Digits of an ID and vocabulary.
    digits: usize,
    vocabulary: usize,
    head: Head,
}

/// Encoder states of the rows of a batch.
struct Encoded {
    states: Tensor,
    grid: Grid,
}

/// Decoder rows to run: `steps` tokens each, with the request they belong to and the number of its
/// encoder tokens they see.
struct Prefixes<'a> {
    steps: usize,
    ids: &'a [u32],
    requests: &'a [usize],
    keys: &'a [usize],
}

impl TigerNetwork {
    /// A model with the weights that [`Tiger::new`] starts with.
    pub fn model(
        options: TigerOptions,
        digits: usize,
        vocabulary: usize,
        seed: u64,
        device: Device,
    ) -> Result<CandleModel<Self>> {
        let params = Tiger::new(options.clone(), digits, vocabulary, seed)?.params().clone();
        let level = |h: usize| h * vocabulary..(h + 1) * vocabulary;
        let (separator, users) = (usize::from(options.separator), options.user_tokens as usize);
        let head = Head {
            kind: options.head.clone(),
            levels: (0..digits).map(level).collect(),
            tokens: digits * vocabulary + separator + 1 + users,
        };
        CandleModel::on(device, TigerNetwork { options, digits, vocabulary, head }, params)
    }

    fn is_causal(&self) -> bool {
        self.options.encoder == "causal"
    }

    /// Row of the separator, if there is one, of the start vector and of the first user.
    fn separator_row(&self) -> Option<u32> {
        self.options.separator.then_some((self.digits * self.vocabulary) as u32)
    }

    fn start_row(&self) -> u32 {
        (self.digits * self.vocabulary) as u32 + u32::from(self.options.separator)
    }

    /// Digit rows, then separator, start and users.
    fn table(&self, w: &Weights) -> candle_core::Result<Tensor> {
        let names = ["shared.weight", "separator", "start", "users.weight"];
        let parts: Vec<&Tensor> = names.iter().filter_map(|n| w.find(n)).collect();
        Tensor::cat(&parts, 0)
    }

    fn user_row(&self, batch: &Batch, row: usize) -> Option<u32> {
        let user = batch.users.get(row).copied().flatten()?;
        user.0.checked_rem(self.options.user_tokens).map(|u| self.start_row() + 1 + u)
    }

    fn stack(&self, prefix: &'static str, layers: usize, mask: Mask, site: u32) -> Shape {
        let o = &self.options;
        Shape {
            prefix,
            layers,
            heads: Heads { count: o.heads, width: o.d_kv, scale: 1.0 },
            hidden_layers: o.mlp_layers,
            gate: Gate::named(&o.gate),
            norm: Norm::Rms,
            mask,
            relative: Some((o.buckets, o.max_distance)),
            site,
        }
    }

    fn push_digits(&self, codes: &[u32], take: usize, ids: &mut Vec<u32>) -> Result<()> {
        if codes.len() != self.digits || codes.iter().any(|&c| c as usize >= self.vocabulary) {
            return Err(Error::mismatch(format!(
                "the model reads IDs of {} codes below {}, got {codes:?}",
                self.digits, self.vocabulary
            )));
        }
        let v = self.vocabulary as u32;
        ids.extend(codes.iter().take(take).enumerate().map(|(h, &c)| h as u32 * v + c));
        Ok(())
    }

    fn encode(&self, w: &Weights, batch: &Batch, dropout: Dropout) -> candle_core::Result<Encoded> {
        let (mut ids, mut lens) = (Vec::new(), Vec::new());
        for row in 0..batch.rows() {
            let start = ids.len();
            ids.extend(self.user_row(batch, row));
            for i in batch.history_range(row) {
                self.push_digits(batch.item_codes(i), self.digits, &mut ids).map_err(fault)?;
                ids.extend(self.separator_row());
            }
            lens.push(ids.len() - start);
        }
        let grid = Grid::new(&lens);
        let mask = if self.is_causal() { Mask::Causal } else { Mask::Full };
        let view = View::of_itself(&lens, grid.len, mask);
        let x = self.table(w)?.index_select(&grid.ids(&ids, w.device())?, 0)?;
        let stack = self.stack("encoder", self.options.layers, mask, 0);
        let states = stack.forward(w, x, &grid, &view, None, dropout)?;
        Ok(Encoded { states, grid })
    }

    /// Decoder states, and the row in them of each token of `prefixes`.
    fn decode(
        &self,
        w: &Weights,
        encoded: &Encoded,
        prefixes: &Prefixes<'_>,
        dropout: Dropout,
    ) -> candle_core::Result<(Tensor, Vec<u32>)> {
        let (steps, groups) = (prefixes.steps, encoded.grid.groups);
        // Prefixes of a request stand in its slots, as many as the request with the most has.
        let mut used = vec![0usize; groups];
        let numbers: Vec<usize> = prefixes
            .requests
            .iter()
            .map(|&r| {
                used[r] += 1;
                used[r] - 1
            })
            .collect();
        let slots = used.iter().copied().max().unwrap_or(0).max(1);
        let (mut places, mut itself, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (t, (&request, &number)) in prefixes.requests.iter().zip(&numbers).enumerate() {
            let group = request * slots + number;
            places.extend((0..steps).map(|l| (group * steps + l) as u32));
            itself.push(Seen { group, first: 0, queries: steps, keys: steps });
            let (first, keys) = (number * steps, prefixes.keys[t]);
            others.push(Seen { group: request, first, queries: steps, keys });
        }
        let grid = Grid { groups: groups * slots, len: steps, places };
        let mask = Mask::Causal;
        let view = View { groups: groups * slots, q_len: steps, k_len: steps, mask, seen: itself };
        let (q_len, k_len) = (slots * steps, encoded.grid.len);
        let across = View { groups, q_len, k_len, mask: Mask::Full, seen: others };
        let x = self.table(w)?.index_select(&grid.ids(prefixes.ids, w.device())?, 0)?;
        let stack = self.stack("decoder", self.options.decoder_layers, mask, 1 << 16);
        let memory = Memory { states: &encoded.states, view: &across };
        let states = stack.forward(w, x, &grid, &view, Some(memory), dropout)?;
        Ok((states, grid.places))
    }
}

impl Network for TigerNetwork {
    fn outputs(
        &self,
        w: &Weights,
        batch: &Batch,
        pass: Pass,
    ) -> candle_core::Result<Vec<candle::Output>> {
        let (h, targets) = (self.digits, batch.targets.len());
        let dropout = Dropout::new(self.options.dropout, pass);
        let (mut ids, mut requests, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (t, target) in batch.targets.iter().enumerate() {
            let (row, seen) = (target.row as usize, target.position as usize);
            if !self.is_causal() && seen != batch.history(row).len() {
                return Err(fault(Error::config(
                    "backbone.encoder",
                    "a bidirectional encoder would show a target its own future; \
                     set encoder = \"causal\" or train.augmentation to \"contiguous\" or \"prefix\"",
                )));
            }
            ids.push(self.start_row());
            self.push_digits(batch.target_sid(t), h - 1, &mut ids).map_err(fault)?;
            let item = h + usize::from(self.options.separator);
            let user = usize::from(self.user_row(batch, row).is_some());
            requests.push(row);
            keys.push(user + seen * item);
        }
        let prefixes = Prefixes { steps: h, ids: &ids, requests: &requests, keys: &keys };
        let field = |level, tensor| candle::Output { name: "logits", level, tensor };
        if targets == 0 {
            let none = |level| {
                let shape = (0, self.head.cols(level));
                Ok(field(level, Tensor::zeros(shape, candle_core::DType::F32, w.device())?))
            };
            return (0..h).map(none).collect();
        }
        let encoded = self.encode(w, batch, dropout)?;
        let (states, places) = self.decode(w, &encoded, &prefixes, dropout)?;
        let table = self.table(w)?;
        (0..h)
            .map(|level| {
                let rows = (0..targets).map(|t| places[t * h + level]).collect();
                Ok(field(level, self.head.scores(w, &table, &states, rows, level)?))
            })
            .collect()
    }
}

impl CandleBackbone for TigerNetwork {
    fn output(&self) -> Output {
        Output::Codes
    }

    fn max_history(&self) -> usize {
        self.options.max_history
    }

    fn session<'a>(&'a self, weights: Weights, batch: &Batch) -> Result<Box<dyn CodeScorer + 'a>> {
        let encoded = self.encode(&weights, batch, Dropout::none()).map_err(candle::error)?;
        let mut keys = vec![0; batch.rows()];
        let len = encoded.grid.len;
        encoded.grid.places.iter().for_each(|&place| keys[place as usize / len] += 1);
        Ok(Box::new(Session { network: self, weights, encoded, keys, prefixes: Vec::new() }))
    }
}

/// Decoding of a batch of requests: encoder states once, decoder prefixes at every level again.
struct Session<'a> {
    network: &'a TigerNetwork,
    weights: Weights,
    encoded: Encoded,
    /// Encoder tokens of each request.
    keys: Vec<usize>,
    /// Decoder tokens of each row of the last step, row after row.
    prefixes: Vec<u32>,
}

impl CodeScorer for Session<'_> {
    fn requests(&self) -> usize {
        self.keys.len()
    }

    fn levels(&self) -> usize {
        self.network.digits
    }

    fn width(&self, level: usize) -> usize {
        self.network.head.cols(level)
    }

    fn advance(&mut self, level: usize, rows: &[Row], logits: &mut Vec<f32>) -> Result<()> {
        let n = self.network;
        let first = |_: &Row| n.start_row();
        let code = |r: &Row| (level as u32 - 1) * n.vocabulary as u32 + r.code;
        self.prefixes = match level {
            0 => rows.iter().map(first).collect(),
            _ => super::extended(&self.prefixes, level, rows, code),
        };
        logits.clear();
        if rows.is_empty() {
            return Ok(());
        }
        let requests: Vec<usize> = rows.iter().map(|r| r.request as usize).collect();
        let keys: Vec<usize> = requests.iter().map(|&r| self.keys[r]).collect();
        let steps = level + 1;
        let prefixes = Prefixes { steps, ids: &self.prefixes, requests: &requests, keys: &keys };
        let scores = n.decode(&self.weights, &self.encoded, &prefixes, Dropout::none());
        let scores = scores.and_then(|(states, places)| {
            let last = (0..rows.len()).map(|r| places[r * steps + level]).collect();
            let (w, table) = (&self.weights, n.table(&self.weights)?);
            n.head.scores(w, &table, &states, last, level)?.flatten_all()?.to_vec1::<f32>()
        });
        logits.extend(scores.map_err(candle::error)?);
        Ok(())
    }
}

pub(crate) fn register(catalog: &mut Catalog<dyn Backbone, CandleContext>) -> Result<()> {
    catalog.add(Entry::new(
        "tiger",
        env!("CARGO_PKG_NAME"),
        "The network of `tiger` in candle operations.",
        |options: TigerOptions, context: &CandleContext| {
            let (table, digits) = context.backbone.fixed_length_table()?;
            let (vocabulary, seed) = (table.vocabulary() as usize, context.backbone.seed);
            let model = TigerNetwork::model(options, digits, vocabulary, seed, context.device)?;
            Ok(Box::new(model) as Box<dyn Backbone>)
        },
    ))
}
