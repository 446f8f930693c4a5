//! A whole step: what the slowest rank does, the pipeline's bubble, gradients, the update.

use ds_plan::spec::ScheduleKind;
use serde::Serialize;

use super::optimizer::{held, reduce_seconds, update_seconds};
use super::played::played;
use super::stage::{RankTime, StageTime, rank_times};
use super::term::{Term, Terms};
use crate::hardware::Hardware;
use crate::workload::{Layout, Network};

/// A named part of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// For reports.
    pub name: &'static str,
    /// Of the step.
    pub seconds: f64,
    /// What it is and where the model of it comes from.
    pub about: &'static str,
}

/// A step, and what it comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepEstimate {
    /// In the order in which people read them; they add up to the step.
    pub parts: Vec<Part>,
    /// Tokens of a step.
    pub tokens: f64,
    /// GPUs.
    pub gpus: u32,
    /// Matrix FLOPs of a token, forward and backward, attention over the pairs that a causal mask leaves.
    pub flops_per_token_causal: f64,
    /// Likewise over all pairs, as most reports count.
    pub flops_per_token: f64,
    /// Peak 16-bit FLOP/s of a GPU, which utilization is a share of.
    pub peak_flops: f64,
    /// Dollars for one GPU for one hour.
    pub dollars_per_gpu_hour: f64,
}

impl StepEstimate {
    /// Seconds of a step.
    pub fn seconds(&self) -> f64 {
        self.parts.iter().map(|part| part.seconds).sum()
    }

    /// Seconds of a step if some parts took nothing.
    pub fn seconds_without(&self, names: &[&str]) -> f64 {
        self.parts.iter().filter(|part| !names.contains(&part.name)).map(|part| part.seconds).sum()
    }

    /// Seconds of one part; 0 for one that the step has not.
    pub fn part(&self, name: &str) -> f64 {
        self.parts.iter().filter(|part| part.name == name).map(|part| part.seconds).sum()
    }

    /// Tokens of all GPUs a second.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens / self.seconds()
    }

    /// Model FLOPs/s of one GPU.
    pub fn flops_per_gpu(&self, causal: bool) -> f64 {
        let each = if causal { self.flops_per_token_causal } else { self.flops_per_token };
        each * self.tokens_per_second() / f64::from(self.gpus)
    }

    /// Model FLOPs utilization, of the 16-bit peak.
    pub fn utilization(&self, causal: bool) -> f64 {
        self.flops_per_gpu(causal) / self.peak_flops
    }

    /// Hours of all GPUs for so many tokens.
    pub fn gpu_hours(&self, tokens: f64) -> f64 {
        tokens / self.tokens_per_second() / 3600.0 * f64::from(self.gpus)
    }

    /// Dollars for so many tokens.
    pub fn dollars(&self, tokens: f64) -> f64 {
        self.gpu_hours(tokens) * self.dollars_per_gpu_hour
    }

    /// The largest part.
    pub fn binds(&self) -> &Part {
        let largest = self.parts.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
        largest.expect("a step has parts")
    }
}

/// The step of a network under a layout.
pub fn estimate(hardware: &Hardware, network: &Network, layout: &Layout) -> StepEstimate {
    estimate_with(hardware, network, layout, Terms::ALL)
}

/// The step of a network under a layout, without the terms that are left out.
pub fn estimate_with(hardware: &Hardware, network: &Network, layout: &Layout, terms: Terms) -> StepEstimate {
    let is_pipeline = layout.pipeline > 1;
    let parts = is_pipeline.then(|| played(hardware, network, layout, terms)).flatten();
    whole(hardware, network, layout, parts.unwrap_or_else(|| in_turn(hardware, network, layout, terms)))
}

/// The parts of a step whose passes follow each other.
fn in_turn(hardware: &Hardware, network: &Network, layout: &Layout, terms: Terms) -> Vec<Part> {
    let mut ranks = rank_times(hardware, network, layout);
    if !terms.has(Term::Sends) {
        ranks.iter_mut().for_each(|rank| rank.time.sends = 0.0);
    }
    let mean = mean(&ranks);
    if !terms.has(Term::Imbalance) {
        ranks.iter_mut().for_each(|rank| rank.time = mean);
    }
    let m = f64::from(layout.n_microbatches);
    let slowest = ranks.iter().map(|rank| rank.time.total()).fold(0.0, f64::max);
    let bubble = if terms.has(Term::Fill) { bubble_seconds(layout, &ranks) } else { 0.0 };
    let (reduce, update, gather) = ends(hardware, network, layout, &ranks, &mean);
    let part = |name, seconds, about| Part { name, seconds, about };
    let mut parts = vec![
        part("compute", m * (mean.forward + mean.input + mean.weight), "kernels under the roofline, mean of ranks"),
        part("recompute", m * mean.again, "kernels of what backward does again"),
        part("launch", m * mean.launch, "the GPU waits for the CPU to launch kernels"),
        part("tensor", m * mean.tensor, "tensor-parallel collectives that nothing hides"),
        part("context", m * mean.context, "context-parallel collectives that nothing hides"),
        part("exchange", m * mean.exchange, "dispatch and combine that nothing hides"),
        part("sends", m * mean.sends, "activations and gradients between stages"),
        part("gather", gather, "weights that are divided and gathered, where computation does not hide it"),
        part("imbalance", (m * (slowest - mean.total())).max(0.0), "ranks with less to do wait for the slowest"),
        part("bubble", bubble, "the pipeline fills and drains"),
        part("data", reduce, "gradients over data ranks that backward does not hide"),
        part("optimizer", update, "AdamW"),
        part("fixed", hardware.step_seconds, "what a step costs whatever it computes"),
    ];
    parts.retain(|part| part.seconds != 0.0);
    parts
}

fn whole(hardware: &Hardware, network: &Network, layout: &Layout, parts: Vec<Part>) -> StepEstimate {
    let sequence = f64::from(layout.sequence);
    StepEstimate {
        parts,
        tokens: layout.tokens_per_step(),
        gpus: layout.n_ranks(),
        flops_per_token_causal: network.training_flops_per_token(sequence, true),
        flops_per_token: network.training_flops_per_token(sequence, false),
        peak_flops: hardware.flops_f16,
        dollars_per_gpu_hour: hardware.dollars_per_gpu_hour,
    }
}

fn mean(ranks: &[RankTime]) -> StageTime {
    mean_time(&ranks.iter().map(|rank| rank.time).collect::<Vec<_>>())
}

/// The mean of some times, part by part.
pub(super) fn mean_time(times: &[StageTime]) -> StageTime {
    let n = times.len() as f64;
    let over = |field: fn(&StageTime) -> f64| times.iter().map(field).sum::<f64>() / n;
    StageTime {
        forward: over(|t| t.forward),
        input: over(|t| t.input),
        weight: over(|t| t.weight),
        again: over(|t| t.again),
        launch: over(|t| t.launch),
        tensor: over(|t| t.tensor),
        context: over(|t| t.context),
        exchange: over(|t| t.exchange),
        sends: over(|t| t.sends),
        experts: over(|t| t.experts),
    }
}

/// Idle time of the slowest rank while the pipeline fills and drains: all other ranks' passes of one microbatch, cut
/// into virtual stages (arXiv 2104.04473, §2.2.2). Schedules that put weight gradients off fill it with them: ZB-H1
/// leaves F + B - 2W a rank (arXiv 2401.10241), DualPipe half of the ranks' F&B + B - 3W (arXiv 2412.19437, table 2).
fn bubble_seconds(layout: &Layout, ranks: &[RankTime]) -> f64 {
    let p = ranks.len() as f64;
    if p <= 1.0 {
        return 0.0;
    }
    let total: f64 = ranks.iter().map(|rank| rank.time.total()).sum();
    let slowest = ranks.iter().map(|rank| rank.time.total()).fold(0.0, f64::max);
    let all_but_one = total - slowest;
    let weight = mean(ranks).weight;
    match layout.schedule {
        ScheduleKind::OneFOneB | ScheduleKind::Interleaved | ScheduleKind::GPipe | ScheduleKind::LoopedBfs => {
            all_but_one / f64::from(layout.virtual_stages)
        }
        ScheduleKind::ZbH1 | ScheduleKind::InterleavedZb => {
            (all_but_one - 2.0 * (p - 1.0) * weight).max(0.0) / f64::from(layout.virtual_stages)
        }
        // One forward of a stage, of which a rank holds two, where passes cost the same.
        ScheduleKind::ZbV => all_but_one / 6.0,
        ScheduleKind::DualPipe | ScheduleKind::DualPipeV => {
            let each = all_but_one / (p - 1.0);
            // F&B is F + B, and B is the backward with W in it: two thirds of the whole without recomputation.
            let backward = each - ranks.iter().map(|rank| rank.time.forward).sum::<f64>() / p;
            ((p / 2.0 - 1.0) * (each + backward - 3.0 * weight)).max(0.0)
        }
    }
}

/// What is left of reduction, the update, and what is left of gathering divided weights.
pub(super) fn ends(
    hardware: &Hardware,
    network: &Network,
    layout: &Layout,
    ranks: &[RankTime],
    mean: &StageTime,
) -> (f64, f64, f64) {
    let overlaps = layout.kernels.overlaps();
    let mut worst = (0.0_f64, 0.0_f64, 0.0_f64);
    for rank in ranks {
        let held = held(network, layout, &rank.layers, rank.ends);
        let reduce = reduce_seconds(hardware, layout, held);
        let update = update_seconds(hardware, layout, held);
        // Backward of the last microbatch hides the reduction; where state is divided, forward of the next step's first
        // hides the gathering of weights, which is the other half.
        let backward = (mean.total() - mean.forward).max(0.0);
        let exposed = |reduce: f64| match (overlaps, layout.shard_optimizer) {
            (false, _) => reduce,
            (true, false) => (reduce - backward).max(0.0),
            (true, true) => (reduce / 2.0 - backward).max(0.0) + (reduce / 2.0 - mean.forward).max(0.0),
        };
        if layout.shard_weights {
            // Weights are gathered for forward and for backward, and gradients scattered, every microbatch.
            let m = f64::from(layout.n_microbatches);
            let each = 1.5 * reduce;
            worst.2 = worst.2.max(m * (each - rank.time.compute()).max(0.0) + each / f64::from(network.layers));
        } else {
            worst.0 = worst.0.max(exposed(reduce));
        }
        worst.1 = worst.1.max(update);
    }
    worst
}
