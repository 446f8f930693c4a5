//! What the model of a step takes into account, cause by cause: each has a source, and a report may leave any out to see
//! what it costs.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A cause that a report may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// The pipeline fills and drains.
    Fill,
    /// Stages differ.
    Imbalance,
    /// Activations between stages.
    Sends,
    /// The first dispatch of a pair of passes.
    FirstDispatch,
    /// What an exchange and computation take from each other.
    Contention,
    /// The busiest rank of an expert group.
    Skew,
    /// Gradients of what DualPipe holds twice.
    Copies,
}

impl Term {
    /// Every one, in the order in which people read them.
    pub const ALL: [Self; 7] =
        [Self::Fill, Self::Imbalance, Self::Sends, Self::FirstDispatch, Self::Contention, Self::Skew, Self::Copies];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::Imbalance => "imbalance",
            Self::Sends => "sends",
            Self::FirstDispatch => "first_dispatch",
            Self::Contention => "contention",
            Self::Skew => "skew",
            Self::Copies => "copies",
        }
    }

    /// What it is.
    pub fn about(self) -> &'static str {
        match self {
            Self::Fill => "ranks idle while the pipeline fills and drains, by the schedule's own order",
            Self::Imbalance => "stages differ: embedding, head, prediction and dense layers are not everywhere",
            Self::Sends => "activations and gradients between stages take time",
            Self::FirstDispatch => "of a pair of passes that overlap, the first dispatch has nothing to hide behind",
            Self::Contention => "an exchange occupies multiprocessors, and is slower beside computation",
            Self::Skew => "tokens choose by chance, and the rank with the most of them sets the pace",
            Self::Copies => "gradients of stages that two pipeline ranks hold are summed between them",
        }
    }

    /// Where the model of it comes from.
    pub fn source(self) -> &'static str {
        match self {
            Self::Fill => {
                "the actions of the schedule, played (arXiv 2412.19437, table 2; arXiv 2401.10241; arXiv 2104.04473, section 2.2.2)"
            }
            Self::Imbalance => "the plan's stages, each with the roofline time of its own layers",
            Self::Sends => "bytes of a microbatch over the bandwidth and latency of the machine's preset",
            Self::FirstDispatch => "arXiv 2412.19437, figure 4",
            Self::Contention => {
                "20 of 132 multiprocessors (arXiv 2412.19437, section 3.2.2); DeepSeek's profile, rows R093 to R095"
            }
            Self::Copies => {
                "DualPipe keeps two copies of the parameters (arXiv 2412.19437, section 3.2.1); bytes of a rank's share of the gradients over the bandwidth of the machine's preset"
            }
            Self::Skew => "the largest of n even binomial loads: the mean and sqrt(2 ln n) standard deviations",
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no term.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no term {given}; there are {}", Term::ALL.map(Term::name).join(", "))]
pub struct NoTerm {
    /// The word.
    pub given: String,
}

impl FromStr for Term {
    type Err = NoTerm;

    fn from_str(text: &str) -> Result<Self, NoTerm> {
        let named = Self::ALL.into_iter().find(|term| term.name() == text);
        named.ok_or_else(|| NoTerm { given: text.to_owned() })
    }
}

/// The terms that are taken into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// A bit a term, set where it is left out.
    left_out: u8,
}

impl Terms {
    /// Everything.
    pub const ALL: Self = Self { left_out: 0 };

    /// One less.
    #[must_use]
    pub fn without(self, term: Term) -> Self {
        Self { left_out: self.left_out | 1 << term as u8 }
    }

    /// One more.
    #[must_use]
    pub fn with(self, term: Term) -> Self {
        Self { left_out: self.left_out & !(1 << term as u8) }
    }

    /// Whether a term is taken into account.
    pub fn has(self, term: Term) -> bool {
        self.left_out & 1 << term as u8 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_known_by_their_names_and_left_out_one_by_one() {
        for term in Term::ALL {
            assert_eq!(term.name().parse(), Ok(term));
            let without = Terms::ALL.without(term);
            assert!(!without.has(term) && without.with(term) == Terms::ALL);
            assert!(Term::ALL.into_iter().filter(|&other| other != term).all(|other| without.has(other)));
            assert!(term.source().len() > 10 && term.about().len() > 10);
        }
        let error = "bubble".parse::<Term>().unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no term bubble; there are fill, imbalance, sends, first_dispatch, contention, skew, copies"
        );
    }
}
