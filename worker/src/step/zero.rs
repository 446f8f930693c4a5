//! ZeRO-1 (arXiv 1910.02054, §5): of the ranks that hold a logical matrix, one owns it: it gets the sum of its gradients,
//! keeps its master weight and moments, updates it, and gives it to the others. The unit is a whole matrix, since some
//! optimizers need one.
//!
//! Owners add in rank order, as all ranks do without ZeRO, so weights are the same, bit for bit.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use ds_model::StageModel;
use ds_plan::{JobPlan, RankId};
use tch::{Kind, Tensor, no_grad};

use super::slots::{Slot, Slots, logical};
use crate::comm::{CommError, Group, Pending, ReduceOp};

/// Elements that travel as one message, as in `reduce`.
const BUCKET_ELEMENTS: i64 = 8 << 20;
/// Buckets on their way: one is taken up while the next travels.
const BUCKETS_ON_THEIR_WAY: usize = 2;

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
                buckets.extend(cut(&slots, model).into_iter().map(|slots| Bucket::new(group, slots, model)));
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
        let start = |bucket: &Bucket| {
            bucket.group.reduce_scatter(
                &flat(bucket.of_place.iter().flatten().map(|slot| slot.of(gradients))),
                ReduceOp::Sum,
                &bucket.sizes,
            )
        };
        self.each(start, |bucket, sums| spread(&sums, bucket.mine().iter().map(|slot| slot.of(gradients))), deadline)
    }

    /// Gives the model the weights that others own, and them those of this rank.
    ///
    /// # Errors
    /// When a peer fails.
    pub fn gather(&self, model: &StageModel, deadline: Instant) -> Result<(), CommError> {
        let start = |bucket: &Bucket| {
            let mine = bucket.mine();
            let kind = bucket.kind(model);
            if mine.is_empty() {
                return bucket.group.all_gather(&Tensor::zeros([0], (kind, bucket.device(model))));
            }
            bucket.group.all_gather(&flat(mine.iter().map(|slot| slot.weight(model))))
        };
        self.each(
            start,
            |bucket, all| spread(&all, bucket.of_place.iter().flatten().map(|slot| slot.weight(model))),
            deadline,
        )
    }

    /// Starts every bucket, a few at a time, and has what came taken up.
    fn each(
        &self,
        start: impl Fn(&Bucket) -> Pending<Tensor>,
        take_up: impl Fn(&Bucket, Tensor),
        deadline: Instant,
    ) -> Result<(), CommError> {
        let mut underway: VecDeque<(&Bucket, Pending<Tensor>)> = VecDeque::new();
        let finish = |(bucket, pending): (&Bucket, Pending<Tensor>)| -> Result<(), CommError> {
            take_up(bucket, pending.wait(deadline)?);
            Ok(())
        };
        for bucket in &self.buckets {
            if underway.len() == BUCKETS_ON_THEIR_WAY {
                underway.pop_front().map_or(Ok(()), finish)?;
            }
            underway.push_back((bucket, start(bucket)));
        }
        underway.into_iter().try_for_each(finish)
    }
}

impl Bucket {
    fn new(group: &Group, slots: &[(Slot, usize)], model: &StageModel) -> Self {
        let mut of_place = vec![Vec::new(); group.size()];
        let mut sizes = vec![0; group.size()];
        for &(slot, place) in slots {
            of_place[place].push(slot);
            sizes[place] += elements(slot, model);
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

    fn kind(&self, model: &StageModel) -> Kind {
        self.any(model).kind()
    }

    fn device(&self, model: &StageModel) -> tch::Device {
        self.any(model).device()
    }
}

/// Buckets of about [`BUCKET_ELEMENTS`]; a larger matrix travels alone.
fn cut<'a>(slots: &'a [(Slot, usize)], model: &StageModel) -> Vec<&'a [(Slot, usize)]> {
    let mut room = 0;
    let fits = |_: &(Slot, usize), next: &(Slot, usize)| {
        let n = elements(next.0, model);
        let fits = room + n <= BUCKET_ELEMENTS;
        room = if fits { room + n } else { n };
        fits
    };
    slots.chunk_by(fits).collect()
}

fn elements(slot: Slot, model: &StageModel) -> i64 {
    slot.weight(model).numel() as i64
}

fn flat(tensors: impl Iterator<Item = Tensor>) -> Tensor {
    Tensor::cat(&tensors.map(|t| t.reshape([-1])).collect::<Vec<_>>(), 0)
}

/// Copies runs of a flat tensor to `targets`, one after the other.
fn spread(flat: &Tensor, targets: impl Iterator<Item = Tensor>) {
    no_grad(|| {
        let mut start = 0;
        for mut target in targets {
            let n = target.numel() as i64;
            target.copy_(&flat.narrow(0, start, n).view_as(&target));
            start += n;
        }
    });
}
