//! 1F1B is the order that PyTorch's own pipelining runs; `golden/README.md` says how the lists were made.

use ds_plan::schedule::{Action, Pass, StageId, one_f_one_b};

fn ours(stage: u32, n_stages: u32, n_microbatches: u32) -> String {
    let name = |action: Action| {
        let Action::One(piece) = action else { panic!("1F1B overlaps nothing") };
        let letter = match piece.pass {
            Pass::Forward => 'F',
            Pass::Backward => 'B',
            other => panic!("1F1B has no {other:?}"),
        };
        format!("{}{letter}{}", piece.stage.0, piece.microbatch.0)
    };
    let names: Vec<String> = one_f_one_b(StageId(stage), n_stages, n_microbatches).into_iter().map(name).collect();
    names.join(" ")
}

/// The list with the last stage's forwards numbered from 0.
fn theirs(list: &str, n_stages: u32) -> Vec<String> {
    let last = format!("{}F", n_stages - 1);
    let renumber = |name: &str| match name.strip_prefix(&last) {
        Some(microbatch) => format!("{last}{}", microbatch.parse::<u32>().expect("a number") - 1),
        None => name.to_owned(),
    };
    list.lines().map(|line| line.split(' ').map(renumber).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_order_is_that_of_torch() {
    for (n_stages, n_microbatches, list) in [
        (2, 4, include_str!("golden/one_f_one_b_pp2_m4.txt")),
        (4, 6, include_str!("golden/one_f_one_b_pp4_m6.txt")),
        (4, 8, include_str!("golden/one_f_one_b_pp4_m8.txt")),
        (8, 16, include_str!("golden/one_f_one_b_pp8_m16.txt")),
    ] {
        let ours: Vec<String> = (0..n_stages).map(|stage| ours(stage, n_stages, n_microbatches)).collect();
        assert_eq!(ours, theirs(list, n_stages), "{n_stages} stages, {n_microbatches} microbatches");
    }
}
