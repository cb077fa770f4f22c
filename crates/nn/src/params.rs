//! All parameters of a model in one flat buffer, with names and shapes on the side.
//!
//! One buffer makes the optimiser a single pass, gradients a plain slice, and parameters that are
//! added one after the other (`q`, `k`, `v`) one fused matrix. Names are those of the Hugging Face
//! ecosystem, so that a file written here loads there.

use rand::Rng;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sidereal_core::{Error, Result, seed};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Where a parameter lives in the flat buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// First value.
    pub offset: usize,
    /// Number of values.
    pub len: usize,
}

impl Slot {
    /// The slot's values in a buffer laid out as the parameters.
    pub fn of(self, flat: &[f32]) -> &[f32] {
        &flat[self.offset..self.offset + self.len]
    }

    /// The slot's values, writable.
    pub fn of_mut(self, flat: &mut [f32]) -> &mut [f32] {
        &mut flat[self.offset..self.offset + self.len]
    }

    /// This slot and the one right behind it as one.
    ///
    /// # Panics
    /// When `next` does not begin where this slot ends.
    pub fn join(self, next: Slot) -> Slot {
        assert_eq!(self.offset + self.len, next.offset, "slots to join must be adjacent");
        Slot { offset: self.offset, len: self.len + next.len }
    }
}

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Uniform in `+-bound`; PyTorch's `Linear` uses `1 / sqrt(fan_in)`.
    Uniform(f32),
    /// Normal with this standard deviation.
    Normal(f32),
}

/// Name, shape and place of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamInfo {
    /// Name in `model.safetensors`.
    pub name: String,
    /// Shape, row-major.
    pub shape: Vec<usize>,
    /// Place in the flat buffer.
    pub slot: Slot,
}

/// Named parameters in one flat buffer.
#[derive(Debug, Clone, Default)]
pub struct Params {
    values: Vec<f32>,
    infos: Vec<ParamInfo>,
    by_name: HashMap<String, usize>,
    seed: u64,
}

impl Params {
    /// No parameters yet; `seed` names the streams that initialise them.
    pub fn new(seed: u64) -> Self {
        Params { seed, ..Default::default() }
    }

    /// Adds a parameter. Each draws from its own stream, so its start does not depend on others.
    ///
    /// # Panics
    /// When the name is taken: a mistake of the model's code.
    pub fn add(&mut self, name: &str, shape: &[usize], init: Init) -> Slot {
        assert!(!self.by_name.contains_key(name), "parameter `{name}` exists");
        let len: usize = shape.iter().product();
        let slot = Slot { offset: self.values.len(), len };
        let mut rng = seed::stream(self.seed, &format!("init:{name}"), 0);
        match init {
            Init::Zeros => self.values.resize(slot.offset + len, 0.0),
            Init::Ones => self.values.resize(slot.offset + len, 1.0),
            Init::Uniform(bound) => {
                self.values.extend((0..len).map(|_| rng.random_range(-1.0f32..1.0) * bound));
            }
            Init::Normal(std) => {
                // Box-Muller, one value a draw: simple, and fast enough for a start.
                self.values.extend((0..len).map(|_| {
                    let u: f64 = 1.0 - rng.random::<f64>();
                    let angle = std::f64::consts::TAU * rng.random::<f64>();
                    ((-2.0 * u.ln()).sqrt() * angle.cos()) as f32 * std
                }));
            }
        }
        self.by_name.insert(name.to_string(), self.infos.len());
        self.infos.push(ParamInfo { name: name.to_string(), shape: shape.to_vec(), slot });
        slot
    }

    /// Number of values in all.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The flat buffer.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The flat buffer, writable.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Names, shapes and places, in the order of the buffer.
    pub fn infos(&self) -> &[ParamInfo] {
        &self.infos
    }

    /// A parameter by name.
    pub fn info(&self, name: &str) -> Option<&ParamInfo> {
        self.by_name.get(name).map(|&i| &self.infos[i])
    }

    /// The parameter that holds flat index `i`.
    pub fn name_at(&self, i: usize) -> &str {
        let p = self.infos.partition_point(|info| info.slot.offset + info.slot.len <= i);
        self.infos.get(p).map_or("?", |info| &info.name)
    }

    /// `model.safetensors` bytes, with `metadata` in the header.
    pub fn to_safetensors(&self, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
        to_safetensors(&self.infos, &self.values, metadata)
    }

    /// Loads values from a safetensors file; names and shapes must be exactly those of this model.
    pub fn load_safetensors(&mut self, path: &Path) -> Result<()> {
        let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|e| Error::data(path, format!("not a safetensors file: {e}")))?;
        if let Some(extra) = file.names().iter().find(|n| self.info(n).is_none()) {
            return Err(Error::data(path, format!("tensor `{extra}` is not part of this model")));
        }
        for info in &self.infos {
            let t = file
                .tensor(&info.name)
                .map_err(|_| Error::data(path, format!("tensor `{}` is missing", info.name)))?;
            if t.shape() != info.shape || t.dtype() != Dtype::F32 {
                return Err(Error::data(
                    path,
                    format!(
                        "tensor `{}` is {:?} {:?}, the model needs F32 {:?}",
                        info.name,
                        t.dtype(),
                        t.shape(),
                        info.shape
                    ),
                ));
            }
            let slot = info.slot.of_mut(&mut self.values);
            for (v, b) in slot.iter_mut().zip(t.data().as_chunks::<4>().0) {
                *v = f32::from_le_bytes(*b);
            }
        }
        Ok(())
    }
}

/// Writes any flat buffer laid out as `infos` (weights, moments) as safetensors bytes.
pub fn to_safetensors(
    infos: &[ParamInfo],
    flat: &[f32],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let bytes: Vec<u8> = flat.iter().flat_map(|v| v.to_le_bytes()).collect();
    let views = infos.iter().map(|info| {
        let range = info.slot.offset * 4..(info.slot.offset + info.slot.len) * 4;
        TensorView::new(Dtype::F32, info.shape.clone(), &bytes[range])
            .map(|view| (info.name.as_str(), view))
            .map_err(|e| Error::other("writing safetensors", e))
    });
    let views: Vec<_> = views.collect::<Result<_>>()?;
    // One metadata entry at a time would be a hash map in random order; the header must be the
    // same bytes for the same weights, so the pairs travel as one JSON string.
    let meta = (!metadata.is_empty()).then(|| {
        let json = serde_json::to_string(metadata).unwrap_or_default();
        HashMap::from([("sidereal".to_string(), json)])
    });
    safetensors::serialize(views, meta).map_err(|e| Error::other("writing safetensors", e))
}
