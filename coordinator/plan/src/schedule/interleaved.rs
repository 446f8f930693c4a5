//! Interleaved 1F1B (arXiv 2104.04473, §2.2.2): every coordinate holds several shorter stages and takes microbatches
//! through each of them in rounds, so that the pipeline fills and drains in less time.

use super::{Action, Microbatch, Pass, Piece, StageId};

/// The actions of one coordinate that holds stages `pipeline + k * n_pipeline`. A round is `n_pipeline` microbatches,
/// of which `n_microbatches` is a multiple.
pub fn interleaved(pipeline: u32, n_pipeline: u32, n_virtual: u32, n_microbatches: u32) -> Vec<Action> {
    let total = n_virtual * n_microbatches;
    let warm_up = ((n_virtual - 1) * n_pipeline + 2 * (n_pipeline - 1 - pipeline)).min(total);
    // The n-th forward (or backward) of the coordinate: rounds go through the stages in turn.
    let forward = |n: u32| piece(n, n / n_pipeline % n_virtual, pipeline, n_pipeline, n_virtual, Pass::Forward);
    let backward = |n: u32| {
        let turn = n_virtual - 1 - n / n_pipeline % n_virtual;
        piece(n, turn, pipeline, n_pipeline, n_virtual, Pass::Backward)
    };
    let mut actions: Vec<Action> = (0..warm_up).map(forward).collect();
    for n in warm_up..total {
        actions.push(forward(n));
        actions.push(backward(n - warm_up));
    }
    actions.extend((total - warm_up..total).map(backward));
    actions
}

fn piece(n: u32, turn: u32, pipeline: u32, n_pipeline: u32, n_virtual: u32, pass: Pass) -> Action {
    let microbatch = Microbatch(n / (n_pipeline * n_virtual) * n_pipeline + n % n_pipeline);
    Action::One(Piece { stage: StageId(turn * n_pipeline + pipeline), microbatch, pass })
}
