//! ZB-H1 (arXiv 2401.10241, §2): 1F1B whose weight gradients wait, as long as the memory of 1F1B's first stage
//! allows, and fill the time in which 1F1B drains.

use super::{Action, Microbatch, Pass, Piece, StageId};

/// The actions of one stage. It warms up as under 1F1B; the weight gradients of a microbatch follow the input
/// gradients of the one that is `stage` later, so that every stage holds as much as the first.
pub fn zb_h1(stage: StageId, n_stages: u32, n_microbatches: u32) -> Vec<Action> {
    let warm_up = (n_stages - 1 - stage.0).min(n_microbatches);
    let delay = stage.0.min(n_microbatches);
    let piece = |pass, microbatch| Action::One(Piece { stage, microbatch: Microbatch(microbatch), pass });
    let mut actions: Vec<Action> = (0..warm_up).map(|m| piece(Pass::Forward, m)).collect();
    for m in 0..n_microbatches {
        if warm_up + m < n_microbatches {
            actions.push(piece(Pass::Forward, warm_up + m));
        }
        actions.push(piece(Pass::BackwardInput, m));
        if m >= delay {
            actions.push(piece(Pass::BackwardWeight, m - delay));
        }
    }
    actions.extend((n_microbatches - delay..n_microbatches).map(|m| piece(Pass::BackwardWeight, m)));
    actions
}
