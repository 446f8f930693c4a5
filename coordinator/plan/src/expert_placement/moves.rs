//! From one placement to another: which weights have to travel, and how a placement is laid out so that few do.

use ds_arch::ExpertId;

use super::assignment::assignment;
use super::{ExpertPlacement, Slot};

/// The weights of an expert, from a slot that holds them to one that will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Move {
    /// Whose weights.
    pub expert: ExpertId,
    /// Under the old placement.
    pub from: Slot,
    /// Under the new one.
    pub to: Slot,
}

/// The moves that make `new` of `old`, in the order of the slots that receive: one for every slot that holds another expert
/// afterwards, which is the least. Weights come from the same GPU where it has them, else from the same node, else from
/// anywhere; of several slots from the one that has sent the least, so that no GPU sends all. All moves happen at once:
/// what they read is the old placement.
///
/// # Panics
/// When the two are placements of different experts or on different slots.
pub fn moves(old: &ExpertPlacement, new: &ExpertPlacement, gpus_per_node: u32) -> Vec<Move> {
    same_size(old, new);
    let mut n_sent = vec![0_u32; old.n_gpus() as usize];
    let mut moves = Vec::new();
    for to in (0..new.n_slots()).map(Slot) {
        let expert = new.expert(to);
        if old.expert(to) == expert {
            continue;
        }
        let distance = |from: Slot| {
            let (here, there) = (old.gpu(to), old.gpu(from));
            u32::from(here != there) + u32::from(here / gpus_per_node != there / gpus_per_node)
        };
        let key = |&&from: &&Slot| (distance(from), n_sent[old.gpu(from) as usize], from);
        let from = *old.replicas_of(expert).iter().min_by_key(key).expect("every expert has a replica");
        n_sent[old.gpu(from) as usize] += u32::from(distance(from) > 0);
        moves.push(Move { expert, from, to });
    }
    moves
}

/// `new`, with its nodes, the GPUs of a node and the slots of a GPU renamed so that as many slots as possible hold what they
/// hold under `old`. Loads stay what they are where nodes are alike, and GPUs within them.
///
/// # Panics
/// When the two are placements of different experts or on different slots, or nodes would have unequal numbers of GPUs.
#[must_use]
pub fn settled(old: &ExpertPlacement, new: &ExpertPlacement, gpus_per_node: u32) -> ExpertPlacement {
    same_size(old, new);
    let (n_gpus, each) = (old.n_gpus() as usize, gpus_per_node as usize);
    assert!(each > 0 && n_gpus.is_multiple_of(each), "{n_gpus} GPUs in nodes of {each}");
    let n_nodes = n_gpus / each;
    let within = |node: usize, other: usize| -> (u64, Vec<usize>) {
        let (olds, news) = (node * each..(node + 1) * each, other * each..(other + 1) * each);
        let kept: Vec<Vec<u64>> = olds
            .map(|gpu| news.clone().map(|candidate| n_kept(old.on_gpu(gpu), new.on_gpu(candidate))).collect())
            .collect();
        let gpus = assignment(&kept);
        (gpus.iter().enumerate().map(|(gpu, &candidate)| kept[gpu][candidate]).sum(), gpus)
    };
    let pairs: Vec<Vec<(u64, Vec<usize>)>> =
        (0..n_nodes).map(|node| (0..n_nodes).map(|other| within(node, other)).collect()).collect();
    let worth: Vec<Vec<u64>> = pairs.iter().map(|row| row.iter().map(|(kept, _)| *kept).collect()).collect();
    let mut experts = Vec::with_capacity(new.experts().len());
    for (node, other) in assignment(&worth).into_iter().enumerate() {
        for (gpu, candidate) in pairs[node][other].1.iter().enumerate() {
            experts.extend(in_place(old.on_gpu(node * each + gpu), new.on_gpu(other * each + candidate)));
        }
    }
    ExpertPlacement::of(experts, new.n_experts(), new.n_slots() / new.n_gpus())
}

fn same_size(old: &ExpertPlacement, new: &ExpertPlacement) {
    let size = |placement: &ExpertPlacement| (placement.n_experts(), placement.n_slots(), placement.n_gpus());
    assert_eq!(size(old), size(new), "experts, slots and GPUs of two placements");
}

/// Slots of one GPU that can stay what they are if it comes to hold other experts.
fn n_kept(old: &[ExpertId], new: &[ExpertId]) -> u64 {
    let mut left = new.to_vec();
    let stays = |expert: &&ExpertId| {
        let place = left.iter().position(|other| other == *expert);
        place.map(|place| left.swap_remove(place)).is_some()
    };
    old.iter().filter(stays).count() as u64
}

/// The experts of a GPU in an order that leaves those that stay where they are; the others fill the gaps in their order.
fn in_place(old: &[ExpertId], new: &[ExpertId]) -> Vec<ExpertId> {
    let mut left = new.to_vec();
    let stays: Vec<bool> = old
        .iter()
        .map(|expert| left.iter().position(|other| other == expert).map(|place| left.remove(place)).is_some())
        .collect();
    let mut others = left.into_iter();
    let slot = |(&expert, &stays): (&ExpertId, &bool)| if stays { Some(expert) } else { others.next() };
    old.iter().zip(&stays).map(slot).map(|expert| expert.expect("as many leave as come")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::chance::Chance;
    use super::*;

    /// Any placement of so many experts on GPUs with `each` slots.
    fn any(chance: &mut Chance, n_experts: u32, n_gpus: u32, each: u32) -> ExpertPlacement {
        let mut experts: Vec<ExpertId> = (0..n_gpus * each)
            .map(|slot| ExpertId(if slot < n_experts { slot } else { chance.below(n_experts) }))
            .collect();
        for place in (1..experts.len()).rev() {
            experts.swap(place, chance.below(place as u32 + 1) as usize);
        }
        ExpertPlacement::of(experts, n_experts, each)
    }

    fn small_pairs() -> Vec<(ExpertPlacement, ExpertPlacement)> {
        let mut chance = Chance::new(11);
        let sizes = [(4, 4, 1), (4, 2, 2), (6, 4, 2), (4, 2, 3), (9, 4, 3), (16, 8, 3)];
        let pair = |(n_experts, n_gpus, each): (u32, u32, u32)| {
            (any(&mut chance, n_experts, n_gpus, each), any(&mut chance, n_experts, n_gpus, each))
        };
        sizes.into_iter().cycle().take(300).map(pair).collect()
    }

    #[test]
    fn moves_make_the_new_placement_of_the_old_one_and_no_slot_is_written_that_need_not_be() {
        for (old, new) in small_pairs() {
            let moves = moves(&old, &new, 2);
            let mut held = old.experts().to_vec();
            for one in &moves {
                assert_eq!(old.expert(one.from), one.expert, "{one:?}");
                held[one.to.0 as usize] = one.expert;
            }
            assert_eq!(held, new.experts());
            let differ = (0..old.n_slots()).map(Slot).filter(|&slot| old.expert(slot) != new.expert(slot)).count();
            assert_eq!(moves.len(), differ);
            assert!(moves.is_sorted_by_key(|one| one.to));
        }
    }

    #[test]
    fn weights_come_from_as_near_as_they_are() {
        for (old, new) in small_pairs() {
            for one in moves(&old, &new, 2) {
                let apart = |slot: Slot| (old.gpu(slot) != old.gpu(one.to), old.gpu(slot) / 2 != old.gpu(one.to) / 2);
                let nearest = old.replicas_of(one.expert).iter().map(|&slot| apart(slot)).min();
                assert_eq!(Some(apart(one.from)), nearest, "{one:?}");
            }
        }
    }

    #[test]
    fn nothing_moves_between_equal_placements_and_settling_finds_them() {
        for (old, _) in small_pairs() {
            assert_eq!(moves(&old, &old, 2), []);
            // The same contents, with GPUs, nodes and slots the other way round.
            let turned: Vec<ExpertId> = old.experts().iter().rev().copied().collect();
            let turned = ExpertPlacement::of(turned, old.n_experts(), old.n_slots() / old.n_gpus());
            assert_eq!(moves(&old, &settled(&old, &turned, 2), 2), []);
        }
    }

    #[test]
    fn settling_keeps_what_gpus_hold_together_and_never_moves_more() {
        let contents = |placement: &ExpertPlacement| {
            let mut gpus: Vec<Vec<ExpertId>> = (0..placement.n_gpus() as usize)
                .map(|gpu| {
                    let mut own = placement.on_gpu(gpu).to_vec();
                    own.sort_unstable();
                    own
                })
                .collect();
            gpus.sort();
            gpus
        };
        for (old, new) in small_pairs() {
            let settled = settled(&old, &new, 2);
            assert_eq!(contents(&settled), contents(&new));
            assert!(moves(&old, &settled, 2).len() <= moves(&old, &new, 2).len());
        }
    }

    /// All orders of so many things.
    fn orders(n: usize) -> Vec<Vec<usize>> {
        if n == 0 {
            return vec![Vec::new()];
        }
        let longer = |shorter: Vec<usize>| {
            (0..n).map(move |place| {
                let mut order = shorter.clone();
                order.insert(place, n - 1);
                order
            })
        };
        orders(n - 1).into_iter().flat_map(longer).collect()
    }

    #[test]
    fn no_other_names_of_nodes_gpus_and_slots_move_less() {
        let mut chance = Chance::new(5);
        for _ in 0..40 {
            let (old, new) = (any(&mut chance, 6, 4, 2), any(&mut chance, 6, 4, 2));
            let mut least = usize::MAX;
            // Slots of a GPU are renamed best by keeping what stays.
            for nodes in orders(2) {
                for (first, second) in orders(2).iter().flat_map(|a| orders(2).into_iter().map(move |b| (a.clone(), b)))
                {
                    let gpus: Vec<usize> = nodes
                        .iter()
                        .zip([&first, &second])
                        .flat_map(|(n, own)| own.iter().map(move |g| n * 2 + g))
                        .collect();
                    let kept: u64 =
                        gpus.iter().enumerate().map(|(gpu, &from)| n_kept(old.on_gpu(gpu), new.on_gpu(from))).sum();
                    least = least.min(8 - kept as usize);
                }
            }
            assert_eq!(moves(&old, &settled(&old, &new, 2), 2).len(), least, "{old:?} {new:?}");
        }
    }
}
