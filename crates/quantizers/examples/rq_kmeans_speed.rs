//! How long `rq-kmeans` takes: `cargo run --release -p sidereal-quantizers --example
//! rq_kmeans_speed -- [ROWS] [DIM] [THREADS]`. Defaults: 100000 x 768 on 2 threads, 3 x 256 codes,
//! 10 iterations a level.

use sidereal_core::{Codebook, Matrix, QuantizerInput, Result, Run, seed};
use sidereal_quantizers::{RqKMeans, RqKMeansOptions, SidReport};
use std::time::Instant;

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let rows = numbers.next().unwrap_or(100_000);
    let dim = numbers.next().unwrap_or(768);
    let threads = numbers.next().unwrap_or(2);

    // Noise around 1000 centres, from hashes: quick, and the same everywhere.
    let uniform = |a: u64, b: u64| {
        (seed::mix(a.wrapping_mul(0x9E37_79B9) ^ b.rotate_left(32)) >> 40) as f32 / (1 << 24) as f32
            - 0.5
    };
    let mut x = Matrix::zeros(rows, dim);
    for i in 0..rows {
        let center = seed::mix(i as u64) % 1000;
        for (d, v) in x.row_mut(i).iter_mut().enumerate() {
            *v = uniform(center, d as u64) + uniform(1000 + i as u64, d as u64);
        }
    }

    let input = QuantizerInput::vectors(x.view());
    let options = RqKMeansOptions { iterations: 10, tolerance: 0.0, ..Default::default() };
    let quantizer = RqKMeans::new(options)?;
    let start = Instant::now();
    let book = quantizer.fit_residual(&input, &Run { threads, ..Run::quiet(1) })?;
    println!("fit      {:.2} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let codes = book.quantize(&input)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("quantize {seconds:.2} s, {:.0} vectors/s", rows as f64 / seconds);
    let start = Instant::now();
    let report =
        SidReport::of_codes(&codes, book.widths())?.with_reconstruction(&codes, &book, x.view())?;
    println!("report   {:.2} s", start.elapsed().as_secs_f64());
    println!("{report}");
    Ok(())
}
