//! The optimiser's state as a safetensors file: `{buffer}.{parameter}` tensors and the number of
//! steps in the header.

use super::Optimizer;
use crate::Slot;
use crate::params::{ParamInfo, to_safetensors};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use sidereal_core::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// The state as safetensors bytes; `infos` are those of the parameters.
pub fn save_state(optimizer: &dyn Optimizer, infos: &[ParamInfo]) -> Result<Vec<u8>> {
    let mut flat = Vec::new();
    let mut named = Vec::new();
    for (buffer, values) in optimizer.state() {
        named.extend(infos.iter().map(|info| ParamInfo {
            name: format!("{buffer}.{}", info.name),
            shape: info.shape.clone(),
            slot: Slot { offset: flat.len() + info.slot.offset, len: info.slot.len },
        }));
        flat.extend_from_slice(values);
    }
    let steps = BTreeMap::from([("steps".to_string(), optimizer.steps().to_string())]);
    to_safetensors(&named, &flat, &steps)
}

/// Loads what [`save_state`] wrote; names and shapes must be exactly those of this model.
pub fn load_state(optimizer: &mut dyn Optimizer, infos: &[ParamInfo], path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
    let wrong = |e: String| Error::data(path, e);
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| wrong(format!("not a safetensors file: {e}")))?;
    let (_, header) =
        SafeTensors::read_metadata(&bytes).map_err(|e| wrong(format!("bad header: {e}")))?;
    let steps = header
        .metadata()
        .as_ref()
        .and_then(|m| m.get("sidereal"))
        .and_then(|json| serde_json::from_str::<BTreeMap<String, String>>(json).ok())
        .and_then(|m| m.get("steps")?.parse().ok())
        .ok_or_else(|| wrong("the header holds no number of steps".into()))?;
    let mut expected = 0;
    for (buffer, values) in optimizer.state_mut() {
        for info in infos {
            let name = format!("{buffer}.{}", info.name);
            let t = file.tensor(&name).map_err(|_| wrong(format!("tensor `{name}` is missing")))?;
            if t.shape() != info.shape || t.dtype() != Dtype::F32 {
                return Err(wrong(format!(
                    "tensor `{name}` is {:?} {:?}, the optimiser needs F32 {:?}",
                    t.dtype(),
                    t.shape(),
                    info.shape
                )));
            }
            let slot = info.slot.of_mut(values);
            for (v, b) in slot.iter_mut().zip(t.data().as_chunks::<4>().0) {
                *v = f32::from_le_bytes(*b);
            }
            expected += 1;
        }
    }
    if file.len() != expected {
        return Err(wrong(format!(
            "{} tensors where this optimiser has {expected}: the file belongs to another optimiser",
            file.len()
        )));
    }
    optimizer.set_steps(steps);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{AdamW, AdamWOptions, Sgd, SgdOptions};
    use crate::{Init, Params};

    #[test]
    fn a_loaded_state_goes_on_with_the_same_bits() {
        let mut params = Params::new(1);
        params.add("a", &[2, 3], Init::Normal(1.0));
        params.add("b", &[5], Init::Normal(1.0));
        let grads = |step: usize| -> Vec<f32> {
            (0..11).map(|i| ((i * 7 + step * 5) % 11) as f32 - 5.0).collect()
        };
        let mut first = AdamW::new(AdamWOptions::default(), params.len(), "optimizer").unwrap();
        for s in 0..3 {
            first.step(params.values_mut(), &grads(s), 0.01, 1);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("optimizer.safetensors");
        std::fs::write(&path, save_state(&first, params.infos()).unwrap()).unwrap();
        let mut second = AdamW::new(AdamWOptions::default(), params.len(), "optimizer").unwrap();
        load_state(&mut second, params.infos(), &path).unwrap();
        let mut copy = params.clone();
        first.step(params.values_mut(), &grads(3), 0.01, 1);
        second.step(copy.values_mut(), &grads(3), 0.01, 2);
        assert_eq!(params.values(), copy.values());
        assert_eq!(first.steps(), second.steps());

        let mut sgd = Sgd::new(SgdOptions::default(), params.len(), "optimizer").unwrap();
        let e = load_state(&mut sgd, params.infos(), &path).unwrap_err().to_string();
        assert!(e.contains("velocity.a"), "{e}");
        let fewer = &params.infos()[..1];
        let e = load_state(&mut second, fewer, &path).unwrap_err().to_string();
        assert!(e.contains("another optimiser"), "{e}");
        std::fs::write(&path, b"nonsense").unwrap();
        assert!(load_state(&mut second, params.infos(), &path).is_err());
    }
}
