//! The schedule of a whole pipeline by its kind: who holds what, and what everybody does.

use super::sizes::{fits_microbatches, fits_pipeline, may_be_virtual};
use super::{
    Action, ImpossibleSchedule, Placement, StageId, dual_pipe, dual_pipe_v, gpipe, interleaved, interleaved_zb,
    looped_bfs, one_f_one_b, zb_h1, zb_v,
};
use crate::spec::ScheduleKind;

/// The order of work in a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// By which rule.
    pub kind: ScheduleKind,
    /// Who holds which stage.
    pub placement: Placement,
    /// Of a step.
    pub n_microbatches: u32,
    /// Per pipeline coordinate.
    pub actions: Vec<Vec<Action>>,
}

impl Schedule {
    /// The schedule of that kind; `n_virtual` is the stages of a coordinate where the kind is looped, 1 otherwise.
    ///
    /// # Errors
    /// When the kind has no schedule of that size.
    ///
    /// # Panics
    /// When a size is 0.
    pub fn new(
        kind: ScheduleKind,
        n_pipeline: u32,
        n_virtual: u32,
        n_microbatches: u32,
    ) -> Result<Self, ImpossibleSchedule> {
        assert!(n_pipeline > 0 && n_virtual > 0 && n_microbatches > 0, "a schedule has coordinates and microbatches");
        fits_pipeline(kind, n_pipeline)?;
        may_be_virtual(kind, n_virtual)?;
        fits_microbatches(kind, n_pipeline, n_microbatches)?;
        let (p, m) = (n_pipeline, n_microbatches);
        let placement = match kind {
            ScheduleKind::OneFOneB | ScheduleKind::GPipe | ScheduleKind::ZbH1 => Placement::Straight { n_pipeline },
            ScheduleKind::Interleaved | ScheduleKind::InterleavedZb | ScheduleKind::LoopedBfs => {
                Placement::Looped { n_pipeline, n_virtual }
            }
            ScheduleKind::DualPipe => Placement::BothWays { n_pipeline, n_microbatches },
            ScheduleKind::ZbV | ScheduleKind::DualPipeV => Placement::Folded { n_pipeline },
        };
        let of = |pipeline| match kind {
            ScheduleKind::OneFOneB => one_f_one_b(StageId(pipeline), p, m),
            ScheduleKind::GPipe => gpipe(StageId(pipeline), m),
            ScheduleKind::ZbH1 => zb_h1(StageId(pipeline), p, m),
            ScheduleKind::Interleaved => interleaved(pipeline, p, n_virtual, m),
            ScheduleKind::InterleavedZb => interleaved_zb(pipeline, p, n_virtual, m),
            ScheduleKind::LoopedBfs => looped_bfs(pipeline, p, n_virtual, m),
            ScheduleKind::ZbV => zb_v(pipeline, p, m),
            ScheduleKind::DualPipe => dual_pipe(pipeline, p, m),
            ScheduleKind::DualPipeV => dual_pipe_v(pipeline, p, m),
        };
        Ok(Self { kind, placement, n_microbatches, actions: (0..n_pipeline).map(of).collect() })
    }
}
