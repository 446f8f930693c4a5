//! Layers to stages: the cuts that make the most expensive stage as cheap as possible.

use std::ops::Range;

use ds_arch::{Cost, LayerId, Load, Place, operations};

use crate::job::Stage;
use crate::schedule::{Pass, StageId};
use crate::spec::{DeviceKind, JobSpec};

/// Cuts the model into `n_stages` runs of layers. Embedding stays before the first layer; final norm, head and MTP stay
/// after the last one.
///
/// # Panics
/// When there are fewer layers than stages, or no stage: the plan has refused it before.
pub(crate) fn stages(spec: &JobSpec, n_stages: u32) -> Vec<Stage> {
    let costs = layer_costs(spec);
    let (n_layers, depth) = (spec.model.n_layers, spec.model.mtp.depth);
    let runs = balanced(&costs, n_stages as usize);
    let stage = |(index, run): (usize, Range<usize>)| {
        let (first, last) = (index == 0, index + 1 == n_stages as usize);
        Stage {
            id: StageId(index as u32),
            layers: run.start as u32..run.end as u32,
            embeds: first,
            scores: last,
            mtp_layers: if last { n_layers..n_layers + depth } else { n_layers..n_layers },
        }
    };
    runs.into_iter().enumerate().map(stage).collect()
}

/// What one microbatch costs, by one estimate, in units of one FLOP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PassCosts {
    pub(crate) forward: u64,
    pub(crate) input: u64,
    pub(crate) weight: u64,
}

impl PassCosts {
    /// Every piece of unit work: a backward is twice a forward.
    pub(crate) const EVEN: Self = Self { forward: 1, input: 1, weight: 1 };

    pub(crate) fn of(self, pass: Pass) -> u64 {
        match pass {
            Pass::Forward => self.forward,
            Pass::Backward => self.input + self.weight,
            Pass::BackwardInput => self.input,
            Pass::BackwardWeight => self.weight,
        }
    }

    pub(crate) fn total(self) -> u64 {
        self.forward + self.input + self.weight
    }
}

/// What one microbatch costs a stage.
pub(crate) fn stage_cost(spec: &JobSpec, stage: &Stage) -> PassCosts {
    let costs = stage.places().into_iter().map(|place| place_cost(spec, place));
    costs.fold(PassCosts::default(), |sum, one| PassCosts {
        forward: sum.forward + one.forward,
        input: sum.input + one.input,
        weight: sum.weight + one.weight,
    })
}

/// The cost of each main layer, with what must stand beside it.
fn layer_costs(spec: &JobSpec) -> Vec<u64> {
    let cost = |place| place_cost(spec, place).total();
    let layer = |layer| cost(Place::Layer(LayerId(layer)));
    let mut costs: Vec<u64> = (0..spec.model.n_layers).map(layer).collect();
    let tail = cost(Place::FinalNorm)
        + cost(Place::Head)
        + (0..spec.model.mtp.depth).map(|depth| layer(spec.model.n_layers + depth)).sum::<u64>();
    if let Some(first) = costs.first_mut() {
        *first += cost(Place::Embedding);
    }
    if let Some(last) = costs.last_mut() {
        *last += tail;
    }
    costs
}

/// An operation takes as long as its arithmetic or its memory traffic, whichever is longer; in units of one FLOP.
fn place_cost(spec: &JobSpec, place: Place) -> PassCosts {
    let balance = flops_per_element(spec.cluster.device);
    let roofline = |cost: Cost| cost.flops.max(balance * cost.elements());
    let operations = operations(&spec.model, place, load(spec));
    PassCosts {
        forward: operations.iter().map(|o| roofline(o.forward)).sum(),
        input: operations.iter().map(|o| roofline(o.backward_input)).sum(),
        weight: operations.iter().map(|o| roofline(o.backward_weight)).sum(),
    }
}

/// What passes through the ranks of one data coordinate with one microbatch; context ranks divide it evenly.
pub(crate) fn load(spec: &JobSpec) -> Load {
    let phase = &spec.train[0];
    Load {
        tokens: u64::from(phase.microbatch) * u64::from(phase.sequence),
        sequence: phase.sequence.into(),
        n_experts_held: u64::from(spec.model.moe.n_experts) / u64::from(spec.parallel.expert),
    }
}

/// Arithmetic that a device does while it moves one element.
fn flops_per_element(device: DeviceKind) -> u64 {
    match device {
        // A server core: about 50 GFLOP/s and 10 GB/s, 4 bytes an element.
        DeviceKind::Cpu => 20,
        // An H800: 990 TFLOP/s and 3.35 TB/s, 2 bytes an element.
        DeviceKind::Cuda => 590,
    }
}

/// Cuts `costs` into `n` runs, none empty, so that the most expensive run is as cheap as possible; of those cuts the
/// most even one (least sum of squares), and of those the one with the earliest cuts.
fn balanced(costs: &[u64], n: usize) -> Vec<Range<usize>> {
    assert!(n > 0 && n <= costs.len(), "{} layers cannot make {n} stages", costs.len());
    let mut sums = vec![0_u64];
    for cost in costs {
        sums.push(sums[sums.len() - 1] + cost);
    }
    let cost = |run: Range<usize>| sums[run.end] - sums[run.start];

    let limit = best(costs.len(), n, |run| Some(u128::from(cost(run))), u128::max).0;
    let square = |run| Some(u128::from(cost(run))).filter(|&c| c <= limit).map(|c| c * c);
    best(costs.len(), n, square, |a, b| a + b).1
}

/// The cheapest way to cut `0..len` into `n` runs, where `price` prices (or forbids) a run and `join` joins prices.
/// `best[k][end]` is the price of cutting `0..end` into k runs, and the start of the last of them.
fn best(
    len: usize,
    n: usize,
    price: impl Fn(Range<usize>) -> Option<u128>,
    join: impl Fn(u128, u128) -> u128,
) -> (u128, Vec<Range<usize>>) {
    let mut best = vec![vec![None; len + 1]; n + 1];
    best[0][0] = Some((0_u128, 0_usize));
    for k in 1..=n {
        for end in k..=len {
            best[k][end] = (k - 1..end)
                .filter_map(|start| {
                    let (before, _) = best[k - 1][start]?;
                    Some((join(before, price(start..end)?), start))
                })
                .min();
        }
    }
    let (total, _) = best[n][len].expect("every run may have one layer, so there is a cut");
    let mut runs = Vec::with_capacity(n);
    let mut end = len;
    for k in (1..=n).rev() {
        let (_, start) = best[k][end].expect("reached from a cut that exists");
        runs.push(start..end);
        end = start;
    }
    runs.reverse();
    (total, runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way to cut `len` items into `n` runs, none empty.
    fn all_cuts(len: usize, n: usize) -> Vec<Vec<Range<usize>>> {
        fn extend(start: usize, len: usize, n: usize, runs: &mut Vec<Range<usize>>, all: &mut Vec<Vec<Range<usize>>>) {
            if n == 1 {
                runs.push(start..len);
                all.push(runs.clone());
                runs.pop();
                return;
            }
            for end in start + 1..=len - (n - 1) {
                runs.push(start..end);
                extend(end, len, n - 1, runs, all);
                runs.pop();
            }
        }
        let mut all = Vec::new();
        extend(0, len, n, &mut Vec::new(), &mut all);
        all
    }

    #[test]
    fn no_other_cut_has_a_cheaper_most_expensive_stage() {
        for len in 1..=7_usize {
            for case in 0..3_u64.pow(len as u32) {
                let costs: Vec<u64> = (0..len).map(|i| [1, 2, 5][(case / 3_u64.pow(i as u32) % 3) as usize]).collect();
                for n in 1..=len {
                    let largest = |runs: &[Range<usize>]| {
                        runs.iter().map(|run| costs[run.clone()].iter().sum::<u64>()).max().unwrap()
                    };
                    let runs = balanced(&costs, n);
                    let least = all_cuts(len, n).iter().map(|runs| largest(runs)).min().unwrap();
                    assert_eq!(largest(&runs), least, "{costs:?} into {n}: {runs:?}");
                    assert!(runs.iter().all(|run| !run.is_empty()), "{costs:?} into {n}: {runs:?}");
                }
            }
        }
    }

    #[test]
    fn equal_layers_are_cut_evenly() {
        assert_eq!(balanced(&[1; 8], 4), [0..2, 2..4, 4..6, 6..8]);
        assert_eq!(balanced(&[1; 7], 3), [0..2, 2..4, 4..7]);
    }

    #[test]
    fn an_expensive_tail_gets_fewer_layers() {
        assert_eq!(balanced(&[1, 1, 1, 4], 2), [0..3, 3..4]);
    }
}
