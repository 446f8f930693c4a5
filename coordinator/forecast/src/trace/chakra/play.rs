//! Traces of all ranks as messages that wait for messages, played by the flow simulator.

use std::collections::{BTreeMap, HashMap};

use ds_topology::flow::{Weighting, simulate};
use ds_topology::traffic::collective::{all_to_all, ring_all_gather, ring_all_reduce, ring_reduce_scatter};
use ds_topology::traffic::{Frontier, MessageId, Traffic};
use ds_topology::{EndpointId, Routes};

use super::node::{ChakraError, Collective, Node, Work};

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ChakraRun {
    /// Per rank, when each node had ended, in seconds; in the order of its trace.
    pub ends: Vec<Vec<f64>>,
    /// When all had.
    pub seconds: f64,
    /// Flows that were simulated.
    pub n_flows: usize,
}

/// Plays traces, one a rank, on a fabric: rank r computes on endpoint r.
///
/// # Errors
/// When nodes wait for what is not there, or for each other, or no route is left.
pub fn play(ranks: &[Vec<Node>], routes: &mut dyn Routes) -> Result<ChakraRun, ChakraError> {
    let endpoints = routes.n_endpoints();
    if ranks.len() > endpoints as usize {
        return Err(ChakraError::TooManyRanks { ranks: ranks.len(), endpoints });
    }
    let mut writer = Writer::new(ranks)?;
    while writer.go_on() {}
    let ends = writer.all_ends()?;
    let routed = writer.traffic.flows(routes)?;
    let outcome = simulate(routes.network(), &routed.flows, Weighting::Equal)?;
    let end = |messages: &Vec<MessageId>| {
        messages.iter().map(|&message| routed.end(message, &outcome.finish)).fold(0.0, f64::max)
    };
    let ends = ends.into_iter().map(|nodes| nodes.iter().map(end).collect()).collect();
    Ok(ChakraRun { ends, seconds: outcome.makespan, n_flows: routed.flows.len() })
}

/// A place among the nodes of a rank.
type At = (usize, usize);

struct Writer<'a> {
    ranks: &'a [Vec<Node>],
    place: Vec<HashMap<u64, usize>>,
    /// Per group, its ranks.
    groups: BTreeMap<&'a str, Vec<usize>>,
    /// Per rank and node: the messages after which it has ended.
    ended: Vec<Vec<Option<Vec<MessageId>>>>,
    traffic: Traffic,
    /// The n-th of its kind on its rank: collectives of a group, sends to a rank, receives from one.
    turn: HashMap<At, usize>,
    meets: HashMap<(&'a str, usize), Vec<At>>,
    sends: HashMap<(usize, u32, u64, usize), At>,
}

impl<'a> Writer<'a> {
    fn new(ranks: &'a [Vec<Node>]) -> Result<Self, ChakraError> {
        let mut place: Vec<HashMap<u64, usize>> = Vec::new();
        for (rank, nodes) in ranks.iter().enumerate() {
            let mut of_rank = HashMap::new();
            for (number, node) in nodes.iter().enumerate() {
                if of_rank.insert(node.id, number).is_some() {
                    return Err(ChakraError::Twice { rank, id: node.id });
                }
            }
            let missing = |node: &Node| node.deps.iter().find(|dep| !of_rank.contains_key(dep)).copied();
            if let Some((id, dep)) = nodes.iter().find_map(|node| Some((node.id, missing(node)?))) {
                return Err(ChakraError::NoSuchNode { rank, id, dep });
            }
            place.push(of_rank);
        }
        let mut writer = Self {
            ranks,
            place,
            groups: BTreeMap::new(),
            ended: ranks.iter().map(|nodes| vec![None; nodes.len()]).collect(),
            traffic: Traffic::new(),
            turn: HashMap::new(),
            meets: HashMap::new(),
            sends: HashMap::new(),
        };
        writer.count();
        Ok(writer)
    }

    /// Who is in which group, and whose turn is whose.
    fn count(&mut self) {
        for (rank, nodes) in self.ranks.iter().enumerate() {
            let mut in_group: HashMap<&str, usize> = HashMap::new();
            let mut with: HashMap<(bool, u32, u64), usize> = HashMap::new();
            // Traces list nodes in any order; their numbers follow the order of the program.
            let mut order: Vec<usize> = (0..nodes.len()).collect();
            order.sort_by_key(|&number| nodes[number].id);
            for number in order {
                let mut next = |turn: &mut usize| {
                    self.turn.insert((rank, number), *turn);
                    *turn += 1;
                    *turn - 1
                };
                match &nodes[number].work {
                    Work::Takes(_) => (),
                    Work::Collective { group, .. } => {
                        let turn = next(in_group.entry(group).or_default());
                        self.meets.entry((group, turn)).or_default().push((rank, number));
                        let ranks = self.groups.entry(group).or_default();
                        if !ranks.contains(&rank) {
                            ranks.push(rank);
                        }
                    }
                    Work::Send { to, tag, .. } => {
                        let turn = next(with.entry((true, *to, *tag)).or_default());
                        self.sends.insert((rank, *to, *tag, turn), (rank, number));
                    }
                    Work::Receive { from, tag } => {
                        next(with.entry((false, *from, *tag)).or_default());
                    }
                }
            }
        }
        // Who says nothing of groups means all ranks.
        if self.groups.contains_key("") {
            self.groups.insert("", (0..self.ranks.len()).collect());
        }
    }

    /// What a node waits for, when all of it is known.
    fn deps(&self, (rank, number): At) -> Option<Vec<MessageId>> {
        let ends = self.ranks[rank][number].deps.iter().map(|dep| self.ended[rank][self.place[rank][dep]].as_ref());
        let mut all = Vec::new();
        for end in ends {
            all.extend(end?);
        }
        all.sort_unstable();
        all.dedup();
        Some(all)
    }

    /// Writes what can be written now; whether that was anything.
    fn go_on(&mut self) -> bool {
        let mut went_on = false;
        for rank in 0..self.ranks.len() {
            for number in 0..self.ranks[rank].len() {
                went_on |= self.ended[rank][number].is_none() && self.write((rank, number));
            }
        }
        went_on
    }

    fn write(&mut self, at: At) -> bool {
        let Some(deps) = self.deps(at) else { return false };
        let (rank, number) = at;
        let end = match &self.ranks[rank][number].work {
            Work::Takes(seconds) => vec![self.traffic.wait(*seconds, &deps)],
            Work::Send { to, bytes, .. } => {
                vec![self.traffic.send(EndpointId(rank as u32), EndpointId(*to), *bytes, &deps)]
            }
            Work::Receive { from, tag } => {
                let key = (*from as usize, rank as u32, *tag, self.turn[&at]);
                let Some(&(sender, sent)) = self.sends.get(&key) else { return false };
                let Some(sent) = self.ended[sender][sent].clone() else { return false };
                vec![self.traffic.wait(0.0, &[deps, sent].concat())]
            }
            Work::Collective { group, .. } => return self.meet(group, self.turn[&at]),
        };
        self.ended[rank][number] = Some(end);
        true
    }

    /// Writes a collective when all ranks of its group have come to it.
    fn meet(&mut self, group: &'a str, turn: usize) -> bool {
        let mut nodes = self.meets[&(group, turn)].clone();
        nodes.sort_unstable();
        if nodes.len() < self.groups[group].len() {
            return false;
        }
        let Some(deps) = nodes.iter().map(|&at| self.deps(at)).collect::<Option<Vec<_>>>() else { return false };
        let start = Frontier(deps).barrier(&mut self.traffic);
        let ranks: Vec<EndpointId> = nodes.iter().map(|&(rank, _)| EndpointId(rank as u32)).collect();
        let (rank, number) = nodes[0];
        let Work::Collective { what, bytes, root, .. } = self.ranks[rank][number].work else { return false };
        let n = ranks.len().max(1) as f64;
        let traffic = &mut self.traffic;
        let end = match what {
            Collective::AllReduce => ring_all_reduce(traffic, &ranks, bytes, start.clone()),
            Collective::AllGather => ring_all_gather(traffic, &ranks, bytes, start.clone()),
            Collective::ReduceScatter => ring_reduce_scatter(traffic, &ranks, bytes, start.clone()),
            Collective::AllToAll => all_to_all(traffic, &ranks, bytes / n, &start),
            Collective::Broadcast => broadcast(traffic, &ranks, bytes, root as usize, &start),
            Collective::Barrier => start.clone(),
        };
        for ((rank, number), end) in nodes.into_iter().zip(end.or(&start).0) {
            self.ended[rank][number] = Some(end);
        }
        true
    }

    /// The messages after which each node has ended, or who never begins.
    fn all_ends(&self) -> Result<Vec<Vec<Vec<MessageId>>>, ChakraError> {
        let mut stuck: Option<At> = None;
        for (rank, nodes) in self.ended.iter().enumerate() {
            for (number, _) in nodes.iter().enumerate().filter(|(_, end)| end.is_none()) {
                // Who waits for nobody of its own rank is where it began.
                let is_first = self.deps((rank, number)).is_some();
                if stuck.is_none() || is_first {
                    stuck = Some((rank, number));
                }
                if is_first {
                    break;
                }
            }
        }
        let Some((rank, number)) = stuck else {
            return Ok(self.ended.iter().map(|nodes| nodes.iter().flatten().cloned().collect()).collect());
        };
        let node = &self.ranks[rank][number];
        let why = match (&node.work, self.deps((rank, number))) {
            (_, None) => "nodes depend on each other in a circle",
            (Work::Receive { .. }, _) => "nobody sends what it receives",
            _ => "not all ranks of its group come to it",
        };
        Err(ChakraError::Stuck { rank, id: node.id, name: node.name.clone(), why })
    }
}

fn broadcast(traffic: &mut Traffic, ranks: &[EndpointId], bytes: f64, root: usize, start: &Frontier) -> Frontier {
    let mut end = Frontier::start(ranks.len());
    let root = root.min(ranks.len() - 1);
    for to in (0..ranks.len()).filter(|&to| to != root) {
        let message = traffic.send(ranks[root], ranks[to], bytes, start.of(root));
        end.add(to, message);
        end.add(root, message);
    }
    end
}
