//! Where every rank stands: pipeline × data × context × tensor, and the expert groups cut from data × context.

use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::spec::ParallelSpec;

/// A place in a job's grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RankId(pub u32);

/// A set of ranks that talk together; the same number on every rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u32);

/// The coordinates of a rank. The rank is `((pipeline · data + data) · context + context) · tensor + tensor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Coordinates {
    /// Which stages.
    pub pipeline: u32,
    /// Which samples.
    pub data: u32,
    /// Which part of a sequence.
    pub context: u32,
    /// Which part of a matrix.
    pub tensor: u32,
}

/// What a group is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKind {
    /// All ranks: barriers, the global norm.
    World,
    /// One pipeline: all stages of the same samples, in order. Sends between stages, copies of shared parameters.
    Pipeline,
    /// All data × context ranks of one pipeline coordinate: gradients of dense parameters, loads, token counts.
    Data,
    /// The ranks that share the same sequences: what attention needs of other positions. Only where there are several.
    Context,
    /// The ranks that the experts of a layer are spread over: dispatch and combine.
    Expert,
    /// The ranks that hold the same experts: their gradients.
    Replica,
    /// Of an expert group, the ranks of the same index on its nodes: tokens cross to nodes.
    Peers,
    /// Of an expert group, the ranks on one node: tokens go on to their experts.
    Node,
}

/// A set of ranks that talk together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Stable, and the same on every rank.
    pub id: GroupId,
    /// What it is for.
    pub kind: GroupKind,
    /// In ascending order; a rank's index here is its place in reductions.
    pub ranks: Vec<RankId>,
}

/// What the ranks of one group have in common, and no others.
type KeyOf<'a> = &'a dyn Fn(RankId) -> (u32, u32, u32);

/// The checked grid. Invariants: every axis is at least 1, and `expert` divides data × context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    pipeline: u32,
    data: u32,
    context: u32,
    tensor: u32,
    expert: u32,
}

impl Grid {
    /// # Panics
    /// When the spec breaks an invariant: the spec's rules have refused it before.
    pub(crate) fn new(spec: &ParallelSpec) -> Self {
        let &ParallelSpec { pipeline, data, context, tensor, expert, .. } = spec;
        assert!([pipeline, data, context, tensor, expert].iter().all(|&axis| axis > 0), "every axis is at least 1");
        assert!((data * context).is_multiple_of(expert), "expert divides data × context");
        Self { pipeline, data, context, tensor, expert }
    }

    /// All ranks.
    pub fn n_ranks(&self) -> u32 {
        self.pipeline * self.n_samplers() * self.tensor
    }

    /// Pipeline coordinates.
    pub fn n_pipeline(&self) -> u32 {
        self.pipeline
    }

    /// Ranks that see different samples.
    pub fn n_data(&self) -> u32 {
        self.data
    }

    /// Ranks that share a sequence.
    pub fn n_context(&self) -> u32 {
        self.context
    }

    /// Ranks that share a matrix.
    pub fn n_tensor(&self) -> u32 {
        self.tensor
    }

    /// Ranks that the experts of a layer are spread over.
    pub fn n_expert(&self) -> u32 {
        self.expert
    }

    /// Ranks that hold a copy of one expert.
    pub fn n_replicas(&self) -> u32 {
        self.n_samplers() / self.expert
    }

    /// Ranks of one pipeline coordinate that see different tokens: data × context.
    pub fn n_samplers(&self) -> u32 {
        self.data * self.context
    }

    /// Every rank, in order.
    pub fn ranks(&self) -> impl Iterator<Item = RankId> + use<> {
        (0..self.n_ranks()).map(RankId)
    }

    /// Where a rank stands.
    pub fn coordinates(&self, rank: RankId) -> Coordinates {
        let tensor = rank.0 % self.tensor;
        let context = rank.0 / self.tensor % self.context;
        let data = rank.0 / (self.tensor * self.context) % self.data;
        let pipeline = rank.0 / (self.tensor * self.context * self.data);
        Coordinates { pipeline, data, context, tensor }
    }

    /// The rank that stands there.
    pub fn rank_at(&self, at: Coordinates) -> RankId {
        RankId(((at.pipeline * self.data + at.data) * self.context + at.context) * self.tensor + at.tensor)
    }

    /// A rank's place among those that see different tokens: `data · context + context`.
    pub fn sampler(&self, rank: RankId) -> u32 {
        let at = self.coordinates(rank);
        at.data * self.context + at.context
    }

    /// A rank's place in its expert group.
    pub fn expert_index(&self, rank: RankId) -> u32 {
        self.sampler(rank) % self.expert
    }

    /// Which copy of its experts a rank holds.
    pub fn replica(&self, rank: RankId) -> u32 {
        self.sampler(rank) / self.expert
    }

    /// The experts that a rank holds, of `n_experts` a layer. Expert ranks hold equal runs.
    pub fn experts_of(&self, rank: RankId, n_experts: u32) -> Range<u32> {
        let each = n_experts / self.expert;
        let first = self.expert_index(rank) * each;
        first..first + each
    }

    /// Every group, in the one order in which all ranks make them.
    pub fn groups(&self) -> Vec<Group> {
        let keys: [(GroupKind, KeyOf<'_>); 5] = [
            (GroupKind::World, &|_| (0, 0, 0)),
            (GroupKind::Pipeline, &|rank| {
                let at = self.coordinates(rank);
                (at.data, at.context, at.tensor)
            }),
            (GroupKind::Data, &|rank| {
                let at = self.coordinates(rank);
                (at.pipeline, at.tensor, 0)
            }),
            (GroupKind::Expert, &|rank| {
                let at = self.coordinates(rank);
                (at.pipeline, at.tensor, self.replica(rank))
            }),
            (GroupKind::Replica, &|rank| {
                let at = self.coordinates(rank);
                (at.pipeline, at.tensor, self.expert_index(rank))
            }),
        ];
        let mut groups = Vec::new();
        self.cut(&keys, &mut groups);
        if self.context > 1 {
            let sharers: KeyOf<'_> = &|rank| {
                let at = self.coordinates(rank);
                (at.pipeline, at.data, at.tensor)
            };
            self.cut(&[(GroupKind::Context, sharers)], &mut groups);
        }
        groups
    }

    /// Ranks of an expert group that share a node of `gpus_per_node` ranks; none for one node.
    pub fn n_expert_on_node(&self, gpus_per_node: Option<u32>) -> u32 {
        gpus_per_node.map_or(self.expert, |n| (n / self.tensor).clamp(1, self.expert))
    }

    /// The groups of an exchange that is limited by such nodes, with numbers after those of [`Grid::groups`].
    pub fn node_groups(&self, gpus_per_node: Option<u32>) -> Vec<Group> {
        let each = self.n_expert_on_node(gpus_per_node);
        let of_expert_group = |rank| {
            let at = self.coordinates(rank);
            (at.pipeline * self.tensor + at.tensor, self.replica(rank))
        };
        let key = |rank, within| {
            let (at, replica) = of_expert_group(rank);
            (at, replica, within)
        };
        let keys: [(GroupKind, KeyOf<'_>); 2] = [
            (GroupKind::Peers, &|rank| key(rank, self.expert_index(rank) % each)),
            (GroupKind::Node, &|rank| key(rank, self.expert_index(rank) / each)),
        ];
        let mut groups = self.groups();
        let n_before = groups.len();
        self.cut(&keys, &mut groups);
        groups.split_off(n_before)
    }

    /// Adds the groups of each kind: ranks with the same key.
    fn cut(&self, keys: &[(GroupKind, KeyOf<'_>)], groups: &mut Vec<Group>) {
        for &(kind, key) in keys {
            // Groups of a kind stand in the order of their first ranks.
            let mut place_of = HashMap::new();
            for rank in self.ranks() {
                let place = *place_of.entry(key(rank)).or_insert(groups.len());
                if place == groups.len() {
                    groups.push(Group { id: GroupId(place as u32), kind, ranks: Vec::new() });
                }
                groups[place].ranks.push(rank);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::testing::spec;

    /// Every grid whose axes are at most 3, context and tensor at most 2, with every expert axis that fits.
    fn small_grids() -> Vec<Grid> {
        let mut grids = Vec::new();
        for (pipeline, data) in (1..=3_u32).flat_map(|p| (1..=4_u32).map(move |d| (p, d))) {
            for (context, tensor) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
                for expert in (1..=data * context).filter(|e| (data * context).is_multiple_of(*e)) {
                    let parallel = spec("tiny", pipeline, data, expert).parallel;
                    grids.push(Grid::new(&ParallelSpec { context, tensor, ..parallel }));
                }
            }
        }
        grids
    }

    fn of_kind(grid: &Grid, kind: GroupKind) -> Vec<Group> {
        grid.groups().into_iter().filter(|group| group.kind == kind).collect()
    }

    const KINDS: [GroupKind; 5] =
        [GroupKind::World, GroupKind::Pipeline, GroupKind::Data, GroupKind::Expert, GroupKind::Replica];

    #[test]
    fn coordinates_and_ranks_are_one_to_one() {
        for grid in small_grids() {
            for rank in grid.ranks() {
                assert_eq!(grid.rank_at(grid.coordinates(rank)), rank, "{grid:?}");
            }
            let places: BTreeSet<_> = grid.ranks().map(|r| format!("{:?}", grid.coordinates(r))).collect();
            assert_eq!(places.len(), grid.n_ranks() as usize, "{grid:?}");
        }
    }

    #[test]
    fn every_rank_is_in_one_group_of_every_kind() {
        for grid in small_grids() {
            for kind in KINDS {
                let mut seen: Vec<RankId> = of_kind(&grid, kind).into_iter().flat_map(|group| group.ranks).collect();
                seen.sort();
                assert_eq!(seen, grid.ranks().collect::<Vec<_>>(), "{grid:?} {kind:?}");
            }
        }
    }

    #[test]
    fn ranks_that_share_sequences_have_a_group_where_there_are_several() {
        for grid in small_grids() {
            let groups = of_kind(&grid, GroupKind::Context);
            assert_eq!(groups.is_empty(), grid.n_context() == 1, "{grid:?}");
            for group in groups {
                let places = group.ranks.iter().map(|&rank| grid.coordinates(rank).context);
                assert!(places.eq(0..grid.n_context()), "{grid:?} {group:?}");
            }
        }
    }

    #[test]
    fn groups_of_a_kind_are_equally_large() {
        for grid in small_grids() {
            for kind in KINDS {
                let size = match kind {
                    GroupKind::World => grid.n_ranks(),
                    GroupKind::Pipeline => grid.n_pipeline(),
                    GroupKind::Data => grid.n_samplers(),
                    GroupKind::Expert => grid.n_expert(),
                    GroupKind::Replica => grid.n_replicas(),
                    GroupKind::Context | GroupKind::Peers | GroupKind::Node => {
                        unreachable!("they are no groups of every grid")
                    }
                };
                for group in of_kind(&grid, kind) {
                    assert_eq!(group.ranks.len(), size as usize, "{grid:?} {group:?}");
                    assert!(group.ranks.is_sorted(), "{grid:?} {group:?}");
                }
            }
        }
    }

    #[test]
    fn an_expert_group_is_its_nodes_times_its_peers() {
        for grid in small_grids() {
            for gpus_per_node in [None, Some(1), Some(2), Some(4)] {
                let each = grid.n_expert_on_node(gpus_per_node);
                let (n, span) = (gpus_per_node.unwrap_or(0), grid.n_expert() * grid.n_tensor());
                let divides = n > 0 && span.is_multiple_of(n) && n.is_multiple_of(grid.n_tensor());
                if !n.is_multiple_of(span) && !divides {
                    continue;
                }
                let groups = grid.node_groups(gpus_per_node);
                let first = grid.groups().len() as u32;
                assert_eq!(
                    groups.iter().map(|g| g.id.0).collect::<Vec<_>>(),
                    (first..).take(groups.len()).collect::<Vec<_>>()
                );
                for rank in grid.ranks() {
                    let of = |kind| groups.iter().find(|g| g.kind == kind && g.ranks.contains(&rank)).unwrap();
                    let (peers, node) = (&of(GroupKind::Peers).ranks, &of(GroupKind::Node).ranks);
                    assert_eq!((node.len() * peers.len(), node.len()), (grid.n_expert() as usize, each as usize));
                    let place = |ranks: &[RankId]| ranks.iter().position(|&r| r == rank).unwrap();
                    let index = place(peers) * node.len() + place(node);
                    assert_eq!(index, grid.expert_index(rank) as usize, "{grid:?} {rank:?}");
                    assert!(n == 0 || node.iter().all(|r| r.0 / n == rank.0 / n), "{grid:?} {node:?}");
                }
            }
        }
    }

    #[test]
    fn ids_are_places_in_the_one_list() {
        for grid in small_grids() {
            let ids: Vec<u32> = grid.groups().iter().map(|group| group.id.0).collect();
            assert_eq!(ids, (0..ids.len() as u32).collect::<Vec<_>>(), "{grid:?}");
            assert_eq!(grid.groups(), grid.groups(), "{grid:?}");
        }
    }

    #[test]
    fn an_expert_group_holds_every_expert_once_and_a_replica_group_the_same_ones() {
        for grid in small_grids() {
            let n_experts = 3 * grid.n_expert();
            for group in of_kind(&grid, GroupKind::Expert) {
                let held: Vec<u32> = group.ranks.iter().flat_map(|&rank| grid.experts_of(rank, n_experts)).collect();
                assert_eq!(held, (0..n_experts).collect::<Vec<_>>(), "{grid:?} {group:?}");
            }
            for group in of_kind(&grid, GroupKind::Replica) {
                let held: BTreeSet<_> = group.ranks.iter().map(|&r| grid.experts_of(r, n_experts).start).collect();
                assert_eq!(held.len(), 1, "{grid:?} {group:?}");
            }
        }
    }

    #[test]
    fn expert_and_replica_groups_lie_within_one_data_group() {
        for grid in small_grids() {
            let data_group: BTreeMap<RankId, GroupId> = of_kind(&grid, GroupKind::Data)
                .into_iter()
                .flat_map(|group| group.ranks.into_iter().map(move |rank| (rank, group.id)))
                .collect();
            for group in of_kind(&grid, GroupKind::Expert).into_iter().chain(of_kind(&grid, GroupKind::Replica)) {
                let within: BTreeSet<_> = group.ranks.iter().map(|rank| data_group[rank]).collect();
                assert_eq!(within.len(), 1, "{grid:?} {group:?}");
            }
        }
    }

    #[test]
    fn a_pipeline_group_has_its_stages_in_order() {
        for grid in small_grids() {
            for group in of_kind(&grid, GroupKind::Pipeline) {
                let stages: Vec<u32> = group.ranks.iter().map(|&rank| grid.coordinates(rank).pipeline).collect();
                assert_eq!(stages, (0..grid.n_pipeline()).collect::<Vec<_>>(), "{grid:?} {group:?}");
                let samplers: BTreeSet<_> = group.ranks.iter().map(|&rank| grid.sampler(rank)).collect();
                assert_eq!(samplers.len(), 1, "{grid:?} {group:?}");
            }
        }
    }
}
