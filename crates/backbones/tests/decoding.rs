//! The decoding path (packed weights, tiles, chosen codes only) finds what a search over plain
//! forward passes finds, whatever the model, the batch, the threads and the score rule.

#![allow(clippy::unwrap_used)]

mod common;

use common::fixed_table;
use proptest::prelude::*;
use sidereal_backbones::causal::{Causal, CausalOptions};
use sidereal_backbones::tiger::{Tiger, TigerOptions};
use sidereal_backbones::{Backbone, GenerativeRecommender};
use sidereal_core::{Code, ItemId, Recommender, Request, Result, Run, SidTable};
use sidereal_decoding::{
    Beam, BeamOptions, CodeScorer, CodeScores, Constraint, Decoder, Hypothesis, Normalize, Row,
    ScoreRule, Sums, Trie, Wanted,
};
use sidereal_nn::{Batch, BatchBuilder, Pass, Target, parallel};
use std::sync::Arc;

const WIDTHS: [u32; 3] = [5, 6, 4];
const ITEMS: usize = 40;

fn tiger(
    head: &str,
    gate: &str,
    mlp: (usize, bool),
    encoder: &str,
    seed: u64,
) -> Box<dyn Backbone> {
    let options = TigerOptions {
        d_model: 16,
        d_ff: 24,
        layers: 2,
        decoder_layers: 2,
        heads: 2,
        d_kv: 8,
        buckets: 8,
        max_distance: 30,
        head: head.into(),
        gate: gate.into(),
        mlp_layers: mlp.0,
        mlp_bias: mlp.1,
        encoder: encoder.into(),
        ..Default::default()
    };
    Box::new(Tiger::new(options, 3, 6, seed).unwrap())
}

fn causal(head: &str, positions: &str, seed: u64) -> Box<dyn Backbone> {
    let options = CausalOptions {
        d_model: 16,
        d_ff: 24,
        layers: 2,
        heads: 2,
        d_kv: 8,
        buckets: 8,
        max_distance: 30,
        head: head.into(),
        positions: positions.into(),
        ..Default::default()
    };
    Box::new(Causal::new(options, &WIDTHS, seed).unwrap())
}

/// Every form of head, feed-forward and position.
fn model(form: usize, seed: u64) -> Box<dyn Backbone> {
    match form {
        0 => tiger("levels", "none", (2, true), "bidirectional", seed),
        1 => tiger("tied", "none", (1, false), "bidirectional", seed),
        2 => tiger("joint", "gelu", (1, false), "causal", seed),
        3 => causal("levels", "relative", seed),
        4 => causal("tied", "learned", seed),
        _ => causal("joint", "relative", seed),
    }
}
const FORMS: usize = 6;

/// Scores by a whole forward pass for every row: its prefix, filled up with zeros, is the target.
struct Reference<'a> {
    model: &'a dyn Backbone,
    table: &'a SidTable,
    histories: &'a [Vec<ItemId>],
    rows: Vec<(u32, Vec<Code>)>,
}

impl CodeScorer for Reference<'_> {
    fn requests(&self) -> usize {
        self.histories.len()
    }

    fn levels(&self) -> usize {
        WIDTHS.len()
    }

    fn width(&self, level: usize) -> usize {
        self.model.session(&prompts_of(self.table, &self.histories[..1])).unwrap().width(level)
    }

    fn advance(&mut self, level: usize, rows: &[Row], logits: &mut Vec<f32>) -> Result<()> {
        self.rows = rows
            .iter()
            .map(|r| match level {
                0 => (r.request, Vec::new()),
                _ => (r.request, [&self.rows[r.parent as usize].1[..], &[r.code]].concat()),
            })
            .collect();
        let histories: Vec<Vec<ItemId>> =
            self.rows.iter().map(|(r, _)| self.histories[*r as usize].clone()).collect();
        let mut batch = prompts_of(self.table, &histories);
        for (row, (_, prefix)) in self.rows.iter().enumerate() {
            let position = histories[row].len() as u32;
            batch.targets.push(Target { row: row as u32, position, item: ItemId(0) });
            let rest = std::iter::repeat_n(0, WIDTHS.len() - prefix.len());
            batch.target_codes.extend(prefix.iter().copied().chain(rest));
            batch.target_code_offsets.push(batch.target_codes.len() as u32);
        }
        let mut workspace = self.model.workspace();
        self.model.forward(&batch, Pass::Evaluate, &mut workspace)?;
        logits.clone_from(&workspace.bag.get("logits", level)?.value);
        Ok(())
    }
}

fn prompts_of(table: &SidTable, histories: &[Vec<ItemId>]) -> Batch {
    let builder = BatchBuilder::new(Some(Arc::new(table.clone())), 29);
    let mut batch = Batch::default();
    builder.clear(&mut batch);
    for history in histories {
        builder.push_history(&mut batch, history).unwrap();
    }
    batch
}

fn beam(width: u32, score: ScoreRule, sums: Sums) -> Beam {
    Beam::new(BeamOptions { width, score, sums, ..Default::default() }).unwrap()
}

/// Equal hypotheses in equal order, unless their scores are too close to call.
fn assert_same(got: &[Hypothesis], want: &[Hypothesis], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g.score - w.score).abs() <= tolerance, "{} {}", g.score, w.score);
        let twin = want.iter().find(|x| x.codes == g.codes);
        let twin = twin.map_or(f64::INFINITY, |x| (x.score - w.score).abs());
        // The last one may be another that is as good.
        let last = (want[want.len() - 1].score - g.score).abs() <= tolerance;
        assert!(
            g.codes == w.codes || twin <= 2.0 * tolerance || last,
            "{:?} {:?}",
            g.codes,
            w.codes
        );
    }
}

fn histories() -> impl Strategy<Value = Vec<Vec<ItemId>>> {
    let item = (0..ITEMS as u32).prop_map(ItemId);
    proptest::collection::vec(proptest::collection::vec(item, 1..20), 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_beam_over_a_session_equals_one_over_forward_passes(
        form in 0..FORMS,
        seed in 0u64..1000,
        histories in histories(),
        width in 1u32..30,
        masked: bool,
        ranked: bool,
    ) {
        let (model, table) = (model(form, seed), fixed_table(ITEMS, &WIDTHS));
        let trie = Trie::new(&table).unwrap();
        let score = if masked { ScoreRule::Masked } else { ScoreRule::Full };
        let sums = if ranked { Sums::Ranked } else { Sums::Both };
        let mut reference = Reference { model: &*model, table: &table, histories: &histories, rows: vec![] };
        let run = Run::quiet(0);
        let want = beam(width, score, Sums::Both).decode(&mut reference, &[&trie], &run).unwrap();
        let mut session = model.session(&prompts_of(&table, &histories)).unwrap();
        let got = beam(width, score, sums).decode(session.as_mut(), &[&trie], &run).unwrap();
        for (got, want) in got.iter().zip(&want) {
            assert_same(got, want, 2e-5);
        }
    }

    #[test]
    fn threads_and_batches_change_nothing(
        form in 0..FORMS,
        histories in histories(),
        width in 1u32..40,
        threads in 2usize..5,
    ) {
        let (model, table) = (model(form, 3), fixed_table(ITEMS, &WIDTHS));
        let beam = beam(width, ScoreRule::Full, Sums::Both);
        let recommender = GenerativeRecommender::new(model.into(), Box::new(beam), table).unwrap();
        let requests: Vec<Request<'_>> =
            histories.iter().map(|h| Request { history: h, ..Request::default() }).collect();
        let run = |threads| Run { threads, ..Run::quiet(0) };
        let one = recommender.recommend(&requests, 40, &run(1)).unwrap();
        prop_assert_eq!(&recommender.recommend(&requests, 40, &run(threads)).unwrap(), &one);
        for (request, want) in requests.iter().zip(&one) {
            let alone = recommender.recommend(std::slice::from_ref(request), 40, &run(1)).unwrap();
            for (a, b) in alone[0].items.iter().zip(&want.items) {
                prop_assert!((a.score - b.score).abs() < 1e-5);
            }
        }
    }
}

/// Rows of the next level: three children of every row.
fn children(rows: &[Row], width: u32) -> Vec<Row> {
    let child = |(parent, row): (usize, &Row), code: u32| Row {
        request: row.request,
        parent: parent as u32,
        code: (code * 2 + parent as u32) % width,
    };
    rows.iter().enumerate().flat_map(|x| (0..3).map(move |code| child(x, code))).collect()
}

#[test]
fn chosen_logits_are_those_of_whole_rows_on_any_number_of_threads() {
    let table = fixed_table(ITEMS, &WIDTHS);
    // Enough rows for tiles of every kind; some requests are alone, one has no history.
    for requests in [1, 3, 40] {
        let histories: Vec<Vec<ItemId>> = (0..requests)
            .map(|r| (0..(r * 5 + 4) % 17).map(|i| ItemId((r * 7 + i * 3) as u32 % 40)).collect())
            .collect();
        for form in 0..FORMS {
            let model = model(form, 9);
            let batch = prompts_of(&table, &histories);
            let [one, four] = [1, 4].map(|threads| {
                let pool = parallel::shared(threads).unwrap();
                pool.install(|| walk(&*model, &batch, form))
            });
            for (a, b) in one.iter().zip(&four) {
                // Bit for bit.
                assert!(a.logits == b.logits && a.normalizers == b.normalizers, "form {form}");
            }
        }
    }
}

/// Chosen logits of three levels, each compared with those of whole rows.
fn walk(model: &dyn Backbone, batch: &Batch, form: usize) -> Vec<CodeScores> {
    let requests = batch.rows() as u32;
    let mut rows: Vec<Row> =
        (0..requests).map(|request| Row { request, parent: 0, code: 0 }).collect();
    let (mut whole, mut logits) = (model.session(batch).unwrap(), Vec::new());
    let mut sessions = [true, false].map(|few| (few, model.session(batch).unwrap()));
    let mut all = Vec::new();
    for level in 0..3 {
        whole.advance(level, &rows, &mut logits).unwrap();
        let cols = whole.width(level);
        assert_eq!(logits.len(), rows.len() * cols);
        for (few, session) in &mut sessions {
            let few = *few;
            let mut wanted = Wanted::default();
            let codes = if few { 1 } else { WIDTHS[level] };
            (0..rows.len()).for_each(|_| wanted.push_row(WIDTHS[level] - codes..WIDTHS[level]));
            let normalize = if few { Normalize::Chosen } else { Normalize::Full };
            let mut scores = CodeScores::default();
            session.advance_to(level, &rows, &wanted, normalize, &mut scores).unwrap();
            for (r, row) in logits.chunks(cols).enumerate() {
                let got = &scores.logits[wanted.start(r)..wanted.start(r + 1)];
                for (got, code) in got.iter().zip(wanted.row(r)) {
                    assert!((got - row[*code as usize]).abs() < 1e-5, "form {form}");
                }
                if !few {
                    let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
                    assert!((scores.normalizers[r] - sum.ln()).abs() < 1e-5, "form {form}");
                }
            }
            all.push(scores);
        }
        rows = children(&rows, WIDTHS[level]);
    }
    all
}

#[test]
fn sessions_follow_the_weights_and_leave_nothing_behind() {
    let table = fixed_table(ITEMS, &WIDTHS);
    let trie = Trie::new(&table).unwrap();
    let histories = vec![[3, 4, 5].map(ItemId).to_vec(), [8, 1].map(ItemId).to_vec()];
    let long: Vec<Vec<ItemId>> = (0..9).map(|r| (0..20).map(|i| ItemId(i + r)).collect()).collect();
    let decoder = beam(10, ScoreRule::Full, Sums::Both);
    let decode = |model: &dyn Backbone, histories: &[Vec<ItemId>]| {
        let mut session = model.session(&prompts_of(&table, histories)).unwrap();
        let constraints: [&dyn Constraint; 1] = [&trie];
        let once = decoder.decode(session.as_mut(), &constraints, &Run::quiet(0)).unwrap();
        // A call at level 0 starts the session again.
        let again = decoder.decode(session.as_mut(), &constraints, &Run::quiet(0)).unwrap();
        assert_eq!(once, again);
        once
    };
    for form in 0..FORMS {
        let mut model = model(form, 5);
        let before = decode(&*model, &histories);
        // What a larger session left is used again.
        decode(&*model, &long);
        assert_eq!(decode(&*model, &histories), before);
        model.params_mut().values_mut().iter_mut().for_each(|x| *x *= 0.7);
        let after = decode(&*model, &histories);
        assert_ne!(after, before);
        let mut reference =
            Reference { model: &*model, table: &table, histories: &histories, rows: vec![] };
        let want = decoder.decode(&mut reference, &[&trie], &Run::quiet(0)).unwrap();
        after.iter().zip(&want).for_each(|(a, w)| assert_same(a, w, 2e-5));
    }
}
