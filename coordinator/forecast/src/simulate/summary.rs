//! What a run says in short: where the time of a step goes, what binds each of its phases and how short it could be,
//! and which links were busiest.

use std::collections::BTreeMap;

use serde::Serialize;

use super::blame::Blame;
use super::run::{Run, Span, Stream};
use crate::picture::Unit;
use ds_plan::schedule::Pass;

/// A run in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Seconds of each step.
    pub step_seconds: Vec<f64>,
    /// Where the time of a step goes, in the mean over steps and ranks; these add up to the mean step.
    pub phases: Vec<Phase>,
    /// Links, the busiest first, each for all that carried as much.
    pub links: Vec<BusyLink>,
    /// Ranks of the job.
    pub ranks: u32,
    /// Ranks that were played, each for all that fared like it.
    pub ranks_played: usize,
    /// Paths of messages that were played, each for all that fared like it.
    pub strands_played: u64,
    /// What befell the fabric, and what it did, where that was asked.
    pub blame: Option<Blame>,
}

/// One kind of what ranks do, or wait for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// What it is.
    pub name: &'static str,
    /// Of a step, in the mean over ranks.
    pub seconds: f64,
    /// Of it, the rank computes.
    pub compute_seconds: f64,
    /// What its exchanges would take with nothing beside them, all ranks there at once.
    pub exchange_seconds: f64,
    /// A rank waits in exchanges for others to come.
    pub waiting_seconds: f64,
    /// It cannot be shorter: the longer of computing and exchanging where they go side by side, their sum otherwise.
    pub bound_seconds: f64,
    /// What binds it: `compute`, a link, or the order of work.
    pub bottleneck: String,
}

/// A link, for all that carried as much.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BusyLink {
    /// One of them.
    pub name: String,
    /// As many carried as much.
    pub count: usize,
    /// Each, from the beginning to the end.
    pub bytes: f64,
    /// Of what it can carry in that time.
    pub utilization: f64,
}

const BUBBLE: &str = "bubble";

/// Phases in the order of a step.
const PHASES: [&str; 9] = [
    "forward",
    "overlapped forward and backward",
    "backward",
    "weight gradients",
    BUBBLE,
    "gradient reduction",
    "sum of copies",
    "optimizer",
    "weight gathering",
];

fn phase_of(spans: &[Span]) -> &'static str {
    let Some(first) = spans.first() else { return BUBBLE };
    if first.action.is_none() {
        return match first.label {
            "reduce" => "gradient reduction",
            "sum of copies" => "sum of copies",
            "optimizer" => "optimizer",
            _ => "weight gathering",
        };
    }
    let has = |forward: bool| {
        spans.iter().filter_map(|span| span.piece).any(|piece| (piece.pass == Pass::Forward) == forward)
    };
    match (has(true), has(false)) {
        (true, true) => "overlapped forward and backward",
        (true, false) => "forward",
        _ if spans.iter().filter_map(|span| span.piece).all(|piece| piece.pass == Pass::BackwardWeight) => {
            "weight gradients"
        }
        _ => "backward",
    }
}

#[derive(Clone, Debug, Default)]
struct Sums {
    seconds: f64,
    compute: f64,
    exchange: f64,
    waiting: f64,
    bound: f64,
    on_link: BTreeMap<u32, f64>,
}

impl Run {
    /// The run in short. `names` are those of the links.
    pub fn summary(&self, name: &dyn Fn(u32) -> String) -> Summary {
        let ends = self.step_ends();
        let step_seconds: Vec<f64> =
            ends.iter().enumerate().map(|(step, end)| end - step.checked_sub(1).map_or(0.0, |s| ends[s])).collect();
        Summary {
            phases: self.phases(name),
            links: self.busiest(name),
            ranks: self.n_ranks(),
            ranks_played: self.n_ranks_played(),
            strands_played: self.n_played,
            blame: None,
            step_seconds,
        }
    }

    fn phases(&self, name: &dyn Fn(u32) -> String) -> Vec<Phase> {
        let mut sums: BTreeMap<&'static str, Sums> = BTreeMap::new();
        let n_steps = self.times.len().max(1) as f64;
        for (rank, count) in self.played() {
            let share = count as f64 / f64::from(self.n_ranks()) / n_steps;
            let mut spans: Vec<Span> = self.spans(rank).filter(|span| span.stream != Stream::Send).collect();
            spans.sort_by(|a, b| (a.step, a.action.unwrap_or(u32::MAX)).cmp(&(b.step, b.action.unwrap_or(u32::MAX))));
            let same = |a: &Span, b: &Span| a.step == b.step && a.action.is_some() && a.action == b.action;
            let mut busy = 0.0;
            for of_action in spans.chunk_by(same) {
                busy += self.add(sums.entry(phase_of(of_action)).or_default(), of_action, share);
            }
            sums.entry(BUBBLE).or_default().seconds += share * (self.seconds() - busy);
        }
        let phase = |name_of: &&'static str| {
            let of = sums.get(name_of)?;
            let link = of.on_link.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(&link, _)| link);
            let bottleneck = match link {
                _ if *name_of == BUBBLE => "the order of work: waiting for neighbours".to_owned(),
                Some(link) if of.exchange > of.compute => name(link),
                _ => "compute".to_owned(),
            };
            Some(Phase {
                name: name_of,
                seconds: of.seconds,
                compute_seconds: of.compute,
                exchange_seconds: of.exchange,
                waiting_seconds: of.waiting,
                bound_seconds: of.bound,
                bottleneck,
            })
        };
        PHASES.iter().filter_map(phase).collect()
    }

    /// Adds what an action took; gives its seconds.
    fn add(&self, sums: &mut Sums, spans: &[Span], share: f64) -> f64 {
        let from = spans.iter().map(|span| span.start).fold(f64::INFINITY, f64::min);
        let until = spans.iter().map(|span| span.end).fold(0.0, f64::max);
        let (mut compute, mut exchange) = (0.0, 0.0);
        for span in spans {
            match span.template {
                None => compute += span.end - span.start,
                Some(template) => {
                    let (seconds, link) = self.alone(template);
                    exchange += seconds;
                    sums.waiting += share * (span.opened - span.start);
                    if let Some(link) = link {
                        *sums.on_link.entry(link).or_default() += share * seconds;
                    }
                }
            }
        }
        let side_by_side = phase_of(spans) == PHASES[1];
        let bound = if side_by_side { f64::max(compute, exchange) } else { compute + exchange };
        sums.seconds += share * (until - from);
        sums.compute += share * compute;
        sums.exchange += share * exchange;
        sums.bound += share * bound;
        until - from
    }

    /// One rank of each colour, and how many have it.
    pub fn played(&self) -> Vec<(u32, usize)> {
        let mut played: Vec<(u32, usize)> = vec![(u32::MAX, 0); self.n_ranks_played()];
        for rank in 0..self.n_ranks() {
            let (first, count) = &mut played[self.played_as(rank) as usize];
            *first = (*first).min(rank);
            *count += 1;
        }
        played
    }

    fn busiest(&self, name: &dyn Fn(u32) -> String) -> Vec<BusyLink> {
        let mut of_colour: BTreeMap<u32, (u32, usize)> = BTreeMap::new();
        for (link, &colour) in (0..).zip(&self.link_colour) {
            of_colour.entry(colour).or_insert((link, 0)).1 += 1;
        }
        let seconds = self.seconds();
        let mut links: Vec<(f64, u32, usize)> = of_colour
            .into_values()
            .map(|(link, count)| {
                let load = self.link(link);
                let most = load.capacity * seconds;
                (if most > 0.0 { load.bytes / most } else { 0.0 }, link, count)
            })
            .filter(|(utilization, ..)| *utilization > 0.0)
            .collect();
        links.sort_by(|a, b| b.0.total_cmp(&a.0));
        links.truncate(8);
        let busy = |(utilization, link, count)| BusyLink {
            name: name(link),
            count,
            bytes: self.link(link).bytes,
            utilization,
        };
        links.into_iter().map(busy).collect()
    }
}

impl Summary {
    /// The longest phase that is not the bubble, what binds it, and its bound; and what befell the fabric, as text.
    pub fn verdict(&self) -> String {
        match &self.blame {
            Some(blame) => format!("{}; {}", blame.verdict(), self.longest()),
            None => self.longest(),
        }
    }

    fn longest(&self) -> String {
        let step: f64 = self.phases.iter().map(|phase| phase.seconds).sum();
        let longest =
            self.phases.iter().filter(|phase| phase.name != BUBBLE).max_by(|a, b| a.seconds.total_cmp(&b.seconds));
        match longest {
            Some(phase) if step > 0.0 => format!(
                "{:.0}% of a step is {}, bound by {}: {}, at least {}",
                100.0 * phase.seconds / step,
                phase.name,
                phase.bottleneck,
                Unit::Seconds.text(phase.seconds),
                Unit::Seconds.text(phase.bound_seconds)
            ),
            _ => "nothing takes any time".to_owned(),
        }
    }
}
