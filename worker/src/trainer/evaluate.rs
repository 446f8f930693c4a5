//! The loss over the held-out text: forward passes only, the same windows on every grid.

use ds_data::TokenFolder;
use ds_model::{LossWeights, StageInput};
use ds_plan::Stage;
use ds_plan::schedule::{Microbatch, StageId};
use ds_proto::Evaluation;
use tch::{Tensor, no_grad};

use super::{Trainer, setup};
use crate::comm::Pending;
use crate::error::RankError;
use crate::step::{Ledger, Statistics, maxvio, mean};

/// Runs the held-out windows through the pipeline; every rank calls it at the same step.
pub(super) fn evaluate(trainer: &Trainer, validation: &TokenFolder) -> Result<Evaluation, RankError> {
    let ledger = Ledger::open();
    let exchange = trainer.exchange.booked(&ledger);
    let share = Share::new(trainer, validation);
    let mut statistics = Statistics::default();
    let mut sent: Vec<Pending<()>> = Vec::new();
    for windows in share.microbatches(validation) {
        let microbatch = trainer.cut.microbatch(&windows);
        let mut handed_over = None;
        let here = |(_, stage): &(usize, &Stage)| holder(trainer, stage.id) == trainer.groups.pipeline.index();
        for (place, stage) in trainer.rank.stages.iter().enumerate().filter(here) {
            let hidden = match handed_over.take() {
                None if stage.embeds => None,
                None => Some(receive(stage.id, &microbatch.ids_bt, trainer)?),
                handed_over => handed_over,
            };
            let input = StageInput { microbatch: &microbatch, hidden };
            let forward = no_grad(|| trainer.model.forward_of(place, input, &LossWeights::default(), &exchange))?;
            statistics.add_forward(&forward);
            let Some(output) = forward.output else { continue };
            let to = holder(trainer, StageId(stage.id.0 + 1));
            if to == trainer.groups.pipeline.index() {
                handed_over = Some(output);
            } else {
                sent.push(trainer.groups.pipeline.send(to, &output));
            }
        }
    }
    sent.into_iter().try_for_each(|pending| pending.wait(trainer.groups.deadline()))?;

    let n_experts = trainer.plan.spec().model.moe.n_experts as usize;
    let all = statistics.sum(&trainer.layers, n_experts, &trainer.groups.world, trainer.groups.deadline())?;
    let bytes = validation.bytes_of(0..share.n_windows * u64::from(trainer.cut.sequence) + 1);
    Ok(Evaluation {
        step: trainer.n_updates,
        loss: mean(all.loss),
        nats_per_byte: all.loss.0 / bytes.max(1) as f64,
        maxvio: maxvio(all.loads.values()),
        tokens: all.loss.1 as u64,
        seconds: ledger.seconds(),
    })
}

/// The coordinate that holds a stage. Where two do, windows go the way of the first microbatches.
fn holder(trainer: &Trainer, stage: StageId) -> usize {
    trainer.plan.placement().holder(stage, Microbatch(0)) as usize
}

/// The stream from the stage before. Ranks take stages and windows in the same order, so streams come in that order.
fn receive(stage: StageId, ids_bt: &Tensor, trainer: &Trainer) -> Result<Tensor, RankError> {
    let (b, t) = ids_bt.size2().expect("ids are sequences × tokens");
    let shape = [b, t, i64::from(trainer.plan.spec().model.hidden_size)];
    let from = holder(trainer, StageId(stage.0 - 1));
    let kind = setup::precision(&trainer.plan.spec().precision).kind;
    let hidden = trainer.groups.pipeline.receive(from, &shape, kind).wait(trainer.groups.deadline())?;
    Ok(hidden.to_device(trainer.cut.device))
}

/// Which held-out windows this rank sees.
struct Share {
    n_windows: u64,
    sampler: u64,
    n_samplers: u64,
    microbatch: u64,
    sequence: u32,
    extra: u32,
}

impl Share {
    fn new(trainer: &Trainer, validation: &TokenFolder) -> Self {
        let phase = &trainer.plan.spec().train[0];
        let whole = validation.n_windows_with_tail(phase.sequence);
        let n_windows = match phase.evaluate_bytes {
            None => whole,
            Some(limit) => {
                let covered = |n: u64| validation.bytes_of(0..n * u64::from(phase.sequence));
                (1..=whole).take_while(|&n| covered(n) <= limit).last().unwrap_or(1)
            }
        };
        Self {
            n_windows,
            sampler: u64::from(trainer.rank.at.data),
            n_samplers: u64::from(trainer.plan.grid().n_data()),
            microbatch: u64::from(phase.microbatch),
            sequence: phase.sequence,
            extra: trainer.cut.extra(),
        }
    }

    /// As many microbatches on every rank, since experts are shared; windows that are not there are empty, and none of
    /// their targets counts.
    fn microbatches<'a>(&'a self, tokens: &'a TokenFolder) -> impl Iterator<Item = Vec<Vec<u32>>> + 'a {
        let n_rounds = self.n_windows.div_ceil(self.n_samplers * self.microbatch);
        (0..n_rounds).map(move |round| {
            let first = (round * self.n_samplers + self.sampler) * self.microbatch;
            (first..first + self.microbatch)
                .map(|window| {
                    if window < self.n_windows { tokens.window(window, self.sequence, self.extra) } else { Vec::new() }
                })
                .collect()
        })
    }
}
