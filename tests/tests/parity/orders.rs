//! What the two kinds of pipeline orders have in common: lists of actions, and the messages between ranks.

use std::collections::BTreeMap;
use std::path::Path;

use ds_plan::schedule::{Action, Microbatch, Payload, Schedule, StageId, transfers};
use serde_json::Value;

use crate::Check;
use crate::folder::Folder;

/// One check a file whose name begins so; `besides` are files that say what the folder holds.
pub(crate) fn checks(folder: &Folder, beginning: &str, besides: &[&str], compare: fn(&Value) -> String) -> Vec<Check> {
    let (orders, rest): (Vec<String>, Vec<String>) =
        folder.others(besides).into_iter().partition(|file| is_order(file, beginning));
    let check = |file: String| {
        let folder = folder.clone();
        Check::new(file.clone(), move || compare(&folder.json(&file)))
    };
    let complete = Check::new("files", move || {
        assert!(rest.is_empty(), "nothing compares {rest:?}");
        "all compared".to_owned()
    });
    orders.into_iter().map(check).chain([complete]).collect()
}

/// One end of a link between two ranks: the messages that a rank sends or receives of a kind, at one of its stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    pub(crate) rank: u32,
    pub(crate) stage: StageId,
    pub(crate) is_gradient: bool,
    pub(crate) is_sent: bool,
}

/// Microbatches in the order in which they pass, with the rank at the other end.
pub(crate) type Messages = BTreeMap<End, Vec<(Microbatch, u32)>>;

/// Every message of a schedule, as the executor derives them.
pub(crate) fn messages(schedule: &Schedule) -> Messages {
    let mut messages = Messages::new();
    for (rank, own) in (0..).zip(&schedule.actions) {
        for piece in own.iter().flat_map(|action| action.pieces()) {
            let transfer = transfers(piece, schedule.placement);
            for (peer, is_sent) in [(transfer.receive, false), (transfer.send, true)] {
                if let Some(peer) = peer.filter(|peer| peer.pipeline != rank) {
                    let is_gradient = peer.payload == Payload::Gradient;
                    let end = End { rank, stage: piece.stage, is_gradient, is_sent };
                    messages.entry(end).or_default().push((piece.microbatch, peer.pipeline));
                }
            }
        }
    }
    messages
}

/// Compares rank by rank, so that a difference is named by its rank and place.
///
/// # Panics
/// At the first difference.
pub(crate) fn same_actions(ours: &[Vec<Action>], theirs: &[Vec<Action>]) {
    assert_eq!(ours.len(), theirs.len(), "ranks");
    for (rank, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        for (place, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            assert_eq!(ours, theirs, "rank {rank}, action {place}");
        }
        assert_eq!(ours.len(), theirs.len(), "actions of rank {rank}");
    }
}

/// Whether a file is named as the orders are: with that beginning, as JSON.
pub(crate) fn is_order(file: &str, beginning: &str) -> bool {
    file.starts_with(beginning) && Path::new(file).extension().is_some_and(|extension| extension == "json")
}
