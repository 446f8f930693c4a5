//! The one helper of this crate's tests: small plans.

use std::path::PathBuf;
use std::time::Duration;

use ds_arch::preset;

use crate::job::JobPlan;
use crate::spec::{
    AdamWSpec, BalancePolicy, BalanceSpec, CheckpointSpec, ClusterSpec, ComputeType, DataSpec, DeviceKind,
    ExchangeKind, JobSpec, LearningRateSpec, MomentType, NetworkKind, ParallelSpec, PhaseSpec, PlacementPolicy,
    PlanesUse, PrecisionSpec, Recompute, ScaleType, ScheduleKind, TokenizerSpec, WireType,
};

/// The model of that name on such a grid, with 8 microbatches a rank.
pub(crate) fn spec(model: &str, pipeline: u32, data: u32, expert: u32) -> JobSpec {
    JobSpec {
        name: "test".to_owned(),
        seed: 1,
        model: preset(model).unwrap(),
        data: DataSpec { train: PathBuf::from("train"), validation: None, tokenizer: TokenizerSpec::Bytes },
        parallel: ParallelSpec {
            pipeline,
            data,
            context: 1,
            tensor: 1,
            expert,
            schedule: ScheduleKind::OneFOneB,
            virtual_stages: 1,
            zero: 0,
            recompute: Recompute::None,
            exchange: ExchangeKind::Plain,
        },
        train: vec![PhaseSpec {
            steps: 10,
            sequence: 32,
            batch: 16 * data,
            microbatch: 2,
            learning_rate: LearningRateSpec { peak: 1e-3, warmup: 0, pieces: Vec::new() },
            optimizer: AdamWSpec { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 },
            clip: Some(1.0),
            mtp_weight: 0.3,
            evaluate_every: 0,
            trace_every: 0,
            evaluate_bytes: None,
            ema: false,
            ema_decay: 0.999,
        }],
        precision: PrecisionSpec {
            compute: ComputeType::F32,
            scales: ScaleType::Exact,
            moments: MomentType::F32,
            dispatch: WireType::Compute,
            combine: WireType::Compute,
        },
        balance: BalanceSpec {
            policy: BalancePolicy::None,
            sequence_weight: 0.0,
            batch_weight: 0.0,
            placement: PlacementPolicy::Fixed,
        },
        checkpoint: CheckpointSpec { every: 0, keep: 1, folder: None, start_from: None },
        cluster: ClusterSpec {
            device: DeviceKind::Cpu,
            gpus_per_node: None,
            threads: 1,
            share_devices: false,
            network: NetworkKind::Real,
            planes: PlanesUse::Any,
            priority: 0,
            max_restarts: 0,
            heartbeat_timeout: Duration::from_secs(5),
            comm_timeout: Duration::from_secs(60),
            fabric: None,
            hardware: None,
            orphan_grace: None,
        },
    }
}

/// The tiny model on such a grid.
pub(crate) fn tiny_plan(pipeline: u32, data: u32, expert: u32) -> JobPlan {
    JobPlan::new(spec("tiny", pipeline, data, expert)).unwrap()
}

/// The tiny model on every grid of at most 4 stages and 4 data ranks.
pub(crate) fn small_plans() -> Vec<JobPlan> {
    let grids = (1..=4).flat_map(|p| [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)].map(|(d, e)| (p, d, e)));
    grids.map(|(pipeline, data, expert)| tiny_plan(pipeline, data, expert)).collect()
}

/// The tiny model under every schedule but 1F1B, on grids that it has a schedule for.
pub(crate) fn plans_of_other_schedules() -> Vec<JobPlan> {
    let pipelines = [
        (ScheduleKind::GPipe, 4, 1),
        (ScheduleKind::Interleaved, 1, 3),
        (ScheduleKind::Interleaved, 2, 2),
        (ScheduleKind::InterleavedZb, 2, 2),
        (ScheduleKind::LoopedBfs, 2, 2),
        (ScheduleKind::ZbH1, 3, 1),
        (ScheduleKind::ZbV, 2, 1),
        (ScheduleKind::DualPipe, 2, 1),
        (ScheduleKind::DualPipe, 4, 1),
        (ScheduleKind::DualPipeV, 1, 1),
        (ScheduleKind::DualPipeV, 2, 1),
    ];
    let plan = |(schedule, pipeline, virtual_stages), (data, expert)| {
        let mut job = spec("tiny", pipeline, data, expert);
        (job.parallel.schedule, job.parallel.virtual_stages) = (schedule, virtual_stages);
        JobPlan::new(job).unwrap()
    };
    pipelines.into_iter().flat_map(|pipeline| [(1, 1), (2, 2), (4, 2)].map(|axes| plan(pipeline, axes))).collect()
}
