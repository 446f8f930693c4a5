//! What is wrong with the flags of a generation, all of it.

use std::fmt;

/// One flag that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagProblem {
    /// With its dashes.
    pub flag: &'static str,
    /// As it was written, or what it amounts to; empty for a flag without a value.
    pub value: String,
    /// The rule that it breaks, as the rest of a sentence that begins with the value.
    pub rule: String,
    /// What to write instead.
    pub hint: String,
}

impl fmt::Display for FlagProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.value.is_empty() { "" } else { " " };
        write!(f, "{}{space}{}: {}; {}", self.flag, self.value, self.rule, self.hint)
    }
}

/// Every flag that cannot be followed; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagProblems(pub Vec<FlagProblem>);

impl fmt::Display for FlagProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for FlagProblems {}
