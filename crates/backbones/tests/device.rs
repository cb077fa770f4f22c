//! Networks on the device that `SIDEREAL_DEVICE` names (as in `cuda:0`) equal the fused models on
//! the processor. Needs a build with `--features cuda`.

#![allow(clippy::unwrap_used)]

mod common;

use common::twins::{Shape, Targets, Twins, batch, with_times};
use sidereal_nn::Device;

#[test]
fn models_on_the_named_device_equal_the_fused_ones() {
    let Ok(name) = std::env::var("SIDEREAL_DEVICE") else {
        println!("skipped: models on a device, because no GPU is named in SIDEREAL_DEVICE");
        return;
    };
    let device: Device = name.parse().unwrap();
    let rows = [vec![1, 2, 3, 30, 9], vec![5, 6], vec![9, 8, 7, 6, 5, 4, 3], vec![2, 2, 39]];
    let with_newcomer = [vec![4, 5, 6], vec![7], vec![8, 9]];
    for causal_encoder in [false, true] {
        let twins = Twins::tiger(Shape { causal_encoder, ..Shape::default() }, device);
        twins.learn_alike(&batch(&rows, Targets::Last));
        twins.learn_alike(&batch(&with_newcomer, Targets::Last));
        twins.answer_alike(&batch(&with_newcomer, Targets::Last));
        if causal_encoder {
            twins.learn_alike(&batch(&rows, Targets::Every));
        }
    }
    let gelu = Shape { gate: "gelu", head: "tied", ..Shape::default() };
    let silu = Shape { gate: "silu", head: "joint", positions: "learned", ..Shape::default() };
    for shape in [gelu, silu] {
        for twins in [Twins::tiger(shape, device), Twins::causal(shape, device)] {
            twins.learn_alike(&batch(&rows, Targets::Last));
            twins.answer_alike(&batch(&with_newcomer, Targets::Last));
        }
    }
    for targets in [Targets::Last, Targets::Every] {
        Twins::causal(Shape::default(), device).learn_alike(&batch(&rows, targets));
        Twins::rpg(Shape::default(), device).learn_alike(&batch(&rows, targets));
        Twins::sasrec(Shape::default(), device).learn_alike(&batch(&rows, targets));
        let timed = with_times(batch(&rows, targets));
        Twins::hstu(Shape::default(), device).learn_alike(&timed);
    }
    Twins::causal(Shape::default(), device).answer_alike(&batch(&with_newcomer, Targets::Last));
    Twins::rpg(Shape::default(), device).answer_alike(&batch(&with_newcomer, Targets::Last));
    Twins::sasrec(Shape::default(), device).answer_alike(&batch(&with_newcomer, Targets::Last));
    Twins::hstu(Shape::default(), device).answer_alike(&batch(&with_newcomer, Targets::Last));
}
