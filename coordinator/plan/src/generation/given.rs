//! What stands on a command line, and the numbers in it.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::problem::FlagProblem;
use crate::spec::ComputeType;

/// The flags of a generation as they were written; none where nothing was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// `--max-tokens`.
    pub max_tokens: Option<String>,
    /// `--temperature`.
    pub temperature: Option<String>,
    /// `--top-p`.
    pub top_p: Option<String>,
    /// `--seed`.
    pub seed: Option<String>,
    /// `--batch`.
    pub batch: Option<String>,
    /// `--ranks`.
    pub ranks: Option<String>,
    /// `--pipeline`.
    pub pipeline: Option<String>,
    /// `--threads`.
    pub threads: Option<String>,
    /// `--compute`.
    pub compute: Option<String>,
    /// `--device`.
    pub device: Option<String>,
    /// `--speculate`.
    pub speculate: bool,
    /// Prompts, from wherever they came.
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
        valued.chain(self.speculate.then(|| "--speculate".to_owned())).collect()
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
