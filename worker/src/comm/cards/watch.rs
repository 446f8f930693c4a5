//! A thread that looks at every group on cards: whether a peer is gone, the library has noticed something, or an
//! operation takes too long; then it says which rank has not come, or which means something else.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::super::clock::{now, pause};
use super::super::error::{CommError, Mismatch};
use super::super::signature::Op;
use super::super::wire::{Frame, HEADER_BYTES, Header};
use super::card_group::{CardGroup, Flight};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// For the others to say where they are.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Looks at a group as long as it is there.
pub(super) fn watch(group: &Arc<CardGroup>) -> std::io::Result<()> {
    let group: Weak<CardGroup> = Arc::downgrade(group);
    thread::Builder::new().name("watch cards".to_owned()).spawn(move || {
        while let Some(group) = group.upgrade() {
            if group.failure().is_some() {
                return;
            }
            if let Some(error) = look(&group) {
                group.fail(error);
                return;
            }
            drop(group);
            pause(LOOK_EVERY);
        }
    })?;
    Ok(())
}

/// What is wrong, if something is.
fn look(group: &CardGroup) -> Option<CommError> {
    let oldest = match group.oldest() {
        Ok(oldest) => oldest,
        Err(error) => return Some(error),
    };
    let (op, sequence) = oldest.as_ref().map_or((Op::Barrier, 0), |flight| (flight.op, flight.sequence));
    if let Some(error) = group.group.failure(op, sequence).or_else(|| group.library_failure()) {
        return Some(error);
    }
    oldest.filter(|flight| now() > flight.since + group.longest).map(|flight| diagnose(group, &flight))
}

/// Who holds up an operation that takes too long: all who are in it say so and what they mean.
fn diagnose(group: &CardGroup, flight: &Flight) -> CommError {
    let control = &group.control;
    let (id, own_rank) = (group.group.told_as(), control.ranks()[control.index()]);
    let &Flight { op, sequence, signature, .. } = flight;
    let header = Header { group: id, source: own_rank, sequence, phase: 0, signature };
    let told = match control.all_gather_bytes(&Frame::Data(header).encode()).wait(now() + ANSWER_MAX) {
        Ok(told) => told,
        Err(CommError::Timeout { missing, .. }) => {
            return CommError::Timeout { group: id, op, sequence, missing };
        }
        Err(error) => return error,
    };
    let read = |bytes: &Vec<u8>| match Frame::decode(&<[u8; HEADER_BYTES]>::try_from(bytes.as_slice()).ok()?)? {
        Frame::Data(header) => Some(header),
        _ => None,
    };
    let is_alike = |other: &Header| other.sequence == sequence && other.signature == signature;
    let other = told.iter().filter_map(read).find(|other| !is_alike(other));
    match other {
        Some(other) => CommError::Mismatch(Box::new(Mismatch {
            group: id,
            sequence,
            rank: own_rank,
            signature,
            other: other.source,
            other_signature: other.signature,
        })),
        None => {
            let reason =
                format!("all members are in it, and it has not ended within {} s", group.longest.as_secs_f64());
            group.group.on_card(op, sequence, reason)
        }
    }
}
