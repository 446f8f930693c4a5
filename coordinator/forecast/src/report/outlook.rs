//! The forecast of a plan as facts.

use ds_plan::{IMBALANCE, JobPlan, MemoryEstimate};
use serde::Serialize;

use crate::estimate::{Part, StepEstimate, Term, estimate_with};
use crate::hardware::Hardware;
use crate::memory::{largest_rank, largest_term};
use crate::search::Machine;
use crate::workload::{Layout, Network};

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
    /// Causes that the step's model knows, and what each adds.
    pub terms: Vec<TermOutlook>,
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

/// A cause that the step's model knows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TermOutlook {
    /// Which.
    pub term: Term,
    /// What it is.
    pub about: &'static str,
    /// Where the model of it comes from.
    pub source: &'static str,
    /// Whether the step takes it into account.
    pub counted: bool,
    /// By how much it alone makes the step longer, all others left as they are.
    pub seconds: f64,
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
    machine: &Machine,
    fabric: Option<&str>,
    estimate: &StepEstimate,
    tokens: Option<f64>,
    assumptions: Vec<String>,
) -> Outlook {
    let hardware = &machine.hardware;
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
    let (fabric, terms) = (fabric.map(str::to_owned), terms_outlook(plan, machine));
    Outlook { hardware, fabric, gpus, memory, step, training, terms, binds, assumptions }
}

fn terms_outlook(plan: &JobPlan, machine: &Machine) -> Vec<TermOutlook> {
    let (network, layout) = (Network::from(&plan.spec().model), Layout::of(plan));
    let seconds = |terms| estimate_with(&machine.hardware, &network, &layout, terms).seconds();
    let of = |term: Term| {
        let longer = seconds(machine.terms.with(term)) - seconds(machine.terms.without(term));
        let counted = machine.terms.has(term);
        TermOutlook { term, about: term.about(), source: term.source(), counted, seconds: longer.max(0.0) }
    };
    Term::ALL.into_iter().map(of).collect()
}

fn memory_outlook(plan: &JobPlan, have_bytes: u64) -> MemoryOutlook {
    let by_pipeline: Vec<MemoryEstimate> =
        (0..plan.grid().n_pipeline()).map(|pipeline| plan.memory_at(pipeline, IMBALANCE)).collect();
    let (largest_at, terms) = largest_rank(by_pipeline.iter().copied());
    let need_bytes = terms.total();
    let fits = need_bytes <= have_bytes;
    MemoryOutlook { fits, largest_at, terms, need_bytes, have_bytes, by_pipeline }
}

fn binding(memory: &MemoryOutlook, step: &StepOutlook, hardware: &Hardware) -> Binding {
    if !memory.fits {
        let (term, bytes) = largest_term(&memory.terms);
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
