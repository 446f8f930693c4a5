//! The order in which the parts of an action go to a rank's streams.

use std::collections::HashMap;

use super::scene::{Begins, Scene};

/// How long templates take with nothing beside them: bytes over the busiest link.
#[derive(Clone, Debug)]
pub(super) struct Costs(Vec<f64>);

impl Costs {
    pub(super) fn new(scene: &Scene) -> Self {
        let strands = &scene.epochs[0];
        Self(
            scene
                .templates
                .iter()
                .map(|template| {
                    let mut on_link: HashMap<u32, f64> = HashMap::new();
                    let mut latency = 0.0_f64;
                    let sample = match template.begins {
                        // One group stands for all: this only decides an order.
                        Begins::Group => {
                            let owner = template.groups.start;
                            let all = template.messages.clone();
                            let n = all.clone().take_while(|&m| scene.messages[m as usize].owner == owner).count();
                            all.start..all.start + n as u32
                        }
                        Begins::Sender => {
                            template.messages.start..template.messages.end.min(template.messages.start + 1)
                        }
                    };
                    for strand in sample.flat_map(|message| strands.of(message)) {
                        latency = latency.max(strands.latency[strand]);
                        for &link in strands.path(strand) {
                            *on_link.entry(link).or_default() += strands.bytes[strand];
                        }
                    }
                    let seconds = |(link, bytes): (&u32, &f64)| bytes / strands.capacity[*link as usize];
                    let busiest = on_link.iter().map(seconds).fold(0.0, f64::max);
                    latency + if busiest.is_finite() { busiest } else { 0.0 }
                })
                .collect(),
        )
    }

    pub(super) fn of(&self, template: u32) -> f64 {
        self.0[template as usize]
    }
}

/// What a stream is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ask {
    /// Whether it goes to the compute stream, or to the exchange stream.
    pub(super) computes: bool,
    pub(super) seconds: f64,
}

/// Orders the parts of several threads that go side by side. Each stream does one at a time; whoever can begin first
/// goes first, the earlier thread where several can. `opens(thread, part)` names the part of another thread that must
/// have ended before. Gives (thread, part) in order.
pub(super) fn interleave(
    threads: &[Vec<Ask>],
    opens: impl Fn(usize, usize) -> Option<(usize, usize)>,
) -> Vec<(usize, usize)> {
    let mut next = vec![0_usize; threads.len()];
    let mut ends: Vec<Vec<f64>> = threads.iter().map(|parts| Vec::with_capacity(parts.len())).collect();
    let mut free = [0.0_f64; 2];
    let mut order = Vec::new();
    loop {
        let mut best: Option<(f64, usize)> = None;
        for (thread, parts) in threads.iter().enumerate() {
            let Some(ask) = parts.get(next[thread]) else { continue };
            let own = ends[thread].last().copied().unwrap_or(0.0);
            let opened = match opens(thread, next[thread]) {
                Some((other, part)) => ends[other].get(part).copied(),
                None => Some(0.0),
            };
            let Some(opened) = opened else { continue };
            let start = own.max(opened).max(free[usize::from(ask.computes)]);
            if best.is_none_or(|(first, _)| start < first) {
                best = Some((start, thread));
            }
        }
        let Some((start, thread)) = best else { break };
        let ask = threads[thread][next[thread]];
        free[usize::from(ask.computes)] = start + ask.seconds;
        ends[thread].push(start + ask.seconds);
        order.push((thread, next[thread]));
        next[thread] += 1;
    }
    order
}
