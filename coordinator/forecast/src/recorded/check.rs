//! Whether what ranks wrote down fits together.

use std::collections::{BTreeMap, HashSet};

use super::record::{Does, Event, StepRecord};

/// Why a record cannot be played.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecordError {
    /// An event waits for itself, or for what comes after it.
    #[error("rank {rank}, event {event}: it waits for event {after}, only earlier ones can have been over")]
    After {
        /// Whose.
        rank: u32,
        /// Its place.
        event: u32,
        /// For what.
        after: u32,
    },
    /// A group that the record does not list.
    #[error("rank {rank}, event {event}: group {group} is not among the {groups} of the record")]
    NoGroup {
        /// Whose.
        rank: u32,
        /// Its place.
        event: u32,
        /// Which.
        group: u32,
        /// As many are there.
        groups: usize,
    },
    /// A rank where it does not belong.
    #[error("rank {rank}, event {event}: rank {other} is not in group {group}")]
    NotInGroup {
        /// Whose.
        rank: u32,
        /// Its place.
        event: u32,
        /// Who.
        other: u32,
        /// Where.
        group: u32,
    },
    /// A rank meets a group twice for one operation.
    #[error("rank {rank}, event {event}: it comes to operation {number} of group {group} for the second time")]
    Again {
        /// Whose.
        rank: u32,
        /// Its place.
        event: u32,
        /// Where.
        group: u32,
        /// For which operation.
        number: u64,
    },
    /// Somebody never comes.
    #[error("operation {number} of group {group}: rank {rank} never comes to it, rank {other} does")]
    Missing {
        /// For which operation.
        number: u64,
        /// Where.
        group: u32,
        /// Who is not there.
        rank: u32,
        /// Who is.
        other: u32,
    },
    /// Bytes that make no sense.
    #[error("rank {rank}, event {event}: {what} is {value}, it must be finite and at least 0")]
    Number {
        /// Whose.
        rank: u32,
        /// Its place.
        event: u32,
        /// What.
        what: &'static str,
        /// What there is.
        value: f64,
    },
    /// A rank that is not there.
    #[error("rank {rank}, event {event}: rank {other} is not among the {ranks} of the record")]
    NoRank {
        /// Whose.
        rank: u32,
        /// Its place.
        event: u32,
        /// Who.
        other: u32,
        /// As many are there.
        ranks: usize,
    },
    /// A message with one end.
    #[error("message {number} from rank {from} to rank {to}: it is {found} times sent and {taken} times taken")]
    Unmatched {
        /// Who sends.
        from: u32,
        /// Who takes.
        to: u32,
        /// Which.
        number: u64,
        /// As often it is sent.
        found: u32,
        /// As often it is taken.
        taken: u32,
    },
}

/// Checks a record.
///
/// # Errors
/// The first thing that does not fit.
pub(crate) fn check(record: &StepRecord) -> Result<(), RecordError> {
    let mut ends = Ends::default();
    for (rank, events) in (0..).zip(&record.ranks) {
        let mut met = HashSet::new();
        for (event, own) in (0..).zip(events) {
            check_event(record, At { rank, event }, own, &mut met, &mut ends)?;
        }
    }
    for ((group, number), came) in &ends.came {
        let missing = record.groups[*group as usize].iter().find(|rank| !came.contains(rank));
        if let Some(&rank) = missing {
            return Err(RecordError::Missing { number: *number, group: *group, rank, other: came[0] });
        }
    }
    match ends.messages.into_iter().find(|(_, counts)| *counts != (1, 1)) {
        Some(((from, to, number), (found, taken))) => Err(RecordError::Unmatched { from, to, number, found, taken }),
        None => Ok(()),
    }
}

#[derive(Clone, Copy)]
struct At {
    rank: u32,
    event: u32,
}

/// What has another end elsewhere.
#[derive(Default)]
struct Ends {
    /// By group and operation: who came.
    came: BTreeMap<(u32, u64), Vec<u32>>,
    /// By sender, receiver and number: how often sent, and taken.
    messages: BTreeMap<(u32, u32, u64), (u32, u32)>,
}

fn check_event(
    record: &StepRecord,
    At { rank, event }: At,
    own: &Event,
    met: &mut HashSet<(u32, u64)>,
    ends: &mut Ends,
) -> Result<(), RecordError> {
    if let Some(&after) = own.after.iter().find(|&&after| after >= event) {
        return Err(RecordError::After { rank, event, after });
    }
    let is_number = |what, value: f64| match value.is_finite() && value >= 0.0 {
        true => Ok(()),
        false => Err(RecordError::Number { rank, event, what, value }),
    };
    let is_there = |other: u32| match record.ranks.len() {
        ranks if other as usize >= ranks => Err(RecordError::NoRank { rank, event, other, ranks }),
        _ => Ok(()),
    };
    match &own.does {
        Does::Compute { load, .. } => is_number("load", *load),
        Does::Meet { group, number, sends, .. } => {
            let (group, number, groups) = (*group, *number, record.groups.len());
            let members =
                record.groups.get(group as usize).ok_or(RecordError::NoGroup { rank, event, group, groups })?;
            let outside = std::iter::once(rank).chain(sends.iter().map(|(to, _)| *to)).find(|r| !members.contains(r));
            if let Some(other) = outside {
                return Err(RecordError::NotInGroup { rank, event, other, group });
            }
            if !met.insert((group, number)) {
                return Err(RecordError::Again { rank, event, group, number });
            }
            ends.came.entry((group, number)).or_default().push(rank);
            sends.iter().try_for_each(|(_, bytes)| is_number("bytes", *bytes))
        }
        Does::Send { to, number, bytes } => {
            ends.messages.entry((rank, *to, *number)).or_default().0 += 1;
            is_there(*to).and_then(|()| is_number("bytes", *bytes))
        }
        Does::Receive { from, number } => {
            ends.messages.entry((*from, rank, *number)).or_default().1 += 1;
            is_there(*from)
        }
    }
}
