//! DualPipe and DualPipeV are, event by event and in time, what their published implementation runs;
//! `golden/README.md` says how the lists were made.

use ds_plan::schedule::{Action, Pass, Piece, Placement, Schedule, peak_activations, timeline};
use ds_plan::spec::ScheduleKind;

const LISTS: &[(ScheduleKind, u32, u32, &str)] = &[
    (ScheduleKind::DualPipe, 2, 4, include_str!("golden/dual_pipe_pp2_m4.txt")),
    (ScheduleKind::DualPipe, 4, 8, include_str!("golden/dual_pipe_pp4_m8.txt")),
    (ScheduleKind::DualPipe, 4, 10, include_str!("golden/dual_pipe_pp4_m10.txt")),
    (ScheduleKind::DualPipe, 4, 12, include_str!("golden/dual_pipe_pp4_m12.txt")),
    (ScheduleKind::DualPipe, 4, 16, include_str!("golden/dual_pipe_pp4_m16.txt")),
    (ScheduleKind::DualPipe, 4, 20, include_str!("golden/dual_pipe_pp4_m20.txt")),
    (ScheduleKind::DualPipe, 8, 16, include_str!("golden/dual_pipe_pp8_m16.txt")),
    (ScheduleKind::DualPipe, 8, 20, include_str!("golden/dual_pipe_pp8_m20.txt")),
    (ScheduleKind::DualPipeV, 2, 4, include_str!("golden/dual_pipe_v_pp2_m4.txt")),
    (ScheduleKind::DualPipeV, 4, 8, include_str!("golden/dual_pipe_v_pp4_m8.txt")),
    (ScheduleKind::DualPipeV, 4, 9, include_str!("golden/dual_pipe_v_pp4_m9.txt")),
    (ScheduleKind::DualPipeV, 4, 12, include_str!("golden/dual_pipe_v_pp4_m12.txt")),
    (ScheduleKind::DualPipeV, 4, 16, include_str!("golden/dual_pipe_v_pp4_m16.txt")),
    (ScheduleKind::DualPipeV, 4, 20, include_str!("golden/dual_pipe_v_pp4_m20.txt")),
    (ScheduleKind::DualPipeV, 8, 16, include_str!("golden/dual_pipe_v_pp8_m16.txt")),
    (ScheduleKind::DualPipeV, 8, 20, include_str!("golden/dual_pipe_v_pp8_m20.txt")),
];

/// The direction of a piece, and its number within the direction, as the published code counts them.
fn direction(piece: Piece, placement: Placement) -> (u32, u32) {
    match placement {
        Placement::BothWays { n_microbatches, .. } => {
            let half = n_microbatches / 2;
            (piece.microbatch.0 / half, piece.microbatch.0 % half)
        }
        Placement::Folded { n_pipeline } => (piece.stage.0 / n_pipeline, piece.microbatch.0),
        other => panic!("{other:?} has no directions"),
    }
}

fn name(piece: Piece, placement: Placement) -> String {
    let letter = match piece.pass {
        Pass::Forward => 'F',
        Pass::Backward => 'B',
        Pass::BackwardInput => 'I',
        Pass::BackwardWeight => 'W',
    };
    let (direction, number) = direction(piece, placement);
    format!("{letter}{direction}:{number}")
}

fn names(own: &[Action], placement: Placement) -> String {
    let name = |&action: &Action| match action {
        Action::One(piece) => name(piece, placement),
        Action::Overlapped { forward, backward } => {
            format!("{}&{}", name(forward, placement), name(backward, placement))
        }
    };
    own.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn unit_cost(action: Action) -> u64 {
    action.pieces().map(|piece| if piece.pass == Pass::Backward { 2 } else { 1 }).sum()
}

#[test]
fn the_order_is_the_published_one_event_by_event() {
    for &(kind, n_pipeline, n_microbatches, list) in LISTS {
        let schedule = Schedule::new(kind, n_pipeline, 1, n_microbatches).unwrap();
        let ours: Vec<String> = schedule.actions.iter().map(|own| names(own, schedule.placement)).collect();
        let theirs: Vec<&str> = list.lines().skip(1).collect();
        assert_eq!(ours, theirs, "{kind} {n_pipeline} x {n_microbatches}");
    }
}

#[test]
fn makespan_idle_time_and_live_activations_are_the_published_ones() {
    for &(kind, n_pipeline, n_microbatches, list) in LISTS {
        let schedule = Schedule::new(kind, n_pipeline, 1, n_microbatches).unwrap();
        let played = timeline(&schedule.actions, schedule.placement, unit_cost).unwrap();
        let numbers = |numbers: Vec<u64>| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let idle = numbers((0..n_pipeline).map(|pipeline| played.idle(pipeline)).collect());
        let live = numbers(schedule.actions.iter().map(|own| peak_activations(own, |_| 1)).collect());
        let ours = format!("{} {idle} {live}", played.end());
        assert_eq!(Some(ours.as_str()), list.lines().next(), "{kind} {n_pipeline} x {n_microbatches}");
    }
}

/// The actions of one coordinate, counted: forwards, whole backwards, input gradients, weight gradients, pairs.
fn counted(own: &[Action]) -> [usize; 5] {
    let alone = |pass| own.iter().filter(|a| matches!(a, Action::One(piece) if piece.pass == pass)).count();
    let pairs = own.iter().filter(|a| matches!(a, Action::Overlapped { .. })).count();
    let [forward, backward] = [Pass::Forward, Pass::Backward].map(alone);
    let [input, weight] = [Pass::BackwardInput, Pass::BackwardWeight].map(alone);
    [forward, backward, input, weight, pairs]
}

#[test]
fn the_pipeline_of_deepseek_v3_has_its_counts_and_its_makespan() {
    let schedule = Schedule::new(ScheduleKind::DualPipe, 16, 1, 120).unwrap();
    assert_eq!(counted(&schedule.actions[0]), [23, 8, 15, 15, 97]);
    assert_eq!(counted(&schedule.actions[7]), [17, 9, 8, 8, 103]);
    // Milliseconds, from the published step of 2,048 GPUs (arXiv 2505.09343, table 4): B is 75 + 32.
    let cost = |action| match action {
        Action::Overlapped { .. } => 144,
        Action::One(piece) => match piece.pass {
            Pass::Forward => 49,
            Pass::Backward => 107,
            Pass::BackwardInput => 75,
            Pass::BackwardWeight => 32,
        },
    };
    let played = timeline(&schedule.actions, schedule.placement, cost).unwrap();
    assert_eq!(played.end(), 18_520);
    let idle: Vec<u64> = (0..16).map(|pipeline| played.idle(pipeline)).collect();
    assert_eq!((idle.iter().min(), idle.iter().max()), (Some(&964), Some(&1036)), "{idle:?}");
}

#[test]
fn a_pair_that_is_shorter_than_its_halves_leaves_the_published_bubble_at_the_fold() {
    // In halves of a forward: F 2, B 4, W 2, F&B 5.
    let cost = |action| match action {
        Action::Overlapped { .. } => 5,
        Action::One(_) => 2 * unit_cost(action),
    };
    let schedule = Schedule::new(ScheduleKind::DualPipe, 8, 1, 20).unwrap();
    let played = timeline(&schedule.actions, schedule.placement, cost).unwrap();
    let idle: Vec<u64> = (0..8).map(|pipeline| played.idle(pipeline)).collect();
    assert_eq!((played.end(), idle), (118, vec![7, 8, 9, 9, 9, 9, 8, 7]));
}
