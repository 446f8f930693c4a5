//! A schedule played in time: when every action starts and ends if it takes so long and sending takes nothing.

use std::collections::HashMap;

use super::{Action, Microbatch, Payload, Placement, StageId, transfers};

/// An action in time. Units are the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// What is done.
    pub action: Action,
    /// From.
    pub start: u64,
    /// Until.
    pub end: u64,
}

/// A step of a pipeline in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// Per pipeline coordinate, in order.
    pub rows: Vec<Vec<Span>>,
}

/// A pipeline coordinate that can never go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pipeline coordinate {pipeline} waits for ever before its action {place}: {action:?}")]
pub struct Stuck {
    /// Who.
    pub pipeline: u32,
    /// Actions that it has done.
    pub place: usize,
    /// What it cannot do.
    pub action: Action,
}

impl Timeline {
    /// When the last action ends.
    pub fn end(&self) -> u64 {
        self.rows.iter().flatten().map(|span| span.end).max().unwrap_or(0)
    }

    /// Time that a coordinate is idle between the beginning and the end of the whole.
    pub fn idle(&self, pipeline: u32) -> u64 {
        self.end() - self.rows[pipeline as usize].iter().map(|span| span.end - span.start).sum::<u64>()
    }

    /// Idle time of all coordinates as a share of all their time; 0 when there is nothing to do.
    pub fn bubble_share(&self) -> f64 {
        let idle: u64 = (0..self.rows.len() as u32).map(|pipeline| self.idle(pipeline)).sum();
        let all = self.end() * self.rows.len() as u64;
        if all == 0 { 0.0 } else { idle as f64 / all as f64 }
    }
}

/// Plays the actions of every pipeline coordinate. Each does its own in order, as soon as what an action needs from
/// other stages is there.
///
/// # Errors
/// When nobody can go on though there is work left.
pub fn timeline(
    actions: &[Vec<Action>],
    placement: Placement,
    cost: impl Fn(Action) -> u64,
) -> Result<Timeline, Stuck> {
    let mut play = Play { placement, sent: HashMap::new() };
    let mut rows: Vec<Vec<Span>> = actions.iter().map(|own| Vec::with_capacity(own.len())).collect();
    loop {
        let mut went_on = false;
        for (row, own) in rows.iter_mut().zip(actions) {
            while let Some(&action) = own.get(row.len()) {
                let Some(ready) = play.ready(action) else { break };
                let start = ready.max(row.last().map_or(0, |span| span.end));
                let span = Span { action, start, end: start + cost(action) };
                play.send(span);
                row.push(span);
                went_on = true;
            }
        }
        if !went_on {
            break;
        }
    }
    let stuck = rows.iter().zip(actions).enumerate().find_map(|(pipeline, (row, own))| {
        let action = *own.get(row.len())?;
        Some(Stuck { pipeline: pipeline as u32, place: row.len(), action })
    });
    stuck.map_or(Ok(Timeline { rows }), Err)
}

struct Play {
    placement: Placement,
    /// When something was sent from one stage to another.
    sent: HashMap<(StageId, StageId, Payload, Microbatch), u64>,
}

impl Play {
    /// When all that an action needs is there, if it is known.
    fn ready(&self, action: Action) -> Option<u64> {
        let mut ready = 0;
        for piece in action.pieces() {
            if let Some(from) = transfers(piece, self.placement).receive {
                ready = ready.max(*self.sent.get(&(from.stage, piece.stage, from.payload, piece.microbatch))?);
            }
        }
        Some(ready)
    }

    fn send(&mut self, span: Span) {
        for piece in span.action.pieces() {
            if let Some(to) = transfers(piece, self.placement).send {
                self.sent.insert((piece.stage, to.stage, to.payload, piece.microbatch), span.end);
            }
        }
    }
}
