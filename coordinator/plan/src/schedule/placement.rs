//! Which pipeline coordinate holds which stage, and sees which microbatch there: one answer that transfers, the
//! deadlock check, the timeline, simulators and the executor share.

use super::{Microbatch, StageId};

/// How the stages of a model lie on the coordinates of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// Coordinate s holds stage s.
    Straight {
        /// Coordinates.
        n_pipeline: u32,
    },
    /// Stage s lies on coordinate s mod `n_pipeline`: every coordinate holds `n_virtual` of them.
    Looped {
        /// Coordinates.
        n_pipeline: u32,
        /// Stages of each.
        n_virtual: u32,
    },
    /// Two stages a coordinate, down and back up: coordinate r holds stages r and 2 `n_pipeline` - 1 - r.
    Folded {
        /// Coordinates.
        n_pipeline: u32,
    },
    /// Every stage twice: coordinate r holds stages r and `n_pipeline` - 1 - r. The first half of the microbatches
    /// enters at coordinate 0, the other half at the last one.
    BothWays {
        /// Coordinates; even.
        n_pipeline: u32,
        /// Of a step; even.
        n_microbatches: u32,
    },
}

impl Placement {
    /// Coordinates of the pipeline.
    pub fn n_pipeline(self) -> u32 {
        match self {
            Self::Straight { n_pipeline }
            | Self::Looped { n_pipeline, .. }
            | Self::Folded { n_pipeline }
            | Self::BothWays { n_pipeline, .. } => n_pipeline,
        }
    }

    /// Stages of the model.
    pub fn n_stages(self) -> u32 {
        match self {
            Self::Straight { n_pipeline } | Self::BothWays { n_pipeline, .. } => n_pipeline,
            Self::Looped { n_pipeline, n_virtual } => n_pipeline * n_virtual,
            Self::Folded { n_pipeline } => 2 * n_pipeline,
        }
    }

    /// The coordinate where a microbatch passes a stage.
    pub fn holder(self, stage: StageId, microbatch: Microbatch) -> u32 {
        match self {
            Self::Straight { .. } => stage.0,
            Self::Looped { n_pipeline, .. } => stage.0 % n_pipeline,
            Self::Folded { n_pipeline } => stage.0.min(2 * n_pipeline - 1 - stage.0),
            Self::BothWays { n_pipeline, n_microbatches } if 2 * microbatch.0 >= n_microbatches => {
                n_pipeline - 1 - stage.0
            }
            Self::BothWays { .. } => stage.0,
        }
    }

    /// The stages that a coordinate holds, in the order of the model.
    pub fn stages_at(self, pipeline: u32) -> Vec<StageId> {
        let mut stages = match self {
            Self::Straight { .. } => vec![pipeline],
            Self::Looped { n_pipeline, n_virtual } => {
                (0..n_virtual).map(|round| round * n_pipeline + pipeline).collect()
            }
            Self::Folded { n_pipeline } => vec![pipeline, 2 * n_pipeline - 1 - pipeline],
            Self::BothWays { n_pipeline, .. } => vec![pipeline, n_pipeline - 1 - pipeline],
        };
        stages.sort_unstable();
        stages.into_iter().map(StageId).collect()
    }

    /// The coordinates that hold a stage, ascending.
    pub fn holders(self, stage: StageId) -> Vec<u32> {
        let first = self.holder(stage, Microbatch(0));
        match self {
            Self::BothWays { n_pipeline, .. } => {
                let other = n_pipeline - 1 - stage.0;
                vec![first.min(other), first.max(other)]
            }
            _ => vec![first],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_stage_is_the_same_from_both_sides() {
        for n_pipeline in [2, 4, 6] {
            for placement in [
                Placement::Straight { n_pipeline },
                Placement::Looped { n_pipeline, n_virtual: 3 },
                Placement::Folded { n_pipeline },
                Placement::BothWays { n_pipeline, n_microbatches: 8 },
            ] {
                for stage in (0..placement.n_stages()).map(StageId) {
                    let holders: Vec<u32> =
                        (0..n_pipeline).filter(|&pipeline| placement.stages_at(pipeline).contains(&stage)).collect();
                    assert_eq!(holders, placement.holders(stage), "{placement:?} {stage:?}");
                    let mut seen: Vec<u32> = (0..8).map(|m| placement.holder(stage, Microbatch(m))).collect();
                    seen.sort_unstable();
                    seen.dedup();
                    assert_eq!(seen, holders, "{placement:?} {stage:?}");
                }
            }
        }
    }
}
