//! A prompt and what was written behind it, as every rank knows it.

/// Why nothing more is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model wrote the token that ends a document.
    Document,
    /// As many tokens were written as were wanted.
    Limit,
}

/// A prompt and what was written behind it.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    /// Which one of all; chance depends on it.
    pub(super) number: u64,
    /// Prompt and written ones. At least one.
    pub(super) tokens: Vec<u32>,
    n_prompt: usize,
    /// What may follow; not written yet.
    pub(super) drafts: Vec<u32>,
    pub(super) ended: Option<Ended>,
    /// Drafts that were judged, and accepted.
    pub(super) judged: (u64, u64),
}

/// When a sequence ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Written tokens.
    pub(super) max_tokens: usize,
    /// The token that ends a document.
    pub(super) end: u32,
}

impl Sequence {
    pub(super) fn new(number: u64, prompt: Vec<u32>) -> Self {
        assert!(!prompt.is_empty(), "something must stand before what is written");
        Self { number, n_prompt: prompt.len(), tokens: prompt, drafts: Vec::new(), ended: None, judged: (0, 0) }
    }

    /// A row that nobody asked for, since every rank of a stage has as many.
    pub(super) fn filler(end: u32) -> Self {
        Self { ended: Some(Ended::Limit), ..Self::new(u64::MAX, vec![end]) }
    }

    pub(super) fn written(&self) -> &[u32] {
        &self.tokens[self.n_prompt..]
    }

    /// Appends what follows, the last of which was no draft, up to a limit; what of it was appended.
    pub(super) fn take(&mut self, follows: &[u32], drafts: Vec<u32>, limits: Limits) -> &[u32] {
        if self.ended.is_some() {
            return &[];
        }
        self.judged.0 += self.drafts.len() as u64;
        self.judged.1 += follows.len() as u64 - 1;
        let start = self.tokens.len();
        for &token in follows {
            self.tokens.push(token);
            if token == limits.end {
                self.ended = Some(Ended::Document);
            } else if self.written().len() == limits.max_tokens {
                self.ended = Some(Ended::Limit);
            }
            if self.ended.is_some() {
                break;
            }
        }
        self.drafts = if self.ended.is_some() { Vec::new() } else { drafts };
        &self.tokens[start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_tokens: 4, end: 99 };

    #[test]
    fn a_sequence_ends_at_its_limit_within_accepted_drafts_too() {
        let mut sequence = Sequence::new(0, vec![1, 2]);
        assert_eq!(sequence.take(&[3], vec![4, 5], LIMITS), [3]);
        assert_eq!(sequence.take(&[4, 5, 6, 7], vec![8], LIMITS), [4, 5, 6]);
        assert_eq!((sequence.ended, sequence.written()), (Some(Ended::Limit), &[3, 4, 5, 6][..]));
        assert!(sequence.drafts.is_empty());
        assert!(sequence.take(&[9], vec![], LIMITS).is_empty());
    }

    #[test]
    fn and_with_its_document() {
        let mut sequence = Sequence::new(0, vec![1]);
        assert_eq!(sequence.take(&[99, 5], vec![], LIMITS), [99]);
        assert_eq!(sequence.ended, Some(Ended::Document));
    }
}
