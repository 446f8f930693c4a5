//! When measured loads say that experts move, and where to: at a step boundary, on the same numbers on every rank.

use super::{ExpertPlacement, Move, Slots, eplb, moves, settled};

/// When experts move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RebalancePolicy {
    /// Steps between decisions.
    pub every: u64,
    /// Placements are left alone while the busiest GPU exceeds the mean load by less than this share of it.
    pub above: f64,
    /// By how much a new placement must lower that share, so that experts do not move to and fro for nothing.
    pub gain: f64,
}

/// What a layer does after a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Its experts stay.
    Stay(Stay),
    /// They move.
    Move(Box<Migration>),
}

/// Why experts stay where they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stay {
    /// It is not decided after this step.
    NotNow,
    /// No token was counted.
    NoLoad,
    /// The busiest GPU is not far above the mean.
    Even {
        /// How many times the mean it has.
        imbalance: f64,
    },
    /// The best placement found would not be better by enough.
    TooLittleGain {
        /// How many times the mean the busiest GPU has.
        imbalance: f64,
        /// And would have.
        expected: f64,
    },
}

/// Experts that move.
#[derive(Clone, Debug, PartialEq)]
pub struct Migration {
    /// Where they will be.
    pub placement: ExpertPlacement,
    /// What has to travel.
    pub moves: Vec<Move>,
    /// How many times the mean load the busiest GPU has had.
    pub imbalance: f64,
    /// And will have under the same loads.
    pub expected: f64,
}

/// Tokens that each expert of a layer has been given, of late: what is older counts half as much at every decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadWindow {
    tokens: Vec<u64>,
}

impl LoadWindow {
    /// Nothing has been counted yet.
    pub fn new(n_experts: u32) -> Self {
        Self { tokens: vec![0; n_experts as usize] }
    }

    /// Adds the tokens of a step, summed over all ranks.
    ///
    /// # Panics
    /// When there is not one number for each expert.
    pub fn add(&mut self, tokens: &[u64]) {
        assert_eq!(tokens.len(), self.tokens.len(), "one number for each expert");
        self.tokens.iter_mut().zip(tokens).for_each(|(sum, n)| *sum += n);
    }

    /// Halves what was counted, in whole tokens.
    pub fn age(&mut self) {
        self.tokens.iter_mut().for_each(|n| *n /= 2);
    }

    /// As loads.
    pub fn loads(&self) -> Vec<f64> {
        self.tokens.iter().map(|&n| n as f64).collect()
    }
}

impl RebalancePolicy {
    /// Whether it is decided after that step; steps count from 0.
    pub fn is_due(&self, step: u64) -> bool {
        (step + 1).is_multiple_of(self.every.max(1))
    }

    /// What a layer does after `step`, given the loads of late. A pure function of its arguments: ranks that have summed the
    /// same loads decide alike.
    ///
    /// # Panics
    /// When loads, slots and placement are of different sizes.
    pub fn decide(&self, step: u64, current: &ExpertPlacement, loads: &LoadWindow, slots: Slots) -> Decision {
        if !self.is_due(step) {
            return Decision::Stay(Stay::NotNow);
        }
        let loads = loads.loads();
        if loads.iter().all(|&load| load == 0.0) {
            return Decision::Stay(Stay::NoLoad);
        }
        let imbalance = current.imbalance(&loads);
        if imbalance < 1.0 + self.above {
            return Decision::Stay(Stay::Even { imbalance });
        }
        let gpus_per_node = slots.gpus_per_node();
        let placement = settled(current, &eplb(&loads, slots), gpus_per_node);
        let expected = placement.imbalance(&loads);
        let moves = moves(current, &placement, gpus_per_node);
        if expected >= imbalance || imbalance - expected < self.gain {
            return Decision::Stay(Stay::TooLittleGain { imbalance, expected });
        }
        Decision::Move(Box::new(Migration { placement, moves, imbalance, expected }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::SlotCounts;
    use super::super::chance::Chance;
    use super::*;

    const POLICY: RebalancePolicy = RebalancePolicy { every: 10, above: 0.2, gain: 0.05 };
    const COUNTS: SlotCounts = SlotCounts { n_experts: 16, n_slots: 16, n_groups: 4, n_nodes: 2, n_gpus: 8 };

    fn slots() -> Slots {
        Slots::new(COUNTS).unwrap()
    }

    fn begin() -> ExpertPlacement {
        ExpertPlacement::in_order(COUNTS.n_experts, COUNTS.n_gpus)
    }

    fn window(tokens: &[u64]) -> LoadWindow {
        let mut window = LoadWindow::new(tokens.len() as u32);
        window.add(tokens);
        window
    }

    fn decide(step: u64, current: &ExpertPlacement, tokens: &[u64]) -> Decision {
        POLICY.decide(step, current, &window(tokens), slots())
    }

    #[test]
    fn it_is_decided_after_every_so_many_steps_and_not_before() {
        let due: Vec<u64> = (0..35).filter(|&step| POLICY.is_due(step)).collect();
        assert_eq!(due, [9, 19, 29]);
        let mut loads = [0; 16];
        loads[0] = 100;
        assert_eq!(decide(8, &begin(), &loads), Decision::Stay(Stay::NotNow));
    }

    #[test]
    fn even_loads_and_none_move_nothing() {
        assert_eq!(decide(9, &begin(), &[0; 16]), Decision::Stay(Stay::NoLoad));
        assert_eq!(decide(9, &begin(), &[7; 16]), Decision::Stay(Stay::Even { imbalance: 1.0 }));
    }

    #[test]
    fn an_expert_that_alone_is_too_hot_moves_nothing_since_no_place_is_better() {
        let mut loads = [0; 16];
        loads[0] = 100;
        let stay = Stay::TooLittleGain { imbalance: 8.0, expected: 8.0 };
        assert_eq!(decide(9, &begin(), &loads), Decision::Stay(stay));
    }

    #[test]
    fn whatever_the_loads_a_move_gains_enough_and_is_not_repeated() {
        let (mut chance, mut n_moved) = (Chance::new(3), 0);
        for _ in 0..500 {
            let (mut current, loads) = (begin(), chance.loads(16));
            for _ in 0..2 {
                if let Decision::Move(migration) = decide(9, &current, &loads) {
                    assert!(migration.imbalance >= 1.0 + POLICY.above, "{migration:?}");
                    assert!(migration.imbalance - migration.expected >= POLICY.gain, "{migration:?}");
                    assert_eq!(migration.moves, moves(&current, &migration.placement, 4));
                    current = migration.placement;
                    n_moved += 1;
                }
            }
            // The same loads find nothing better than what they made.
            assert!(matches!(decide(9, &current, &loads), Decision::Stay(_)), "{loads:?}");
        }
        assert!(n_moved > 100, "{n_moved}");
    }

    #[test]
    fn ranks_that_see_the_same_loads_decide_alike_and_what_is_older_fades() {
        let mut chance = Chance::new(9);
        let mut old = window(&chance.loads(16));
        let first = old.clone();
        old.age();
        assert!(old.loads().iter().zip(first.loads()).all(|(half, whole)| *half == (whole / 2.0).floor()));
        assert_eq!(decide(9, &begin(), &[5; 16]), decide(9, &begin(), &[5; 16]));
        for _ in 0..50 {
            let loads = chance.loads(16);
            assert_eq!(decide(19, &begin(), &loads), decide(19, &begin(), &loads));
        }
    }
}
