//! Fits over files: the bytes of a fit in memory, buffers of any size, stops and restarts.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use rand::Rng;
use sidereal_core::{Cancel, Codebook, Event, Matrix, Observer, QuantizerInput, Run, seed};
use sidereal_nn::vector_file::VectorFile;
use sidereal_quantizers::rq_kmeans::Method;
use sidereal_quantizers::stream::{self, StreamOptions};
use sidereal_quantizers::{ResidualCodebook, RqKMeans, RqKMeansOptions};
use std::path::Path;
use std::sync::Mutex;

const ROWS: usize = 9001;
const COLS: usize = 7;
/// Two blocks of 2048 rows: the file is read in five.
const SMALL: usize = 2 * 2048 * COLS * 4;

fn vectors() -> Matrix {
    let mut rng = seed::stream(1, "test-data", 0);
    let data = (0..ROWS * COLS).map(|_| rng.random::<f32>() - 0.5).collect();
    Matrix::new(ROWS, COLS, data).unwrap()
}

fn write(path: &Path, x: &Matrix) -> VectorFile {
    let header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}\n",
        x.rows(),
        x.cols()
    );
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(x.data().iter().flat_map(|v| v.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
    VectorFile::open(path, "").unwrap()
}

fn quantizers() -> [RqKMeans; 3] {
    let o = |method, normalize_residuals| RqKMeansOptions {
        levels: vec![20, 9, 5],
        iterations: 5,
        tolerance: 0.0,
        method,
        normalize_residuals,
        start_rows: 500,
        batch: 3000,
        ..Default::default()
    };
    [o(Method::Lloyd, false), o(Method::Lloyd, true), o(Method::MiniBatch, false)]
        .map(|o| RqKMeans::new(o).unwrap())
}

fn run(threads: usize) -> Run<'static> {
    Run { threads, ..Run::quiet(3) }
}

fn in_memory(quantizer: &RqKMeans, x: &Matrix) -> ResidualCodebook {
    quantizer.fit_residual(&QuantizerInput::vectors(x.view()), &run(2)).unwrap()
}

#[test]
fn files_and_memory_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let x = vectors();
    let file = write(&dir.path().join("x.npy"), &x);
    for quantizer in quantizers() {
        let want = in_memory(&quantizer, &x);
        for (buffer, threads) in [(SMALL, 1), (SMALL + 1000, 2), (2 * SMALL, 3), (1 << 30, 2)] {
            let options = StreamOptions { buffer, ..Default::default() };
            let got = stream::fit(&quantizer, &file, &options, &run(threads)).unwrap();
            assert!(got == want, "{buffer} bytes");
            let mut codes = Vec::new();
            stream::assign(&got, &file, &options, &run(threads), |first, part| {
                assert_eq!(first * 3, codes.len());
                codes.extend_from_slice(part.data());
                Ok(())
            })
            .unwrap();
            assert_eq!(codes, want.quantize(&QuantizerInput::vectors(x.view())).unwrap().data());
        }
    }
}

/// Asks to stop after so many iterations.
struct StopAfter {
    left: Mutex<u32>,
    cancel: Cancel,
}

impl Observer for StopAfter {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Advanced { .. } = event {
            let mut left = self.left.lock().unwrap();
            *left -= 1;
            if *left == 0 {
                self.cancel.cancel();
            }
        }
    }
}

#[test]
fn a_fit_stopped_anywhere_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let x = vectors();
    let file = write(&dir.path().join("x.npy"), &x);
    for quantizer in quantizers() {
        let want = in_memory(&quantizer, &x);
        let state = dir.path().join("state.safetensors");
        let options =
            StreamOptions { buffer: SMALL, state: Some(state.clone()), ..Default::default() };
        for every in [1, 2, 4, 7] {
            let mut stops = 0;
            let got = loop {
                let cancel = Cancel::default();
                let observer = StopAfter { left: Mutex::new(every), cancel: cancel.clone() };
                let run = Run { observer: &observer, cancel, ..run(2) };
                match stream::fit(&quantizer, &file, &options, &run) {
                    Ok(book) => break book,
                    Err(e) => assert!(e.to_string().contains("stopped"), "{e}"),
                }
                stops += 1;
                assert!(stops < 40, "no iteration was kept");
            };
            assert!(stops >= 2 && got == want, "stopped {stops} times, every {every}");
            // A finished state gives the result again.
            assert!(stream::fit(&quantizer, &file, &options, &run(1)).unwrap() == want);
            std::fs::remove_file(&state).unwrap();
        }
    }
}

#[test]
fn states_of_other_fits_and_damaged_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut x = vectors();
    let file = write(&dir.path().join("x.npy"), &x);
    let state = dir.path().join("state.safetensors");
    let options = StreamOptions { buffer: SMALL, state: Some(state.clone()), ..Default::default() };
    let [one, two, _] = quantizers();
    stream::fit(&one, &file, &options, &run(2)).unwrap();
    let message = |q, f: &VectorFile, seed| {
        let run = Run { seed, ..run(1) };
        stream::fit(q, f, &options, &run).unwrap_err().to_string()
    };
    assert!(message(&two, &file, 3).contains("other options"));
    assert!(message(&one, &file, 4).contains("state.safetensors"));
    x.row_mut(0)[0] += 1.0;
    let other = write(&dir.path().join("y.npy"), &x);
    assert!(message(&one, &other, 3).contains("other options"));
    let bytes = std::fs::read(&state).unwrap();
    std::fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();
    assert!(message(&one, &file, 3).contains("state.safetensors"));
}

#[test]
fn bad_files_and_buffers_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut x = vectors();
    let path = dir.path().join("x.npy");
    let [quantizer, ..] = quantizers();
    let fit = |file: &VectorFile, buffer| {
        let options = StreamOptions { buffer, ..Default::default() };
        stream::fit(&quantizer, file, &options, &run(2)).unwrap_err().to_string()
    };
    let file = write(&path, &x);
    assert!(fit(&file, 1000).contains("buffer of 1000 bytes"));
    // The file becomes shorter behind its header's back.
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(fit(&file, SMALL).contains("x.npy"));
    x.row_mut(8000)[2] = f32::NAN;
    let file = write(&path, &x);
    let message = fit(&file, SMALL);
    assert!(message.contains("row 8000") && message.contains("column 2"), "{message}");
    let good = in_memory(&quantizer, &vectors());
    let options = StreamOptions { buffer: SMALL, ..Default::default() };
    let message = stream::assign(&good, &file, &options, &run(1), |_, _| Ok(())).unwrap_err();
    assert!(message.to_string().contains("rows 6144 to 8192"), "{message}");
    let three = Matrix::new(1, COLS, vec![0.0; COLS]).unwrap();
    let file = write(&path, &three);
    assert!(fit(&file, SMALL).contains("distinct"));
}
