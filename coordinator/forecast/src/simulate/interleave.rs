//! The order in which the parts of an action go to a rank's streams.

use super::scene::{Scene, Template};
use super::strands::Strands;

/// How long templates take with nothing beside them, bytes over the busiest link, and which link that is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Costs(pub(super) Vec<(f64, Option<u32>)>);

impl Costs {
    /// Of the groups, or senders, of a template, the seconds are those of the fastest, so that nobody can be faster,
    /// and the link is that of the slowest.
    pub(super) fn new(scene: &Scene, strands: &Strands) -> Self {
        let mut on_link = vec![0.0; strands.capacity.len()];
        Self(scene.templates.iter().map(|template| cost(scene, strands, template, &mut on_link)).collect())
    }

    pub(super) fn of(&self, template: u32) -> f64 {
        self.0[template as usize].0
    }
}

/// `on_link` is all zero, before and after.
fn cost(scene: &Scene, strands: &Strands, template: &Template, on_link: &mut [f64]) -> (f64, Option<u32>) {
    let (mut fastest, mut slowest) = (f64::INFINITY, (0.0, None));
    let messages = &scene.messages[template.messages.start as usize..template.messages.end as usize];
    let mut next = template.messages.start;
    for of_owner in messages.chunk_by(|a, b| a.owner == b.owner) {
        let all = next..next + of_owner.len() as u32;
        next = all.end;
        let (mut latency, mut touched) = (0.0_f64, Vec::new());
        for strand in all.flat_map(|message| strands.of(message)) {
            latency = latency.max(strands.latency[strand]);
            for &link in strands.path(strand) {
                if on_link[link as usize] == 0.0 {
                    touched.push(link);
                }
                on_link[link as usize] += strands.bytes[strand];
            }
        }
        let (mut seconds, mut busiest) = (0.0, None);
        for link in touched {
            let took = std::mem::take(&mut on_link[link as usize]) / strands.capacity[link as usize];
            if took.is_finite() && took > seconds {
                (seconds, busiest) = (took, Some(link));
            }
        }
        let all = template.delay + latency + seconds;
        fastest = f64::min(fastest, all);
        if all > slowest.0 {
            slowest = (all, busiest);
        }
    }
    (if fastest.is_finite() { fastest } else { 0.0 }, slowest.1)
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
