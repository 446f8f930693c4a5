//! What the last stage tells all ranks of its sequences, as bytes.

/// What follows a sequence, and what may follow that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// At least one token, unless the sequence has ended.
    pub(super) follows: Vec<u32>,
    pub(super) drafts: Vec<u32>,
}

/// Two lists a sequence, each behind its length.
pub(super) fn to_bytes(verdicts: &[Verdict]) -> Vec<u8> {
    let list = |list: &[u32]| -> Vec<u8> {
        std::iter::once(list.len() as u32).chain(list.iter().copied()).flat_map(u32::to_le_bytes).collect()
    };
    verdicts.iter().flat_map(|verdict| [list(&verdict.follows), list(&verdict.drafts)]).flatten().collect()
}

/// The other way; the bytes come from a thread of this program.
pub(super) fn from_bytes(bytes: &[u8]) -> Vec<Verdict> {
    let mut words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")));
    let mut verdicts = Vec::new();
    while let Some(n) = words.next() {
        let follows = words.by_ref().take(n as usize).collect();
        let n = words.next().unwrap_or(0);
        verdicts.push(Verdict { follows, drafts: words.by_ref().take(n as usize).collect() });
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_come_back() {
        let verdict = |follows: &[u32], drafts: &[u32]| Verdict { follows: follows.to_vec(), drafts: drafts.to_vec() };
        let verdicts = [verdict(&[1, 70_000], &[3]), Verdict::default(), verdict(&[5], &[])];
        assert_eq!(from_bytes(&to_bytes(&verdicts)), verdicts);
        assert_eq!(from_bytes(&[]), []);
    }
}
