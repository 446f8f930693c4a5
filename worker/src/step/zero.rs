//! ZeRO-1 (arXiv 1910.02054, §5): of the ranks that hold a logical matrix, one owns it: it gets the sum of its gradients,
//! keeps its master weight and moments, updates it, and gives it to the others. The unit is a whole matrix, since some
//! optimizers need one.
//!
//! Owners add in rank order, as all ranks do without ZeRO, so weights are the same, bit for bit.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use ds_model::StageModel;
use ds_plan::{JobPlan, RankId};
use tch::Tensor;

use super::buckets::{cut, flat, in_turn, spread};
use super::slots::{Slot, Slots, logical};
use crate::comm::{CommError, Group, ReduceOp};

/// Who owns what a rank holds.
pub struct Zero {
    own: Slots,
    buckets: Vec<Bucket>,
}

/// Matrices that travel together, by the places of their owners in the group that holds them.
struct Bucket {
    group: Group,
    of_place: Vec<Vec<Slot>>,
    /// Elements of each place.
    sizes: Vec<i64>,
}

impl Zero {
    /// Of `rank`, whose dense matrices all ranks of `data` hold, and whose experts all of `replica`.
    pub fn new(plan: &JobPlan, rank: RankId, model: &StageModel, [data, replica]: [&Group; 2]) -> Self {
        let grid = plan.grid();
        let owners = plan.owner_of_names(grid.coordinates(rank).pipeline);
        let own = grid.sampler(rank);
        let places = |group: &Group| -> HashMap<u32, usize> {
            group.ranks().iter().enumerate().map(|(place, &rank)| (grid.sampler(rank), place)).collect()
        };
        let groups = [(data, places(data)), (replica, places(replica))];
        // What travels together has one group and one format.
        let mut alike: BTreeMap<(bool, u8), Vec<(Slot, usize)>> = BTreeMap::new();
        for (name, slot) in logical(model) {
            let stored = &model.parameters()[slot.parameter];
            let place = groups[usize::from(stored.is_expert)].1[&owners[name]];
            alike.entry((stored.is_expert, stored.tensor.kind() as u8)).or_default().push((slot, place));
        }
        let mut buckets = Vec::new();
        for ((is_expert, _), slots) in alike {
            let group = groups[usize::from(is_expert)].0;
            if group.size() > 1 {
                let cuts = cut(&slots, |&(slot, _)| elements(slot, model));
                buckets.extend(cuts.into_iter().map(|slots| Bucket::new(group, slots, model)));
            }
        }
        Self { own: Slots::owned(model, |name| owners[name] == own), buckets }
    }

    /// What this rank owns.
    pub fn own(&self) -> &Slots {
        &self.own
    }

    /// Sums gradients, one tensor a parameter, over their holders, in place, where this rank owns them; others stay as they
    /// are.
    ///
    /// # Errors
    /// When a peer fails.
    pub fn reduce(&self, gradients: &[Tensor], deadline: Instant) -> Result<(), CommError> {
        let start = |bucket: &&Bucket| {
            bucket.group.reduce_scatter(
                &flat(bucket.of_place.iter().flatten().map(|slot| slot.of(gradients))),
                ReduceOp::Sum,
                &bucket.sizes,
            )
        };
        in_turn(
            &self.buckets,
            start,
            |bucket, sums| spread(&sums, bucket.mine().iter().map(|slot| slot.of(gradients))),
            deadline,
        )
    }

    /// Gives the model the weights that others own, and them those of this rank.
    ///
    /// # Errors
    /// When a peer fails.
    pub fn gather(&self, model: &StageModel, deadline: Instant) -> Result<(), CommError> {
        let start = |bucket: &&Bucket| {
            // Who owns none of a bucket gives nothing, in its format.
            let nothing = bucket.any(model).flatten(0, -1).narrow(0, 0, 0);
            let mine = bucket.mine().iter().map(|slot| slot.weight(model));
            bucket.group.all_gather(&flat(std::iter::once(nothing).chain(mine)))
        };
        in_turn(
            &self.buckets,
            start,
            |bucket, all| spread(&all, bucket.of_place.iter().flatten().map(|slot| slot.weight(model))),
            deadline,
        )
    }
}

impl Bucket {
    fn new(group: &Group, slots: &[(Slot, usize)], model: &StageModel) -> Self {
        let mut of_place = vec![Vec::new(); group.size()];
        let mut sizes = vec![0; group.size()];
        for &(slot, place) in slots {
            of_place[place].push(slot);
            sizes[place] += elements(slot, model) as i64;
        }
        Self { group: group.clone(), of_place, sizes }
    }

    fn mine(&self) -> &[Slot] {
        &self.of_place[self.group.index()]
    }

    /// Any of its matrices: they have one format and device.
    fn any(&self, model: &StageModel) -> Tensor {
        self.of_place.iter().flatten().next().expect("a bucket has a matrix").weight(model)
    }
}

fn elements(slot: Slot, model: &StageModel) -> usize {
    slot.weight(model).numel()
}
