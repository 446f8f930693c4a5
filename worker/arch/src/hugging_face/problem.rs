//! What keeps a `config.json` from being a model of ours: field, value and rule, all of them at once.

use std::fmt;

/// One field that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, but {rule}")]
pub struct ConfigProblem {
    /// As the file names it; `rope_scaling.factor` for one inside another.
    pub field: String,
    /// As JSON; `missing` where there is none.
    pub value: String,
    /// What it breaks.
    pub rule: String,
}

/// Everything that is wrong with a `config.json`; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblems(pub Vec<ConfigProblem>);

impl std::error::Error for ConfigProblems {}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n  "))
    }
}
