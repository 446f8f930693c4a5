//! How many rows of tokens every rank has for every other rank, and for every other node.

use super::gate::Gate;
use super::group::ExpertGroup;
use super::random::Random;
use super::skew::Popularity;

/// Rows, in expectation or counted. A row that a rank has for itself is counted too.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    n_ranks: usize,
    n_nodes: usize,
    /// From rank to rank: tokens with at least one expert there.
    to_rank: Vec<f64>,
    /// From rank to node: tokens with at least one expert on it.
    to_node: Vec<f64>,
    /// Choices of each rank's experts, all tokens of all ranks taken together: a token counts once for each expert.
    choices: Vec<f64>,
}

impl Demand {
    /// What is expected of `tokens` tokens a rank where all experts are equally popular and lie in equal runs: exact.
    pub fn expected(gate: &Gate, group: &ExpertGroup, tokens: f64) -> Self {
        let n = group.len();
        let mut of_rank = vec![vec![0_u32; gate.n_groups()]; n];
        let mut of_node = vec![vec![0_u32; gate.n_groups()]; group.n_nodes()];
        for expert in 0..gate.n_experts() {
            let rank = group.rank_of(gate, expert);
            of_rank[rank][gate.group_of(expert)] += 1;
            of_node[group.node_of(rank)][gate.group_of(expert)] += 1;
        }
        let to_rank: Vec<f64> = of_rank.iter().map(|set| tokens * gate.chance(set)).collect();
        let to_node: Vec<f64> = of_node.iter().map(|set| tokens * gate.chance(set)).collect();
        let each = tokens * n as f64 * f64::from(gate.top_k()) / n as f64;
        Self::same_from_all(n, &to_rank, &to_node, vec![each; n])
    }

    /// What is expected of `tokens` tokens a rank, judged by `n_drawn` tokens: every rank's tokens choose alike.
    pub fn estimated(
        gate: &Gate,
        group: &ExpertGroup,
        popularity: &Popularity,
        tokens: f64,
        n_drawn: u32,
        seed: u64,
    ) -> Self {
        if popularity.is_uniform() && !group.is_placed() {
            return Self::expected(gate, group, tokens);
        }
        let mut counted = Self::empty(group);
        let mut random = Random::new(seed);
        for _ in 0..n_drawn {
            counted.draw(0, gate, group, popularity, &mut random);
        }
        let scale = tokens / f64::from(n_drawn.max(1));
        let scaled = |rows: &[f64]| rows.iter().map(|rows| rows * scale).collect::<Vec<f64>>();
        let (to_rank, to_node) = (scaled(&counted.to_rank[..group.len()]), scaled(&counted.to_node[..group.n_nodes()]));
        let choices = counted.choices.iter().map(|n| n * scale * group.len() as f64).collect();
        Self::same_from_all(group.len(), &to_rank, &to_node, choices)
    }

    /// Every token of every rank drawn by itself.
    pub fn sampled(gate: &Gate, group: &ExpertGroup, popularity: &Popularity, tokens: u32, seed: u64) -> Self {
        let mut demand = Self::empty(group);
        for from in 0..group.len() {
            let mut random = Random::part(seed, from as u64);
            for _ in 0..tokens {
                demand.draw(from, gate, group, popularity, &mut random);
            }
        }
        demand
    }

    /// Of known choices: for every rank, the experts of each of its tokens.
    pub fn counted(gate: &Gate, group: &ExpertGroup, choices: &[Vec<Vec<u32>>]) -> Self {
        let mut demand = Self::empty(group);
        for (from, tokens) in choices.iter().enumerate() {
            let mut random = Random::new(from as u64);
            tokens.iter().for_each(|experts| demand.count(from, gate, group, experts, &mut random));
        }
        demand
    }

    fn empty(group: &ExpertGroup) -> Self {
        let (n, nodes) = (group.len(), group.n_nodes());
        Self {
            n_ranks: n,
            n_nodes: nodes,
            to_rank: vec![0.0; n * n],
            to_node: vec![0.0; n * nodes],
            choices: vec![0.0; n],
        }
    }

    fn same_from_all(n: usize, to_rank: &[f64], to_node: &[f64], choices: Vec<f64>) -> Self {
        Self { n_ranks: n, n_nodes: to_node.len(), to_rank: to_rank.repeat(n), to_node: to_node.repeat(n), choices }
    }

    /// Draws one token of a rank.
    fn draw(&mut self, from: usize, gate: &Gate, group: &ExpertGroup, popularity: &Popularity, random: &mut Random) {
        let mut experts = Vec::new();
        gate.draw(popularity, random, &mut experts);
        self.count(from, gate, group, &experts, random);
    }

    fn count(&mut self, from: usize, gate: &Gate, group: &ExpertGroup, experts: &[u32], random: &mut Random) {
        let (mut ranks, mut nodes): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        for &expert in experts {
            let rank = group.serving(gate, expert, random);
            self.choices[rank] += 1.0;
            if !ranks.contains(&rank) {
                ranks.push(rank);
            }
            let node = group.node_of(rank);
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        ranks.into_iter().for_each(|rank| self.to_rank[from * self.n_ranks + rank] += 1.0);
        nodes.into_iter().for_each(|node| self.to_node[from * self.n_nodes + node] += 1.0);
    }

    /// Rows of a rank's tokens for the experts of another, or the same, rank.
    pub fn to_rank(&self, from: usize, to: usize) -> f64 {
        self.to_rank[from * self.n_ranks + to]
    }

    /// Rows of a rank's tokens for the experts of a node, each counted once.
    pub fn to_node(&self, from: usize, node: usize) -> f64 {
        self.to_node[from * self.n_nodes + node]
    }

    /// Rows that the experts of a rank work on, over the mean of all ranks: 1 where all are alike.
    pub fn load(&self, rank: usize) -> f64 {
        let mean = self.choices.iter().sum::<f64>() / self.n_ranks as f64;
        if mean > 0.0 { self.choices[rank] / mean } else { 1.0 }
    }
}
