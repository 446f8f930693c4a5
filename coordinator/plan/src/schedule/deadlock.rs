//! Whether a schedule can always go on when sends meet their receives, as real networks make them.

use std::collections::{HashMap, VecDeque};

use super::timeline::Stuck;
use super::{Action, Microbatch, Peer, Placement, StageId, transfers};

/// What one coordinate sends another of one kind, from one stage: its messages keep their order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Link {
    from: u32,
    /// The stage that sends.
    stage: StageId,
    to: u32,
    /// The stage that takes.
    at: StageId,
}

/// What one coordinate does to its links, in order.
#[derive(Clone, Copy)]
enum Step {
    Receive(Link, Microbatch),
    Send(Link, Microbatch),
}

/// Plays the sends and receives of every pipeline coordinate, each in the order of its actions: an action's receives
/// come first, its sends last. A send is done when its receiver takes it; up to `in_flight` sends a link may be
/// waiting for that while their sender goes on. With 0, a sender stands still until its receiver takes it.
/// Messages of a link must be taken in the order in which they were sent. Returns who is stuck, if somebody is.
pub fn deadlock(actions: &[Vec<Action>], placement: Placement, in_flight: usize) -> Option<Stuck> {
    let programs: Vec<Vec<(usize, Step)>> =
        (0..).zip(actions).map(|(pipeline, own)| program(pipeline, own, placement)).collect();
    let mut next = vec![0; programs.len()];
    let mut links: HashMap<Link, VecDeque<Microbatch>> = HashMap::new();
    loop {
        let mut went_on = false;
        for row in 0..programs.len() {
            while let Some(&(_, step)) = programs[row].get(next[row]) {
                let may = match step {
                    Step::Send(link, microbatch) if in_flight > 0 => {
                        let waiting = links.entry(link).or_default();
                        let room = waiting.len() < in_flight;
                        if room {
                            waiting.push_back(microbatch);
                        }
                        room
                    }
                    Step::Send(link, microbatch) => {
                        let taker = (0..programs.len()).find(|&other| {
                            let step = programs[other].get(next[other]);
                            matches!(step, Some(&(_, Step::Receive(l, m))) if (l, m) == (link, microbatch))
                        });
                        taker.inspect(|&other| next[other] += 1).is_some()
                    }
                    Step::Receive(link, microbatch) => {
                        let waiting = links.entry(link).or_default();
                        waiting.front() == Some(&microbatch) && waiting.pop_front().is_some()
                    }
                };
                if !may {
                    break;
                }
                next[row] += 1;
                went_on = true;
            }
        }
        if !went_on {
            break;
        }
    }
    programs.iter().zip(&next).zip(actions).enumerate().find_map(|(pipeline, ((program, &next), own))| {
        let &(place, _) = program.get(next)?;
        Some(Stuck { pipeline: pipeline as u32, place, action: own[place] })
    })
}

/// The least number of sends that every link must be able to hold so that nobody is stuck; none when no number helps.
pub fn sends_ahead(actions: &[Vec<Action>], placement: Placement) -> Option<usize> {
    let most = actions.iter().map(Vec::len).max().unwrap_or(0);
    (0..=most).find(|&in_flight| deadlock(actions, placement, in_flight).is_none())
}

/// The sends and receives of one coordinate, each with the place of its action. What passes between two stages of the
/// same coordinate is not sent.
fn program(pipeline: u32, own: &[Action], placement: Placement) -> Vec<(usize, Step)> {
    let elsewhere = |peer: &Peer| peer.pipeline != pipeline;
    let mut program = Vec::new();
    for (place, action) in own.iter().enumerate() {
        for piece in action.pieces() {
            if let Some(peer) = transfers(piece, placement).receive.filter(elsewhere) {
                let link = Link { from: peer.pipeline, stage: peer.stage, to: pipeline, at: piece.stage };
                program.push((place, Step::Receive(link, piece.microbatch)));
            }
        }
        for piece in action.pieces() {
            if let Some(peer) = transfers(piece, placement).send.filter(elsewhere) {
                let link = Link { from: pipeline, stage: piece.stage, to: peer.pipeline, at: peer.stage };
                program.push((place, Step::Send(link, piece.microbatch)));
            }
        }
    }
    program
}
