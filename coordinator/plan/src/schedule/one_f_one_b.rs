//! One forward, one backward (arXiv 2104.04473, §2.2.1).

use super::{Action, Microbatch, Pass, Piece, StageId};

/// The actions of one stage: one forward per stage after it as warm-up, then alternating, then the last backwards.
pub fn one_f_one_b(stage: StageId, n_stages: u32, n_microbatches: u32) -> Vec<Action> {
    let warm_up = (n_stages - 1 - stage.0).min(n_microbatches);
    let piece = |pass, microbatch| Action::One(Piece { stage, microbatch: Microbatch(microbatch), pass });
    let mut actions: Vec<Action> = (0..warm_up).map(|m| piece(Pass::Forward, m)).collect();
    for m in warm_up..n_microbatches {
        actions.push(piece(Pass::Forward, m));
        actions.push(piece(Pass::Backward, m - warm_up));
    }
    actions.extend((n_microbatches - warm_up..n_microbatches).map(|m| piece(Pass::Backward, m)));
    actions
}
