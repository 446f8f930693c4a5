//! What stands on a command line, and the numbers in it.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::problem::FlagProblem;
use crate::spec::ComputeType;

/// The flags of a generation as they were written, on whatever command line; none where nothing was. Numbers are read
/// later, so that everything that is wrong is said at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Given {
    /// Tokens to write for each at most [default: 200, or as many as the model was trained on]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub max_tokens: Option<String>,
    /// What logits are divided by; 0 takes the most probable token [default: 1]
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub temperature: Option<String>,
    /// Draw from the most probable tokens only, which together have this probability [default: 1]
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    pub top_p: Option<String>,
    /// Of all chance: the same seed writes the same [default: 0]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub seed: Option<String>,
    /// Let the MTP modules draft; what is written keeps its distribution, and at temperature 0 every token
    #[arg(long)]
    pub speculate: bool,
    /// Prompts that are continued together [default: 16]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub batch: Option<String>,
    /// Ranks, as threads of one process; experts are spread over those of a stage [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub ranks: Option<String>,
    /// Pipeline stages that they form [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pipeline: Option<String>,
    /// Threads of a rank [default: an equal share of the cores]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub threads: Option<String>,
    /// f32, bf16, fp8 or f64 [default: what it was trained in; bf16 for what was imported]
    #[arg(long, value_name = "FORMAT")]
    pub compute: Option<String>,
    /// With the moving averages of the weights (train[].ema) instead of the weights
    #[arg(long)]
    pub ema: bool,
    /// cpu, or cuda:N for a GPU [default: cpu]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Prompts, from wherever they came.
    #[arg(skip)]
    pub n_prompts: usize,
}

impl Given {
    /// The same flags on another command line, without the prompts.
    pub fn arguments(&self) -> Vec<String> {
        let valued = [
            ("--max-tokens", &self.max_tokens),
            ("--temperature", &self.temperature),
            ("--top-p", &self.top_p),
            ("--seed", &self.seed),
            ("--batch", &self.batch),
            ("--ranks", &self.ranks),
            ("--pipeline", &self.pipeline),
            ("--threads", &self.threads),
            ("--compute", &self.compute),
            ("--device", &self.device),
        ];
        let valued = valued.into_iter().filter_map(|(flag, value)| Some(format!("{flag}={}", value.as_ref()?)));
        let flags = [("--speculate", self.speculate), ("--ema", self.ema)];
        valued.chain(flags.iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| (*flag).to_owned())).collect()
    }
}

/// Reads flags; what does not read is noted.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<FlagProblem>,
}

impl Reader {
    /// A number of a range; none where nothing, or nothing right, was written.
    pub(super) fn number<T: FromStr + PartialOrd + Display + Copy>(
        &mut self,
        flag: &'static str,
        given: Option<&String>,
        range: RangeInclusive<T>,
        hint: &'static str,
    ) -> Option<T> {
        let text = given?;
        match text.trim().parse::<T>() {
            Ok(number) if range.contains(&number) => return Some(number),
            Ok(_) => self.refuse(flag, text, format!("must lie between {} and {}", range.start(), range.end()), hint),
            Err(_) => self.refuse(flag, text, "is no such number".to_owned(), hint),
        }
        None
    }

    pub(super) fn compute(&mut self, given: Option<&String>) -> Option<ComputeType> {
        let text = given?;
        let known = [ComputeType::F32, ComputeType::Bf16, ComputeType::Fp8, ComputeType::F64];
        let found = known.into_iter().find(|known| known.to_string() == *text);
        if found.is_none() {
            self.refuse("--compute", text, "is no format".to_owned(), "write f32, bf16, fp8 or f64");
        }
        found
    }

    pub(super) fn device(&mut self, given: Option<&String>) -> String {
        let text = given.map_or("cpu", String::as_str);
        let is_gpu = text.strip_prefix("cuda:").is_some_and(|index| index.parse::<u16>().is_ok());
        if text != "cpu" && !is_gpu {
            self.refuse("--device", text, "is no device".to_owned(), "write cpu, or cuda:0 for the first GPU");
        }
        text.to_owned()
    }

    pub(super) fn prompts(&mut self, n_prompts: usize) {
        if n_prompts == 0 {
            let rule = "something is needed that the model continues".to_owned();
            self.refuse("--prompt", "", rule, "write --prompt TEXT, or --prompts-file FILE with a prompt a line");
        }
    }

    pub(super) fn refuse(&mut self, flag: &'static str, value: &str, rule: String, hint: &str) {
        self.problems.push(FlagProblem { flag, value: value.to_owned(), rule, hint: hint.to_owned() });
    }
}
