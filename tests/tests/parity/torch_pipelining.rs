//! Orders of `torch.distributed.pipelining`, event by event, and the sends and receives that it lowers them to. Idle slots
//! and marks of gradient reduction are left out.

use ds_plan::schedule::{Action, Microbatch, Pass, Piece, Schedule, StageId};
use ds_plan::spec::ScheduleKind;
use serde_json::Value;

use crate::Check;
use crate::folder::{Folder, number};
use crate::orders::{self, End, Messages, is_order, messages, same_actions};

const KINDS: &[(&str, ScheduleKind)] = &[
    ("Schedule1F1B", ScheduleKind::OneFOneB),
    ("ScheduleGPipe", ScheduleKind::GPipe),
    ("ScheduleInterleaved1F1B", ScheduleKind::Interleaved),
    ("ScheduleInterleavedZeroBubble", ScheduleKind::InterleavedZb),
    ("ScheduleLoopedBFS", ScheduleKind::LoopedBfs),
    ("ScheduleZBVZeroBubble", ScheduleKind::ZbV),
    ("ScheduleDualPipeV", ScheduleKind::DualPipeV),
];

/// What is no computation of a pipeline.
const MARKS: &[&str] = &["REDUCE_GRAD", "UNSHARD", "RESHARD"];

/// What the names of the files begin with.
const BEGINNING: &str = "Schedule";

pub(crate) fn holds(file: &str) -> bool {
    is_order(file, BEGINNING)
}

pub(crate) fn checks(folder: &Folder) -> Vec<Check> {
    orders::checks(folder, BEGINNING, &["index.json"], compare)
}

fn compare(about: &Value) -> String {
    let schedule = ours(about);
    let orders: Vec<Vec<Action>> = lists(&about["pipeline_order"]).iter().map(|own| actions(own)).collect();
    let theirs = if schedule.kind == ScheduleKind::OneFOneB { from_zero(orders) } else { orders };
    same_actions(&schedule.actions, &theirs);
    let n: usize = theirs.iter().map(Vec::len).sum();
    if about["with_comms"].is_null() {
        return format!("{n} actions alike");
    }
    let lowered = lists(&about["with_comms"]);
    let lowered_actions: Vec<Vec<Action>> = lowered.iter().map(|own| actions(own)).collect();
    same_actions(&schedule.actions, &lowered_actions);
    let (ours, theirs) = (messages(&schedule), theirs_sent(&lowered, &schedule));
    assert_eq!(ours, theirs, "sends and receives");
    format!("{n} actions and {} sends and receives alike", ours.values().map(Vec::len).sum::<usize>())
}

fn ours(about: &Value) -> Schedule {
    let name = about["schedule"].as_str().expect("the name of a schedule");
    let kind = KINDS.iter().find(|(theirs, _)| *theirs == name).map(|&(_, kind)| kind);
    let kind = kind.unwrap_or_else(|| panic!("nothing compares {name}"));
    let whole = |field: &str| number(about, field) as u32;
    let n_virtual = if kind.is_looped() { whole("virtual_stages_per_rank") } else { 1 };
    Schedule::new(kind, whole("pp"), n_virtual, whole("n_microbatches")).unwrap_or_else(|error| panic!("{error}"))
}

/// A list of words for each rank.
fn lists(value: &Value) -> Vec<Vec<String>> {
    let words = |own: &Value| own.as_array().expect("a list").iter().map(word).collect();
    value.as_array().expect("a list for each rank").iter().map(words).collect()
}

fn word(value: &Value) -> String {
    value.as_str().expect("a word for each action").to_owned()
}

/// The computations of a list, in order.
fn actions(own: &[String]) -> Vec<Action> {
    let is_message = |word: &str| ["SEND_", "RECV_"].iter().any(|part| word.contains(part));
    let is_left_out = |word: &str| word.is_empty() || is_message(word) || MARKS.iter().any(|mark| word.ends_with(mark));
    own.iter().filter(|word| !is_left_out(word)).map(|word| action(word)).collect()
}

fn action(word: &str) -> Action {
    match word.strip_prefix('(').and_then(|rest| rest.strip_suffix(")OVERLAP_F_B")) {
        Some(pair) => {
            let (forward, backward) = pair.split_once(';').unwrap_or_else(|| panic!("{word} has two halves"));
            Action::Overlapped { forward: piece(forward), backward: piece(backward) }
        }
        None => Action::One(piece(word)),
    }
}

/// `3F0`: stage, letter, microbatch.
fn piece(word: &str) -> Piece {
    let at = word.find(|c: char| !c.is_ascii_digit()).unwrap_or_else(|| panic!("{word} has a letter"));
    let pass = match &word[at..=at] {
        "F" => Pass::Forward,
        "B" => Pass::Backward,
        "I" => Pass::BackwardInput,
        "W" => Pass::BackwardWeight,
        _ => panic!("{word} is no computation that we know"),
    };
    Piece { stage: StageId(whole(&word[..at], word)), microbatch: Microbatch(whole(&word[at + 1..], word)), pass }
}

fn whole(digits: &str, word: &str) -> u32 {
    digits.parse().unwrap_or_else(|error| panic!("{word}: {error}"))
}

/// The printed order of 1F1B numbers the forwards of the last stage from 1; its backwards, as all others, from 0.
fn from_zero(mut orders: Vec<Vec<Action>>) -> Vec<Vec<Action>> {
    for action in orders.last_mut().into_iter().flatten() {
        if let Action::One(Piece { microbatch, pass: Pass::Forward, .. }) = action {
            microbatch.0 = microbatch.0.checked_sub(1).expect("it is numbered from 1");
        }
    }
    orders
}

/// The messages of a lowered order. `2RECV_F0`: the stage that has it, and the microbatch.
fn theirs_sent(lowered: &[Vec<String>], schedule: &Schedule) -> Messages {
    let mut messages = Messages::new();
    for (rank, word) in (0..).zip(lowered).flat_map(|(rank, own)| own.iter().map(move |word| (rank, word))) {
        let kinds =
            [("SEND_F", false, true), ("RECV_F", false, false), ("SEND_B", true, true), ("RECV_B", true, false)];
        let found = kinds.iter().find_map(|&(kind, is_gradient, is_sent)| {
            let (stage, microbatch) = word.split_once(kind)?;
            Some((whole(stage, word), whole(microbatch, word), is_gradient, is_sent))
        });
        let Some((stage, microbatch, is_gradient, is_sent)) = found else { continue };
        // Activations go up by a stage, gradients down.
        let other = if is_gradient == is_sent { stage - 1 } else { stage + 1 };
        let microbatch = Microbatch(microbatch);
        let peer = schedule.placement.holder(StageId(other), microbatch);
        let end = End { rank, stage: StageId(stage), is_gradient, is_sent };
        messages.entry(end).or_default().push((microbatch, peer));
    }
    messages
}
