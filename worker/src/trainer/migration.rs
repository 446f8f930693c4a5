//! Experts that move to other ranks where measured loads ask for it: at a step boundary, with weights, moments and averages,
//! bit for bit. Biases of gates belong to experts, wherever these are. Every rank sees the same loads and decides alike.

use std::collections::BTreeMap;

use ds_arch::LayerId;
use ds_model::StageModel;
use ds_plan::JobPlan;
use ds_plan::expert_placement::{Decision, ExpertPlacement, LoadWindow, Migration, RebalancePolicy, Slots};
use tch::{Tensor, no_grad};

use super::Trainer;
use crate::error::RankError;
use crate::step::{Ema, NormShare, Statistics};

/// Where the experts of the layers that this rank holds live, and when they move.
pub(super) struct Residence {
    /// None where they stay where they are.
    policy: Option<(RebalancePolicy, Slots)>,
    layers: BTreeMap<LayerId, (ExpertPlacement, LoadWindow)>,
    n_moves: usize,
}

impl Residence {
    pub(super) fn new(plan: &JobPlan, model: &StageModel) -> Self {
        let policy = plan.rebalance().map(|policy| (policy, plan.expert_slots()));
        let n_experts = plan.spec().model.moe.n_experts;
        let layer = |(layer, _)| (layer, (plan.first_placement(), LoadWindow::new(n_experts)));
        Self { policy, layers: model.biases().into_iter().map(layer).collect(), n_moves: 0 }
    }

    pub(super) fn n_moves(&self) -> usize {
        self.n_moves
    }

    /// Takes up the loads of step `step`; the layers whose experts move, and where to.
    fn decide(&mut self, step: u64, all: &Statistics) -> Vec<(LayerId, Migration)> {
        let Some((policy, slots)) = self.policy else { return Vec::new() };
        let mut moving = Vec::new();
        for (&layer, (placement, window)) in &mut self.layers {
            let tokens: Vec<u64> = all.loads[&layer].iter().map(|&n| n as u64).collect();
            window.add(&tokens);
            if let Decision::Move(migration) = policy.decide(step, placement, window, slots) {
                moving.push((layer, *migration));
            }
            if policy.is_due(step) {
                window.age();
            }
        }
        moving
    }
}

impl Trainer {
    /// After a step whose loads are summed up.
    pub(super) fn settle_experts(&mut self, all: &Statistics) -> Result<(), RankError> {
        let moving = self.residence.decide(self.n_updates, all);
        if moving.is_empty() {
            return Ok(());
        }
        if let Some(ema) = &self.ema {
            ema.settle()?;
        }
        let n_local = self.plan.spec().model.moe.n_experts as usize / self.groups.expert.size();
        for (layer, migration) in moving {
            self.migrate(layer, &migration, n_local)?;
            tracing::info!(
                "layer {}: {} experts move; the busiest rank had {:.2} times the mean load, it will have {:.2}",
                layer.0,
                migration.moves.len(),
                migration.imbalance,
                migration.expected
            );
            let experts: Vec<u32> = migration.placement.experts().iter().map(|expert| expert.0).collect();
            self.model.place_experts(layer, &experts, self.groups.expert.index() * n_local);
            self.residence.n_moves += migration.moves.len();
            self.residence.layers.get_mut(&layer).expect("a layer of this rank").0 = migration.placement;
        }
        self.optimizer.publish(&self.model);
        self.norm_share = NormShare::new(&self.plan, &self.checkpoints.writes, &self.model);
        Ok(())
    }

    /// Moves what slots hold, kind by kind: masters, moments, averages.
    fn migrate(&self, layer: LayerId, migration: &Migration, n_local: usize) -> Result<(), RankError> {
        let stacks = self.model.expert_stacks(layer);
        let averages = self.ema.as_ref().map(Ema::averages);
        let kinds = [self.optimizer.masters(), self.optimizer.moments1(), self.optimizer.moments2()];
        for tensors in kinds.into_iter().chain(averages) {
            for stack in stacks {
                // A row for each slot of this rank, over the same memory.
                let rows = tensors[stack].detach().view([n_local as i64, -1]);
                self.migrate_rows(&rows, migration, n_local)?;
            }
        }
        Ok(())
    }

    fn migrate_rows(&self, rows: &Tensor, migration: &Migration, n_local: usize) -> Result<(), RankError> {
        let group = &self.groups.expert;
        let rank = |slot: u32| slot as usize / n_local;
        let (mut to, mut from) = (vec![0_i64; group.size()], vec![0_i64; group.size()]);
        let (mut sent, mut taken) = (vec![Vec::new(); group.size()], vec![Vec::new(); group.size()]);
        // Both ends go through the moves in their order.
        for step in &migration.moves {
            let (source, target) = (rank(step.from.0), rank(step.to.0));
            if source == group.index() {
                to[target] += 1;
                sent[target].push((step.from.0 as usize % n_local) as i64);
            }
            if target == group.index() {
                from[source] += 1;
                taken[source].push((step.to.0 as usize % n_local) as i64);
            }
        }
        let [sent, taken] = [sent, taken].map(|places| Tensor::from_slice(&places.concat()).to_device(rows.device()));
        let leaving = rows.index_select(0, &sent);
        let came = group.all_to_all(&leaving, &to, &from).wait(self.groups.deadline())?;
        no_grad(|| drop(rows.shallow_clone().index_copy_(0, &taken, &came)));
        Ok(())
    }
}
