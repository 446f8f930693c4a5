//! The ranks that the experts of a layer are spread over, and the nodes that they are on.

use super::gate::Gate;
use super::random::Random;
use crate::EndpointId;

/// The ranks that the experts of a layer are spread over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpertGroup {
    endpoints: Vec<EndpointId>,
    /// Places of the ranks on each node, in order.
    nodes: Vec<Vec<usize>>,
    node_of: Vec<usize>,
    index_of: Vec<usize>,
    /// By expert: the ranks that hold a replica; none where experts lie in equal runs.
    replicas: Option<Vec<Vec<usize>>>,
}

impl ExpertGroup {
    /// Ranks in the order of their experts, on endpoints of nodes of so many endpoints.
    pub fn new(endpoints: &[EndpointId], endpoints_per_node: u32) -> Self {
        let nodes: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.0 / endpoints_per_node.max(1)).collect();
        Self::on_nodes(endpoints, &nodes)
    }

    /// Ranks in the order of their experts, each on the node of that number.
    pub fn on_nodes(endpoints: &[EndpointId], nodes_of_ranks: &[u32]) -> Self {
        let mut numbers = nodes_of_ranks.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        let mut nodes = vec![Vec::new(); numbers.len()];
        let (mut node_of, mut index_of) = (Vec::new(), Vec::new());
        for (place, number) in nodes_of_ranks.iter().enumerate() {
            let node = numbers.binary_search(number).expect("every number is there");
            node_of.push(node);
            index_of.push(nodes[node].len());
            nodes[node].push(place);
        }
        Self { endpoints: endpoints.to_vec(), nodes, node_of, index_of, replicas: None }
    }

    /// The same ranks, with experts where `replicas` says: by expert, the places of the ranks that hold one. Tokens go to
    /// each of them by chance, evenly.
    ///
    /// # Panics
    /// When an expert has none, or one of a rank that is not there.
    #[must_use]
    pub fn placed(mut self, replicas: Vec<Vec<usize>>) -> Self {
        let is_there = |of: &Vec<usize>| !of.is_empty() && of.iter().all(|&rank| rank < self.len());
        assert!(replicas.iter().all(is_there), "every expert is on a rank of the group");
        self.replicas = Some(replicas);
        self
    }

    /// Whether experts lie elsewhere than in equal runs.
    pub(super) fn is_placed(&self) -> bool {
        self.replicas.is_some()
    }

    /// The rank that works on a token for an expert.
    pub(super) fn serving(&self, gate: &Gate, expert: u32, random: &mut Random) -> usize {
        match &self.replicas {
            None => self.rank_of(gate, expert),
            Some(replicas) => {
                let of = &replicas[expert as usize];
                of[(random.next_u64() % of.len() as u64) as usize]
            }
        }
    }

    /// Ranks.
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// Nodes that it is on.
    pub fn n_nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Places of the ranks of a node.
    pub fn on_node(&self, node: usize) -> &[usize] {
        &self.nodes[node]
    }

    /// Where a rank computes.
    pub fn endpoint(&self, place: usize) -> EndpointId {
        self.endpoints[place]
    }

    /// The node of a rank, among those of the group.
    pub fn node_of(&self, place: usize) -> usize {
        self.node_of[place]
    }

    /// The rank of a node through which a rank of another one sends: that of the same index, or, on a node with
    /// fewer ranks, the index modulo their number.
    pub fn peer(&self, place: usize, node: usize) -> usize {
        let there = &self.nodes[node];
        there[self.index_of[place] % there.len()]
    }

    /// The rank that holds an expert; experts lie in equal runs.
    ///
    /// # Panics
    /// When ranks do not divide experts.
    pub fn rank_of(&self, gate: &Gate, expert: u32) -> usize {
        let n = self.len() as u32;
        assert!(gate.n_experts().is_multiple_of(n), "{n} ranks hold {} experts in equal runs", gate.n_experts());
        (expert / (gate.n_experts() / n)) as usize
    }
}
