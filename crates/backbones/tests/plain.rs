//! Fused models equal their networks in candle operations: outputs, gradients with and without
//! dropout, sessions and query vectors, for drawn shapes and rows of different lengths.

#![allow(clippy::unwrap_used)]

mod common;

use common::twins::{ITEMS, Shape, Targets, Twins, batch, with_times};
use proptest::prelude::*;
use sidereal_nn::{Device, Pass};

fn shapes() -> impl Strategy<Value = Shape> {
    let sizes = (1usize..4, 1usize..6, 1usize..24, 1usize..3, 1usize..4);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let kinds = (
        prop::sample::select(vec!["none", "gelu", "silu"]),
        prop::sample::select(vec!["levels", "tied", "joint"]),
        prop::sample::select(vec!["relative", "learned"]),
        prop::sample::select(vec![0.0f32, 0.4]),
    );
    (sizes, flags, 0u32..4, kinds).prop_map(|(sizes, flags, user_tokens, kinds)| {
        let (heads, head_width, d_ff, layers, mlp_layers) = sizes;
        let (separator, causal_encoder, mlp_bias) = flags;
        let (gate, head, positions, dropout) = kinds;
        Shape {
            heads,
            head_width,
            d_ff,
            layers,
            mlp_layers,
            dropout,
            separator,
            user_tokens,
            causal_encoder,
            mlp_bias,
            gate,
            head,
            positions,
        }
    })
}

/// Rows of `lens` items.
fn sequences(lens: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<u32>>> {
    prop::collection::vec(prop::collection::vec(0..ITEMS as u32, lens), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // One item is a target without a history.
    #[test]
    fn tiger(shape in shapes(), rows in sequences(1..7)) {
        let twins = Twins::tiger(shape, Device::Cpu);
        twins.learn_alike(&batch(&rows, Targets::Last));
        if shape.causal_encoder {
            twins.learn_alike(&batch(&rows, Targets::Every));
        }
        twins.answer_alike(&batch(&rows, Targets::Last));
    }

    #[test]
    fn causal(shape in shapes(), rows in sequences(1..7)) {
        let twins = Twins::causal(shape, Device::Cpu);
        twins.learn_alike(&batch(&rows, Targets::Last));
        twins.learn_alike(&batch(&rows, Targets::Every));
        twins.answer_alike(&batch(&rows, Targets::Last));
    }

    #[test]
    fn rpg(shape in shapes(), rows in sequences(2..9)) {
        let twins = Twins::rpg(shape, Device::Cpu);
        twins.learn_alike(&batch(&rows, Targets::Last));
        twins.learn_alike(&batch(&rows, Targets::Every));
        // Also for someone without a history.
        let mut rows = rows;
        rows.insert(1, vec![3]);
        twins.answer_alike(&batch(&rows, Targets::Last));
    }

    #[test]
    fn sasrec(shape in shapes(), rows in sequences(2..9)) {
        let twins = Twins::sasrec(shape, Device::Cpu);
        twins.learn_alike(&batch(&rows, Targets::Last));
        twins.learn_alike(&batch(&rows, Targets::Every));
        // Also for someone without a history.
        let mut rows = rows;
        rows.insert(1, vec![3]);
        twins.answer_alike(&batch(&rows, Targets::Last));
    }

    #[test]
    fn hstu(shape in shapes(), rows in sequences(2..9)) {
        let twins = Twins::hstu(shape, Device::Cpu);
        twins.learn_alike(&batch(&rows, Targets::Last));
        twins.learn_alike(&with_times(batch(&rows, Targets::Every)));
        // Also for someone without a history.
        let mut rows = rows;
        rows.insert(1, vec![3]);
        twins.answer_alike(&with_times(batch(&rows, Targets::Last)));
    }
}

#[test]
fn nobody_has_a_history() {
    let rows = [vec![7], vec![9]];
    for user_tokens in [0, 2] {
        let shape = Shape { user_tokens, ..Shape::default() };
        Twins::tiger(shape, Device::Cpu).learn_alike(&batch(&rows, Targets::Last));
    }
    Twins::causal(Shape::default(), Device::Cpu).learn_alike(&batch(&rows, Targets::Last));
}

#[test]
fn the_masks_matter_and_follow_the_key() {
    let twins = Twins::tiger(Shape::default(), Device::Cpu);
    let batch = batch(&[vec![1, 2, 3], vec![4, 5]], Targets::Last);
    let logits = |pass| {
        let mut ws = twins.plain.workspace();
        twins.plain.forward(&batch, pass, &mut ws).unwrap();
        ws.bag.get("logits", 2).unwrap().value.clone()
    };
    let (none, one, other) =
        (logits(Pass::Evaluate), logits(Pass::Train { key: 1 }), logits(Pass::Train { key: 2 }));
    assert_eq!(one, logits(Pass::Train { key: 1 }));
    assert!(none != one && one != other);
}

#[test]
fn networks_refuse_what_the_fused_models_refuse() {
    let every = batch(&[vec![1, 2, 3]], Targets::Every);
    let alone = batch(&[vec![1]], Targets::Last);
    let mut jumps = batch(&[vec![1, 2, 3]], Targets::Every);
    jumps.targets[0].item.0 = 30;
    let mut strange = batch(&[vec![1, 2]], Targets::Last);
    strange.codes[0] = 6;
    strange.items[0].0 = 99;
    let shape = Shape::default();
    for (twins, batch) in [
        (Twins::tiger(shape, Device::Cpu), &every),
        (Twins::tiger(shape, Device::Cpu), &strange),
        (Twins::causal(shape, Device::Cpu), &jumps),
        (Twins::causal(shape, Device::Cpu), &strange),
        (Twins::rpg(shape, Device::Cpu), &alone),
        (Twins::rpg(shape, Device::Cpu), &strange),
        (Twins::sasrec(shape, Device::Cpu), &alone),
        (Twins::sasrec(shape, Device::Cpu), &strange),
        (Twins::hstu(shape, Device::Cpu), &alone),
        (Twins::hstu(shape, Device::Cpu), &strange),
    ] {
        let error = |m: &dyn sidereal_backbones::Backbone| {
            m.forward(batch, Pass::Evaluate, &mut m.workspace()).unwrap_err().to_string()
        };
        assert_eq!(error(&*twins.fused), error(&*twins.plain));
    }
}
