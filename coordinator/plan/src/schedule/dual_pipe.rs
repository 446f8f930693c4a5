//! DualPipe (arXiv 2412.19437, §3.2.1): microbatches enter at both ends of the pipeline, so every stage is held twice,
//! and forward and backward of opposite directions overlap.

use super::stream::Stream;
use super::two_ways::two_ways;
use super::{Action, Placement};

/// The actions of one coordinate, which holds stages `pipeline` and `n_pipeline - 1 - pipeline`. `n_pipeline` is even,
/// `n_microbatches` is even and at least 2 `n_pipeline`.
pub fn dual_pipe(pipeline: u32, n_pipeline: u32, n_microbatches: u32) -> Vec<Action> {
    let stages = Placement::BothWays { n_pipeline, n_microbatches }.stages_at(pipeline);
    let n_fold = n_pipeline / 2;
    let half = n_microbatches / 2;
    // At either end of the pipeline the stream that enters there is the near one; it passes the earlier stage.
    let (near, far) = if pipeline < n_fold { (0, half) } else { (half, 0) };
    let depth = pipeline.min(n_pipeline - 1 - pipeline);
    let stream = |stage: usize, first| Stream::new(stages[stage], first);
    two_ways(depth, n_fold, half, stream(0, near), stream(1, far))
}
