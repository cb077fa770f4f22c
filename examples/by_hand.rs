//! The whole pipeline with plain types: no registry, no configuration, no cache.
//!
//! ```sh
//! cargo run --release --example by_hand
//! ```
//!
//! A made-up world of shoppers, item vectors from titles, semantic IDs from residual k-means, a
//! small decoder-only model, constrained beam search, Recall@10 beside the best possible one.

use sidereal::backbones::causal::{Causal, CausalOptions};
use sidereal::backbones::{Backbone, GenerativeRecommender};
use sidereal::core::{
    EncoderInput, Identifier, IdentifierInput, ItemEncoder, Quantized, Quantizer, QuantizerInput,
    RankedLists, Recommender, Request, Result, Run,
};
use sidereal::data::split::leave_one_out::LeaveOneOut;
use sidereal::data::synthetic::{Synthetic, SyntheticOptions};
use sidereal::data::{Augment, Source, Splitter};
use sidereal::decoding::{Beam, BeamOptions};
use sidereal::encoders::{Lsa, LsaOptions};
use sidereal::experiment::examples::TrainingExamples;
use sidereal::losses::{CrossEntropy, CrossEntropyOptions};
use sidereal::metrics::{CutOff, EvalContext, Metric, Recall, Truth};
use sidereal::quantizers::{Ordinal, OrdinalOptions, OrdinalStart, RqKMeans, RqKMeansOptions};
use sidereal::train::source::NoValidation;
use sidereal::train::{TrainOptions, train};
use std::sync::Arc;

fn main() -> Result<()> {
    let run = Run { threads: 2, ..Run::quiet(0) };

    // Data: 600 users, 250 items; the last item of each user is the test.
    let world = SyntheticOptions { users: 600, departments: 1, ..SyntheticOptions::default() };
    let data = Synthetic::new(world)?.load(&run)?;
    let splits = LeaveOneOut.split(&data)?;
    let popularity = splits.train.popularity(data.items.len());

    // Titles to vectors, vectors to codes, codes to IDs.
    let encoder = Lsa::new(LsaOptions { dim: 16, ..LsaOptions::default() })?;
    let catalogue = EncoderInput { items: &data.items, train: &splits.train };
    let vectors = encoder.encode(&catalogue, &run)?;
    let input = QuantizerInput::vectors(vectors.view());
    let quantizer = RqKMeans::new(RqKMeansOptions { levels: vec![8, 8], ..Default::default() })?;
    let codebook = quantizer.fit(&input, &run)?;
    let codes = codebook.quantize(&input)?;
    let identifier = Ordinal::new(OrdinalOptions { start: OrdinalStart::Grid });
    let ids = Arc::new(identifier.identify(
        &IdentifierInput {
            catalogue,
            popularity: &popularity,
            quantized: Some(Quantized {
                codes: &codes,
                codebook: codebook.as_ref(),
                vectors: vectors.view(),
            }),
        },
        &run,
    )?);
    println!("{} items, codes a level: {:?}", ids.n_items(), ids.widths());

    // A small model, trained on every position of every history.
    let shape = CausalOptions {
        d_model: 64,
        d_ff: 128,
        layers: 2,
        heads: 2,
        d_kv: 32,
        ..CausalOptions::default()
    };
    let mut model = Causal::new(shape, ids.widths(), run.seed)?;
    let loss = CrossEntropy::new(CrossEntropyOptions::default())?;
    let history = model.max_history();
    let examples =
        TrainingExamples::new(&splits.train, Augment::Packed, Some(ids.clone()), history);
    let options = TrainOptions { epochs: 40, batch: 32, ..TrainOptions::default() };
    let checkpoints = std::env::temp_dir().join(format!("by-hand-{}", std::process::id()));
    let trained =
        train(&mut model, &loss, &examples, &mut NoValidation, &options, &checkpoints, &run);
    // Nothing will be continued here; a rest in the temporary folder does no harm.
    let _ = std::fs::remove_dir_all(&checkpoints);
    let trained = trained?;
    println!("{} steps in {:.1} s", trained.steps, trained.seconds);

    // Ten items for every user, none of them seen before.
    let beam = Beam::new(BeamOptions { width: 20, ..BeamOptions::default() })?;
    let recommender = GenerativeRecommender::new(Arc::new(model), Box::new(beam), ids)?;
    let test = &splits.test;
    let requests: Vec<Request<'_>> =
        (0..test.len()).map(|c| Request { exclude: test.history(c), ..test.request(c) }).collect();
    let (mut lists, mut truth) = (RankedLists::new(), Truth::new());
    for (c, response) in recommender.recommend(&requests, 10, &run)?.iter().enumerate() {
        lists.push_response(response);
        truth.push(test.target(c))?;
    }
    let context = EvalContext::new(data.items.len(), &popularity);
    let recall = Recall::new(CutOff { k: 10 })?.evaluate(&lists, &truth, &context)?;
    let best = &data.report.extras["optimum"]["recall@10"]["expected"];
    println!("recall@10 {:.3}, best possible {:.3}", recall.value, best.as_f64().unwrap_or(0.0));
    Ok(())
}
