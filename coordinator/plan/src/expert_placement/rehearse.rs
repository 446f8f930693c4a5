//! What a policy would have done in a run whose loads are known.

use super::{Decision, ExpertPlacement, LoadWindow, RebalancePolicy, Slots};

/// A layer of a run, as it was and as it would have been.
#[derive(Clone, Debug, PartialEq)]
pub struct Rehearsal {
    /// Steps with loads.
    pub n_steps: u64,
    /// How many times the mean load the busiest GPU had, in the mean over steps, if nothing moves.
    pub imbalance_fixed: f64,
    /// And if experts move as the policy says.
    pub imbalance: f64,
    /// When experts move.
    pub migrations: Vec<Migrated>,
}

/// Experts that would have moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Migrated {
    /// After this step.
    pub step: u64,
    /// As many slots get other weights.
    pub n_moves: usize,
    /// How many times the mean load of late the busiest GPU has had.
    pub imbalance: f64,
    /// And would have had in the new places.
    pub expected: f64,
}

/// Goes through the loads of a layer, step by step: what each step's tokens would have been to the placement of that time,
/// and what the policy would have decided after it. Steps count from 0 and come in order.
pub fn rehearse<'a>(
    policy: RebalancePolicy,
    first: &ExpertPlacement,
    slots: Slots,
    steps: impl Iterator<Item = (u64, &'a [u64])>,
) -> Rehearsal {
    let (mut current, mut window) = (first.clone(), LoadWindow::new(first.n_experts()));
    let (mut n, mut fixed, mut moving) = (0, 0.0, 0.0);
    let mut migrations = Vec::new();
    for (step, tokens) in steps {
        let loads: Vec<f64> = tokens.iter().map(|&n| n as f64).collect();
        n += 1;
        fixed += first.imbalance(&loads);
        moving += current.imbalance(&loads);
        window.add(tokens);
        if let Decision::Move(migration) = policy.decide(step, &current, &window, slots) {
            let (imbalance, expected) = (migration.imbalance, migration.expected);
            migrations.push(Migrated { step, n_moves: migration.moves.len(), imbalance, expected });
            current = migration.placement;
        }
        if policy.is_due(step) {
            window.age();
        }
    }
    let mean = |sum: f64| if n > 0 { sum / n as f64 } else { 1.0 };
    Rehearsal { n_steps: n, imbalance_fixed: mean(fixed), imbalance: mean(moving), migrations }
}

#[cfg(test)]
mod tests {
    use super::super::SlotCounts;
    use super::super::chance::Chance;
    use super::*;

    const POLICY: RebalancePolicy = RebalancePolicy { every: 10, above: 0.2, gain: 0.05 };

    fn rehearsed(loads: &[Vec<u64>]) -> Rehearsal {
        let slots = Slots::new(SlotCounts { n_experts: 16, n_slots: 16, n_groups: 1, n_nodes: 1, n_gpus: 4 }).unwrap();
        let steps = (0..).zip(loads.iter().map(Vec::as_slice));
        rehearse(POLICY, &ExpertPlacement::in_order(16, 4), slots, steps)
    }

    #[test]
    fn loads_that_stay_move_experts_once_and_are_even_from_then_on() {
        // The four hottest experts lie on one GPU.
        let loads: Vec<u64> = (0..16).map(|expert| if expert < 4 { 90 } else { 10 }).collect();
        let of = rehearsed(&vec![loads; 40]);
        assert_eq!(of.migrations.len(), 1, "{of:?}");
        let Migrated { step, n_moves, imbalance, expected } = of.migrations[0];
        // The balancer deals out the cold ones anew too, one to each GPU in turn.
        assert_eq!((step, n_moves, imbalance, expected), (9, 12, 3.0, 1.0));
        assert!((of.imbalance - (10.0 * 3.0 + 30.0) / 40.0).abs() < 1e-12, "{of:?}");
        assert_eq!((of.n_steps, of.imbalance_fixed), (40, 3.0));
    }

    #[test]
    fn what_changes_by_chance_alone_moves_little_and_what_is_even_nothing() {
        assert_eq!(rehearsed(&vec![vec![5; 16]; 30]).migrations, []);
        let mut chance = Chance::new(2);
        let noisy: Vec<Vec<u64>> =
            (0..200).map(|_| (0..16).map(|_| 500 + u64::from(chance.below(200))).collect()).collect();
        assert_eq!(rehearsed(&noisy).migrations, []);
        assert_eq!(rehearsed(&[]).imbalance, 1.0);
    }

    #[test]
    fn experts_follow_loads_that_move() {
        let hot = |is_hot: &dyn Fn(u64) -> bool| (0..16).map(|e| if is_hot(e) { 90 } else { 10 }).collect::<Vec<u64>>();
        // First those of one GPU, then those that share one from then on.
        let (first, second) = (hot(&|expert| expert < 4), hot(&|expert| expert % 4 == 0));
        let of = rehearsed(&[vec![first; 60], vec![second; 60]].concat());
        assert!(of.imbalance < 0.7 * of.imbalance_fixed, "{of:?}");
        assert!((2..=6).contains(&of.migrations.len()), "{of:?}");
    }
}
