//! What goes wrong in an attempt, and which of many complaints is the cause.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Blame;
use super::attempt::Attempt;

/// Last lines that a reason shows; the log has them all.
const LINES_SHOWN: usize = 10;

/// Something that went wrong with a rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Which rank.
    pub rank: u32,
    /// What.
    pub kind: FaultKind,
    /// It came when the rank had been told to end, so that it may be no more than the effect of that.
    pub is_late: bool,
}

/// What can go wrong with a rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It says so itself.
    Failed {
        /// Who is wrong.
        blame: Blame,
        /// A sentence.
        message: String,
        /// Another rank that it holds responsible.
        culprit: Option<u32>,
    },
    /// Its process ended.
    Exited,
    /// It got no process.
    NotStarted {
        /// Why.
        reason: String,
    },
    /// Its process said nothing at all.
    NeverRegistered {
        /// So long.
        after: Duration,
    },
    /// Nothing was heard of it.
    Silent {
        /// For so long.
        after: Duration,
    },
    /// It took up other weights than the first rank.
    Disagrees {
        /// Updates that they have seen.
        own: u64,
        /// Updates that the first rank's have seen.
        first: u64,
    },
    /// Its node died with it.
    NodeGone {
        /// Nothing was heard for so long.
        after: Duration,
    },
    /// The coordinator that it belonged to died.
    Orphaned {
        /// And so long it may be without one.
        after: Duration,
    },
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// For people.
    pub(super) reason: String,
    /// Whether another attempt may help.
    pub(super) is_worth_retrying: bool,
}

impl Fault {
    /// Ranks whose own last words must be heard before they are told to end.
    pub(super) fn suspects(&self) -> Vec<u32> {
        match &self.kind {
            FaultKind::Failed { culprit: Some(culprit), .. } => vec![self.rank, *culprit],
            FaultKind::Failed { .. } => vec![self.rank],
            // It may be stuck; waiting for it brings nothing.
            _ => Vec::new(),
        }
    }

    /// Trying again would not help.
    fn is_users(&self) -> bool {
        matches!(self.kind, FaultKind::Failed { blame: Blame::User, .. } | FaultKind::Disagrees { .. })
    }

    /// It does not only pass on what another rank has done to it.
    fn is_first_hand(&self) -> bool {
        match &self.kind {
            FaultKind::Failed { blame, culprit, .. } => {
                *blame != Blame::Peer && culprit.is_none_or(|culprit| culprit == self.rank)
            }
            _ => true,
        }
    }

    fn culprit(&self) -> Option<u32> {
        match &self.kind {
            FaultKind::Failed { culprit, .. } => culprit.filter(|&culprit| culprit != self.rank),
            _ => None,
        }
    }
}

/// The cause among all complaints: the first that a rank has about itself; else the rank that others blame, with its
/// own words where it has any; else the first complaint.
pub(super) fn verdict(attempt: &Attempt) -> Verdict {
    let faults = &attempt.faults;
    let first_hand = |fault: &&Fault| fault.is_first_hand();
    if let Some(cause) = faults.iter().filter(first_hand).find(|fault| !fault.is_late) {
        return own(attempt, cause.rank);
    }
    let Some(first) = faults.first() else {
        return Verdict { reason: "its ranks are gone".to_owned(), is_worth_retrying: true };
    };
    match end_of_blame(faults, first) {
        Some((_, culprit)) if faults.iter().filter(first_hand).any(|fault| fault.rank == culprit) => {
            own(attempt, culprit)
        }
        Some((last, culprit)) => blamed(attempt, last, culprit),
        None => own(attempt, first.rank),
    }
}

/// Follows who blames whom to the last one, who blames nobody. Gives the last complaint and whom it blames.
fn end_of_blame<'a>(faults: &'a [Fault], first: &'a Fault) -> Option<(&'a Fault, u32)> {
    let (mut last, mut culprit) = (first, first.culprit()?);
    let mut seen = vec![first.rank];
    while !seen.contains(&culprit) {
        seen.push(culprit);
        let next = faults.iter().find_map(|fault| Some((fault, fault.culprit()?)).filter(|_| fault.rank == culprit));
        let Some((fault, other)) = next else { break };
        (last, culprit) = (fault, other);
    }
    Some((last, culprit))
}

/// A rank failed by itself; what it said of that counts more than how it ended.
fn own(attempt: &Attempt, rank: u32) -> Verdict {
    let of_rank = || attempt.faults.iter().filter(|fault| fault.rank == rank);
    let said = of_rank().find(|fault| matches!(fault.kind, FaultKind::Failed { .. }) && fault.is_first_hand());
    let mut reason = subject(attempt, rank);
    let fault = said.or(of_rank().find(|fault| fault.is_first_hand())).or(of_rank().next());
    if let Some(fault) = fault {
        let _ = write!(reason, " {}", predicate(attempt, fault));
    }
    add_last_words(&mut reason, attempt, rank);
    Verdict { reason, is_worth_retrying: !fault.is_some_and(Fault::is_users) }
}

/// The blamed rank said nothing itself.
fn blamed(attempt: &Attempt, fault: &Fault, culprit: u32) -> Verdict {
    let FaultKind::Failed { message, .. } = &fault.kind else { unreachable!("only ranks that failed blame others") };
    let mut reason = subject(attempt, culprit);
    let ended = attempt.ranks.get(culprit as usize).filter(|rank| !rank.told_to_end);
    match ended.and_then(|rank| rank.exit.as_ref()) {
        Some(_) => reason.push_str(&format!(" {}", ending(attempt, culprit))),
        None => reason.push_str(" failed its peers"),
    }
    let _ = write!(reason, ", says rank {}: {}", fault.rank, message.trim_end());
    add_last_words(&mut reason, attempt, culprit);
    Verdict { reason, is_worth_retrying: true }
}

fn subject(attempt: &Attempt, rank: u32) -> String {
    match attempt.ranks.get(rank as usize) {
        Some(of) => format!("rank {rank} on {}", of.node),
        None => format!("rank {rank}"),
    }
}

fn predicate(attempt: &Attempt, fault: &Fault) -> String {
    match &fault.kind {
        FaultKind::Failed { message, .. } => match exit_of(attempt, fault.rank) {
            Some(how) => format!("failed ({how}): {}", message.trim_end()),
            None => format!("failed: {}", message.trim_end()),
        },
        FaultKind::Exited => ending(attempt, fault.rank),
        FaultKind::NotStarted { reason } => format!("could not be started: {reason}"),
        FaultKind::NeverRegistered { after } => format!("said nothing within {} of its start", seconds(*after)),
        FaultKind::Silent { after } => format!("was silent for {}", seconds(*after)),
        FaultKind::Disagrees { own, first } => format!(
            "took up the checkpoint of step {own}, rank 0 that of step {first}; do all nodes see the same checkpoint folder?"
        ),
        FaultKind::NodeGone { after } => format!("is lost with its node, which was silent for {}", seconds(*after)),
        FaultKind::Orphaned { after } if after.is_zero() => "ended with its coordinator".to_owned(),
        FaultKind::Orphaned { after } => {
            format!("did not come back within {} of the coordinator's restart", seconds(*after))
        }
    }
}

fn ending(attempt: &Attempt, rank: u32) -> String {
    match exit_of(attempt, rank) {
        Some(how) if how == "exit code 0" => "ended without having finished".to_owned(),
        Some(how) => format!("died with {how}"),
        None => "died".to_owned(),
    }
}

/// Of a process that ended by itself.
fn exit_of(attempt: &Attempt, rank: u32) -> Option<String> {
    let exit = attempt.ranks.get(rank as usize).filter(|rank| !rank.told_to_end)?.exit.as_ref()?;
    match (exit.code, exit.signal) {
        (_, Some(signal)) => Some(format!("signal {signal}{}", name(signal))),
        (Some(code), None) => Some(format!("exit code {code}")),
        (None, None) => None,
    }
}

/// Those that people meet.
fn name(signal: i32) -> &'static str {
    match signal {
        2 => " (SIGINT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL; out of memory, perhaps)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

fn add_last_words(reason: &mut String, attempt: &Attempt, rank: u32) {
    let exit = attempt.ranks.get(rank as usize).and_then(|rank| rank.exit.as_ref());
    let lines = exit.map_or(&[][..], |exit| &exit.last_lines);
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    if !shown.is_empty() {
        reason.push_str("\nits last words:");
    }
    for line in shown {
        let _ = write!(reason, "\n  {line}");
    }
}

fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds.fract() == 0.0 { format!("{seconds:.0} s") } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests;
