//! The sizes that a schedule is made for.

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
    /// Only one schedule has several short stages a coordinate.
    #[error("parallel.virtual_stages {n_virtual} means nothing under {schedule}, only interleaved has any")]
    NoVirtualStages {
        /// Which.
        schedule: ScheduleKind,
        /// Stages of a coordinate.
        n_virtual: u32,
    },
    /// With one stage there is nothing to interleave.
    #[error("parallel.virtual_stages is {n_virtual}, interleaved needs at least 2")]
    TooFewVirtualStages {
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
    /// Rounds are whole.
    #[error(
        "{n_microbatches} microbatches a step must be a multiple of parallel.pipeline {pipeline}, \
         since interleaved takes as many a round"
    )]
    UnevenRounds {
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

/// Whether the schedule has so many stages a coordinate.
pub(crate) fn fits_virtual(kind: ScheduleKind, n_virtual: u32) -> Result<(), ImpossibleSchedule> {
    match kind {
        ScheduleKind::Interleaved if n_virtual < 2 => Err(ImpossibleSchedule::TooFewVirtualStages { n_virtual }),
        ScheduleKind::Interleaved => Ok(()),
        _ if n_virtual > 1 => Err(ImpossibleSchedule::NoVirtualStages { schedule: kind, n_virtual }),
        _ => Ok(()),
    }
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
        ScheduleKind::Interleaved if !n_microbatches.is_multiple_of(n_pipeline) => {
            Err(ImpossibleSchedule::UnevenRounds { n_microbatches, pipeline })
        }
        _ => Ok(()),
    }
}
