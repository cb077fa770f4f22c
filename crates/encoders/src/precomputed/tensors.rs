//! One matrix out of a safetensors file. The format's own crate validates header and offsets.

use crate::key;
use safetensors::SafeTensors;
use sidereal_core::{Error, Matrix, Result};
use sidereal_nn::vector_file::tensor_values;
use std::path::Path;

/// Reads tensor `name` (or the only one, when `name` is empty) as a matrix, rounded to f32.
pub fn read(path: &Path, name: &str) -> Result<Matrix> {
    let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
    parse(path, &bytes, name)
}

/// Reads a tensor out of the bytes of `path`.
pub fn parse(path: &Path, bytes: &[u8], name: &str) -> Result<Matrix> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| Error::data(path, format!("neither .npy nor safetensors: {e}")))?;
    let mut names = file.names();
    names.sort_unstable();
    let name = match (name, &names[..]) {
        ("", [only]) => only,
        ("", []) => return Err(Error::data(path, "the file has no tensor")),
        ("", _) => {
            return Err(Error::config(
                key("tensor"),
                format!("missing: {} holds {}; name one", path.display(), list(&names)),
            ));
        }
        (name, _) => name,
    };
    let Ok(tensor) = file.tensor(name) else {
        return Err(Error::config(
            key("tensor"),
            format!("{} has no tensor `{name}`; it holds {}", path.display(), list(&names)),
        ));
    };
    let &[rows, cols] = tensor.shape() else {
        return Err(Error::data(
            path,
            format!("tensor `{name}` has shape {:?}; expected items x width", tensor.shape()),
        ));
    };
    let Some(values) = tensor_values(&file, name) else {
        return Err(Error::data(
            path,
            format!(
                "tensor `{name}` has type {:?}; expected F16, BF16, F32 or F64",
                tensor.dtype()
            ),
        ));
    };
    Matrix::new(rows, cols, values).map_err(|e| Error::data(path, e.to_string()))
}

fn list(names: &[&str]) -> String {
    let shown: Vec<_> = names.iter().take(12).map(|n| format!("`{n}`")).collect();
    let more = names.len().saturating_sub(12);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};
    use proptest::prelude::*;
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    fn file(tensors: &[(&str, Dtype, Vec<usize>, &[u8])]) -> Vec<u8> {
        let views = tensors
            .iter()
            .map(|(n, d, s, b)| (n.to_string(), TensorView::new(*d, s.clone(), b).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    fn load(bytes: &[u8], name: &str) -> Result<Matrix, String> {
        parse(Path::new("x.safetensors"), bytes, name).map_err(|e| e.to_string())
    }

    #[test]
    fn reads_every_type() {
        let values = [1.5f32, -2.0, 0.0, 3.0];
        let cases: [(Dtype, Vec<u8>); 4] = [
            (Dtype::F16, values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()),
            (Dtype::BF16, values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect()),
            (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            (Dtype::F64, values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect()),
        ];
        for (kind, bytes) in cases {
            let m = load(&file(&[("only", kind, vec![2, 2], &bytes)]), "").unwrap();
            assert_eq!((m.rows(), m.cols(), m.data()), (2, 2, &values[..]));
        }
    }

    #[test]
    fn the_tensor_must_be_clear_and_fit() {
        let two = file(&[
            ("a", Dtype::F32, vec![1, 1], &[0; 4]),
            ("b", Dtype::I32, vec![1, 1], &[0; 4]),
            ("c", Dtype::F32, vec![1], &[0; 4]),
        ]);
        assert!(load(&two, "").unwrap_err().contains("`a`, `b`, `c`; name one"));
        assert!(load(&two, "d").unwrap_err().contains("no tensor `d`"));
        assert!(load(&two, "b").unwrap_err().contains("type I32"));
        assert!(load(&two, "c").unwrap_err().contains("shape [1]"));
        assert!(load(&file(&[]), "").unwrap_err().contains("no tensor"));
        assert!(load(b"", "").unwrap_err().contains("neither .npy nor safetensors"));
        assert!(load(&[0xff; 64], "").is_err());
    }

    proptest! {
        #[test]
        fn no_change_of_bytes_panics(
            flips in proptest::collection::vec((0usize..200, any::<u8>()), 0..8), cut in 0usize..200) {
            let mut bytes = file(&[("a", Dtype::F32, vec![2, 2], &[0; 16])]);
            for (at, to) in flips {
                let at = at % bytes.len();
                bytes[at] = to;
            }
            bytes.truncate(cut);
            let _ = load(&bytes, "a");
        }
    }
}
