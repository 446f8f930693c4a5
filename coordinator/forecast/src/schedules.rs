//! Every schedule for one job's grid beside the others: what each leaves idle, keeps, needs and takes, or why there is none
//! of that size.

use ds_plan::schedule::{peak_activations, sends_ahead};
use ds_plan::spec::{JobSpec, ScheduleKind};
use ds_plan::{IMBALANCE, JobPlan, MemoryEstimate, ScheduleReport, schedule_report};
use serde::Serialize;

use crate::memory::largest_rank;
use crate::search::{Judge as _, Machine};

/// A schedule, as a job would ask for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// By which rule.
    pub kind: ScheduleKind,
    /// Stages of a coordinate that the job names.
    pub virtual_stages: u32,
    /// How it fares, or a sentence that says why it cannot be.
    pub outcome: Result<Fare, String>,
}

/// How a schedule fares.
#[derive(Clone, Debug, PartialEq)]
pub struct Fare {
    /// The job under it.
    pub plan: JobPlan,
    /// Its bubble, and its drawing.
    pub drawn: ScheduleReport,
    /// The numbers.
    pub numbers: Numbers,
}

/// What a schedule comes to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Numbers {
    /// Stages of a coordinate.
    pub stages_each: u32,
    /// Idle share when stages cost the same and backward twice forward.
    pub bubble_share_even: f64,
    /// Idle share by the estimated cost of each stage.
    pub bubble_share: f64,
    /// The most microbatches whose activations a coordinate holds, in microbatches of its even share of the model.
    pub live_microbatches: f64,
    /// Sends that a link must be able to hold while its receiver is busy.
    pub sends_ahead: usize,
    /// What the largest rank needs.
    pub memory: MemoryEstimate,
    /// All of it.
    pub memory_bytes: u64,
    /// The pipeline coordinate of that rank.
    pub largest_at: u32,
    /// Whether it is within a GPU's memory.
    pub fits: bool,
    /// A step.
    pub step_seconds: f64,
}

/// Stages of a coordinate where a looped schedule is tried and the job does not say how many.
const VIRTUAL_STAGES: u32 = 2;

/// Every schedule on the job's grid, in the order in which a job may name them; `columns` is the width of the drawings.
pub fn schedules(base: &JobSpec, machine: &Machine, columns: usize) -> Vec<Candidate> {
    let of = |kind: ScheduleKind| {
        let virtual_stages = if kind.is_looped() { base.parallel.virtual_stages.max(VIRTUAL_STAGES) } else { 1 };
        let mut spec = base.clone();
        (spec.parallel.schedule, spec.parallel.virtual_stages) = (kind, virtual_stages);
        Candidate { kind, virtual_stages, outcome: fare(spec, machine, columns) }
    };
    ScheduleKind::ALL.into_iter().map(of).collect()
}

fn fare(spec: JobSpec, machine: &Machine, columns: usize) -> Result<Fare, String> {
    let plan = JobPlan::new(spec).map_err(|error| error.to_string())?;
    let step_seconds = machine.forecast(&plan)?.seconds();
    let drawn = schedule_report(&plan, columns);
    let n_pipeline = plan.grid().n_pipeline();
    let (largest_at, memory) = largest_rank((0..n_pipeline).map(|pipeline| plan.memory_at(pipeline, IMBALANCE)));
    let most = (0..n_pipeline).map(|pipeline| peak_activations(plan.actions(pipeline), |_| 1)).max().unwrap_or(0);
    let schedule = plan.schedule();
    let numbers = Numbers {
        stages_each: plan.stages_at(0).len() as u32,
        bubble_share_even: drawn.bubble_share_even,
        bubble_share: drawn.bubble_share,
        live_microbatches: most as f64 * f64::from(n_pipeline) / f64::from(schedule.placement.n_stages()),
        sends_ahead: sends_ahead(&schedule.actions, schedule.placement).expect("the laws of schedules are tested"),
        memory,
        memory_bytes: memory.total(),
        largest_at,
        fits: memory.total() as f64 <= machine.hardware.memory_bytes,
        step_seconds,
    };
    Ok(Fare { plan, drawn, numbers })
}

#[cfg(test)]
mod tests {
    use ds_plan::spec::read;

    use super::*;
    use crate::hardware::hardware;

    fn job(pipeline: u32, batch: u32) -> JobSpec {
        let text = format!(
            "version: 1\nkind: train\nname: test\nmodel: {{ preset: tiny, n_layers: 8 }}\n\
             data: {{ train: /data/train, tokenizer: bytes }}\nparallel: {{ pipeline: {pipeline} }}\ntrain:\n  \
             - {{ steps: 10, sequence: 32, batch: {batch}, microbatch: 1, learning_rate: {{ peak: 1.0e-3, warmup: 5 }} }}\n\
             cluster: {{ device: cuda }}\n"
        );
        read(&text, "job.yaml", &[]).unwrap_or_else(|error| panic!("{error}")).spec
    }

    fn candidates(pipeline: u32, batch: u32) -> Vec<Candidate> {
        schedules(&job(pipeline, batch), &Machine::new(hardware("H800").unwrap(), None), 80)
    }

    fn numbers(candidates: &[Candidate], kind: ScheduleKind) -> Numbers {
        candidates.iter().find(|one| one.kind == kind).unwrap().outcome.as_ref().unwrap().numbers
    }

    #[test]
    fn every_kind_is_there_once_in_the_order_of_its_words() {
        let kinds: Vec<ScheduleKind> = candidates(4, 16).iter().map(|one| one.kind).collect();
        assert_eq!(kinds, ScheduleKind::ALL);
    }

    #[test]
    fn live_microbatches_are_the_published_ones() {
        let all = candidates(4, 16);
        let live = |kind| numbers(&all, kind).live_microbatches;
        assert_eq!(live(ScheduleKind::OneFOneB), 4.0);
        assert_eq!(live(ScheduleKind::GPipe), 16.0);
        assert_eq!(live(ScheduleKind::LoopedBfs), 16.0);
        assert_eq!(live(ScheduleKind::ZbH1), 4.0);
        assert_eq!(live(ScheduleKind::ZbV), 4.0);
        assert_eq!(live(ScheduleKind::DualPipe), 5.0);
        // One more of its 8 stages, of which a coordinate holds 2.
        assert_eq!(live(ScheduleKind::DualPipeV), 4.5);
        // Seven of a warm-up of (2 - 1) x 4 + 2 x 3 and one more, of stages half as long.
        assert_eq!(live(ScheduleKind::Interleaved), 5.5);
        assert_eq!(live(ScheduleKind::InterleavedZb), 4.0);
    }

    #[test]
    fn what_cannot_be_says_why() {
        let all = candidates(3, 7);
        let refusal = |kind| all.iter().find(|one| one.kind == kind).unwrap().outcome.as_ref().unwrap_err().clone();
        assert!(refusal(ScheduleKind::DualPipe).contains("parallel.pipeline 3 is odd"));
        assert!(refusal(ScheduleKind::Interleaved).contains("7 microbatches a step must be a multiple of 2"));
        assert!(all.iter().filter(|one| one.outcome.is_ok()).count() >= 4, "{all:?}");
    }

    #[test]
    fn putting_weight_gradients_off_leaves_less_idle_than_waiting() {
        let all = candidates(4, 16);
        let even = |kind| numbers(&all, kind).bubble_share_even;
        assert!(even(ScheduleKind::ZbH1) < even(ScheduleKind::OneFOneB));
        assert!(even(ScheduleKind::InterleavedZb) < even(ScheduleKind::Interleaved));
        assert!(even(ScheduleKind::ZbV) < even(ScheduleKind::ZbH1));
    }
}
