//! Who is named, in a table.

use ds_topology::Device;

use super::*;
use crate::cluster::{Exit, Phase, Progress, Rank};

fn attempt(faults: Vec<Fault>) -> Attempt {
    let rank = |number: u32| Rank {
        node: format!("n{number}"),
        device: Device::Cpu(0),
        progress: Progress::Gone,
        addresses: Vec::new(),
        resumed_step: None,
        finished: None,
        exit: Some(Exit { code: Some(number as i32), signal: None, last_lines: Vec::new() }),
        told_to_end: false,
        deadline: None,
        awaited: None,
    };
    Attempt { number: 1, phase: Phase::Running, ranks: (0..4).map(rank).collect(), faults, ending: None }
}

fn failed(rank: u32, blame: Blame, culprit: Option<u32>) -> Fault {
    Fault { rank, kind: FaultKind::Failed { blame, message: format!("words of {rank}"), culprit }, is_late: false }
}

fn exited(rank: u32) -> Fault {
    Fault { rank, kind: FaultKind::Exited, is_late: false }
}

fn late(fault: Fault) -> Fault {
    Fault { is_late: true, ..fault }
}

#[track_caller]
fn says(faults: &[Fault], expected: &str) {
    assert_eq!(verdict(&attempt(faults.to_vec())).reason, expected, "{faults:?}");
}

#[test]
fn the_first_who_speaks_of_itself_is_the_cause() {
    use Blame::{Peer, World};
    says(&[exited(1)], "rank 1 on n1 died with exit code 1");
    says(&[exited(1), exited(2)], "rank 1 on n1 died with exit code 1");
    says(&[failed(2, World, None)], "rank 2 on n2 failed (exit code 2): words of 2");
    says(&[exited(2), failed(2, World, None)], "rank 2 on n2 failed (exit code 2): words of 2");
    says(&[failed(0, Peer, Some(1)), exited(3)], "rank 3 on n3 died with exit code 3");
    says(&[failed(1, World, Some(1))], "rank 1 on n1 failed (exit code 1): words of 1");
}

#[test]
fn who_is_told_to_end_and_complains_then_is_no_cause_unless_others_say_so() {
    use Blame::{Peer, World};
    says(
        &[failed(0, Peer, Some(1)), late(failed(2, World, None))],
        "rank 1 on n1 died with exit code 1, says rank 0: words of 0",
    );
    says(&[failed(0, Peer, Some(2)), late(failed(2, World, None))], "rank 2 on n2 failed (exit code 2): words of 2");
}

#[test]
fn blame_is_followed_and_goes_round_no_circle_for_ever() {
    use Blame::Peer;
    says(
        &[failed(0, Peer, Some(1)), failed(1, Peer, Some(3))],
        "rank 3 on n3 died with exit code 3, says rank 1: words of 1",
    );
    says(
        &[failed(0, Peer, Some(1)), failed(1, Peer, Some(0))],
        "rank 0 on n0 ended without having finished, says rank 1: words of 1",
    );
    says(&[failed(0, Peer, Some(99))], "rank 99 failed its peers, says rank 0: words of 0");
    says(&[failed(3, Peer, None)], "rank 3 on n3 failed (exit code 3): words of 3");
}

#[test]
fn only_what_the_user_must_change_is_not_worth_another_try() {
    let is_worth = |faults: &[Fault]| verdict(&attempt(faults.to_vec())).is_worth_retrying;
    assert!(!is_worth(&[failed(0, Blame::Peer, Some(1)), failed(1, Blame::User, None)]));
    assert!(is_worth(&[failed(0, Blame::World, None), late(failed(1, Blame::User, None))]));
    assert!(is_worth(&[exited(0), failed(1, Blame::User, None)]));
    assert!(is_worth(&[failed(0, Blame::Bug, None)]));
}
