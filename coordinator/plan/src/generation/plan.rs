//! The checked plan of a generation.

use std::time::Duration;

use super::given::{Given, Reader};
use super::problem::{FlagProblem, FlagProblems};
use crate::job::JobPlan;
use crate::spec::{ExchangeKind, JobSpec, Recompute, ScheduleKind};

/// Tokens that are written where nobody says how many: some lines.
const DEFAULT_TOKENS: u32 = 200;
/// Prompts that are continued together where nobody says how many.
const DEFAULT_BATCH: u32 = 16;
/// Less than any vocabulary has for its most probable token.
const LEAST_TOP_P: f64 = 1e-6;
/// A rank that fails says so at once, so this is only for one that hangs; a long prompt on a slow machine takes minutes.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How a token is drawn from what the model thinks of all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the most probable token.
    pub temperature: f64,
    /// Only the most probable tokens that together have this probability can come.
    pub top_p: f64,
    /// Of all chance.
    pub seed: u64,
}

/// How the model of a checkpoint writes. Invariant: its ranks hold the model, and its drafts have a module each.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationPlan {
    job: JobPlan,
    sampling: Sampling,
    max_tokens: Option<u32>,
    n_drafts: u32,
    batch: u32,
    threads: Option<u32>,
    device: String,
    trained: u32,
}

impl GenerationPlan {
    /// Of the model of `job`, whose own grid and batch do not matter.
    ///
    /// # Errors
    /// Every flag that does not read or does not fit the model.
    pub fn new(given: &Given, mut job: JobSpec) -> Result<Self, FlagProblems> {
        let mut reader = Reader::default();
        let zero = "write 0 for the most probable token, 1 for the model's own probabilities";
        let temperature = reader.number("--temperature", given.temperature.as_ref(), 0.0..=100.0, zero);
        let share = "write 1 for all tokens, 0.9 for the most probable nine tenths";
        let top_p = reader.number("--top-p", given.top_p.as_ref(), LEAST_TOP_P..=1.0, share);
        let seed = reader.number("--seed", given.seed.as_ref(), 0..=u64::MAX, "write a whole number");
        let some = "write a whole number from 1";
        let max_tokens = reader.number("--max-tokens", given.max_tokens.as_ref(), 1..=u32::MAX, some);
        let batch = reader.number("--batch", given.batch.as_ref(), 1..=4096, some);
        let ranks = reader.number("--ranks", given.ranks.as_ref(), 1..=1024, some);
        let pipeline = reader.number("--pipeline", given.pipeline.as_ref(), 1..=1024, some);
        let threads = reader.number("--threads", given.threads.as_ref(), 1..=1024, some);
        let compute = reader.compute(given.compute.as_ref());
        let device = reader.device(given.device.as_ref());
        reader.prompts(given.n_prompts);
        let mut problems = reader.problems;
        problems.extend(drafts(given.speculate, &job));
        let (ranks, pipeline) = (ranks.unwrap_or(1), pipeline.unwrap_or(1));
        problems.extend(layout(ranks, pipeline, &job));
        if !problems.is_empty() {
            return Err(FlagProblems(problems));
        }

        let trained = job.train[0].sequence;
        job.precision.compute = compute.unwrap_or(job.precision.compute);
        lay_out(&mut job, ranks / pipeline, pipeline);
        let n_drafts = if given.speculate { job.model.mtp.depth } else { 0 };
        let sampling =
            Sampling { temperature: temperature.unwrap_or(1.0), top_p: top_p.unwrap_or(1.0), seed: seed.unwrap_or(0) };
        let batch = batch.unwrap_or(DEFAULT_BATCH);
        let job = JobPlan::new(job).expect("the layout was checked, and the rest trained or was replaced");
        Ok(Self { job, sampling, max_tokens, n_drafts, batch, threads, device, trained })
    }

    /// Who holds what.
    pub fn job(&self) -> &JobPlan {
        &self.job
    }

    /// How tokens are drawn.
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// Tokens that MTP proposes for every one that the main model writes.
    pub fn n_drafts(&self) -> u32 {
        self.n_drafts
    }

    /// Prompts that are continued together.
    pub fn batch(&self) -> u32 {
        self.batch
    }

    /// Threads of a rank; none where nobody said.
    pub fn threads(&self) -> Option<u32> {
        self.threads
    }

    /// `cpu` or `cuda:N`, of all ranks.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Tokens of a sequence in training; positions beyond were never seen.
    pub fn trained(&self) -> u32 {
        self.trained
    }

    /// Positions that the model has: those of its config, or of YaRN if it stretches them further.
    pub fn window(&self) -> u32 {
        let attention = &self.job.spec().model.attention;
        let stretched = f64::from(attention.rope.original_positions) * attention.rope.factor;
        if attention.rope.factor > 1.0 {
            attention.max_positions.max(stretched as u32)
        } else {
            attention.max_positions
        }
    }

    /// Tokens to write, for prompts of so many tokens. Where nobody said how many, as many as fit what the model was
    /// trained on, but not more than a few lines.
    ///
    /// # Errors
    /// Every prompt that leaves no room in the model's positions for what is to be written.
    pub fn max_tokens(&self, prompts: &[usize]) -> Result<u32, FlagProblems> {
        let window = u64::from(self.window());
        let least = u64::from(self.max_tokens.unwrap_or(1));
        let too_long = |(i, &n): (usize, &usize)| {
            let end = (n as u64).saturating_add(least);
            (end > window).then(|| FlagProblem {
                flag: "--max-tokens",
                value: least.to_string(),
                rule: format!("prompt {} has {n} tokens, which makes {end}; the model has {window} positions", i + 1),
                hint: "shorten the prompt, or write fewer tokens".to_owned(),
            })
        };
        let problems: Vec<FlagProblem> = prompts.iter().enumerate().filter_map(too_long).collect();
        if !problems.is_empty() {
            return Err(FlagProblems(problems));
        }
        let longest = prompts.iter().max().map_or(0, |&n| n as u32);
        let left_of_training = self.trained.min(self.window()).saturating_sub(longest);
        let room = if left_of_training > 0 { left_of_training } else { self.window() - longest };
        Ok(self.max_tokens.unwrap_or(room.min(DEFAULT_TOKENS)))
    }
}

fn drafts(speculate: bool, job: &JobSpec) -> Option<FlagProblem> {
    (speculate && job.model.mtp.depth == 0).then(|| FlagProblem {
        flag: "--speculate",
        value: String::new(),
        rule: "drafts come from MTP modules, and model.mtp.depth is 0".to_owned(),
        hint: "leave it out".to_owned(),
    })
}

fn layout(ranks: u32, pipeline: u32, job: &JobSpec) -> Vec<FlagProblem> {
    let (n_layers, n_experts) = (job.model.n_layers, job.model.moe.n_experts);
    let problem = |flag, value: u32, rule, hint: &str| FlagProblem {
        flag,
        value: value.to_string(),
        rule,
        hint: hint.to_owned(),
    };
    let mut problems = Vec::new();
    if pipeline > n_layers {
        let rule = format!("every stage needs a layer, model.n_layers is {n_layers}");
        problems.push(problem("--pipeline", pipeline, rule, "write a smaller number"));
    }
    if !ranks.is_multiple_of(pipeline) {
        let rule = format!("--pipeline {pipeline} must divide it, since every stage has as many ranks");
        problems.push(problem("--ranks", ranks, rule, "write a multiple"));
    } else if !n_experts.is_multiple_of(ranks / pipeline) {
        let each = ranks / pipeline;
        let rule = format!("{each} ranks a stage must divide model.moe.n_experts {n_experts}");
        problems.push(problem("--ranks", ranks, rule, "write a divisor, or spread layers with --pipeline"));
    }
    problems
}

/// Experts of a layer over all ranks of a stage, each of which continues prompts of its own.
fn lay_out(job: &mut JobSpec, expert: u32, pipeline: u32) {
    let parallel = &mut job.parallel;
    (parallel.pipeline, parallel.data, parallel.expert) = (pipeline, expert, expert);
    (parallel.context, parallel.tensor, parallel.virtual_stages, parallel.zero) = (1, 1, 1, 0);
    (parallel.schedule, parallel.recompute) = (ScheduleKind::OneFOneB, Recompute::None);
    parallel.exchange = ExchangeKind::Plain;
    (job.train[0].batch, job.train[0].microbatch) = (expert, 1);
    job.cluster.comm_timeout = PATIENCE;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    fn given(change: impl Fn(&mut Given)) -> Given {
        let mut given = Given { n_prompts: 1, ..Given::default() };
        change(&mut given);
        given
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn refused(given: &Given, job: JobSpec, lines: &[&str]) {
        let problems = GenerationPlan::new(given, job).unwrap_err().to_string();
        assert_eq!(problems.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let given = given(|given| {
            (given.temperature, given.top_p, given.seed) = (some("-1"), some("nan"), some("one"));
            (given.max_tokens, given.batch, given.threads) = (some("0"), some("1e9"), some(""));
            (given.ranks, given.pipeline, given.compute) = (some("6"), some("4"), some("fp4"));
            (given.speculate, given.device, given.n_prompts) = (true, some("gpu"), 0);
        });
        let mut job = spec("tiny", 1, 1, 1);
        job.model.mtp.depth = 0;
        let flags = |problems: FlagProblems| problems.0.iter().map(|problem| problem.flag).collect::<Vec<_>>();
        let all = flags(GenerationPlan::new(&given, job).unwrap_err());
        let expected = [
            "--temperature",
            "--top-p",
            "--seed",
            "--max-tokens",
            "--batch",
            "--threads",
            "--compute",
            "--device",
            "--prompt",
            "--speculate",
            "--ranks",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_refusal_names_the_flag_both_numbers_and_the_rule() {
        let tiny = || spec("tiny", 1, 1, 1);
        refused(
            &given(|given| given.top_p = some("1.5")),
            tiny(),
            &["--top-p 1.5: must lie between 0.000001 and 1; \
               write 1 for all tokens, 0.9 for the most probable nine tenths"],
        );
        refused(
            &given(|given| given.ranks = some("3")),
            tiny(),
            &["--ranks 3: 3 ranks a stage must divide model.moe.n_experts 8; \
               write a divisor, or spread layers with --pipeline"],
        );
        refused(
            &given(|given| (given.ranks, given.pipeline) = (some("5"), some("5"))),
            tiny(),
            &["--pipeline 5: every stage needs a layer, model.n_layers is 4; write a smaller number"],
        );
    }

    #[test]
    fn ranks_are_stages_times_experts_whatever_grid_the_job_had() {
        let given = given(|given| (given.ranks, given.pipeline) = (some("4"), some("2")));
        let plan = GenerationPlan::new(&given, spec("tiny", 1, 4, 2)).unwrap();
        let grid = plan.job().grid();
        assert_eq!((grid.n_pipeline(), grid.n_data(), grid.n_expert()), (2, 2, 2));
    }

    #[test]
    fn what_is_written_fits_what_was_trained_or_else_the_positions_there_are() {
        let plan = |max_tokens: Option<&str>, job: JobSpec| {
            let given = given(|given| given.max_tokens = max_tokens.map(str::to_owned));
            GenerationPlan::new(&given, job).unwrap()
        };
        // Trained on 32 tokens, of 1024 positions.
        let tiny = || spec("tiny", 1, 1, 1);
        assert_eq!(plan(None, tiny()).max_tokens(&[6, 2]), Ok(26));
        assert_eq!(plan(None, tiny()).max_tokens(&[900]), Ok(124));
        assert_eq!(plan(Some("300"), tiny()).max_tokens(&[724]), Ok(300));
        let problems = plan(Some("300"), tiny()).max_tokens(&[725, 3, 2000]).unwrap_err().to_string();
        assert_eq!(
            problems.lines().collect::<Vec<_>>(),
            [
                "--max-tokens 300: prompt 1 has 725 tokens, which makes 1025; the model has 1024 positions; \
                 shorten the prompt, or write fewer tokens",
                "--max-tokens 300: prompt 3 has 2000 tokens, which makes 2300; the model has 1024 positions; \
                 shorten the prompt, or write fewer tokens",
            ]
        );
        assert!(plan(None, tiny()).max_tokens(&[1024]).is_err());
        let mut stretched = tiny();
        (stretched.model.attention.rope.factor, stretched.model.attention.rope.original_positions) = (4.0, 1024);
        assert_eq!(plan(Some("3000"), stretched).max_tokens(&[1000]), Ok(3000));
    }

    #[test]
    fn flags_come_back_as_they_were() {
        let given = given(|given| {
            (given.temperature, given.seed) = (some("-0.5"), some("7"));
            (given.speculate, given.ema) = (true, true);
        });
        assert_eq!(given.arguments(), ["--temperature=-0.5", "--seed=7", "--speculate", "--ema"]);
    }
}
