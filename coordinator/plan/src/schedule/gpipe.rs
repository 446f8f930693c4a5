//! GPipe (arXiv 1811.06965): all forwards, then all backwards.

use super::{Action, Microbatch, Pass, Piece, StageId};

/// The actions of one stage.
pub fn gpipe(stage: StageId, n_microbatches: u32) -> Vec<Action> {
    let all = |pass| (0..n_microbatches).map(move |m| Action::One(Piece { stage, microbatch: Microbatch(m), pass }));
    all(Pass::Forward).chain(all(Pass::Backward)).collect()
}
