//! Interleaved zero-bubble (ZB1P of arXiv 2401.10241 with several stages a coordinate): interleaved 1F1B that warms up
//! half as long, since input gradients come back without the weight gradients, which wait and fill the drain.

use super::rounds::Rounds;
use super::{Action, Pass};

/// The actions of one coordinate that holds stages `pipeline + k * n_pipeline`. Weight gradients follow the input
/// gradients of the pass that is `pipeline` later. The number of rounds, `n_microbatches / n_pipeline` rounded down,
/// divides `n_microbatches`.
pub fn interleaved_zb(pipeline: u32, n_pipeline: u32, n_virtual: u32, n_microbatches: u32) -> Vec<Action> {
    let rounds = Rounds::new(pipeline, n_pipeline, n_virtual, n_microbatches);
    let (total, warm_up) = (rounds.n_passes(), rounds.warm_up(1));
    let delay = pipeline.min(total);
    let weight = |n: u32| rounds.backward(n, Pass::BackwardWeight);
    let mut actions: Vec<Action> = (0..warm_up).map(|n| rounds.forward(n)).collect();
    for n in 0..total {
        if warm_up + n < total {
            actions.push(rounds.forward(warm_up + n));
        }
        actions.push(rounds.backward(n, Pass::BackwardInput));
        if n >= delay {
            actions.push(weight(n - delay));
        }
    }
    actions.extend((total - delay..total).map(weight));
    actions
}
