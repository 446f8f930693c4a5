//! What came of it: when everything began and ended on every rank, and what links carried.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use ds_plan::schedule::Piece;

use super::program::{Does, Key, NO_ACTION, Program};

/// Where something happens on a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Computations.
    Compute,
    /// Exchanges and collectives, with the wait for others.
    Exchange,
    /// What leaves for another stage.
    Send,
}

/// Something that a rank did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Of which step.
    pub step: u32,
    /// Where.
    pub stream: Stream,
    /// What, for people.
    pub label: &'static str,
    /// Of which of its actions; none for what ends a step.
    pub action: Option<u32>,
    /// About what.
    pub piece: Option<Piece>,
    /// Which messages, as `Run::templates` counts them; none for computations.
    pub template: Option<u32>,
    /// The rank came to it, in seconds.
    pub start: f64,
    /// All others had come too; the same as `start` where nobody else counts.
    pub opened: f64,
    /// It was through.
    pub end: f64,
}

/// What a link carried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkLoad {
    /// Bytes, from the beginning to the end.
    pub bytes: f64,
    /// Bytes per second that it can carry, in the first state of the fabric.
    pub capacity: f64,
}

/// Steps that were played.
#[derive(Clone, Debug)]
pub struct Run {
    pub(super) programs: Arc<Vec<Program>>,
    pub(super) per_pipeline: u32,
    /// Of every rank: who acted for it, and who ended its step.
    pub(super) actor: Vec<u32>,
    pub(super) closer: Vec<u32>,
    /// Per step and actor; of those that end steps only, from `Program::closing` on.
    pub(super) times: Vec<Vec<Times>>,
    pub(super) n_main: usize,
    pub(super) link_colour: Vec<u32>,
    pub(super) loads: Vec<LinkLoad>,
    /// By link colour: the links of that colour as they were played.
    pub(super) lanes: Vec<Vec<u32>>,
    /// Seconds of each template with nothing beside it, and the link that carries most.
    pub(super) templates: Vec<(f64, Option<u32>)>,
    /// Paths of messages that were played, each for all that fared like it.
    pub n_played: u64,
    /// Where `Options::record` asks for them.
    pub(super) records: Vec<Record>,
}

/// Strands of one colour that were on their way together.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Colours of links, each with how many of the strands cross a link of that colour.
    pub(super) path: Rc<[(u32, f64)]>,
    /// Of each strand.
    pub(super) bytes: f64,
    pub(super) began: f64,
    pub(super) ended: f64,
}

/// Of the operations of one rank in one step: when it came to each, when each opened, when each ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub(super) ready: Vec<f64>,
    pub(super) opened: Vec<f64>,
    pub(super) end: Vec<f64>,
}

impl Run {
    /// When the last step had ended, in seconds.
    pub fn seconds(&self) -> f64 {
        self.step_ends().last().copied().unwrap_or(0.0)
    }

    /// When every step had ended on all ranks.
    pub fn step_ends(&self) -> Vec<f64> {
        let end = |times: &Times| times.end.last().copied().unwrap_or(0.0);
        self.times.iter().map(|ranks| ranks.iter().map(end).fold(0.0, f64::max)).collect()
    }

    /// Ranks.
    pub fn n_ranks(&self) -> u32 {
        self.actor.len() as u32
    }

    /// Ranks that were played, each for all that fared like it.
    pub fn n_ranks_played(&self) -> usize {
        self.times.first().map_or(0, |actors| if self.is_apart() { actors.len() - self.n_main } else { self.n_main })
    }

    /// Whether others end a step than do the rest of it.
    fn is_apart(&self) -> bool {
        self.times.first().is_some_and(|actors| actors.len() > self.n_main)
    }

    /// A number that is the same for all ranks that fared alike.
    pub fn played_as(&self, rank: u32) -> u32 {
        self.closer[rank as usize] - if self.is_apart() { self.n_main as u32 } else { 0 }
    }

    /// The pipeline coordinate of a rank.
    pub fn pipeline(&self, rank: u32) -> u32 {
        rank / self.per_pipeline
    }

    /// When a rank came to an operation, when that opened, and when it ended.
    pub(super) fn time(&self, step: u32, rank: u32, op: usize) -> (f64, f64, f64) {
        let closing = if self.is_apart() { self.programs[self.pipeline(rank) as usize].closing } else { usize::MAX };
        let (actor, op) = match op.checked_sub(closing) {
            Some(op) => (self.closer[rank as usize], op),
            None => (self.actor[rank as usize], op),
        };
        let times = &self.times[step as usize][actor as usize];
        (times.ready[op], times.opened[op], times.end[op])
    }

    /// All that a rank did, in the order of its program.
    pub fn spans(&self, rank: u32) -> impl Iterator<Item = Span> + '_ {
        let program = &self.programs[self.pipeline(rank) as usize];
        (0..self.times.len() as u32).flat_map(move |step| {
            program.ops.iter().enumerate().filter_map(move |(number, op)| {
                let (stream, template) = match op.does {
                    Does::Compute { .. } => (Stream::Compute, None),
                    Does::Meet(template) => (Stream::Exchange, Some(template)),
                    Does::Send { template, .. } => (Stream::Send, Some(template)),
                    Does::Receive(_) | Does::Join => return None,
                };
                let (start, opened, end) = self.time(step, rank, number);
                Some(Span {
                    step,
                    stream,
                    label: op.label,
                    action: Some(op.action).filter(|&action| action != NO_ACTION),
                    piece: op.piece,
                    template,
                    start,
                    opened,
                    end,
                })
            })
        })
    }

    /// Per rank: when something that another rank sent it was on its way, from and until.
    pub fn inbound(&self) -> Vec<Vec<(f64, f64)>> {
        let mut inbound = vec![Vec::new(); self.n_ranks() as usize];
        let place = |rank: u32| rank % self.per_pipeline;
        let takers: HashMap<(Key, u32), u32> = (0..self.n_ranks())
            .flat_map(|rank| {
                let program = &self.programs[self.pipeline(rank) as usize];
                program.receives.keys().map(move |&key| ((key, place(rank)), rank))
            })
            .collect();
        for rank in 0..self.n_ranks() {
            let ops = self.programs[self.pipeline(rank) as usize].ops.iter().enumerate();
            for (number, key) in
                ops.filter_map(|(n, op)| if let Does::Send { key, .. } = op.does { Some((n, key)) } else { None })
            {
                let Some(&taker) = takers.get(&(key, place(rank))) else { continue };
                for step in 0..self.times.len() as u32 {
                    let (start, _, end) = self.time(step, rank, number);
                    inbound[taker as usize].push((start, end));
                }
            }
        }
        inbound
    }

    /// What a link carried.
    pub fn link(&self, link: u32) -> LinkLoad {
        self.loads[self.link_colour[link as usize] as usize]
    }

    /// Links.
    pub fn n_links(&self) -> u32 {
        self.link_colour.len() as u32
    }

    /// Bytes per second over some links together, in the mean of each of `n` equal parts of the run. A message counts
    /// evenly from its first to its last byte. All zero where nothing was recorded.
    pub fn throughput(&self, links: &[u32], n: usize) -> Vec<f64> {
        let mut count: BTreeMap<u32, f64> = BTreeMap::new();
        for lane in links.iter().flat_map(|&link| &self.lanes[self.link_colour[link as usize] as usize]) {
            *count.entry(*lane).or_default() += 1.0;
        }
        let width = self.seconds() / n.max(1) as f64;
        let mut carried = vec![0.0; n];
        for record in &self.records {
            let times: f64 = record.path.iter().filter_map(|(link, times)| Some(count.get(link)? * times)).sum();
            if times > 0.0 && width > 0.0 {
                let rate = times * record.bytes / (record.ended - record.began).max(f64::MIN_POSITIVE);
                let first = (record.began / width) as usize;
                for (part, carried) in carried.iter_mut().enumerate().skip(first) {
                    let (from, until) = (part as f64 * width, (part + 1) as f64 * width);
                    if from >= record.ended {
                        break;
                    }
                    *carried += rate * (record.ended.min(until) - record.began.max(from)) / width;
                }
            }
        }
        carried
    }

    /// How long a template takes with nothing beside it, bytes over capacity of the link that carries most for its
    /// capacity, and that link.
    pub fn alone(&self, template: u32) -> (f64, Option<u32>) {
        self.templates[template as usize]
    }
}
