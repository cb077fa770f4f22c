//! Where a model runs: fused blocks on the processor, or a network in candle operations on a device.
//!
//! The same network runs on the processor and on a GPU, so what a machine without a GPU can test is
//! all but the device itself.

use sidereal_core::{Error, Result};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// A device of candle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
}

/// Which code runs a model; the key `device` of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Engine {
    /// Blocks with their own backward pass, on the processor.
    #[default]
    Fused,
    /// A network in candle operations.
    Candle(Device),
}

impl Engine {
    /// What results depend on: engines differ in rounding, GPUs of other numbers do not.
    pub fn kind(self) -> &'static str {
        match self {
            Engine::Fused => "cpu",
            Engine::Candle(Device::Cpu) => "candle",
            Engine::Candle(Device::Cuda(_)) => "cuda",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Engine::Candle(Device::Cuda(n)) => write!(f, "cuda:{n}"),
            other => f.write_str(other.kind()),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    /// Reads `cpu`, `cuda` (the first GPU) or `cuda:N`.
    fn from_str(text: &str) -> Result<Self> {
        cuda_number(text).map(Device::Cuda).or((text == "cpu").then_some(Device::Cpu)).ok_or_else(
            || Error::config("device", format!("`{text}`; allowed: \"cpu\", \"cuda\", \"cuda:N\"")),
        )
    }
}

impl FromStr for Engine {
    type Err = Error;

    /// Reads `cpu` (fused blocks), `candle` (the network on the processor), `cuda` or `cuda:N`.
    fn from_str(text: &str) -> Result<Self> {
        match (text, cuda_number(text)) {
            ("cpu", _) => Ok(Engine::Fused),
            ("candle", _) => Ok(Engine::Candle(Device::Cpu)),
            (_, Some(n)) => Ok(Engine::Candle(Device::Cuda(n))),
            _ => Err(Error::config(
                "device",
                format!("`{text}`; allowed: \"cpu\", \"candle\", \"cuda\", \"cuda:N\""),
            )),
        }
    }
}

fn cuda_number(text: &str) -> Option<usize> {
    match text.strip_prefix("cuda")? {
        "" => Some(0),
        rest => rest.strip_prefix(':')?.parse().ok(),
    }
}

/// GPUs that are open; candle compiles and loads its kernels once for each that it opens.
static OPEN: Mutex<Vec<(usize, candle_core::Device)>> = Mutex::new(Vec::new());

impl Device {
    /// Candle's device. A GPU is opened once a process.
    ///
    /// Errors: the build lacks the feature `cuda`, or the GPU cannot be opened.
    pub fn open(self) -> Result<candle_core::Device> {
        let Device::Cuda(number) = self else {
            return Ok(candle_core::Device::Cpu);
        };
        if cfg!(not(feature = "cuda")) {
            let message = format!(
                "\"{self}\", but this program was built without GPU support: build it with \
                 `--features cuda` where the CUDA toolkit is installed, or use \"cpu\""
            );
            return Err(Error::config("device", message));
        }
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, device)) = open.iter().find(|(n, _)| *n == number) {
            return Ok(device.clone());
        }
        let device = candle_core::Device::new_cuda(number).map_err(|e| {
            Error::config("device", format!("\"{self}\" cannot be opened: {e}; allowed: \"cpu\""))
        })?;
        open.push((number, device.clone()));
        Ok(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, engine) in [
            ("cpu", Engine::Fused),
            ("candle", Engine::Candle(Device::Cpu)),
            ("cuda:3", Engine::Candle(Device::Cuda(3))),
        ] {
            assert_eq!(text.parse::<Engine>().unwrap(), engine);
            assert_eq!(engine.to_string(), text);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        assert_eq!("cpu".parse::<Device>().unwrap(), Device::Cpu);
        let kinds = ["cuda:0", "cuda:1"].map(|t| t.parse::<Engine>().unwrap().kind());
        assert_eq!(kinds, ["cuda", "cuda"]);
        for bad in ["", "gpu", "cuda:", "cuda:x", "cuda0", "cuda:-1"] {
            let e = bad.parse::<Engine>().unwrap_err().to_string();
            assert!(e.contains(&format!("`{bad}`")) && e.contains("\"cuda:N\""), "{e}");
            assert!(bad.parse::<Device>().is_err());
        }
        assert!("candle".parse::<Device>().is_err());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_the_feature_says_how_to_get_it() {
        let e = Device::Cuda(1).open().unwrap_err().to_string();
        assert!(e.contains("cuda:1") && e.contains("--features cuda"), "{e}");
        assert!(Device::Cpu.open().unwrap().is_cpu());
    }
}
