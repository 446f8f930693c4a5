//! The forecast of a plan as facts.

use ds_plan::{IMBALANCE, JobPlan, MemoryEstimate};
use serde::Serialize;

use crate::estimate::{Part, StepEstimate};
use crate::hardware::Hardware;

/// What is to be expected of a plan on a machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outlook {
    /// The kind of GPU.
    pub hardware: String,
    /// The network, when one was named.
    pub fabric: Option<String>,
    /// That the job takes.
    pub gpus: u32,
    /// What the largest rank needs, and what there is.
    pub memory: MemoryOutlook,
    /// How long a step takes.
    pub step: StepOutlook,
    /// All steps.
    pub training: TrainingOutlook,
    /// What one would have to change first.
    pub binds: Binding,
    /// What was assumed because nobody said it.
    pub assumptions: Vec<String>,
}

/// Memory of the largest rank, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryOutlook {
    /// Whether it is within a GPU's.
    pub fits: bool,
    /// The pipeline coordinate of the largest rank.
    pub largest_at: u32,
    /// Its terms.
    pub terms: MemoryEstimate,
    /// All of them.
    pub need_bytes: u64,
    /// Of one GPU.
    pub have_bytes: u64,
    /// The largest need of each pipeline coordinate.
    pub by_pipeline: Vec<MemoryEstimate>,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepOutlook {
    /// All of it.
    pub seconds: f64,
    /// Its parts, which add up to it.
    pub parts: Vec<Part>,
    /// Of a step.
    pub tokens: f64,
    /// Of all GPUs.
    pub tokens_per_second: f64,
    /// Tokens of a day, of all GPUs.
    pub tokens_per_day: f64,
    /// Model FLOP/s of one GPU, attention over the causal half.
    pub tflops_causal: f64,
    /// Likewise over all pairs.
    pub tflops: f64,
    /// Share of the 16-bit peak.
    pub mfu_causal: f64,
    /// Share of the 16-bit peak, attention over all pairs.
    pub mfu: f64,
}

/// The whole training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingOutlook {
    /// That are learned from.
    pub tokens: f64,
    /// Optimizer updates.
    pub steps: f64,
    /// From the first to the last.
    pub days: f64,
    /// Hours of all GPUs.
    pub gpu_hours: f64,
    /// For one GPU for one hour.
    pub dollars_per_gpu_hour: f64,
    /// For all of them.
    pub dollars: f64,
}

/// What one would have to change first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Binding {
    /// `memory`, or a part of the step.
    pub what: String,
    /// In a sentence.
    pub sentence: String,
}

/// The outlook of a plan whose step was estimated. `tokens` are those of the whole training, otherwise those of the
/// job's steps.
pub fn outlook(
    plan: &JobPlan,
    hardware: &Hardware,
    fabric: Option<&str>,
    estimate: &StepEstimate,
    tokens: Option<f64>,
    assumptions: Vec<String>,
) -> Outlook {
    let steps: u64 = plan.spec().train.iter().map(|phase| phase.steps).sum();
    let tokens = tokens.unwrap_or(steps as f64 * estimate.tokens);
    let memory = memory_outlook(plan, hardware.memory_bytes as u64);
    let step = StepOutlook {
        seconds: estimate.seconds(),
        parts: estimate.parts.clone(),
        tokens: estimate.tokens,
        tokens_per_second: estimate.tokens_per_second(),
        tokens_per_day: estimate.tokens_per_second() * 86_400.0,
        tflops_causal: estimate.flops_per_gpu(true) / 1e12,
        tflops: estimate.flops_per_gpu(false) / 1e12,
        mfu_causal: estimate.utilization(true),
        mfu: estimate.utilization(false),
    };
    let training = TrainingOutlook {
        tokens,
        steps: tokens / estimate.tokens,
        days: tokens / estimate.tokens_per_second() / 86_400.0,
        gpu_hours: estimate.gpu_hours(tokens),
        dollars_per_gpu_hour: estimate.dollars_per_gpu_hour,
        dollars: estimate.dollars(tokens),
    };
    let binds = binding(&memory, &step, hardware);
    let (hardware, gpus) = (hardware.name.clone(), estimate.gpus);
    Outlook { hardware, fabric: fabric.map(str::to_owned), gpus, memory, step, training, binds, assumptions }
}

fn memory_outlook(plan: &JobPlan, have_bytes: u64) -> MemoryOutlook {
    let by_pipeline: Vec<MemoryEstimate> =
        (0..plan.grid().n_pipeline()).map(|pipeline| plan.memory_at(pipeline, IMBALANCE)).collect();
    let needs = by_pipeline.iter().enumerate().map(|(pipeline, memory)| (memory.total(), pipeline));
    // The first of equals.
    let (need_bytes, largest_at) = needs.max_by_key(|&(need, at)| (need, std::cmp::Reverse(at))).unwrap_or_default();
    let terms = by_pipeline.get(largest_at).copied().unwrap_or_default();
    let (fits, largest_at) = (need_bytes <= have_bytes, largest_at as u32);
    MemoryOutlook { fits, largest_at, terms, need_bytes, have_bytes, by_pipeline }
}

fn binding(memory: &MemoryOutlook, step: &StepOutlook, hardware: &Hardware) -> Binding {
    if !memory.fits {
        let terms = memory.terms.terms();
        let (term, bytes) = terms.into_iter().max_by_key(|&(_, bytes)| bytes).unwrap_or_default();
        let [need, have, over, of_term] =
            [memory.need_bytes, memory.have_bytes, memory.need_bytes - memory.have_bytes, bytes].map(ds_plan::bytes);
        let (at, gpu) = (memory.largest_at, &hardware.name);
        let sentence = format!(
            "a rank of pipeline {at} needs {need}, {over} more than the {have} of {gpu}; most of it is {term}, {of_term}"
        );
        return Binding { what: "memory".to_owned(), sentence };
    }
    let mut parts: Vec<&Part> = step.parts.iter().collect();
    parts.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let share = |part: &Part| 100.0 * part.seconds / step.seconds;
    let Some(first) = parts.first() else {
        return Binding { what: "nothing".to_owned(), sentence: "a step takes no time".to_owned() };
    };
    let mut sentence = format!("{} takes {:.0}% of a step: {}", first.name, share(first), first.about);
    if let Some(second) = parts.get(1) {
        sentence += &format!("; next is {}, {:.0}%: {}", second.name, share(second), second.about);
    }
    Binding { what: first.name.to_owned(), sentence }
}
