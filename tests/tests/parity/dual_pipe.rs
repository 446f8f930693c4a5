//! Orders of the published DualPipe and DualPipeV, event by event and in time, and the messages of their batches.

use ds_plan::schedule::{
    Action, Microbatch, Pass, Piece, Placement, Schedule, StageId, Timeline, peak_activations, timeline,
};
use ds_plan::spec::ScheduleKind;
use serde_json::Value;

use crate::Check;
use crate::folder::{Folder, number};
use crate::orders::{self, End, Messages, is_order, messages, same_actions};

/// What the names of the files begin with.
const BEGINNING: &str = "dualpipe";

pub(crate) fn holds(file: &str) -> bool {
    is_order(file, BEGINNING)
}

pub(crate) fn checks(folder: &Folder) -> Vec<Check> {
    orders::checks(folder, BEGINNING, &[], compare)
}

fn compare(about: &Value) -> String {
    let schedule = ours(about);
    let theirs = Theirs { placement: schedule.placement, ranks: ranks(about) };
    let actions = theirs.actions();
    same_actions(&schedule.actions, &actions);
    let (ours, sent) = (messages(&schedule), theirs.messages());
    assert_eq!(ours, sent, "sends and receives");
    let played = timeline(&schedule.actions, schedule.placement, |action| cost(about, action)).expect("no deadlock");
    in_time(about, &theirs, &played);
    let peaks: Vec<u64> = schedule.actions.iter().map(|own| peak_activations(own, |_| 1)).collect();
    assert_eq!(Value::from(peaks), about["peak_live_activations"], "live activations");
    let n_sent: usize = ours.values().map(Vec::len).sum();
    let n: usize = actions.iter().map(Vec::len).sum();
    format!("{n} actions, {n_sent} sends and receives alike, {} units long", played.end())
}

fn ours(about: &Value) -> Schedule {
    let kind = match about["schedule"].as_str() {
        Some("dualpipe") => ScheduleKind::DualPipe,
        Some("dualpipev") => ScheduleKind::DualPipeV,
        other => panic!("nothing compares {other:?}"),
    };
    let whole = |field: &str| number(about, field) as u32;
    Schedule::new(kind, whole("pp"), 1, whole("num_chunks")).unwrap_or_else(|error| panic!("{error}"))
}

fn ranks(about: &Value) -> Vec<Vec<Value>> {
    let events = |own: &Value| own.as_array().expect("a list of events").clone();
    about["ranks"].as_array().expect("a list for each rank").iter().map(events).collect()
}

/// Begin and end of every action, idle time of every rank, the whole.
fn in_time(about: &Value, theirs: &Theirs, played: &Timeline) {
    assert_eq!(played.end() as f64, number(about, "makespan"), "makespan");
    for (rank, (row, events)) in (0..).zip(played.rows.iter().zip(&theirs.ranks)) {
        let timed = events.iter().filter(|event| event["op"] != "comm");
        for (place, (span, event)) in row.iter().zip(timed).enumerate() {
            let ours = [span.start, span.end].map(|time| time as f64);
            assert_eq!(ours, [number(event, "start"), number(event, "end")], "rank {rank}, action {place}");
        }
        assert_eq!(Some(played.idle(rank) as f64), about["bubble"][rank as usize].as_f64(), "idle time of rank {rank}");
    }
}

/// What the file says that an action takes.
fn cost(about: &Value, action: Action) -> u64 {
    let name = match action {
        Action::One(piece) => match piece.pass {
            Pass::Forward => "F",
            Pass::Backward => "B",
            Pass::BackwardInput => "I",
            Pass::BackwardWeight => "W",
        },
        Action::Overlapped { .. } => "FB",
    };
    number(&about["unit_costs"], name) as u64
}

/// The published events.
struct Theirs {
    placement: Placement,
    ranks: Vec<Vec<Value>>,
}

impl Theirs {
    fn actions(&self) -> Vec<Vec<Action>> {
        let of_rank = |(rank, own): (u32, &Vec<Value>)| {
            own.iter().filter(|event| event["op"] != "comm").map(|event| self.action(rank, event)).collect()
        };
        (0..).zip(&self.ranks).map(of_rank).collect()
    }

    fn action(&self, rank: u32, event: &Value) -> Action {
        let pass = match event["op"].as_str() {
            Some("F") => Pass::Forward,
            Some("B") => Pass::Backward,
            Some("I") => Pass::BackwardInput,
            Some("W") => Pass::BackwardWeight,
            Some("FB") => {
                let forward = self.piece(rank, &event["f"], Pass::Forward);
                return Action::Overlapped { forward, backward: self.piece(rank, &event["b"], Pass::Backward) };
            }
            other => panic!("{other:?} is no event that we know"),
        };
        Action::One(self.piece(rank, event, pass))
    }

    fn piece(&self, rank: u32, event: &Value, pass: Pass) -> Piece {
        let (stage, microbatch) = self.place(rank, event);
        Piece { stage, microbatch, pass }
    }

    /// Their direction is the stage that a rank takes, and under DualPipe each has microbatches of its own.
    fn place(&self, rank: u32, event: &Value) -> (StageId, Microbatch) {
        let (is_back, own) = (number(event, "dir") == 1.0, number(event, "mb") as u32);
        let (far, first) = match self.placement {
            Placement::BothWays { n_pipeline, n_microbatches } => (n_pipeline - 1 - rank, n_microbatches / 2),
            Placement::Folded { n_pipeline } => (2 * n_pipeline - 1 - rank, 0),
            other => panic!("{other:?} has no directions"),
        };
        if is_back { (StageId(far), Microbatch(first + own)) } else { (StageId(rank), Microbatch(own)) }
    }

    fn messages(&self) -> Messages {
        let mut messages = Messages::new();
        for (rank, event) in (0..).zip(&self.ranks).flat_map(|(rank, own)| own.iter().map(move |event| (rank, event))) {
            for message in event["batch"].as_array().into_iter().flatten() {
                let (is_gradient, is_sent) = match message["op"].as_str() {
                    Some("send_f") => (false, true),
                    Some("recv_f") => (false, false),
                    Some("send_b") => (true, true),
                    Some("recv_b") => (true, false),
                    other => panic!("{other:?} is no message that we know"),
                };
                let (stage, microbatch) = self.place(rank, message);
                let end = End { rank, stage, is_gradient, is_sent };
                messages.entry(end).or_default().push((microbatch, number(message, "peer") as u32));
            }
        }
        messages
    }
}
