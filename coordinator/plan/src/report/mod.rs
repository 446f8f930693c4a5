//! What `dsctl plan` shows of a plan: who holds what, what it costs, and the schedule drawn.

mod table;
mod text;
mod units;

use std::collections::BTreeMap;

use ds_arch::{Parameter, counts, operations, parameters};
use serde::Serialize;

use crate::executable::{PlannedOnly, not_executable_yet};
use crate::grid::GroupKind;
use crate::holders::SharedParameter;
use crate::job::{JobPlan, Stage};
use crate::memory::MemoryEstimate;
use crate::schedule::{Action, Pass, Piece, Placement, Timeline, draw, peak_live, timeline};
use crate::stages::{PassCosts, load, stage_cost};

pub use units::bytes;

/// A plan as facts; `Display` lays them out for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanReport {
    /// The job's name.
    pub job: String,
    /// The axes.
    pub grid: GridReport,
    /// In the order of the model.
    pub stages: Vec<StageReport>,
    /// In order.
    pub ranks: Vec<RankReport>,
    /// One row a kind.
    pub groups: Vec<GroupReport>,
    /// Parameters with copies on several stages.
    pub shared: Vec<SharedReport>,
    /// The order of work in a step.
    pub schedule: ScheduleReport,
    /// Of the whole job.
    pub totals: Totals,
    /// What no worker executes yet, a sentence each.
    pub planned_only: Vec<String>,
}

/// The axes of the grid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the spec")]
pub struct GridReport {
    pub ranks: u32,
    pub pipeline: u32,
    pub data: u32,
    pub context: u32,
    pub tensor: u32,
    pub expert: u32,
    pub replicas: u32,
}

/// A stage and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageReport {
    /// Its place in the model.
    pub stage: u32,
    /// The pipeline coordinate that holds it.
    pub pipeline: u32,
    /// First main layer, and the one after the last.
    pub layers: (u32, u32),
    /// Whether it embeds tokens.
    pub embeds: bool,
    /// Whether it has the head and the loss.
    pub scores: bool,
    /// MTP modules.
    pub n_mtp: u32,
    /// Logical parameters of the stage, over all expert ranks, each copy where it stands.
    pub parameters: u64,
    /// Its share of the cost of a step, as far as this coordinate computes it.
    pub cost_share: f64,
    /// Matrix work of a microbatch, forward and backward.
    pub flops: u64,
    /// Microbatches whose activations it holds at most.
    pub peak_live: u32,
}

/// A rank and what it holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankReport {
    /// Which one.
    pub rank: u32,
    /// Coordinate.
    pub pipeline: u32,
    /// Coordinate.
    pub data: u32,
    /// Coordinate.
    pub context: u32,
    /// Coordinate.
    pub tensor: u32,
    /// The stages that it holds.
    pub stages: Vec<u32>,
    /// First expert of every MoE layer, and the one after the last.
    pub experts: (u32, u32),
    /// Elements that it holds.
    pub parameters: u64,
    /// What it needs, in bytes.
    pub memory: MemoryEstimate,
    /// All of it.
    pub memory_total: u64,
}

/// The groups of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupReport {
    /// What they are for.
    pub kind: &'static str,
    /// How many.
    pub groups: u32,
    /// Ranks of each.
    pub ranks_each: u32,
}

/// Parameters with copies on the same coordinates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharedReport {
    /// The first of them, as checkpoints know it.
    pub name: String,
    /// How many there are.
    pub parameters: u32,
    /// Pipeline coordinates with a copy.
    pub pipeline: Vec<u32>,
    /// The one that counts and writes it.
    pub owner: u32,
}

/// The order of work in a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScheduleReport {
    /// As the spec names it.
    pub kind: String,
    /// What the drawing shows beside F and B, as the end of a sentence.
    #[serde(skip)]
    pub legend: String,
    /// Of a rank's step.
    pub microbatches: u32,
    /// Idle share when stages cost the same and backward twice forward.
    pub bubble_share_even: f64,
    /// Idle share by the estimated cost of each stage, when sending takes no time.
    pub bubble_share: f64,
    /// By unit costs: forward 1, input and weight gradients 1 each.
    pub drawing: String,
}

/// Of the whole job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Totals {
    /// Logical parameters without MTP.
    pub parameters: u64,
    /// Of MTP.
    pub mtp_parameters: u64,
    /// What one token passes through, without the input embedding.
    pub activated: u64,
    /// With it.
    pub activated_with_embedding: u64,
    /// Sequence × batch.
    pub tokens_per_step: u64,
    /// Matrix work of a step, forward and backward, over all ranks.
    pub flops_per_step: f64,
    /// The most that any rank needs, in bytes.
    pub largest_rank_memory: u64,
}

/// The facts of a plan. A drawing wider than `columns` is cut.
pub fn report(plan: &JobPlan, columns: usize) -> PlanReport {
    let grid = plan.grid();
    let stages = stage_reports(plan);
    let ranks = rank_reports(plan);
    PlanReport {
        job: plan.spec().name.clone(),
        grid: GridReport {
            ranks: grid.n_ranks(),
            pipeline: grid.n_pipeline(),
            data: grid.n_data(),
            context: grid.n_context(),
            tensor: grid.n_tensor(),
            expert: grid.n_expert(),
            replicas: grid.n_replicas(),
        },
        groups: group_reports(plan),
        shared: shared_reports(plan.shared_parameters()),
        schedule: schedule_report(plan, columns),
        totals: totals(plan, &ranks),
        planned_only: not_executable_yet(plan.spec()).iter().map(PlannedOnly::to_string).collect(),
        stages,
        ranks,
    }
}

/// The stages of a plan, and what each holds.
pub fn stage_reports(plan: &JobPlan) -> Vec<StageReport> {
    let spec = plan.spec();
    let table = parameters(&spec.model);
    let cost = |stage: &Stage| stage_cost(spec, stage).total();
    let all: u64 = plan.stages().iter().map(cost).sum();
    let row = |(pipeline, stage): (u32, &Stage)| StageReport {
        stage: stage.id.0,
        pipeline,
        layers: (stage.layers.start, stage.layers.end),
        embeds: stage.embeds,
        scores: stage.scores,
        n_mtp: stage.mtp_layers.len() as u32,
        parameters: table.iter().filter(|p| stage.holds(p.place)).map(Parameter::n_elements).sum(),
        // Coordinates that hold the same stage share its microbatches.
        cost_share: cost(stage) as f64 / all as f64 / plan.placement().holders(stage.id).len() as f64,
        flops: stage_flops(plan, stage),
        peak_live: peak_live(plan.actions(pipeline), stage.id),
    };
    let held = (0..plan.grid().n_pipeline()).flat_map(|p| plan.stages_at(p).iter().map(move |stage| (p, stage)));
    let mut rows: Vec<StageReport> = held.map(row).collect();
    rows.sort_by_key(|row| row.stage);
    rows
}

/// Matrix work of one microbatch, forward and backward.
fn stage_flops(plan: &JobPlan, stage: &Stage) -> u64 {
    let load = load(plan.spec());
    let operations = stage.places().into_iter().flat_map(|place| operations(&plan.spec().model, place, load));
    operations.filter(|o| o.kind.is_matrix_work()).map(|o| o.total().flops).sum()
}

fn rank_reports(plan: &JobPlan) -> Vec<RankReport> {
    let grid = plan.grid();
    // Ranks of one pipeline coordinate hold as much; a large job has thousands of them.
    let alike: Vec<(u64, MemoryEstimate)> = (0..grid.n_pipeline())
        .map(|pipeline| (plan.n_parameters_at(pipeline), plan.memory(plan.first_rank_at(pipeline))))
        .collect();
    let row = |rank| {
        let at = grid.coordinates(rank);
        let (n_parameters, memory) = alike[at.pipeline as usize];
        let experts = grid.experts_of(rank, plan.spec().model.moe.n_experts);
        RankReport {
            rank: rank.0,
            pipeline: at.pipeline,
            data: at.data,
            context: at.context,
            tensor: at.tensor,
            stages: plan.stages_at(at.pipeline).iter().map(|stage| stage.id.0).collect(),
            experts: (experts.start, experts.end),
            parameters: n_parameters,
            memory,
            memory_total: memory.total(),
        }
    };
    grid.ranks().map(row).collect()
}

fn group_reports(plan: &JobPlan) -> Vec<GroupReport> {
    let kinds = [
        (GroupKind::World, "world"),
        (GroupKind::Pipeline, "pipeline"),
        (GroupKind::Data, "data"),
        (GroupKind::Context, "context"),
        (GroupKind::Expert, "expert"),
        (GroupKind::Replica, "replica"),
        (GroupKind::Peers, "peers"),
        (GroupKind::Node, "node"),
    ];
    let row = |(kind, name)| {
        let mut of_kind = plan.groups().iter().filter(|group| group.kind == kind).peekable();
        let ranks_each = of_kind.peek().map_or(0, |group| group.ranks.len() as u32);
        GroupReport { kind: name, groups: of_kind.count() as u32, ranks_each }
    };
    kinds.into_iter().map(row).filter(|row| row.groups > 0).collect()
}

/// One row for all parameters with the same holders: under DualPipe every parameter has two.
fn shared_reports(shared: Vec<SharedParameter>) -> Vec<SharedReport> {
    let mut rows: BTreeMap<Vec<u32>, SharedReport> = BTreeMap::new();
    for SharedParameter { name, pipeline, owner } in shared {
        let row = SharedReport { name, parameters: 0, pipeline: pipeline.clone(), owner };
        rows.entry(pipeline).or_insert(row).parameters += 1;
    }
    rows.into_values().collect()
}

/// The order of work of a plan, drawn. A drawing wider than `columns` is cut.
pub fn schedule_report(plan: &JobPlan, columns: usize) -> ScheduleReport {
    let costs: Vec<PassCosts> = plan.stages().iter().map(|stage| stage_cost(plan.spec(), stage)).collect();
    let even = play(plan, |piece| PassCosts::EVEN.of(piece.pass));
    let estimated = play(plan, |piece| costs[piece.stage.0 as usize].of(piece.pass));
    ScheduleReport {
        kind: plan.spec().parallel.schedule.to_string(),
        legend: legend(plan),
        microbatches: plan.n_microbatches(),
        bubble_share_even: even.bubble_share(),
        bubble_share: estimated.bubble_share(),
        drawing: draw(&even, columns),
    }
}

/// Names what only some schedules have.
fn legend(plan: &JobPlan) -> String {
    let mut legend = String::new();
    let has = |pass| plan.actions(0).iter().flat_map(|action| action.pieces()).any(|piece| piece.pass == pass);
    if has(Pass::BackwardWeight) {
        legend += ", its halves I (input) and W (weight gradients) 1 each";
    }
    match plan.placement() {
        Placement::Looped { .. } | Placement::Folded { .. } => legend += "; .1 is a rank's second stage",
        Placement::BothWays { n_microbatches, .. } => {
            legend += &format!("; microbatches from {} on enter at the other end", n_microbatches / 2);
        }
        Placement::Straight { .. } => {}
    }
    legend
}

fn play(plan: &JobPlan, cost: impl Fn(Piece) -> u64) -> Timeline {
    let schedule = plan.schedule();
    let cost = |action: Action| action.pieces().map(&cost).sum();
    timeline(&schedule.actions, schedule.placement, cost).expect("the laws of schedules are tested")
}

fn totals(plan: &JobPlan, ranks: &[RankReport]) -> Totals {
    let counts = counts(&plan.spec().model);
    let phase = &plan.spec().train[0];
    let microbatches = f64::from(plan.n_microbatches()) * f64::from(plan.grid().n_data());
    Totals {
        parameters: counts.total,
        mtp_parameters: counts.mtp,
        activated: counts.activated,
        activated_with_embedding: counts.activated_with_embedding,
        tokens_per_step: u64::from(phase.batch) * u64::from(phase.sequence),
        flops_per_step: plan.stages().iter().map(|stage| stage_flops(plan, stage) as f64).sum::<f64>() * microbatches,
        largest_rank_memory: ranks.iter().map(|rank| rank.memory_total).max().unwrap_or(0),
    }
}

/// A half-open run as people write it; `-` for none.
fn run(first: u32, end: u32) -> String {
    match end - first {
        0 => "-".to_owned(),
        1 => first.to_string(),
        _ => format!("{first}-{}", end - 1),
    }
}
