//! Interleaved 1F1B (arXiv 2104.04473, §2.2.2): every coordinate holds several shorter stages and takes microbatches
//! through each of them in rounds, so that the pipeline fills and drains in less time.

use super::rounds::Rounds;
use super::{Action, Pass};

/// The actions of one coordinate that holds stages `pipeline + k * n_pipeline`. The number of rounds,
/// `n_microbatches / n_pipeline` rounded down, divides `n_microbatches`.
pub fn interleaved(pipeline: u32, n_pipeline: u32, n_virtual: u32, n_microbatches: u32) -> Vec<Action> {
    let rounds = Rounds::new(pipeline, n_pipeline, n_virtual, n_microbatches);
    let (total, warm_up) = (rounds.n_passes(), rounds.warm_up(2));
    let backward = |n: u32| rounds.backward(n, Pass::Backward);
    let mut actions: Vec<Action> = (0..warm_up).map(|n| rounds.forward(n)).collect();
    for n in warm_up..total {
        actions.push(rounds.forward(n));
        actions.push(backward(n - warm_up));
    }
    actions.extend((total - warm_up..total).map(backward));
    actions
}
