//! Decoding sessions give the logits that a forward pass gives for the same codes, whatever the
//! batch, the beams and their parents.

#![allow(clippy::unwrap_used)]

mod common;

use common::{batch_of, fixed_table};
use sidereal_backbones::causal::{Causal, CausalOptions};
use sidereal_backbones::tiger::{Tiger, TigerOptions};
use sidereal_backbones::{Backbone, Output};
use sidereal_core::{Catalog, CodeOrder, ItemId, Run, SidTable, Spec};
use sidereal_decoding::{Constraint, Decoder, Exhaustive, Row, Trie};
use sidereal_nn::{Batch, BatchBuilder, Pass};
use std::sync::Arc;

const WIDTHS: [u32; 3] = [5, 6, 4];

fn models() -> Vec<Box<dyn Backbone>> {
    let tiger = |encoder: &str, separator| {
        let options = TigerOptions {
            d_model: 16,
            d_ff: 24,
            layers: 2,
            decoder_layers: 2,
            heads: 2,
            d_kv: 8,
            buckets: 8,
            max_distance: 30,
            encoder: encoder.to_string(),
            separator,
            ..Default::default()
        };
        Box::new(Tiger::new(options, 3, 6, 1).unwrap()) as Box<dyn Backbone>
    };
    let options = CausalOptions {
        d_model: 16,
        d_ff: 24,
        layers: 2,
        heads: 2,
        d_kv: 8,
        buckets: 8,
        max_distance: 30,
        ..Default::default()
    };
    let causal = Box::new(Causal::new(options, &WIDTHS, 2).unwrap());
    vec![tiger("bidirectional", true), tiger("causal", false), causal]
}

/// Logits of every level for the target of each row, from a forward pass.
fn teacher_forced(model: &dyn Backbone, batch: &Batch) -> Vec<Vec<Vec<f32>>> {
    let mut ws = model.workspace();
    model.forward(batch, Pass::Evaluate, &mut ws).unwrap();
    (0..batch.targets.len())
        .map(|t| {
            let level = |h| {
                let f = ws.bag.get("logits", h).unwrap();
                f.value[t * f.cols..(t + 1) * f.cols].to_vec()
            };
            (0..ws.bag.levels("logits")).map(level).collect()
        })
        .collect()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + b.abs()))
}

#[test]
fn a_session_follows_every_beam_through_its_parents() {
    let table = fixed_table(40, &WIDTHS);
    let histories: [&[u32]; 3] = [&[1, 2, 3, 30], &[5], &[9, 8, 7, 6, 5, 4, 3]];
    let targets = [[4u32, 17, 33], [8, 0, 21], [39, 12, 11]];
    for model in models() {
        let builder = BatchBuilder::new(Some(table.clone()), 50);
        let mut prompts = Batch::default();
        builder.clear(&mut prompts);
        for h in histories {
            let ids: Vec<ItemId> = h.iter().map(|&i| ItemId(i)).collect();
            builder.push_history(&mut prompts, &ids).unwrap();
        }
        let mut session = model.session(&prompts).unwrap();
        let (mut logits, mut seen) = (Vec::new(), Vec::new());
        let rows: Vec<Row> = (0..3).map(|request| Row { request, parent: 0, code: 0 }).collect();
        session.advance(0, &rows, &mut logits).unwrap();
        seen.push(logits.clone());
        // Three beams a request in reversed order, so that parents are not the identity.
        for level in 1..3 {
            let mut rows = Vec::new();
            for request in 0..3u32 {
                for beam in 0..3u32 {
                    let sid = table.first_sid(ItemId(targets[request as usize][2 - beam as usize]));
                    // At level 1 all beams extend the request's only row; later the order flips.
                    let (parent, pick) = match level {
                        1 => (request, 2 - beam),
                        _ => (request * 3 + 2 - beam, beam),
                    };
                    let sid = match level {
                        1 => sid.unwrap(),
                        _ => table
                            .first_sid(ItemId(targets[request as usize][pick as usize]))
                            .unwrap(),
                    };
                    rows.push(Row { request, parent, code: sid[level - 1] });
                }
            }
            session.advance(level, &rows, &mut logits).unwrap();
            seen.push(logits.clone());
        }
        for request in 0..3usize {
            for beam in 0..3usize {
                let target = targets[request][beam];
                let mut sequence = histories[request].to_vec();
                sequence.push(target);
                let want = teacher_forced(model.as_ref(), &batch_of(&table, &[&sequence], false));
                // At level 1 the target stands in reversed order, at level 2 in order.
                for (level, at) in
                    [(0, request), (1, request * 3 + 2 - beam), (2, request * 3 + beam)]
                {
                    let v = want[0][level].len();
                    let got = &seen[level][at * v..(at + 1) * v];
                    assert!(close(got, &want[0][level]), "request {request} level {level}");
                }
            }
        }
    }
}

#[test]
fn packed_targets_equal_single_ones() {
    let table = fixed_table(40, &WIDTHS);
    let sequences: [&[u32]; 3] = [&[1, 2, 3, 30, 31, 32], &[5, 6], &[9, 8, 7, 6]];
    for model in &models()[1..] {
        assert_eq!(model.output(), Output::Codes);
        let packed = teacher_forced(model.as_ref(), &batch_of(&table, &sequences, true));
        let mut t = 0;
        for s in sequences {
            for end in 2..=s.len() {
                let one = teacher_forced(model.as_ref(), &batch_of(&table, &[&s[..end]], false));
                for (level, want) in one[0].iter().enumerate() {
                    assert!(close(&packed[t][level], want), "target {t} level {level}");
                }
                t += 1;
            }
        }
        assert_eq!(t, packed.len());
    }
}

#[test]
fn a_bidirectional_encoder_refuses_to_see_the_future() {
    let table = fixed_table(40, &WIDTHS);
    let model = &models()[0];
    let batch = batch_of(&table, &[&[1, 2, 3]], true);
    let err = model.forward(&batch, Pass::Evaluate, &mut model.workspace()).unwrap_err();
    assert!(err.to_string().contains("encoder = \"causal\""), "{err}");
}

#[test]
fn a_wide_beam_ranks_real_items_as_exhaustive_scoring_does() {
    let table = fixed_table(40, &WIDTHS);
    let trie = Trie::new(&table).unwrap();
    let builder = BatchBuilder::new(Some(table.clone()), 50);
    for model in models() {
        let mut batch = Batch::default();
        builder.clear(&mut batch);
        for h in [[3u32, 4, 5], [8, 1, 2]] {
            builder.push_history(&mut batch, &h.map(ItemId)).unwrap();
        }
        let beam = sidereal_decoding::Beam::new(sidereal_decoding::BeamOptions {
            width: 40,
            ..Default::default()
        })
        .unwrap();
        let constraints: [&dyn Constraint; 1] = [&trie];
        let all = Exhaustive::new(sidereal_decoding::ExhaustiveOptions {
            width: 40,
            ..Default::default()
        })
        .unwrap();
        let a = beam
            .decode(model.session(&batch).unwrap().as_mut(), &constraints, &Run::quiet(0))
            .unwrap();
        let b = all
            .decode(model.session(&batch).unwrap().as_mut(), &constraints, &Run::quiet(0))
            .unwrap();
        for (a, b) in a.iter().zip(&b) {
            assert_eq!(a.len(), 40);
            let codes = |h: &[sidereal_decoding::Hypothesis]| -> Vec<_> {
                h.iter().map(|h| h.codes.clone()).collect()
            };
            assert_eq!(codes(a), codes(b));
            assert!(a.iter().zip(b).all(|(a, b)| (a.score - b.score).abs() < 1e-5));
        }
    }
}

#[test]
fn every_decoder_runs_and_a_session_starts_again() {
    let table = fixed_table(40, &WIDTHS);
    let trie = Trie::new(&table).unwrap();
    let builder = BatchBuilder::new(Some(table.clone()), 50);
    let mut catalog: Catalog<dyn Decoder> = Catalog::new("decoder");
    sidereal_decoding::register(&mut catalog).unwrap();
    let names: Vec<String> = catalog.entries().map(|e| e.name.clone()).collect();
    for model in models() {
        let mut batch = Batch::default();
        builder.clear(&mut batch);
        for h in [[3u32, 4, 5], [8, 1, 2]] {
            builder.push_history(&mut batch, &h.map(ItemId)).unwrap();
        }
        // One session for all decoders: each starts it again.
        let mut session = model.session(&batch).unwrap();
        for name in &names {
            let decoder = catalog.build(&Spec::new("decoder", name), &()).unwrap();
            let constraints: [&dyn Constraint; 1] = [&trie];
            let mut fresh = model.session(&batch).unwrap();
            let want = decoder.decode(fresh.as_mut(), &constraints, &Run::quiet(5)).unwrap();
            let got = decoder.decode(session.as_mut(), &constraints, &Run::quiet(5)).unwrap();
            assert_eq!(got, want, "{name}");
            for list in &got {
                assert!(!list.is_empty(), "{name}");
                assert!(list.iter().filter(|h| h.valid).all(|h| trie.contains(&h.codes)));
            }
        }
    }
}

#[test]
fn the_size_that_the_handbook_reports() {
    // GRID's defaults with 4 digits of 256 codes, separator and start vector, no user table.
    let model = Tiger::new(TigerOptions::default(), 4, 256, 0).unwrap();
    assert_eq!(sidereal_nn::Model::params(&model).len(), 13_128_064);
}

#[test]
fn an_untrained_model_starts_near_the_uniform_loss() {
    let codes: Vec<[u32; 4]> =
        (0..256).map(|i| [i, (i * 5) % 256, (i * 9) % 256, 255 - i]).collect();
    let rows = codes.iter().enumerate().map(|(i, c)| (ItemId(i as u32), &c[..]));
    let table = Arc::new(SidTable::new(256, CodeOrder::Sequence, rows).unwrap());
    let model = Tiger::new(TigerOptions::default(), 4, 256, 0).unwrap();
    let sequences: Vec<Vec<u32>> =
        (0..16).map(|s| (0..6).map(|i| (s * 13 + i * 31) % 256).collect()).collect();
    let views: Vec<&[u32]> = sequences.iter().map(|s| &s[..]).collect();
    let batch = batch_of(&table, &views, false);
    let logits = teacher_forced(&model, &batch);
    let mut loss = 0.0;
    for (t, levels) in logits.iter().enumerate() {
        for (row, &c) in levels.iter().zip(batch.target_sid(t)) {
            let top = row.iter().copied().fold(f32::MIN, f32::max);
            let sum: f32 = row.iter().map(|x| (x - top).exp()).sum();
            loss += f64::from(sum.ln() + top - row[c as usize]);
        }
    }
    let (loss, uniform) = (loss / logits.len() as f64, 4.0 * 256f64.ln());
    assert!((loss - uniform).abs() < 1.5, "{loss} against {uniform}");
}
