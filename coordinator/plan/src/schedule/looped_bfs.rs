//! Looped breadth-first (arXiv 2211.05953): every coordinate holds several shorter stages and takes all microbatches
//! through one of them before the next; backward likewise, from the last microbatch to the first.

use super::{Action, Microbatch, Pass, Piece, Placement, StageId};

/// The actions of one coordinate that holds stages `pipeline + k * n_pipeline`.
pub fn looped_bfs(pipeline: u32, n_pipeline: u32, n_virtual: u32, n_microbatches: u32) -> Vec<Action> {
    let stages = Placement::Looped { n_pipeline, n_virtual }.stages_at(pipeline);
    let one = |stage: StageId, microbatch, pass| Action::One(Piece { stage, microbatch: Microbatch(microbatch), pass });
    let forward = |&stage: &StageId| (0..n_microbatches).map(move |m| one(stage, m, Pass::Forward));
    let backward = |&stage: &StageId| (0..n_microbatches).rev().map(move |m| one(stage, m, Pass::Backward));
    stages.iter().flat_map(forward).chain(stages.iter().rev().flat_map(backward)).collect()
}
