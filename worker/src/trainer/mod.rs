//! One rank's training, without knowing who starts it: ranks may be processes of a cluster or threads of a test.

mod checkpoints;
mod evaluate;
mod migration;
mod planes;
mod setup;
mod simulated;
mod traces;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ds_arch::LayerId;
use ds_checkpoint::TrainState;
use ds_data::TokenFolder;
use ds_model::{BiasStep, Gradients, LossWeights, Microbatch, StageModel, update_bias};
use ds_plan::spec::{self, BalancePolicy, BiasRule, PhaseSpec};
use ds_plan::{JobPlan, RankId, RankPlan, executable, learning_rate};
use ds_proto::{Evaluation, StepMetrics};
use tch::Tensor;

use crate::comm::{Endpoint, ReduceOp};
use crate::error::RankError;
use crate::exchange::CommExchange;
use crate::step::{
    Batches, Cause, Cut, Ema, Executor, Ledger, ModelWork, NormShare, Optimizer, Pipeline, Slots, Statistics, Zero,
    clip, maxvio, mean, n_targets, sum_over, sum_over_holders,
};
use checkpoints::Checkpoints;
use migration::Residence;

pub(crate) use checkpoints::read_into;
pub use setup::Setup;
pub(crate) use setup::{Groups, device, precision, stage_model};
use simulated::SimulatedNetwork;

/// One rank, ready to train.
pub struct Trainer {
    plan: JobPlan,
    rank: RankPlan,
    model: StageModel,
    gradients: Gradients,
    optimizer: Optimizer,
    /// Where ranks own parameters.
    zero: Option<Zero>,
    ema: Option<Ema>,
    norm_share: NormShare,
    /// Where experts live.
    residence: Residence,
    groups: Groups,
    exchange: CommExchange,
    /// Where the network is simulated.
    network: Option<SimulatedNetwork>,
    /// By this rank's NIC, up to the last step.
    carried_bytes: u64,
    /// Parameters that other stages have copies of: places in `StageModel::parameters`, by holders in the pipeline group.
    shared: BTreeMap<Vec<usize>, Vec<usize>>,
    /// Every layer with a gate, of all stages, MTP included.
    layers: Vec<LayerId>,
    batches: Batches,
    validation: Option<TokenFolder>,
    cut: Cut,
    checkpoints: Checkpoints,
    n_updates: u64,
}

/// What one update was like.
pub struct StepDone {
    /// Of the whole job; the same on every rank but for the clock, and for what a fabric or planes carried, which rank 0 knows.
    pub metrics: StepMetrics,
    /// Some rank was told to stop: all of them stop here.
    pub stop: bool,
}

impl Trainer {
    /// Takes up the newest whole checkpoint of the run, or the initial weights. Every rank of the job calls it.
    ///
    /// # Errors
    /// When the seat, the text or the checkpoint cannot be used, or a peer fails.
    pub fn new(plan: &JobPlan, rank: RankId, endpoint: &Endpoint, setup: Setup) -> Result<Self, RankError> {
        executable(plan.spec())?;
        let (plan, rank) = (plan.clone(), plan.rank(rank));
        let device = setup::device(&setup.device)?;
        let groups = Groups::new(endpoint, &plan, &rank).on_cards(&plan, device)?;
        let model = setup::stage_model(&plan, &rank, device)?;
        let phase = plan.spec().train[0].clone();
        let zero = (plan.spec().parallel.zero > 0)
            .then(|| Zero::new(&plan, rank.rank, &model, [&groups.data, &groups.replica]));
        let slots = zero.as_ref().map_or_else(|| Slots::whole(&model), |zero| zero.own().clone());
        let mut optimizer = Optimizer::new(phase.optimizer, plan.spec().precision.moments, &model, slots);
        let keep = plan.spec().checkpoint.keep;
        let checkpoints = Checkpoints::new(setup.checkpoints.clone(), keep, plan.writes(rank.rank), &model);
        let (n_updates, ema) = setup::take_up_weights(&plan, &checkpoints, &model, &mut optimizer, &groups)?;

        let share = setup::sequence_share(&plan, &rank);
        let cut = Cut { sequence: phase.sequence, mtp_depth: plan.spec().model.mtp.depth, device, share };
        let (training, validation) = setup::open_tokens(&plan, &setup, cut)?;
        let batches = Batches::new(training, &phase, cut, plan.spec().seed, rank.at.data, rank.n_microbatches);
        Ok(Self {
            gradients: Gradients::zeros(&model),
            norm_share: NormShare::new(&plan, &checkpoints.writes, &model),
            residence: Residence::new(&plan, &model),
            exchange: setup::exchange(&plan, &groups),
            network: SimulatedNetwork::of(&plan, rank.rank)?,
            carried_bytes: 0,
            shared: shared(&plan, &model),
            layers: plan.spec().model.moe_layers().collect(),
            plan,
            rank,
            model,
            optimizer,
            zero,
            ema,
            groups,
            batches,
            validation,
            cut,
            checkpoints,
            n_updates,
        })
    }

    /// Updates that the weights have seen.
    pub fn n_updates(&self) -> u64 {
        self.n_updates
    }

    /// This rank's part of the network.
    pub fn model(&self) -> &StageModel {
        &self.model
    }

    /// Gradients of the last step, after sums; an update may have clipped them. Aligned with the model's parameters. Under
    /// ZeRO they are sums only where this rank is the owner.
    pub fn gradients(&self) -> &[Tensor] {
        self.gradients.tensors()
    }

    /// Expert moves so far, over all layers that this rank holds.
    pub fn n_expert_moves(&self) -> usize {
        self.residence.n_moves()
    }

    /// Master weights, and their moving average where the job keeps one; aligned with the model's parameters, or under ZeRO
    /// with what this rank owns.
    ///
    /// # Errors
    /// When the last update could not be taken up.
    pub fn weights_and_average(&self) -> Result<(&[Tensor], Option<&[Tensor]>), RankError> {
        if let Some(ema) = &self.ema {
            ema.settle()?;
        }
        Ok((self.optimizer.masters(), self.ema.as_ref().map(Ema::averages)))
    }

    /// One update. `stop` says that this rank was told to stop after it.
    ///
    /// # Errors
    /// When a peer fails, LibTorch refuses, or the gradient norm is not finite; then the weights are unchanged.
    pub fn step(&mut self, stop: bool) -> Result<StepDone, RankError> {
        let is_traced = self.is_traced();
        let ledger = Ledger::remembering(is_traced, self.network.is_some());
        let microbatches = ledger.book(Cause::Data, || self.batches.step(self.n_updates));
        let weights = self.loss_weights(&microbatches, &ledger)?;
        self.gradients.zero();
        let mut mine = self.forward_and_backward(&microbatches, &weights, &ledger)?;
        let norm = ledger.book(Cause::Reduce, || self.reduce())?;
        if !norm.is_finite() {
            return Err(RankError::NotFinite { step: self.n_updates, norm });
        }
        let rate = learning_rate(&self.phase().learning_rate, self.n_updates);
        ledger.book(Cause::Optimizer, || self.update(norm, rate))?;
        if let Some(zero) = &self.zero {
            ledger.book(Cause::Reduce, || zero.gather(&self.model, self.groups.deadline()))?;
        }
        (mine.seconds, mine.exchanged) = (ledger.by_cause(), ledger.exchanged());
        mine.n_stops = if stop { 1.0 } else { 0.0 };
        let n_experts = self.plan.spec().model.moe.n_experts as usize;
        let all = mine.sum(&self.layers, n_experts, &self.groups.world, self.groups.deadline())?;
        self.update_biases(&all);
        ledger.book(Cause::Reduce, || self.settle_experts(&all))?;
        self.n_updates += 1;
        let mut metrics = self.metrics(&all, norm, rate, ledger.seconds());
        if is_traced {
            self.write_trace(ledger.take_spans())?;
        }
        metrics.planes = self.carried()?;
        metrics.simulated = self.play_step(&ledger.take_notes())?.map(Box::new);
        Ok(StepDone { metrics, stop: all.n_stops > 0.0 })
    }

    /// The loss over the held-out text, if there is any; every rank calls it at the same step.
    ///
    /// # Errors
    /// When a peer fails or LibTorch refuses.
    pub fn evaluate(&self) -> Result<Option<Evaluation>, RankError> {
        self.validation.as_ref().map(|validation| evaluate::evaluate(self, validation)).transpose()
    }

    /// Saves a checkpoint and returns its folder; every rank calls it at the same step.
    ///
    /// # Errors
    /// When any rank could not write its part.
    pub fn save(&self) -> Result<PathBuf, RankError> {
        let state = TrainState {
            step: self.n_updates,
            next_sample: self.n_updates * u64::from(self.phase().batch),
            seed: self.plan.spec().seed,
            spec_yaml: spec::to_yaml(self.plan.spec()),
            ..TrainState::default()
        };
        if let Some(ema) = &self.ema {
            ema.settle()?;
        }
        let (world, deadline) = (&self.groups.world, self.groups.deadline());
        self.checkpoints.save(&self.model, &self.optimizer, self.ema.as_ref(), &state, world, deadline)
    }

    /// Waits for all ranks, so that nobody closes the mesh while a peer still listens.
    ///
    /// # Errors
    /// When a peer fails.
    pub fn leave(&self) -> Result<(), RankError> {
        Ok(self.groups.world.barrier().wait(self.groups.deadline())?)
    }

    fn phase(&self) -> &PhaseSpec {
        &self.plan.spec().train[0]
    }

    /// Every loss is a mean over the whole batch, so its targets are counted before the first backward.
    fn loss_weights(&self, microbatches: &[Microbatch], ledger: &Ledger) -> Result<LossWeights, RankError> {
        let (main, mtp) = microbatches.iter().map(n_targets).fold((0, 0), |sum, n| (sum.0 + n.0, sum.1 + n.1));
        let counts = Tensor::from_slice(&[main, mtp]);
        let deadline = self.groups.deadline();
        let counts =
            ledger.book(Cause::Reduce, || self.groups.data.all_reduce(&counts, ReduceOp::Sum).wait(deadline))?;
        let count = |i| counts.int64_value(&[i]).max(1) as f64;
        Ok(LossWeights {
            token: 1.0 / count(0),
            // (λ/D) Σ_k mean_k: each of the D depths has 1/D of the targets.
            mtp: self.phase().mtp_weight / count(1),
            balance: self.plan.spec().balance.sequence_weight / f64::from(self.phase().batch),
            batch_balance: self.plan.spec().balance.batch_weight * f64::from(self.phase().microbatch)
                / f64::from(self.phase().batch),
        })
    }

    fn forward_and_backward(
        &mut self,
        microbatches: &[Microbatch],
        weights: &LossWeights,
        ledger: &Ledger,
    ) -> Result<Statistics, RankError> {
        let phase = self.phase();
        let here = phase.sequence / self.cut.share.n as u32;
        let shape = [phase.microbatch, here, self.plan.spec().model.hidden_size].map(i64::from);
        let executor = Executor {
            pipeline: Pipeline {
                group: &self.groups.pipeline,
                placement: self.plan.placement(),
                actions: &|pipeline| self.plan.actions(pipeline),
            },
            ledger,
            stream: (shape, setup::precision(&self.plan.spec().precision).kind, self.cut.device),
            deadline: self.groups.deadline(),
        };
        let (at, exchange) = ((&self.model, &executor.pipeline), self.exchange.booked(ledger));
        let mut work = ModelWork::new(at, (microbatches, weights), &mut self.gradients, (&exchange, ledger));
        executor.run(&mut work)?;
        Ok(work.statistics())
    }

    /// Gradients of the whole batch, and their global norm.
    fn reduce(&self) -> Result<f64, RankError> {
        let (groups, deadline) = (&self.groups, self.groups.deadline());
        let gradients = self.gradients.tensors();
        for (holders, places) in &self.shared {
            let copies: Vec<Tensor> = places.iter().map(|&place| gradients[place].shallow_clone()).collect();
            sum_over_holders(&groups.pipeline, holders, &copies, deadline)?;
        }
        if let Some(zero) = &self.zero {
            zero.reduce(gradients, deadline)?;
            return Ok(self.norm_share.global_norm(gradients, &groups.world, deadline)?);
        }
        let pick = |experts: bool| -> Vec<Tensor> {
            let of = self.model.parameters().iter().zip(gradients);
            of.filter(|(p, _)| p.is_expert == experts).map(|(_, g)| g.shallow_clone()).collect()
        };
        sum_over(&groups.data, &pick(false), deadline)?;
        sum_over(&groups.replica, &pick(true), deadline)?;
        Ok(self.norm_share.global_norm(gradients, &groups.world, deadline)?)
    }

    fn update(&mut self, norm: f64, rate: f64) -> Result<(), RankError> {
        let clip = self.phase().clip.map_or(1.0, |limit| clip(norm, limit));
        if let Some(ema) = &self.ema {
            ema.settle()?;
        }
        self.optimizer.step(&self.model, self.gradients.tensors(), rate, clip)?;
        Ok(self.ema.as_ref().map_or(Ok(()), Ema::follow)?)
    }

    fn update_biases(&self, all: &Statistics) {
        let BalancePolicy::LossFree { speed, rule, freeze_after } = self.plan.spec().balance.policy else { return };
        if freeze_after.is_some_and(|after| self.n_updates >= after) {
            return;
        }
        let step = match rule {
            BiasRule::Sign => BiasStep::Sign,
            BiasRule::Proportional => BiasStep::Proportional,
        };
        for (layer, bias) in self.model.biases() {
            update_bias(&bias, &all.loads[&layer], step, speed);
        }
    }

    fn metrics(&self, all: &Statistics, norm: f64, rate: f64, seconds: f64) -> StepMetrics {
        let n_ranks = f64::from(self.plan.grid().n_ranks());
        let of_cause = |cause: Cause| all.seconds[cause as usize] / n_ranks;
        let tokens = u64::from(self.phase().batch) * u64::from(self.phase().sequence);
        let load = |layer: &LayerId| (layer.0, all.loads[layer].iter().map(|&n| n as u64).collect());
        StepMetrics {
            step: self.n_updates,
            loss: mean(all.loss),
            mtp_loss: mean(all.mtp),
            balance_loss: mean(all.balance),
            grad_norm: norm,
            learning_rate: rate,
            tokens,
            seconds,
            tokens_per_second: tokens as f64 / seconds,
            maxvio: maxvio(self.layers.iter().map(|layer| &all.loads[layer])),
            bubble_share: of_cause(Cause::Pipeline) / seconds,
            seconds_by_cause: Cause::ALL.iter().map(|&c| (c.name().to_owned(), of_cause(c))).collect(),
            loads: self.layers.iter().map(load).collect(),
            exchange: all.exchanged,
            ..StepMetrics::default()
        }
    }
}

fn shared(plan: &JobPlan, model: &StageModel) -> BTreeMap<Vec<usize>, Vec<usize>> {
    let place = |name: &str| model.parameters().iter().position(|p| p.logical[0].name == name);
    let mut shared: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for parameter in plan.shared_parameters() {
        if let Some(place) = place(&parameter.name) {
            shared.entry(parameter.pipeline.iter().map(|&at| at as usize).collect()).or_default().push(place);
        }
    }
    shared
}
