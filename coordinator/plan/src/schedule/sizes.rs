//! The sizes that a schedule is made for.

use super::rounds::n_rounds;
use crate::spec::ScheduleKind;

/// Why there is no such schedule: what it needs, and what it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpossibleSchedule {
    /// DualPipe is symmetric about its middle.
    #[error("parallel.pipeline {pipeline} is odd, dualpipe needs an even one, since its ends are held together")]
    OddPipeline {
        /// Axis.
        pipeline: u32,
    },
    /// Only looped schedules have several short stages a coordinate.
    #[error(
        "parallel.virtual_stages {n_virtual} means nothing under {schedule}, \
         only interleaved, interleaved_zb and looped_bfs have any"
    )]
    NoVirtualStages {
        /// Which.
        schedule: ScheduleKind,
        /// Stages of a coordinate.
        n_virtual: u32,
    },
    /// With one stage there is nothing to interleave.
    #[error("parallel.virtual_stages is {n_virtual}, {schedule} needs at least 2")]
    TooFewVirtualStages {
        /// Which.
        schedule: ScheduleKind,
        /// Stages of a coordinate.
        n_virtual: u32,
    },
    /// Half of the microbatches goes each way.
    #[error("{n_microbatches} microbatches a step are odd, dualpipe needs an even number, half for each direction")]
    OddMicrobatches {
        /// Of a rank's step.
        n_microbatches: u32,
    },
    /// The pipeline must be full once.
    #[error(
        "{n_microbatches} microbatches a step are too few, {schedule} needs at least 2 x parallel.pipeline {pipeline}"
    )]
    TooFewMicrobatches {
        /// Which.
        schedule: ScheduleKind,
        /// Of a rank's step.
        n_microbatches: u32,
        /// Axis.
        pipeline: u32,
    },
    /// Rounds are equal.
    #[error(
        "{n_microbatches} microbatches a step must be a multiple of {n_rounds}, since {schedule} takes them in as many \
         equal rounds as they fill parallel.pipeline {pipeline}"
    )]
    UnevenRounds {
        /// Which.
        schedule: ScheduleKind,
        /// Microbatches over coordinates, rounded down.
        n_rounds: u32,
        /// Of a rank's step.
        n_microbatches: u32,
        /// Axis.
        pipeline: u32,
    },
}

/// Whether the schedule is made for that pipeline.
pub(crate) fn fits_pipeline(kind: ScheduleKind, n_pipeline: u32) -> Result<(), ImpossibleSchedule> {
    if kind == ScheduleKind::DualPipe && !n_pipeline.is_multiple_of(2) {
        return Err(ImpossibleSchedule::OddPipeline { pipeline: n_pipeline });
    }
    Ok(())
}

/// Whether a job may ask the schedule for so many stages a coordinate: one would make nothing shorter.
pub(crate) fn fits_virtual(kind: ScheduleKind, n_virtual: u32) -> Result<(), ImpossibleSchedule> {
    if kind.is_looped() && n_virtual < 2 {
        return Err(ImpossibleSchedule::TooFewVirtualStages { schedule: kind, n_virtual });
    }
    may_be_virtual(kind, n_virtual)
}

/// Whether the schedule has so many stages a coordinate.
pub(super) fn may_be_virtual(kind: ScheduleKind, n_virtual: u32) -> Result<(), ImpossibleSchedule> {
    if !kind.is_looped() && n_virtual > 1 {
        return Err(ImpossibleSchedule::NoVirtualStages { schedule: kind, n_virtual });
    }
    Ok(())
}

/// Whether the schedule is made for so many microbatches.
pub(crate) fn fits_microbatches(
    kind: ScheduleKind,
    n_pipeline: u32,
    n_microbatches: u32,
) -> Result<(), ImpossibleSchedule> {
    let (schedule, pipeline) = (kind, n_pipeline);
    match kind {
        ScheduleKind::DualPipe if !n_microbatches.is_multiple_of(2) => {
            Err(ImpossibleSchedule::OddMicrobatches { n_microbatches })
        }
        ScheduleKind::DualPipe | ScheduleKind::DualPipeV if n_microbatches < 2 * n_pipeline => {
            Err(ImpossibleSchedule::TooFewMicrobatches { schedule, n_microbatches, pipeline })
        }
        ScheduleKind::Interleaved | ScheduleKind::InterleavedZb => {
            let n_rounds = n_rounds(n_pipeline, n_microbatches);
            if !n_microbatches.is_multiple_of(n_rounds) {
                return Err(ImpossibleSchedule::UnevenRounds { schedule, n_rounds, n_microbatches, pipeline });
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
