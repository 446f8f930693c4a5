//! DualPipeV: DualPipe cut in half and folded (the published implementation; "cut-in-half" of arXiv 2412.19437). Every
//! microbatch goes down the coordinates and back up, so every stage is held once and coordinate 0 has both ends.

use super::stream::Stream;
use super::two_ways::two_ways;
use super::{Action, StageId};

/// The actions of one coordinate, which holds stages `pipeline` and `2 n_pipeline - 1 - pipeline`. `n_microbatches` is
/// at least 2 `n_pipeline`.
pub fn dual_pipe_v(pipeline: u32, n_pipeline: u32, n_microbatches: u32) -> Vec<Action> {
    let down = Stream::new(StageId(pipeline), 0);
    let up = Stream::new(StageId(2 * n_pipeline - 1 - pipeline), 0);
    two_ways(pipeline, n_pipeline, n_microbatches, down, up)
}
