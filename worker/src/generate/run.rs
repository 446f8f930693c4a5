//! All ranks, from the checkpoint's files to the last token.

use std::thread;

use ds_checkpoint::Checkpoint;
use ds_plan::generation::GenerationPlan;

use super::rank::{Cost, Rank, Tell};
use super::sequence::{Ended, Limits, Sequence};
use super::weights;
use crate::comm::{Endpoint, threads};
use crate::error::RankError;
use crate::step::Ledger;
use crate::trainer::{Groups, device, precision, stage_model};

/// What is to be written, and with what.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The weights.
    pub checkpoint: &'a Checkpoint,
    /// Whether its moving averages are meant.
    pub ema: bool,
    /// How.
    pub plan: &'a GenerationPlan,
    /// As tokens; an empty one begins a document.
    pub prompts: &'a [Vec<u32>],
    /// Tokens to write behind each at most.
    pub max_tokens: u32,
    /// Tokens that can come are below it.
    pub n_ids: u32,
    /// The token that ends a document.
    pub end: u32,
}

/// What was written behind one prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The token that ends a document included.
    pub tokens: Vec<u32>,
    /// Why no more.
    pub ended: Ended,
}

/// What it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Written, behind all prompts.
    pub tokens: u64,
    /// From the first prompt to the last token; reading the checkpoint is not part of it.
    pub seconds: f64,
    /// Passes through the main model, over all batches.
    pub rounds: u64,
    /// Drafts that the main model judged.
    pub drafts_judged: u64,
    /// Of those, accepted.
    pub drafts_accepted: u64,
    /// Of all layers, MTP modules included.
    pub cache_bytes_per_token: u64,
}

/// Continues every prompt; what `tell` cannot hear ends the work.
///
/// # Errors
/// When the checkpoint does not read, LibTorch refuses, or `tell` fails.
pub fn generate(request: &Request<'_>, tell: Tell<'_>) -> Result<(Vec<Written>, Summary), RankError> {
    let grid = request.plan.job().grid();
    let n_threads = request.plan.threads().map_or_else(|| cores() / grid.n_ranks() as usize, |n| n as usize).max(1);
    let mut tell = Some(tell);
    let outcomes: Vec<Result<Outcome, RankError>> = thread::scope(|scope| {
        let ranks: Vec<_> = threads(grid.n_ranks() as usize)
            .into_iter()
            .map(|endpoint| {
                // Every rank knows all that is written; the first one says it.
                let tell = tell.take();
                scope.spawn(move || {
                    tch::set_num_threads(n_threads as i32);
                    let outcome = on_rank(request, &endpoint, tell)?;
                    endpoint.close();
                    Ok(outcome)
                })
            })
            .collect();
        let joined = ranks.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|joined| joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    summed(outcomes, grid.n_samplers())
}

/// What a rank came to.
struct Outcome {
    sequences: Vec<Sequence>,
    costs: Vec<Cost>,
    seconds: f64,
}

fn on_rank(request: &Request<'_>, endpoint: &Endpoint, mut tell: Option<Tell<'_>>) -> Result<Outcome, RankError> {
    let Request { plan, prompts, .. } = *request;
    let (job, rank) = (plan.job(), plan.job().rank(endpoint.rank()));
    let groups = Groups::new(endpoint, job, &rank);
    let model = stage_model(job, &rank, device(plan.device())?)?;
    weights::load(request.checkpoint, &model, request.ema)?;
    let rank = Rank {
        plan,
        model,
        kind: precision(&job.spec().precision).kind,
        n_ids: i64::from(request.n_ids.min(job.spec().model.vocab_size)),
        limits: Limits { max_tokens: request.max_tokens as usize, end: request.end },
        rank,
        groups,
    };
    rank.groups.world.barrier().wait(rank.groups.deadline())?;
    let ledger = Ledger::open();
    let numbered: Vec<(u64, &Vec<u32>)> = (0..).zip(prompts).collect();
    let (mut done, mut costs) = (Vec::new(), Vec::new());
    for batch in numbered.chunks(plan.batch() as usize) {
        let prompt = |&(number, prompt): &(u64, &Vec<u32>)| {
            let prompt = if prompt.is_empty() { vec![request.end] } else { prompt.clone() };
            Sequence::new(number, prompt)
        };
        let mut sequences: Vec<Sequence> = batch.iter().map(prompt).collect();
        let n_rows = sequences.len().next_multiple_of(job.grid().n_samplers() as usize);
        sequences.resize_with(n_rows, || Sequence::filler(request.end));
        let tell = tell.as_mut().map(|tell| &mut **tell as Tell<'_>);
        costs.push(rank.write(&mut sequences, tell)?);
        done.extend(sequences.into_iter().take(batch.len()));
    }
    let seconds = ledger.seconds();
    rank.groups.world.barrier().wait(rank.groups.deadline())?;
    Ok(Outcome { sequences: done, costs, seconds })
}

/// One answer of all ranks. Of several that failed, the one that no other is to blame for.
fn summed(outcomes: Vec<Result<Outcome, RankError>>, n_samplers: u32) -> Result<(Vec<Written>, Summary), RankError> {
    let (outcomes, mut failures) = outcomes.into_iter().partition::<Vec<_>, _>(Result::is_ok);
    let first = failures.iter().position(|outcome| outcome.as_ref().is_err_and(|error| error.culprit().is_none()));
    if !failures.is_empty() {
        return failures.swap_remove(first.unwrap_or(0)).map(|_| unreachable!("it failed"));
    }
    let outcomes: Vec<Outcome> = outcomes.into_iter().filter_map(Result::ok).collect();
    // The first of every stage: as many ranks as continue different prompts stand between them.
    let stages = outcomes.iter().step_by(n_samplers as usize);
    let cache_bytes_per_token =
        stages.filter_map(|outcome| outcome.costs.first()).map(|cost| cost.cache_bytes_per_token).sum();
    let mut summary = Summary { cache_bytes_per_token, ..Summary::default() };
    let Some(Outcome { sequences, costs, seconds }) = outcomes.into_iter().next() else {
        return Ok((Vec::new(), summary));
    };
    (summary.seconds, summary.rounds) = (seconds, costs.iter().map(|cost| cost.rounds).sum());
    for sequence in &sequences {
        summary.tokens += sequence.written().len() as u64;
        summary.drafts_judged += sequence.judged.0;
        summary.drafts_accepted += sequence.judged.1;
    }
    let written = |sequence: Sequence| Written {
        tokens: sequence.written().to_vec(),
        ended: sequence.ended.unwrap_or(Ended::Limit),
    };
    Ok((sequences.into_iter().map(written).collect(), summary))
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
