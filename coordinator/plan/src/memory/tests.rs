//! Laws of the estimate.

use ds_arch::Parameter;

use super::*;
use crate::spec::JobSpec;
use crate::spec::{ComputeType, MomentType, ScheduleKind, WireType};
use crate::testing::{plans_of_other_schedules, small_plans, spec, tiny_plan};

fn of(plan: &JobPlan) -> MemoryEstimate {
    plan.memory(RankId(0))
}

#[test]
fn in_f32_a_parameter_takes_16_bytes_and_in_bf16_18() {
    let n: u64 = tiny_plan(1, 1, 1).parameters_of(RankId(0)).iter().map(Parameter::n_elements).sum();
    for (compute, each) in [(ComputeType::F32, 16), (ComputeType::Bf16, 18), (ComputeType::F64, 32)] {
        let mut job = spec("tiny", 1, 1, 1);
        job.precision.compute = compute;
        let m = of(&JobPlan::new(job).unwrap());
        let state = m.weights + m.master_weights + m.gradients + m.moments;
        assert_eq!(state, each * n, "{compute:?}");
    }
}

#[test]
fn f64_doubles_every_term_of_f32() {
    let mut job = spec("tiny", 2, 2, 2);
    let single = of(&JobPlan::new(job.clone()).unwrap());
    job.precision.compute = ComputeType::F64;
    let double = of(&JobPlan::new(job).unwrap());
    for ((name, a), (_, b)) in single.terms().into_iter().zip(double.terms()) {
        // Indices of rows and experts, which are kept too, stay as long as they are.
        // Gradients on their way count beyond activations.
        let has_indices = matches!(name, "activations" | "communication" | "slack");
        assert!(b == 2 * a || has_indices && (17 * a..22 * a).contains(&(10 * b)), "{name} {a} {b}");
    }
}

#[test]
fn a_rank_alone_has_no_buffers() {
    let alone = of(&tiny_plan(1, 1, 1));
    assert_eq!((alone.exchange, alone.communication), (0, 0));
    assert!(of(&tiny_plan(1, 2, 2)).exchange > 0);
    assert!(of(&tiny_plan(2, 1, 1)).communication > 0);
}

#[test]
fn activations_follow_the_microbatches_that_are_alive() {
    let with_batch = |batch| {
        let mut job = spec("tiny", 4, 1, 1);
        job.train[0].batch = batch;
        of(&JobPlan::new(job).unwrap()).activations
    };
    let one = with_batch(2);
    assert_eq!([with_batch(4), with_batch(6), with_batch(8), with_batch(10)], [2, 3, 4, 4].map(|live| live * one));
}

#[test]
fn ranks_of_one_pipeline_coordinate_need_the_same() {
    for plan in small_plans().into_iter().chain(plans_of_other_schedules()) {
        for rank in plan.grid().ranks() {
            let first = plan.first_rank_at(plan.grid().coordinates(rank).pipeline);
            assert_eq!(plan.memory(rank), plan.memory(first), "{:?} {rank:?}", plan.grid());
        }
    }
}

#[test]
fn an_estimate_reads_as_a_sum() {
    let estimate = MemoryEstimate { weights: 1 << 20, gradients: 3 << 19, ..MemoryEstimate::default() };
    assert_eq!(estimate.to_string(), "2.5 MiB (weights 1.0 MiB + gradients 1.5 MiB)");
}

fn changed(change: impl Fn(&mut JobSpec)) -> MemoryEstimate {
    let mut job = spec("tiny", 2, 4, 2);
    change(&mut job);
    of(&JobPlan::new(job).unwrap())
}

#[test]
fn what_a_rank_holds_is_counted_as_its_parameters_are_listed() {
    for plan in small_plans().into_iter().chain(plans_of_other_schedules()) {
        for pipeline in 0..plan.grid().n_pipeline() {
            let listed: u64 = plan.parameters_of(plan.first_rank_at(pipeline)).iter().map(Parameter::n_elements).sum();
            assert_eq!(plan.n_parameters_at(pipeline), listed, "{:?} {pipeline}", plan.grid());
        }
    }
}

#[test]
fn zero_divides_one_thing_more_with_every_level() {
    type Term = fn(&MemoryEstimate) -> u64;
    let levels: Vec<MemoryEstimate> = (0..=3)
        .map(|level| {
            changed(|job| {
                job.precision.compute = ComputeType::Bf16;
                job.parallel.zero = level;
            })
        })
        .collect();
    let divided = |level: usize, term: Term| term(&levels[level]) < term(&levels[level - 1]);
    let same = |level: usize, term: Term| term(&levels[level]) == term(&levels[level - 1]);
    let terms: [(Term, usize); 4] =
        [(|m| m.master_weights, 1), (|m| m.moments, 1), (|m| m.gradients, 2), (|m| m.weights, 3)];
    for (place, (term, from)) in terms.into_iter().enumerate() {
        for level in 1..=3 {
            let holds = if level == from { divided(level, term) } else { same(level, term) };
            assert!(holds, "term {place} at level {level}: {levels:?}");
        }
    }
}

#[test]
fn the_shares_of_all_ranks_under_zero_are_the_whole_moments() {
    // 4 samplers, 2 of them with the same experts: all moments are held once.
    let plan = JobPlan::new({
        let mut job = spec("tiny", 1, 4, 2);
        job.parallel.zero = 1;
        job
    })
    .unwrap();
    let all: u64 = ds_arch::parameters(&plan.spec().model).iter().map(Parameter::n_elements).sum();
    let held: u64 = plan.grid().ranks().map(|rank| plan.memory(rank).moments).sum();
    // Each share is rounded up to a whole element.
    assert!((held - 8 * all) < 8 * 2 * 4, "{held} {all}");
}

#[test]
fn recomputation_keeps_less_and_needs_room_for_one_layer() {
    let [none, norms, full] =
        [Recompute::None, Recompute::Norms, Recompute::Full].map(|mode| changed(|job| job.parallel.recompute = mode));
    assert!(none.activations > norms.activations && norms.activations > full.activations, "{none} {norms} {full}");
    assert!(none.recomputed == 0 && norms.recomputed > 0 && norms.recomputed < full.recomputed, "{norms} {full}");
}

#[test]
fn shorter_formats_take_less_of_what_they_are_of() {
    let base = changed(|_| ());
    let moments = changed(|job| job.precision.moments = MomentType::Bf16);
    assert_eq!((2 * moments.moments, moments.activations), (base.moments, base.activations));
    let dispatch = changed(|job| job.precision.dispatch = WireType::Fp8);
    assert!(dispatch.exchange < base.exchange && dispatch.activations == base.activations);
    let sizes = [WireType::Fp8, WireType::LogFmt8, WireType::LogFmt10, WireType::Bf16, WireType::Compute];
    let sizes = sizes.map(|wire| changed(|job| job.precision.combine = wire).exchange);
    assert!(sizes.is_sorted_by(|a, b| a < b), "{sizes:?}");
    let bf16 = changed(|job| job.precision.compute = ComputeType::Bf16);
    let fp8 = changed(|job| job.precision.compute = ComputeType::Fp8);
    assert!(fp8.activations < bf16.activations && fp8.gradients == bf16.gradients);
}

#[test]
fn an_average_of_the_weights_lies_in_the_memory_of_the_host() {
    let (with, without) = (changed(|job| job.train[0].ema = true), changed(|_| ()));
    assert_eq!((with.total(), without.host_ema), (without.total(), 0));
    assert_eq!(with.host_ema, without.gradients);
}

#[test]
fn tensor_ranks_divide_matrices_and_tokens_but_not_norms_and_gates() {
    let whole = changed(|_| ());
    let half = changed(|job| job.parallel.tensor = 2);
    assert!(half.weights > whole.weights / 2 && half.weights < whole.weights * 2 / 3, "{whole} {half}");
    assert_eq!(2 * half.activations, whole.activations);
}

#[test]
fn context_ranks_divide_tokens() {
    let whole = changed(|job| job.parallel.data = 2);
    let half = changed(|job| (job.parallel.data, job.parallel.context) = (2, 2));
    assert_eq!((half.weights, 2 * half.activations), (whole.weights, whole.activations));
}

#[test]
fn a_schedule_that_holds_more_microbatches_needs_more() {
    let of_kind = |kind| {
        changed(|job| {
            job.parallel.schedule = kind;
            job.train[0].batch = 64;
        })
    };
    let one = of_kind(ScheduleKind::OneFOneB);
    assert!(of_kind(ScheduleKind::GPipe).activations > one.activations);
    assert_eq!(of_kind(ScheduleKind::ZbH1).activations, one.activations);
    let both = of_kind(ScheduleKind::DualPipe);
    assert!(both.activations > one.activations && both.weights > one.weights, "{one} {both}");
}

#[test]
fn more_imbalance_needs_larger_buffers_only() {
    let plan = tiny_plan(1, 2, 2);
    let (even, skewed) = (plan.memory_at(0, 1.0), plan.memory_at(0, 3.0));
    assert_eq!(skewed.exchange, 2 * even.exchange);
    assert_eq!((even.activations, even.weights), (skewed.activations, skewed.weights));
}

/// arXiv 2412.19437 says of its layout only that it fits GPUs of 80 GB without tensor parallelism, and about as well in
/// balance that no stage stands out.
#[test]
fn deepseek_v3_fits_its_gpus() {
    let mut job = spec("deepseek-v3", 16, 128, 64);
    job.cluster.device = crate::spec::DeviceKind::Cuda;
    let phase = &mut job.train[0];
    (phase.sequence, phase.batch, phase.microbatch) = (4096, 15_360, 1);
    let precision = &mut job.precision;
    (precision.compute, precision.moments, precision.dispatch) = (ComputeType::Fp8, MomentType::Bf16, WireType::Fp8);
    let parallel = &mut job.parallel;
    (parallel.schedule, parallel.zero, parallel.recompute) = (ScheduleKind::DualPipe, 1, Recompute::Norms);
    let plan = JobPlan::new(job.clone()).unwrap();
    for pipeline in 0..16 {
        let memory = plan.memory_at(pipeline, IMBALANCE);
        assert!((40 << 30..80 << 30).contains(&memory.total()), "coordinate {pipeline}: {memory}");
    }
    // Without what it does to save memory it does not.
    job.parallel.recompute = Recompute::None;
    let largest = |job: &JobSpec| {
        let plan = JobPlan::new(job.clone()).unwrap();
        (0..16).map(|pipeline| plan.memory_at(pipeline, IMBALANCE).total()).max()
    };
    assert!(largest(&job) > Some(80 << 30));
}
