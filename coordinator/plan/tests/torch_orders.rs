//! The orders are those that PyTorch's own pipelining runs; `golden/README.md` says how the lists were made.

use ds_plan::schedule::{Action, Pass, Piece, Schedule};
use ds_plan::spec::ScheduleKind;

fn name(piece: Piece) -> String {
    let letter = match piece.pass {
        Pass::Forward => 'F',
        Pass::Backward => 'B',
        Pass::BackwardInput => 'I',
        Pass::BackwardWeight => 'W',
    };
    format!("{}{letter}{}", piece.stage.0, piece.microbatch.0)
}

fn ours(kind: ScheduleKind, n_pipeline: u32, n_virtual: u32, n_microbatches: u32) -> Vec<String> {
    let name = |&action: &Action| match action {
        Action::One(piece) => name(piece),
        Action::Overlapped { forward, backward } => format!("({};{})", name(forward), name(backward)),
    };
    let schedule = Schedule::new(kind, n_pipeline, n_virtual, n_microbatches).expect("a schedule of that size");
    schedule.actions.iter().map(|own| own.iter().map(name).collect::<Vec<_>>().join(" ")).collect()
}

/// The 1F1B list with the last stage's forwards numbered from 0.
fn from_zero(list: &str, n_stages: u32) -> Vec<String> {
    let last = format!("{}F", n_stages - 1);
    let renumber = |name: &str| match name.strip_prefix(&last) {
        Some(microbatch) => format!("{last}{}", microbatch.parse::<u32>().expect("a number") - 1),
        None => name.to_owned(),
    };
    list.lines().map(|line| line.split(' ').map(renumber).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_order_of_1f1b_is_that_of_torch() {
    for (n_stages, n_microbatches, list) in [
        (2, 4, include_str!("golden/one_f_one_b_pp2_m4.txt")),
        (4, 6, include_str!("golden/one_f_one_b_pp4_m6.txt")),
        (4, 8, include_str!("golden/one_f_one_b_pp4_m8.txt")),
        (8, 16, include_str!("golden/one_f_one_b_pp8_m16.txt")),
    ] {
        let ours = ours(ScheduleKind::OneFOneB, n_stages, 1, n_microbatches);
        assert_eq!(ours, from_zero(list, n_stages), "{n_stages} stages, {n_microbatches} microbatches");
    }
}

fn same(kind: ScheduleKind, n_virtual: u32, lists: &[(u32, u32, &str)]) {
    for &(n_pipeline, n_microbatches, list) in lists {
        let theirs: Vec<&str> = list.lines().collect();
        let name = format!("{kind} {n_pipeline} x {n_virtual}, {n_microbatches} microbatches");
        assert_eq!(ours(kind, n_pipeline, n_virtual, n_microbatches), theirs, "{name}");
    }
}

#[test]
fn the_order_of_gpipe_is_that_of_torch() {
    same(
        ScheduleKind::GPipe,
        1,
        &[
            (2, 4, include_str!("golden/torch_gpipe_pp2_v1_m4.txt")),
            (4, 6, include_str!("golden/torch_gpipe_pp4_v1_m6.txt")),
            (4, 8, include_str!("golden/torch_gpipe_pp4_v1_m8.txt")),
            (8, 16, include_str!("golden/torch_gpipe_pp8_v1_m16.txt")),
        ],
    );
}

#[test]
fn the_order_of_interleaved_1f1b_is_that_of_torch() {
    same(
        ScheduleKind::Interleaved,
        2,
        &[
            (2, 4, include_str!("golden/torch_interleaved_pp2_v2_m4.txt")),
            (4, 8, include_str!("golden/torch_interleaved_pp4_v2_m8.txt")),
            (4, 12, include_str!("golden/torch_interleaved_pp4_v2_m12.txt")),
            (8, 16, include_str!("golden/torch_interleaved_pp8_v2_m16.txt")),
            // Rounds of other sizes than the pipeline's.
            (3, 8, include_str!("golden/torch_interleaved_pp3_v2_m8.txt")),
            (4, 3, include_str!("golden/torch_interleaved_pp4_v2_m3.txt")),
        ],
    );
    same(ScheduleKind::Interleaved, 3, &[(4, 8, include_str!("golden/torch_interleaved_pp4_v3_m8.txt"))]);
}

#[test]
fn the_order_of_the_interleaved_zero_bubble_is_that_of_torch() {
    same(
        ScheduleKind::InterleavedZb,
        2,
        &[
            (2, 4, include_str!("golden/torch_interleaved_zb_pp2_v2_m4.txt")),
            (4, 8, include_str!("golden/torch_interleaved_zb_pp4_v2_m8.txt")),
            (4, 12, include_str!("golden/torch_interleaved_zb_pp4_v2_m12.txt")),
            (8, 16, include_str!("golden/torch_interleaved_zb_pp8_v2_m16.txt")),
            (3, 8, include_str!("golden/torch_interleaved_zb_pp3_v2_m8.txt")),
        ],
    );
    same(ScheduleKind::InterleavedZb, 3, &[(4, 8, include_str!("golden/torch_interleaved_zb_pp4_v3_m8.txt"))]);
}

#[test]
fn the_order_of_looped_breadth_first_is_that_of_torch() {
    same(
        ScheduleKind::LoopedBfs,
        2,
        &[
            (2, 4, include_str!("golden/torch_looped_bfs_pp2_v2_m4.txt")),
            (4, 8, include_str!("golden/torch_looped_bfs_pp4_v2_m8.txt")),
            (4, 12, include_str!("golden/torch_looped_bfs_pp4_v2_m12.txt")),
            (8, 16, include_str!("golden/torch_looped_bfs_pp8_v2_m16.txt")),
            (3, 2, include_str!("golden/torch_looped_bfs_pp3_v2_m2.txt")),
        ],
    );
    same(ScheduleKind::LoopedBfs, 3, &[(4, 8, include_str!("golden/torch_looped_bfs_pp4_v3_m8.txt"))]);
}

#[test]
fn the_order_of_zb_v_is_that_of_torch() {
    same(
        ScheduleKind::ZbV,
        1,
        &[
            (2, 4, include_str!("golden/torch_zb_v_pp2_v2_m4.txt")),
            (4, 8, include_str!("golden/torch_zb_v_pp4_v2_m8.txt")),
            (4, 12, include_str!("golden/torch_zb_v_pp4_v2_m12.txt")),
            (8, 16, include_str!("golden/torch_zb_v_pp8_v2_m16.txt")),
            (4, 3, include_str!("golden/torch_zb_v_pp4_v2_m3.txt")),
        ],
    );
}

#[test]
fn the_order_of_dual_pipe_v_is_that_of_torch() {
    same(
        ScheduleKind::DualPipeV,
        1,
        &[
            (2, 4, include_str!("golden/torch_dual_pipe_v_pp2_v2_m4.txt")),
            (4, 8, include_str!("golden/torch_dual_pipe_v_pp4_v2_m8.txt")),
            (4, 12, include_str!("golden/torch_dual_pipe_v_pp4_v2_m12.txt")),
            (8, 16, include_str!("golden/torch_dual_pipe_v_pp8_v2_m16.txt")),
        ],
    );
}
