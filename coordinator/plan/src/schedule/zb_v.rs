//! ZB-V (arXiv 2401.10241, §6): every microbatch goes down the coordinates and back up, so that the first input gradients
//! come back at once; weight gradients fill the drain. Nothing is idle between the first and the last action of a
//! coordinate where forward, input and weight gradients cost the same, and no more is held than under 1F1B.

use super::stream::Stream;
use super::{Action, Pass, StageId};
use Pass::{BackwardInput, BackwardWeight, Forward};

/// The actions of one coordinate, which holds stages `pipeline` and `2 n_pipeline - 1 - pipeline`.
pub fn zb_v(pipeline: u32, n_pipeline: u32, n_microbatches: u32) -> Vec<Action> {
    // The order is that of a full pipeline; where there are fewer microbatches, the others are left out.
    let n_full = n_microbatches.max(2 * n_pipeline - 1);
    let follow = n_pipeline - pipeline;
    let mut down = Stream::new(StageId(pipeline), 0);
    let mut up = Stream::new(StageId(2 * n_pipeline - 1 - pipeline), 0);
    let mut pieces = Vec::new();
    for _ in 0..2 * follow - 1 {
        pieces.push(down.next(Forward));
    }
    for _ in 0..pipeline {
        pieces.extend([up.next(Forward), down.next(Forward)]);
    }
    for _ in 0..follow {
        pieces.extend([Forward, BackwardInput, BackwardWeight].map(|pass| up.next(pass)));
    }
    let n_warm_up = 2 * n_pipeline - 1 - pipeline;
    for n in 0..n_full - n_pipeline {
        if n_warm_up + n < n_full {
            pieces.push(down.next(Forward));
        }
        pieces.extend([BackwardInput, BackwardWeight].map(|pass| down.next(pass)));
        pieces.extend([Forward, BackwardInput, BackwardWeight].map(|pass| up.next(pass)));
    }
    for _ in 0..pipeline {
        pieces.extend([down.next(BackwardInput), up.next(BackwardInput)]);
    }
    for _ in 0..follow {
        pieces.extend([BackwardInput, BackwardWeight].map(|pass| down.next(pass)));
    }
    for stream in [&mut up, &mut down] {
        for _ in 0..stream.n_put_off() {
            pieces.push(stream.next(BackwardWeight));
        }
    }
    pieces.retain(|piece| piece.microbatch.0 < n_microbatches);
    pieces.into_iter().map(Action::One).collect()
}
