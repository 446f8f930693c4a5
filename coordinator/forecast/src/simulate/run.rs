//! What came of it: when everything began and ended on every rank, and what links carried.

use ds_plan::schedule::Piece;

use super::program::{Does, NO_ACTION, Program};

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
#[derive(Clone, Debug, PartialEq)]
pub struct LinkLoad {
    /// Bytes, from the beginning to the end.
    pub bytes: f64,
    /// Bytes per second that it can carry, in the first state of the fabric.
    pub capacity: f64,
}

/// Steps that were played.
#[derive(Clone, Debug)]
pub struct Run {
    pub(super) programs: Vec<Program>,
    pub(super) per_pipeline: u32,
    pub(super) rank_colour: Vec<u32>,
    /// Per step and rank colour.
    pub(super) times: Vec<Vec<Times>>,
    pub(super) link_colour: Vec<u32>,
    pub(super) loads: Vec<LinkLoad>,
    /// What the messages of each template are, and seconds of it with nothing beside it.
    pub(super) templates: Vec<(String, f64)>,
    /// Messages that were simulated, each for all that fared like it.
    pub n_played: u64,
    /// Messages that they stand for.
    pub n_messages: u64,
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
        self.rank_colour.len() as u32
    }

    /// Ranks that were played, each for all that fared like it.
    pub fn n_ranks_played(&self) -> usize {
        self.times.first().map_or(0, Vec::len)
    }

    /// A rank that fared like `rank`, the same for all that did.
    pub fn played_as(&self, rank: u32) -> u32 {
        self.rank_colour[rank as usize]
    }

    /// The pipeline coordinate of a rank.
    pub fn pipeline(&self, rank: u32) -> u32 {
        rank / self.per_pipeline
    }

    /// All that a rank did, in the order of its program.
    pub fn spans(&self, rank: u32) -> impl Iterator<Item = Span> + '_ {
        let program = &self.programs[self.pipeline(rank) as usize];
        let colour = self.rank_colour[rank as usize] as usize;
        (0..).zip(&self.times).flat_map(move |(step, ranks)| {
            let times = &ranks[colour];
            program.ops.iter().enumerate().filter_map(move |(number, op)| {
                let (stream, template) = match op.does {
                    Does::Compute { .. } => (Stream::Compute, None),
                    Does::Meet(template) => (Stream::Exchange, Some(template)),
                    Does::Send { template, .. } => (Stream::Send, Some(template)),
                    Does::Receive(_) | Does::Join => return None,
                };
                Some(Span {
                    step,
                    stream,
                    label: op.label,
                    action: Some(op.action).filter(|&action| action != NO_ACTION),
                    piece: op.piece,
                    template,
                    start: times.ready[number],
                    opened: times.opened[number],
                    end: times.end[number],
                })
            })
        })
    }

    /// What a link carried.
    pub fn link(&self, link: u32) -> &LinkLoad {
        &self.loads[self.link_colour[link as usize] as usize]
    }

    /// Links.
    pub fn n_links(&self) -> u32 {
        self.link_colour.len() as u32
    }

    /// What the messages of a template are, and how long they take with nothing beside them: bytes over capacity of
    /// the link that carries most, and latency.
    pub fn template(&self, template: u32) -> (&str, f64) {
        let (label, seconds) = &self.templates[template as usize];
        (label, *seconds)
    }
}
