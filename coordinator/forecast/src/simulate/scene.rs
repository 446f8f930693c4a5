//! All messages that a step may send, with their paths in every state of the fabric.

use std::collections::HashMap;
use std::ops::Range;

use ds_topology::EndpointId;
use ds_topology::traffic::moe::{Demand, ExpertGroup, Forwarding, Mode, combine, dispatch};
use ds_topology::traffic::{Frontier, Traffic, Way};

use super::closing;
use super::job::StepJob;
use crate::{Exchange, Part};

/// Tokens that are drawn to judge the traffic of skewed experts.
const DRAWN: u32 = 2048;

/// Who begins the messages of a template, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A group, when all of its ranks are there.
    Exchange,
    /// Each sender.
    Send,
    /// A group, when all of its ranks are there, at the end of a step.
    Closing,
    /// A group, when all of its ranks are there, each with an operation of its own.
    Recorded,
}

/// Messages that are sent again and again.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) kind: Kind,
    pub(super) messages: Range<u32>,
    /// Groups that meet; none for what is sent.
    pub(super) groups: Range<u32>,
    /// Seconds before the first byte, beyond the latency of a path.
    pub(super) delay: f64,
}

/// One message of a template.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) bytes: f64,
    /// The group or the rank that begins it.
    pub(super) owner: u32,
    pub(super) from: u32,
    pub(super) to: u32,
}

/// A template by what it is for: coordinate, which loads, which way, bytes of a row (as bits).
type ExchangeKey = (u32, u32, Exchange, u64);

/// Which template is for what.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    exchanges: HashMap<ExchangeKey, u32>,
    sends: HashMap<(u32, u32, u64), u32>,
    /// Per coordinate: reductions of gradients, and gathering of weights.
    pub(super) reduces: Vec<Vec<u32>>,
    pub(super) gathers: Vec<Vec<u32>>,
    /// Per coordinate: sums with other coordinates that hold the same parameters.
    pub(super) copies: Vec<Vec<u32>>,
    /// Which loads a layer has.
    skew_of_layer: HashMap<u32, u32>,
}

impl Registry {
    pub(super) fn exchange(&self, at: u32, layer: u32, exchange: Exchange, row_bytes: f64) -> Option<u32> {
        self.exchanges.get(&(at, self.skew(layer), exchange, row_bytes.to_bits())).copied()
    }

    pub(super) fn send(&self, from: u32, to: u32, bytes: f64) -> Option<u32> {
        self.sends.get(&(from, to, bytes.to_bits())).copied()
    }

    pub(super) fn skew(&self, layer: u32) -> u32 {
        self.skew_of_layer.get(&layer).copied().unwrap_or(0)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    pub(super) n_ranks: usize,
    /// Ranks that meet.
    pub(super) groups: Vec<Vec<u32>>,
    pub(super) templates: Vec<Template>,
    /// Those that end a step come last.
    pub(super) messages: Vec<Message>,
    /// The first message, and the first group, of what ends a step.
    pub(super) closing_from: (u32, u32),
    /// Per loads: what each place of an expert group works on, over the mean.
    pub(super) loads: Vec<Vec<f64>>,
}

impl Scene {
    /// `per_node` endpoints share a node.
    pub(super) fn new(job: &StepJob<'_>, per_node: u32) -> (Self, Registry) {
        let mut scene = Self { n_ranks: job.n_ranks(), ..Self::default() };
        let mut registry = Registry::default();
        scene.add_exchanges(job, per_node, &mut registry);
        scene.add_sends(job, &mut registry);
        scene.closing_from = (scene.messages.len() as u32, scene.groups.len() as u32);
        for at in 0..job.actions.len() as u32 {
            closing::add(&mut scene, job, at, per_node, &mut registry);
        }
        closing::add_copies(&mut scene, job, &mut registry);
        (scene, registry)
    }

    /// Whether a message ends a step.
    pub(super) fn closes(&self, message: u32) -> bool {
        message >= self.closing_from.0
    }

    /// Whether a group meets to end a step.
    pub(super) fn group_closes(&self, group: u32) -> bool {
        group >= self.closing_from.1
    }

    /// Adds a template of messages that groups begin: per group, its ranks and what they send.
    pub(super) fn add_meeting(
        &mut self,
        kind: Kind,
        delay: f64,
        groups: Range<u32>,
        mut messages: impl FnMut(&[u32], &mut dyn FnMut(u32, u32, f64)),
    ) -> u32 {
        let first = self.messages.len() as u32;
        for group in groups.clone() {
            let ranks = std::mem::take(&mut self.groups[group as usize]);
            let add = &mut |from, to, bytes| self.messages.push(Message { bytes, owner: group, from, to });
            messages(&ranks, add);
            self.groups[group as usize] = ranks;
        }
        let messages = first..self.messages.len() as u32;
        self.templates.push(Template { kind, messages, groups, delay });
        self.templates.len() as u32 - 1
    }

    pub(super) fn add_groups(&mut self, groups: Vec<Vec<u32>>) -> Range<u32> {
        let first = self.groups.len() as u32;
        self.groups.extend(groups);
        first..self.groups.len() as u32
    }

    fn add_exchanges(&mut self, job: &StepJob<'_>, per_node: u32, registry: &mut Registry) {
        let Some(moe) = &job.moe else { return };
        let mut all_loads = vec![vec![moe.busiest; job.expert_ranks as usize]];
        // Layers in order, so that what is drawn does not depend on who asks first.
        for layer in job.stages.iter().flat_map(exchanges).map(|(layer, ..)| layer) {
            if moe.skew_of(layer).is_some() && !registry.skew_of_layer.contains_key(&layer) {
                registry.skew_of_layer.insert(layer, registry.skew_of_layer.len() as u32 + 1);
                all_loads.push(Vec::new());
            }
        }
        let mut demands: HashMap<(u32, Vec<usize>), Demand> = HashMap::new();
        for at in 0..job.actions.len() as u32 {
            let groups = self.add_groups(job.expert_groups(at));
            for (layer, exchange, row_bytes) in exchanges_at(job, at) {
                let skew = registry.skew(layer);
                let key = (at, skew, exchange, row_bytes.to_bits());
                if registry.exchanges.contains_key(&key) {
                    continue;
                }
                let loads = &mut all_loads[skew as usize];
                let template = self.add_meeting(Kind::Exchange, moe.overhead_seconds, groups.clone(), |ranks, add| {
                    // Several ranks may share an endpoint, so places stand for them.
                    let places: Vec<EndpointId> = (0..ranks.len() as u32).map(EndpointId).collect();
                    let nodes: Vec<u32> = ranks.iter().map(|&rank| job.seats[rank as usize].0 / per_node).collect();
                    let runs = ExpertGroup::on_nodes(&places, &nodes);
                    let placement = moe.placements.get(layer as usize).cloned().flatten().filter(|_| skew > 0);
                    let group = match placement {
                        Some(placement) => runs.placed(placement),
                        None => runs,
                    };
                    let shape: Vec<usize> = (0..group.len()).map(|place| group.node_of(place)).collect();
                    let demand = demands.entry((skew, shape)).or_insert_with(|| match moe.skew_of(layer) {
                        Some(skewed) => {
                            let seed = moe.seed.wrapping_add(u64::from(layer));
                            Demand::estimated(&moe.gate, &group, skewed, moe.tokens, DRAWN, seed)
                        }
                        None => Demand::expected(&moe.gate, &group, moe.tokens),
                    });
                    if skew > 0 && loads.is_empty() {
                        *loads = (0..group.len()).map(|place| demand.load(place)).collect();
                    }
                    pairs(&group, demand, moe.mode, exchange, row_bytes, &mut |from, to, bytes| {
                        add(ranks[from], ranks[to], if skew == 0 { bytes * moe.busiest } else { bytes });
                    });
                });
                registry.exchanges.insert(key, template);
            }
        }
        self.loads = all_loads;
    }

    fn add_sends(&mut self, job: &StepJob<'_>, registry: &mut Registry) {
        for (at, actions) in job.actions.iter().enumerate() {
            for piece in actions.iter().flat_map(|action| action.pieces()) {
                let Some((to, bytes)) = super::program::send_of(job, piece) else { continue };
                let key = (at as u32, to, bytes.to_bits());
                if to == at as u32 || registry.sends.contains_key(&key) {
                    continue;
                }
                let first = self.messages.len() as u32;
                self.messages.extend((0..job.per_pipeline).map(|place| {
                    let (from, to) = (key.0 * job.per_pipeline + place, to * job.per_pipeline + place);
                    Message { bytes, owner: from, from, to }
                }));
                let messages = first..self.messages.len() as u32;
                self.templates.push(Template { kind: Kind::Send, messages, groups: 0..0, delay: 0.0 });
                registry.sends.insert(key, self.templates.len() as u32 - 1);
            }
        }
    }
}

pub(super) fn name(exchange: Exchange) -> &'static str {
    match exchange {
        Exchange::Dispatch => "dispatch",
        Exchange::Combine => "combine",
    }
}

/// What a group sends in an exchange, one message for any two of its ranks.
fn pairs(
    group: &ExpertGroup,
    demand: &Demand,
    mode: Mode,
    exchange: Exchange,
    row_bytes: f64,
    give: &mut dyn FnMut(usize, usize, f64),
) {
    let mode = match mode {
        Mode::Plain => Mode::Plain,
        Mode::Deduplicated(_) => Mode::Deduplicated(Forwarding::CutThrough),
    };
    let mut traffic = Traffic::new();
    let start = Frontier::start(group.len());
    match exchange {
        Exchange::Dispatch => dispatch(&mut traffic, group, demand, mode, row_bytes, &start),
        Exchange::Combine => combine(&mut traffic, group, demand, mode, row_bytes, &start),
    };
    let mut bytes = vec![0.0; group.len() * group.len()];
    for message in traffic.messages() {
        if let Way::Routed { from, to } = &message.way {
            bytes[from.0 as usize * group.len() + to.0 as usize] += message.bytes;
        }
    }
    for (pair, &bytes) in bytes.iter().enumerate().filter(|(_, bytes)| **bytes > 0.0) {
        give(pair / group.len(), pair % group.len(), bytes);
    }
}

/// The exchanges of a stage: layer, which way, bytes of a row.
fn exchanges(stage: &crate::StageWork) -> impl Iterator<Item = (u32, Exchange, f64)> {
    let exchange = |part: &Part| match *part {
        Part::Exchange { layer, exchange, row_bytes } => Some((layer.0, exchange, row_bytes)),
        Part::Compute { .. } => None,
    };
    let passes = [&stage.forward, &stage.backward_input, &stage.backward_weight];
    passes.into_iter().flat_map(|pass| &pass.parts).filter_map(exchange)
}

fn exchanges_at(job: &StepJob<'_>, at: u32) -> Vec<(u32, Exchange, f64)> {
    let mut stages: Vec<u32> =
        job.actions[at as usize].iter().flat_map(|action| action.pieces()).map(|piece| piece.stage.0).collect();
    stages.sort_unstable();
    stages.dedup();
    stages.into_iter().flat_map(|stage| exchanges(&job.stages[stage as usize])).collect()
}
