//! What must hold of every estimate, whatever the constants.

use ds_forecast::estimate::{Term, Terms, estimate, estimate_with, rank_times, stage_work};
use ds_forecast::hardware::{Format, Hardware, PRESETS, hardware};
use ds_forecast::workload::{Dispatch, Experts, Kernels, Layout, Network, Recompute, Window, Wire};
use ds_plan::spec::ScheduleKind;

fn layout(tensor: u32, pipeline: u32, data: u32) -> Layout {
    Layout {
        tensor,
        sequence_parallel: false,
        context: 1,
        pipeline,
        virtual_stages: 1,
        stages: None,
        data,
        expert: 1,
        shard_weights: false,
        shard_optimizer: false,
        dispatch: Dispatch::Deduplicated,
        recompute: Recompute::None,
        schedule: ScheduleKind::OneFOneB,
        kernels: Kernels::Fused,
        microbatch: 1,
        n_microbatches: 16,
        sequence: 2048,
        format: Format::F16,
        wire: Wire::usual(Format::F16),
        gradient_bytes: 2.0,
    }
}

fn gpt() -> Network {
    Network::gpt(32, 4096, 32, 16_384, 51_200)
}

fn deepseek_v3() -> (Network, Layout) {
    let network = Network::from(&ds_arch::preset("deepseek-v3").expect("a preset"));
    let layout = Layout {
        expert: 64,
        schedule: ScheduleKind::DualPipe,
        kernels: Kernels::FusedAttention,
        n_microbatches: 120,
        sequence: 4096,
        format: Format::Fp8,
        recompute: Recompute::Selective,
        shard_optimizer: true,
        gradient_bytes: 4.0,
        ..layout(1, 16, 128)
    };
    (network, layout)
}

#[test]
fn parts_add_up_and_are_never_negative() {
    for name in PRESETS {
        let machine = hardware(name).unwrap();
        for layout in [layout(1, 1, 1), layout(8, 4, 2), layout(2, 8, 16), deepseek_v3().1] {
            let step = estimate(&machine, &gpt(), &Layout { expert: 1, ..layout });
            assert!(step.parts.iter().all(|part| part.seconds >= 0.0), "{name}: {:?}", step.parts);
            let without: f64 = step.parts.iter().map(|part| step.seconds() - step.seconds_without(&[part.name])).sum();
            assert!((without / step.seconds() - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn faster_hardware_is_never_slower() {
    let machine = hardware("A100").unwrap();
    let faster: [fn(&mut Hardware); 5] = [
        |h| h.flops_f16 *= 2.0,
        |h| h.memory_bandwidth *= 2.0,
        |h| h.nvlink_bandwidth *= 2.0,
        |h| h.nic_bandwidth *= 2.0,
        |h| h.launch_seconds /= 2.0,
    ];
    for layout in [layout(8, 8, 8), layout(1, 2, 64), layout(16, 1, 2)] {
        let base = estimate(&machine, &gpt(), &layout).seconds();
        for change in faster {
            let mut better = machine.clone();
            change(&mut better);
            assert!(estimate(&better, &gpt(), &layout).seconds() <= base * (1.0 + 1e-12));
        }
    }
}

#[test]
fn tensor_ranks_divide_the_arithmetic() {
    let flops = |tensor| {
        let layout = layout(tensor, 1, 1);
        let attention = ds_forecast::workload::attention(&gpt(), &layout).flops();
        attention + ds_forecast::workload::dense(&gpt(), &layout).flops()
    };
    for tensor in [2, 4, 8] {
        assert!((f64::from(tensor) * flops(tensor) / flops(1) - 1.0).abs() < 1e-12);
    }
}

#[test]
fn the_bubble_of_equal_stages_is_that_of_the_books() {
    // arXiv 2104.04473, §2.2: (p - 1) / m of the time without it, divided by the virtual stages.
    let machine = hardware("A100").unwrap();
    let network = Network { vocab: 1, ..gpt() };
    for (pipeline, virtual_stages) in [(2, 1), (8, 1), (4, 2), (8, 4)] {
        let layout = Layout { virtual_stages, n_microbatches: 1000, ..layout(1, pipeline, 1) };
        let step = estimate(&machine, &network, &layout);
        let ideal = step.seconds_without(&["bubble", "imbalance", "data", "optimizer", "fixed"]);
        let expected = ideal * f64::from(pipeline - 1) / f64::from(virtual_stages * 1000);
        assert!((step.part("bubble") / expected - 1.0).abs() < 0.03, "{pipeline} x {virtual_stages}");
    }
}

#[test]
fn work_is_the_same_however_the_pipeline_is_cut() {
    let machine = hardware("A100").unwrap();
    let total = |pipeline| -> f64 {
        let ranks = rank_times(&machine, &gpt(), &layout(1, pipeline, 1));
        ranks.iter().map(|rank| rank.time.compute()).sum()
    };
    for pipeline in [2, 3, 8, 32] {
        assert!((total(pipeline) / total(1) - 1.0).abs() < 1e-12);
    }
}

#[test]
fn recomputation_costs_a_forward() {
    let machine = hardware("A100").unwrap();
    let with = |recompute| estimate(&machine, &gpt(), &Layout { recompute, ..layout(1, 1, 1) });
    assert_eq!(with(Recompute::None).part("recompute"), 0.0);
    let (some, all) = (with(Recompute::Selective).part("recompute"), with(Recompute::Full).part("recompute"));
    assert!(0.0 < some && some < all, "{some} {all}");
}

#[test]
fn every_term_of_deepseek_v3_can_be_switched_off() {
    let machine = hardware("H800").unwrap();
    let (network, layout) = deepseek_v3();
    let all = estimate(&machine, &network, &layout).seconds();
    for term in Term::ALL {
        let without = estimate_with(&machine, &network, &layout, Terms::ALL.without(term)).seconds();
        assert!(without < all, "{term}: {without} of {all}");
    }
}

#[test]
fn no_term_left_out_makes_any_step_longer() {
    let machine = hardware("H100").unwrap();
    let (sparse, dual_pipe) = deepseek_v3();
    let in_turn = Layout { schedule: ScheduleKind::OneFOneB, ..dual_pipe.clone() };
    let alone = Layout { pipeline: 1, data: 1, expert: 1, ..in_turn.clone() };
    for layout in [dual_pipe, in_turn, alone] {
        let all = estimate(&machine, &sparse, &layout);
        for term in Term::ALL {
            let without = estimate_with(&machine, &sparse, &layout, Terms::ALL.without(term));
            assert!(without.seconds() <= all.seconds() * (1.0 + 1e-12), "{term}: {:?}", layout.schedule);
            assert!(without.parts.iter().all(|part| part.seconds >= -1e-9), "{term}: {:?}", without.parts);
        }
    }
}

#[test]
fn flops_of_a_layer_are_those_of_the_model_as_data() {
    use ds_arch::{LayerId, Load, Place, operations, preset};
    let config = preset("deepseek-v3").unwrap();
    let (network, layout) = deepseek_v3();
    let load = Load { tokens: 4096, sequence: 4096, n_experts_held: 4 };
    let known: u64 = operations(&config, Place::Layer(LayerId(10)), load)
        .iter()
        .filter(|operation| operation.kind.is_matrix_work())
        .map(|operation| operation.forward.flops)
        .sum();
    let experts = network.experts.unwrap();
    let own = ds_forecast::workload::attention(&network, &layout).flops()
        + ds_forecast::workload::experts(&network, &layout, &experts).flops()
        + ds_forecast::workload::shared_experts(&network, &layout, &experts).flops();
    assert!((own / known as f64 - 1.0).abs() < 1e-3, "{own} {known}");
}

#[test]
fn stages_play_what_the_step_costs() {
    use ds_plan::{JobPlan, spec};
    let text = include_str!("../../../deploy/jobs/quickstart.yaml");
    let plan = JobPlan::new(spec::read(text, "quickstart.yaml", &[]).unwrap().spec).unwrap();
    let machine = hardware("CPU").unwrap();
    let work = stage_work(&plan, &machine);
    assert_eq!(work.len(), plan.stages().len());
    let (network, layout) = (Network::from(&plan.spec().model), Layout::of(&plan));
    let ranks = rank_times(&machine, &network, &layout);
    let expected: f64 = ranks.iter().map(|rank| rank.time.compute()).sum();
    let played: f64 = work
        .iter()
        .map(|w| w.forward.compute_seconds() + w.backward_input.compute_seconds() + w.backward_weight.compute_seconds())
        .sum();
    assert!((played / expected - 1.0).abs() < 1e-9, "{played} {expected}");
}

#[test]
fn a_window_of_the_whole_sequence_is_none_and_narrower_ones_look_at_fewer() {
    let with = |tokens, whole_every| Network { window: Some(Window { tokens, whole_every }), ..gpt() };
    assert_eq!(with(2048, 0).pairs_per_token(2048.0), gpt().pairs_per_token(2048.0));
    assert_eq!(with(128, 1).pairs_per_token(2048.0), gpt().pairs_per_token(2048.0));
    let pairs = [1, 16, 128, 1024, 4096].map(|tokens| with(tokens, 2).pairs_per_token(2048.0));
    assert!(pairs.is_sorted(), "{pairs:?}");
    // Every token of a window of one sees itself, but for the first half of it.
    assert!((with(1, 0).pairs_per_token(2048.0) - 1.0).abs() < 1e-3);
}

#[test]
fn rows_that_travel_once_for_every_expert_are_never_sooner_there_and_biases_cost_time() {
    let machine = Hardware { exchange_efficiency: 0.6, nic_efficiency: 0.6, ..hardware("H100").unwrap() };
    let machine = Hardware { nvlink_exchange_efficiency: 0.7, nvlink_efficiency: 0.7, ..machine };
    let (network, layout) = deepseek_v3();
    for expert in [8, 16, 64] {
        let layout = Layout { expert, schedule: ScheduleKind::OneFOneB, ..layout.clone() };
        let with = |dispatch| estimate(&machine, &network, &Layout { dispatch, ..layout.clone() }).part("exchange");
        assert!(with(Dispatch::EveryExpert) > with(Dispatch::Deduplicated), "{expert} ranks");
    }
    let biased = Network { experts: network.experts.map(|e| Experts { biased: true, ..e }), ..network.clone() };
    let layout = Layout { schedule: ScheduleKind::OneFOneB, ..layout };
    let compute = |network| estimate(&machine, network, &layout).part("compute");
    assert!(compute(&biased) > compute(&network));
}

#[test]
fn tensor_ranks_that_talk_more_slowly_lengthen_a_step_under_every_schedule() {
    let fast = hardware("H800").unwrap();
    let slow = Hardware { nvlink_efficiency: fast.nvlink_efficiency / 10.0, ..fast.clone() };
    let (network, base) = deepseek_v3();
    // As many layers as divide: otherwise the stages are cut elsewhere when layers cost more.
    let network = Network { layers: 64, mtp_depth: 0, ..network };
    for schedule in
        [ScheduleKind::OneFOneB, ScheduleKind::ZbH1, ScheduleKind::ZbV, ScheduleKind::DualPipe, ScheduleKind::DualPipeV]
    {
        let layout = Layout { schedule, tensor: 2, sequence_parallel: true, data: 64, ..base.clone() };
        let seconds = |machine| estimate(machine, &network, &layout).seconds_without(&["data"]);
        assert!(seconds(&slow) > seconds(&fast), "{schedule}: {} {}", seconds(&slow), seconds(&fast));
    }
}
