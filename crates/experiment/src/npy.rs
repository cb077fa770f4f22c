//! Writes NumPy's `.npy` files (format version 1.0) of f32 matrices.

use sidereal_core::{Matrix, Result, files};
use std::io::Write;
use std::path::Path;

/// What stands before the values of a row-major matrix; `kind` is NumPy's name of their type, as
/// in `<f4`.
pub fn header(kind: &str, rows: usize, cols: usize) -> Vec<u8> {
    let mut text =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    // Magic (6), version (2), length (2), header and newline fill a multiple of 64 bytes.
    let padding = 63 - (10 + text.len()) % 64;
    text.push_str(&" ".repeat(padding));
    text.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out
}

/// Writes a matrix, row-major; NumPy and the `precomputed` encoder read it.
pub fn save(path: &Path, matrix: &Matrix) -> Result<()> {
    files::write_atomic(path, |out| {
        out.write_all(&header("<f4", matrix.rows(), matrix.cols()))?;
        matrix.data().iter().try_for_each(|v| out.write_all(&v.to_le_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoder_reads_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        for (rows, cols) in [(2, 3), (1, 1), (1000, 7)] {
            let data = (0..rows * cols).map(|i| i as f32 * 0.5 - 1.0).collect();
            let matrix = Matrix::new(rows, cols, data).unwrap();
            save(&path, &matrix).unwrap();
            assert_eq!(sidereal_encoders::precomputed::npy::read(&path).unwrap(), matrix);
            let header = std::fs::read(&path).unwrap().len() - rows * cols * 4;
            assert_eq!(header % 64, 0);
        }
    }
}
