//! Laws that every schedule keeps, tried on all small ones.

use std::collections::HashMap;

use ds_plan::schedule::{
    Action, Microbatch, Pass, Payload, Piece, Placement, Schedule, StageId, deadlock, peak_activations, peak_live,
    sends_ahead, timeline, transfers,
};
use ds_plan::spec::ScheduleKind;

/// Every schedule of at most 8 coordinates, 3 stages each and 20 microbatches.
fn small_schedules() -> impl Iterator<Item = Schedule> {
    ScheduleKind::ALL.into_iter().flat_map(small_of)
}

fn small_of(kind: ScheduleKind) -> impl Iterator<Item = Schedule> {
    let sizes = (1..=8).flat_map(|p| (1..=3).flat_map(move |v| (1..=20).map(move |m| (p, v, m))));
    sizes.filter_map(move |(p, v, m)| Schedule::new(kind, p, v, m).ok())
}

fn name(schedule: &Schedule) -> String {
    format!("{} {:?}, {} microbatches", schedule.kind, schedule.placement, schedule.n_microbatches)
}

fn n_pipeline(schedule: &Schedule) -> u32 {
    schedule.placement.n_pipeline()
}

fn coordinates(schedule: &Schedule) -> impl Iterator<Item = (u32, &[Action])> {
    (0..).zip(schedule.actions.iter().map(Vec::as_slice))
}

fn cost(forward: u64, input: u64, weight: u64) -> impl Fn(Action) -> u64 {
    move |action| {
        let of = |pass| match pass {
            Pass::Forward => forward,
            Pass::Backward => input + weight,
            Pass::BackwardInput => input,
            Pass::BackwardWeight => weight,
        };
        action.pieces().map(|piece| of(piece.pass)).sum()
    }
}

/// F, I and W.
const COSTS: [(u64, u64, u64); 4] = [(1, 1, 1), (1, 2, 1), (3, 4, 2), (49, 75, 32)];

#[test]
fn there_are_small_schedules_of_every_kind() {
    let counts = ScheduleKind::ALL.map(|kind| small_of(kind).count());
    assert!(counts.iter().all(|&n| n >= 24), "{counts:?}");
}

#[test]
fn every_microbatch_goes_forward_then_back_exactly_once_through_every_stage_where_it_is_held() {
    for schedule in small_schedules() {
        let mut places: HashMap<Piece, Vec<(u32, usize)>> = HashMap::new();
        for (pipeline, own) in coordinates(&schedule) {
            for (place, piece) in own.iter().flat_map(|action| action.pieces()).enumerate() {
                places.entry(piece).or_default().push((pipeline, place));
            }
        }
        let mut n_pieces = 0;
        for stage in (0..schedule.placement.n_stages()).map(StageId) {
            for microbatch in (0..schedule.n_microbatches).map(Microbatch) {
                let at = |pass| places.get(&Piece { stage, microbatch, pass }).map_or(&[][..], Vec::as_slice);
                let found = [Pass::Forward, Pass::Backward, Pass::BackwardInput, Pass::BackwardWeight].map(at);
                let holder = schedule.placement.holder(stage, microbatch);
                let message = format!("{} {stage:?} {microbatch:?} {found:?}", name(&schedule));
                assert!(found.iter().copied().flatten().all(|&(pipeline, _)| pipeline == holder), "{message}");
                match found {
                    [[forward], [backward], [], []] => assert!(forward < backward, "{message}"),
                    [[forward], [], [input], [weight]] => assert!(forward < input && input < weight, "{message}"),
                    _ => panic!("{message}"),
                }
                n_pieces += found.iter().map(|places| places.len()).sum::<usize>();
            }
        }
        assert_eq!(places.values().map(Vec::len).sum::<usize>(), n_pieces, "{}", name(&schedule));
    }
}

/// Everything that one coordinate sends another of one kind between two stages, in order.
type Mail = HashMap<(u32, StageId, u32, StageId, Payload), Vec<Microbatch>>;

#[test]
fn messages_of_a_link_are_taken_in_the_order_in_which_they_are_sent() {
    for schedule in small_schedules() {
        let (mut sent, mut taken): (Mail, Mail) = (HashMap::new(), HashMap::new());
        for (pipeline, own) in coordinates(&schedule) {
            for piece in own.iter().flat_map(|action| action.pieces()) {
                let transfer = transfers(piece, schedule.placement);
                if let Some(to) = transfer.send {
                    let link = (pipeline, piece.stage, to.pipeline, to.stage, to.payload);
                    sent.entry(link).or_default().push(piece.microbatch);
                }
                if let Some(from) = transfer.receive {
                    let link = (from.pipeline, from.stage, pipeline, piece.stage, from.payload);
                    taken.entry(link).or_default().push(piece.microbatch);
                }
            }
        }
        assert_eq!(sent, taken, "{}", name(&schedule));
    }
}

/// Microbatches of a round of the interleaved schedules.
fn n_each(schedule: &Schedule) -> u32 {
    schedule.n_microbatches / (schedule.n_microbatches / n_pipeline(schedule)).max(1)
}

/// Stages of a coordinate.
fn n_virtual(schedule: &Schedule) -> u32 {
    schedule.placement.n_stages() / n_pipeline(schedule)
}

#[test]
fn no_schedule_is_stuck_when_a_link_holds_the_sends_of_one_microbatch_or_of_what_a_round_has_over_the_pipeline() {
    for schedule in small_schedules() {
        let (p, each, m) = (n_pipeline(&schedule), n_each(&schedule), schedule.n_microbatches);
        let most = match schedule.kind {
            ScheduleKind::Interleaved => (each + 1).saturating_sub(p).max(1),
            // Input gradients come back as fast as forwards go out, half a warm-up earlier.
            ScheduleKind::InterleavedZb => (each + 1).saturating_sub(p.div_ceil(2)).min(m).max(1),
            // All microbatches go through a stage before the coordinate takes any for the next.
            ScheduleKind::LoopedBfs => m.div_ceil(p).max(1),
            _ => 1,
        };
        let needed = sends_ahead(&schedule.actions, schedule.placement).expect("it can go on with enough of them");
        assert!(needed <= most as usize, "{}: {needed} of {most}", name(&schedule));
        for fewer in 0..needed {
            assert!(deadlock(&schedule.actions, schedule.placement, fewer).is_some(), "{}", name(&schedule));
        }
    }
}

#[test]
fn under_1f1b_a_sender_that_stood_still_until_its_receiver_came_would_be_stuck() {
    for schedule in small_of(ScheduleKind::OneFOneB) {
        let is_stuck = deadlock(&schedule.actions, schedule.placement, 0).is_some();
        assert_eq!(is_stuck, n_pipeline(&schedule) > 1 && schedule.n_microbatches > 1, "{}", name(&schedule));
    }
}

#[test]
fn two_stages_that_wait_for_each_other_are_found() {
    let piece = |stage, pass| Action::One(Piece { stage: StageId(stage), microbatch: Microbatch(0), pass });
    let wrong = vec![
        vec![piece(0, Pass::Backward), piece(0, Pass::Forward)],
        vec![piece(1, Pass::Forward), piece(1, Pass::Backward)],
    ];
    let straight = Placement::Straight { n_pipeline: 2 };
    assert_eq!(deadlock(&wrong, straight, 1).unwrap().pipeline, 0);
    assert_eq!(timeline(&wrong, straight, |_| 1).unwrap_err().place, 0);
}

#[test]
fn a_stage_of_1f1b_holds_activations_of_as_many_microbatches_as_stages_follow_and_itself() {
    for schedule in small_of(ScheduleKind::OneFOneB) {
        for (stage, own) in coordinates(&schedule) {
            let expected = (n_pipeline(&schedule) - stage).min(schedule.n_microbatches);
            assert_eq!(peak_live(own, StageId(stage)), expected, "{} stage {stage}", name(&schedule));
        }
    }
}

/// Checks the most activations of a coordinate against a bound from microbatches, coordinates and the coordinate, which
/// some coordinate reaches once there are enough microbatches.
fn holds(kind: ScheduleKind, bound: impl Fn(&Schedule, u32) -> u32) {
    for schedule in small_of(kind) {
        for (pipeline, own) in coordinates(&schedule) {
            let peak = peak_activations(own, |_| 1);
            assert_eq!(peak, u64::from(bound(&schedule, pipeline)), "{} at {pipeline}", name(&schedule));
        }
    }
}

#[test]
fn gpipe_holds_everything() {
    holds(ScheduleKind::GPipe, |schedule, _| schedule.n_microbatches);
}

#[test]
fn every_stage_of_zb_h1_holds_as_much_as_the_first_of_1f1b() {
    holds(ScheduleKind::ZbH1, |schedule, _| n_pipeline(schedule).min(schedule.n_microbatches));
}

#[test]
fn interleaving_holds_its_warm_up_and_one_more() {
    holds(ScheduleKind::Interleaved, |schedule, pipeline| {
        let (p, each, v) = (n_pipeline(schedule), n_each(schedule), n_virtual(schedule));
        ((v - 1) * each + 2 * (p - 1 - pipeline) + 1).min(v * schedule.n_microbatches)
    });
}

#[test]
fn every_coordinate_of_the_interleaved_zero_bubble_holds_as_much_as_the_first_warms_up_with_and_one_more() {
    holds(ScheduleKind::InterleavedZb, |schedule, _| {
        let (p, each, v) = (n_pipeline(schedule), n_each(schedule), n_virtual(schedule));
        ((v - 1) * each + p).min(v * schedule.n_microbatches)
    });
}

#[test]
fn breadth_first_holds_everything() {
    holds(ScheduleKind::LoopedBfs, |schedule, _| n_virtual(schedule) * schedule.n_microbatches);
}

#[test]
fn zb_v_holds_as_much_as_the_first_stage_of_1f1b_which_is_two_of_its_stages() {
    for schedule in small_of(ScheduleKind::ZbV) {
        let (p, m) = (u64::from(n_pipeline(&schedule)), u64::from(schedule.n_microbatches));
        for (pipeline, own) in coordinates(&schedule) {
            let peak = peak_activations(own, |_| 1);
            assert!(peak <= (2 * p).min(2 * m), "{} at {pipeline}: {peak}", name(&schedule));
            assert!(peak == 2 * p || m < 2 * p - 1, "{} at {pipeline}: {peak}", name(&schedule));
        }
    }
}

#[test]
fn dual_pipe_holds_one_more_than_it_has_stages_at_its_fold_and_no_more_than_they_are_elsewhere() {
    for kind in [ScheduleKind::DualPipe, ScheduleKind::DualPipeV] {
        for schedule in small_of(kind) {
            let n_stages = u64::from(schedule.placement.n_stages());
            let peaks: Vec<u64> = schedule.actions.iter().map(|own| peak_activations(own, |_| 1)).collect();
            assert_eq!(peaks.iter().max(), Some(&(n_stages + 1)), "{} {peaks:?}", name(&schedule));
            let above = peaks.iter().filter(|&&peak| peak > n_stages).count();
            assert!(above <= 2, "{} {peaks:?}", name(&schedule));
        }
    }
}

/// Checks the makespan against the work of a coordinate and a formula for its bubble.
fn bubbles(kind: ScheduleKind, bubble: impl Fn(u64, (u64, u64, u64)) -> u64) {
    for schedule in small_of(kind).filter(|schedule| schedule.n_microbatches >= n_pipeline(schedule)) {
        for (forward, input, weight) in COSTS {
            let played =
                timeline(&schedule.actions, schedule.placement, cost(forward, input, weight)).expect("no deadlock");
            let held = u64::from(schedule.placement.stages_at(0).len() as u32);
            let passes = match schedule.placement {
                Placement::BothWays { .. } => u64::from(schedule.n_microbatches),
                _ => held * u64::from(schedule.n_microbatches),
            };
            let work = passes * (forward + input + weight);
            let bubble = bubble(u64::from(n_pipeline(&schedule)), (forward, input, weight));
            let message = format!("{} F {forward} I {input} W {weight}", name(&schedule));
            assert_eq!(played.end(), work + bubble, "{message}");
            let share = bubble as f64 / (work + bubble) as f64;
            assert!((played.bubble_share() - share).abs() < 1e-12, "{message}");
        }
    }
}

#[test]
fn the_bubble_of_1f1b_and_gpipe_is_one_forward_and_backward_of_every_other_stage() {
    for kind in [ScheduleKind::OneFOneB, ScheduleKind::GPipe] {
        bubbles(kind, |p, (forward, input, weight)| (p - 1) * (forward + input + weight));
    }
}

#[test]
fn the_bubble_of_interleaving_is_that_of_1f1b_with_its_short_stages() {
    for kind in [ScheduleKind::Interleaved, ScheduleKind::LoopedBfs] {
        bubbles(kind, |p, (forward, input, weight)| (p - 1) * (forward + input + weight));
    }
}

#[test]
fn the_bubble_of_zb_h1_is_smaller_by_two_weight_gradients_a_stage() {
    // (PP - 1)(F + B - 2W), where B is the whole backward.
    bubbles(ScheduleKind::ZbH1, |p, (forward, input, weight)| (p - 1) * (forward + input - weight));
}

#[test]
fn the_bubble_of_dual_pipe_is_the_published_one_when_a_pair_costs_as_much_as_its_halves() {
    // (PP/2 - 1)(F&B + B - 3W); DualPipeV has half the coordinates of the same pipeline.
    let steps = |p: u64, (forward, input, weight): (u64, u64, u64)| {
        p * (forward + input + weight + input + weight - 3 * weight)
    };
    bubbles_of_equal_halves(ScheduleKind::DualPipe, |p, costs| steps(p / 2 - 1, costs));
    bubbles_of_equal_halves(ScheduleKind::DualPipeV, |p, costs| steps(p - 1, costs));
}

/// The published formula holds where input and weight gradients cost the same; elsewhere it is a bound.
fn bubbles_of_equal_halves(kind: ScheduleKind, bubble: impl Fn(u64, (u64, u64, u64)) -> u64) {
    for schedule in small_of(kind) {
        for costs in [(1, 1, 1), (2, 2, 2), (5, 5, 5)] {
            let played =
                timeline(&schedule.actions, schedule.placement, cost(costs.0, costs.1, costs.2)).expect("no deadlock");
            let expected = bubble(u64::from(n_pipeline(&schedule)), costs);
            for pipeline in 0..n_pipeline(&schedule) {
                assert_eq!(played.idle(pipeline), expected, "{} {costs:?} at {pipeline}", name(&schedule));
            }
        }
    }
}

#[test]
fn the_interleaved_zero_bubble_leaves_that_of_zb_h1_with_its_short_stages() {
    bubbles(ScheduleKind::InterleavedZb, |p, (forward, input, weight)| (p - 1) * (forward + input - weight));
}

#[test]
fn zb_v_is_idle_only_before_its_first_action_and_after_its_last_when_all_passes_cost_the_same() {
    // Fewer microbatches do not fill it.
    let is_full = |schedule: &Schedule| schedule.n_microbatches >= 2 * n_pipeline(schedule) - 1;
    for schedule in small_of(ScheduleKind::ZbV).filter(is_full) {
        let p = n_pipeline(&schedule);
        for unit in [1, 2, 5] {
            let played = timeline(&schedule.actions, schedule.placement, cost(unit, unit, unit)).expect("no deadlock");
            for (pipeline, row) in (0..).zip(&played.rows) {
                let message = format!("{} {unit} at {pipeline}", name(&schedule));
                assert_eq!(row[0].start, u64::from(pipeline) * unit, "{message}");
                assert_eq!(played.idle(pipeline), u64::from(p - 1) * unit, "{message}");
                assert!(row.is_sorted_by(|a, b| a.end == b.start), "{message}");
            }
        }
    }
}
