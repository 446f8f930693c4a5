//! What was decided: the complete, checked plan of a job. Private fields, one constructor; nothing downstream checks
//! again. The same plan is printed, executed and resumed.

use std::ops::Range;

use ds_arch::{LayerId, Parameter, Place, parameters};

use crate::grid::{Coordinates, Grid, Group, RankId};
use crate::refusal::{PlanError, refuse};
use crate::schedule::{Action, Placement, Schedule, StageId};
use crate::spec::{ExchangeKind, JobSpec, Recompute};
use crate::stages::stages;

/// A run of the model that one pipeline coordinate holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its place in the model.
    pub id: StageId,
    /// Main decoder layers, half-open.
    pub layers: Range<u32>,
    /// Whether it embeds tokens at its input.
    pub embeds: bool,
    /// Whether it has the final norm and the head, and hence the loss.
    pub scores: bool,
    /// MTP modules, as layers after the main ones, half-open; on the last stage.
    pub mtp_layers: Range<u32>,
}

impl Stage {
    /// Whether the stage holds a parameter of that place. MTP reads the embedding too, so its stage has a copy.
    pub fn holds(&self, place: Place) -> bool {
        match place {
            Place::Embedding => self.embeds || !self.mtp_layers.is_empty(),
            Place::FinalNorm | Place::Head => self.scores,
            Place::Layer(LayerId(layer)) => self.layers.contains(&layer) || self.mtp_layers.contains(&layer),
        }
    }

    /// What it computes, in the order of the model.
    pub fn places(&self) -> Vec<Place> {
        let layers = |range: &Range<u32>| range.clone().map(|layer| Place::Layer(LayerId(layer)));
        let before = self.embeds.then_some(Place::Embedding);
        let after = self.scores.then_some([Place::FinalNorm, Place::Head]);
        let mtp = layers(&self.mtp_layers);
        before.into_iter().chain(layers(&self.layers)).chain(after.into_iter().flatten()).chain(mtp).collect()
    }
}

/// The complete plan of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPlan {
    pub(crate) spec: JobSpec,
    pub(crate) grid: Grid,
    pub(crate) groups: Vec<Group>,
    /// In the order of the model.
    pub(crate) stages: Vec<Stage>,
    /// Per pipeline coordinate, in the order of the model.
    pub(crate) held: Vec<Vec<Stage>>,
    pub(crate) schedule: Schedule,
}

/// A rank's part of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct RankPlan {
    /// Which rank.
    pub rank: RankId,
    /// Where it stands.
    pub at: Coordinates,
    /// The stages that it holds, in the order of the model.
    pub stages: Vec<Stage>,
    /// What it does in a step, in order.
    pub actions: Vec<Action>,
    /// The groups that it is in, in the order in which all ranks make them.
    pub groups: Vec<Group>,
    /// The experts that it holds of every MoE layer.
    pub experts: Range<u32>,
    /// Its place among the ranks of its pipeline coordinate that see different tokens, and their number.
    pub sampler: (u32, u32),
    /// Microbatches of a step, on this rank.
    pub n_microbatches: u32,
}

impl JobPlan {
    /// Decides everything that the spec leaves open. Pure: every rank makes the same plan of the same spec.
    ///
    /// # Errors
    /// When parts of the spec do not fit together.
    pub fn new(spec: JobSpec) -> Result<Self, PlanError> {
        let schedule = refuse(&spec)?;
        let grid = Grid::new(&spec.parallel);
        let placement = schedule.placement;
        let stages = stages(&spec, placement.n_stages());
        let stage = |id: StageId| stages[id.0 as usize].clone();
        let held = (0..grid.n_pipeline()).map(|p| placement.stages_at(p).into_iter().map(stage).collect()).collect();
        let mut groups = grid.groups();
        if spec.parallel.exchange == ExchangeKind::NodeLimited {
            groups.extend(grid.node_groups(spec.cluster.gpus_per_node));
        }
        Ok(Self { groups, spec, grid, stages, held, schedule })
    }

    /// The same plan with another rule of what is divided and what is computed again: neither changes who does what.
    #[must_use]
    pub fn with_memory_policy(mut self, zero: u32, recompute: Recompute) -> Self {
        (self.spec.parallel.zero, self.spec.parallel.recompute) = (zero, recompute);
        self
    }

    /// The spec that it came from.
    pub fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// Where every rank stands.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Every group.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Every stage, in the order of the model.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The stages that a pipeline coordinate holds, in the order of the model.
    pub fn stages_at(&self, pipeline: u32) -> &[Stage] {
        &self.held[pipeline as usize]
    }

    /// Who holds which stage, and who does what in a step.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Who holds which stage for which microbatch.
    pub fn placement(&self) -> Placement {
        self.schedule.placement
    }

    /// What a pipeline coordinate does in a step.
    pub fn actions(&self, pipeline: u32) -> &[Action] {
        &self.schedule.actions[pipeline as usize]
    }

    /// Microbatches of a step, on each rank.
    pub fn n_microbatches(&self) -> u32 {
        self.schedule.n_microbatches
    }

    /// One rank's part.
    pub fn rank(&self, rank: RankId) -> RankPlan {
        let at = self.grid.coordinates(rank);
        RankPlan {
            rank,
            at,
            stages: self.stages_at(at.pipeline).to_vec(),
            actions: self.actions(at.pipeline).to_vec(),
            groups: self.groups.iter().filter(|group| group.ranks.contains(&rank)).cloned().collect(),
            experts: self.grid.experts_of(rank, self.spec.model.moe.n_experts),
            sampler: (self.grid.sampler(rank), self.grid.n_samplers()),
            n_microbatches: self.n_microbatches(),
        }
    }

    /// The logical parameters that a rank holds a copy of, in the order of the model.
    pub fn parameters_of(&self, rank: RankId) -> Vec<Parameter> {
        let plan = self.rank(rank);
        parameters(&self.spec.model)
            .into_iter()
            .filter(|p| plan.stages.iter().any(|stage| stage.holds(p.place)))
            .filter(|p| p.expert.is_none_or(|expert| plan.experts.contains(&expert.0)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Microbatch;
    use crate::spec::ScheduleKind;
    use crate::testing::{plans_of_other_schedules, small_plans, spec, tiny_plan};

    #[test]
    fn stages_are_the_whole_model_in_order() {
        for plan in small_plans().into_iter().chain(plans_of_other_schedules()) {
            let places: Vec<Place> = plan.stages().iter().flat_map(Stage::places).collect();
            assert_eq!(places, ds_arch::places(&plan.spec().model), "{:?}", plan.grid());
            assert!(plan.stages().iter().all(|stage| !stage.layers.is_empty()), "{:?}", plan.grid());
        }
    }

    #[test]
    fn all_ranks_of_one_pipeline_hold_the_model() {
        for plan in small_plans().into_iter().chain(plans_of_other_schedules()) {
            let model = parameters(&plan.spec().model);
            let held: Vec<Vec<Parameter>> = plan.grid().ranks().map(|rank| plan.parameters_of(rank)).collect();
            for parameter in &model {
                assert!(held.iter().any(|own| own.contains(parameter)), "{} {:?}", parameter.name, plan.grid());
            }
        }
    }

    #[test]
    fn a_stage_holds_what_it_computes_and_the_embedding_that_mtp_reads() {
        for plan in small_plans().into_iter().chain(plans_of_other_schedules()) {
            for stage in plan.stages() {
                for place in ds_arch::places(&plan.spec().model) {
                    let copy = place == Place::Embedding && !stage.mtp_layers.is_empty();
                    assert_eq!(stage.holds(place), stage.places().contains(&place) || copy, "{stage:?} {place:?}");
                }
            }
        }
    }

    #[test]
    fn a_coordinate_holds_what_its_actions_pass() {
        for plan in small_plans().into_iter().chain(plans_of_other_schedules()) {
            for pipeline in 0..plan.grid().n_pipeline() {
                let held: Vec<StageId> = plan.stages_at(pipeline).iter().map(|stage| stage.id).collect();
                let mut passed: Vec<StageId> =
                    plan.actions(pipeline).iter().flat_map(|action| action.pieces()).map(|piece| piece.stage).collect();
                passed.sort_unstable();
                passed.dedup();
                assert_eq!(held, passed, "{:?} at {pipeline}", plan.placement());
            }
        }
    }

    #[test]
    fn a_job_of_131072_ranks_can_be_planned() {
        let mut job = spec("deepseek-v3", 16, 8192, 64);
        job.parallel.schedule = ScheduleKind::DualPipe;
        (job.train[0].batch, job.train[0].microbatch) = (120 * 8192, 1);
        let plan = JobPlan::new(job).unwrap();
        assert_eq!((plan.grid().n_ranks(), plan.n_microbatches()), (131_072, 120));
    }

    #[test]
    fn under_dual_pipe_both_ends_of_the_model_lie_on_the_same_ranks() {
        let mut job = spec("tiny", 4, 2, 2);
        job.parallel.schedule = ScheduleKind::DualPipe;
        let plan = JobPlan::new(job).unwrap();
        for place in [Place::Embedding, Place::FinalNorm, Place::Head] {
            assert_eq!(plan.holders(place), [0, 3], "{place:?}");
        }
        let ends = |m| [0, 3].map(|stage| plan.placement().holder(StageId(stage), Microbatch(m)));
        assert_eq!((ends(0), ends(7)), ([0, 3], [3, 0]));
        // Every parameter has two copies on pipeline coordinates, of which the first writes.
        assert_eq!(plan.shared_parameters().len(), parameters(&plan.spec().model).len());
    }

    #[test]
    fn every_rank_makes_the_same_plan() {
        assert_eq!(tiny_plan(2, 4, 2), tiny_plan(2, 4, 2));
    }

    #[test]
    fn deepseek_v3_fits_its_published_grid() {
        let mut job = spec("deepseek-v3", 16, 128, 64);
        job.train[0].sequence = 4096;
        job.train[0].batch = 15_360;
        job.train[0].microbatch = 1;
        let plan = JobPlan::new(job).unwrap();
        assert_eq!(plan.grid().n_ranks(), 2048);
        assert_eq!(plan.n_microbatches(), 120);
        assert_eq!(plan.rank(RankId(0)).experts, 0..4);
        let layers: Vec<usize> = plan.stages().iter().map(|stage| stage.layers.len()).collect();
        assert!(layers[..15].iter().all(|n| (3..=6).contains(n)), "{layers:?}");
        assert!(layers[15] < layers[7], "the head and MTP take the place of layers: {layers:?}");
    }

    fn refused(change: impl Fn(&mut JobSpec), sentence: &str) {
        let mut job = spec("tiny", 2, 2, 2);
        change(&mut job);
        assert_eq!(JobPlan::new(job).unwrap_err().to_string(), sentence);
    }

    #[test]
    fn a_refusal_names_the_fields_both_numbers_and_the_rule() {
        refused(
            |job| job.parallel.expert = 3,
            "parallel: expert 3 must divide data 2 x context 1, since experts are spread over them",
        );
        refused(
            |job| job.model.moe.n_experts = 7,
            "parallel: expert 2 must divide model.moe.n_experts 7, since every rank holds as many",
        );
        refused(
            |job| {
                (job.parallel.data, job.parallel.expert, job.train[0].batch) = (4, 4, 32);
                (job.parallel.exchange, job.cluster.gpus_per_node) = (ExchangeKind::NodeLimited, Some(3));
            },
            "cluster: gpus_per_node 3 must be a multiple of parallel.expert 4 x tensor 1, or divide it and be a \
             multiple of tensor, since every node has as many ranks of an expert group",
        );
        refused(|job| job.parallel.pipeline = 5, "parallel: 5 stages need as many layers, model.n_layers is 4");
        refused(
            |job| (job.parallel.pipeline, job.parallel.schedule) = (3, ScheduleKind::DualPipe),
            "parallel.schedule: parallel.pipeline 3 is odd, dualpipe needs an even one, since its ends are held together",
        );
        refused(
            |job| (job.train[0].batch, job.parallel.schedule) = (12, ScheduleKind::DualPipeV),
            "parallel.schedule: 3 microbatches a step are too few, dualpipe_v needs at least 2 x parallel.pipeline 2",
        );
        refused(
            |job| (job.parallel.virtual_stages, job.parallel.schedule) = (3, ScheduleKind::Interleaved),
            "parallel: 6 stages need as many layers, model.n_layers is 4",
        );
        refused(|job| job.train[0].batch = 6, "train: batch 6 must be a multiple of data 2 x microbatch 2");
        refused(|job| job.parallel.data = 0, "parallel.data is 0, at least 1 is needed");
        refused(|job| job.train.clear(), "train has 0 phases, exactly 1 is planned for now");
        refused(
            |job| job.parallel.data = u32::MAX,
            "parallel: pipeline 2 x data 4294967295 x context 1 x tensor 1 is more than 262144 ranks",
        );
    }
}
