//! What waits for the coordinator, in order. Talk is bounded: while nobody listens, older lines give way to newer ones.
//! Facts (starts, ends) never do; there are only as many of them as there are ranks.

use std::collections::VecDeque;

use super::wire::{self, ToCoordinator};

/// Bytes of ranks' lines that are kept: some minutes of chatty ranks.
const LINES_BYTES_MAX: usize = 16 << 20;

/// Reports on their way.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    reports: VecDeque<ToCoordinator>,
    /// Of lines.
    bytes: usize,
    n_dropped: usize,
}

impl Backlog {
    /// Puts a report behind the others.
    pub(super) fn push(&mut self, report: ToCoordinator) {
        self.bytes += size(&report);
        self.reports.push_back(report);
        while self.bytes > LINES_BYTES_MAX {
            let oldest = self.reports.iter().position(|report| wire::lines_of(report).is_some());
            let Some(dropped) = oldest.and_then(|oldest| self.reports.remove(oldest)) else { return };
            self.bytes -= size(&dropped);
            self.n_dropped += wire::lines_of(&dropped).map_or(0, <[String]>::len);
        }
    }

    /// The oldest.
    pub(super) fn pop(&mut self) -> Option<ToCoordinator> {
        let report = self.reports.pop_front()?;
        self.bytes -= size(&report);
        Some(report)
    }

    pub(super) fn len(&self) -> usize {
        self.reports.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }

    /// Lines that gave way since this was asked last.
    pub(super) fn take_n_dropped(&mut self) -> usize {
        std::mem::take(&mut self.n_dropped)
    }
}

/// What counts against the limit. An empty line costs its place.
fn size(report: &ToCoordinator) -> usize {
    wire::lines_of(report).unwrap_or_default().iter().map(|line| line.len() + size_of::<String>()).sum()
}

#[cfg(test)]
mod tests {
    use ds_plan::RankId;

    use super::super::seats::RankRun;
    use super::*;

    fn run() -> RankRun {
        RankRun { job: "tiny-1".to_owned(), attempt: 1, rank: RankId(0) }
    }

    fn first_words(backlog: &mut Backlog) -> Vec<String> {
        std::iter::from_fn(|| backlog.pop())
            .map(|report| match wire::lines_of(&report) {
                Some(lines) => lines[0].chars().take(8).collect(),
                None => "fact".to_owned(),
            })
            .collect()
    }

    #[test]
    fn reports_leave_in_the_order_that_they_came() {
        let mut backlog = Backlog::default();
        backlog.push(wire::started(&run(), 7));
        backlog.push(wire::lines(&run(), vec!["one".to_owned()]));
        backlog.push(wire::lines(&run(), vec!["two".to_owned()]));
        assert_eq!(backlog.len(), 3);
        assert_eq!(first_words(&mut backlog), ["fact", "one", "two"]);
        assert_eq!((backlog.take_n_dropped(), backlog.bytes), (0, 0));
    }

    #[test]
    fn old_lines_give_way_to_new_ones_and_facts_stay() {
        let mut backlog = Backlog::default();
        backlog.push(wire::started(&run(), 7));
        let third = "x".repeat(LINES_BYTES_MAX / 3);
        for name in ["first   ", "second  ", "third   ", "fourth  "] {
            backlog.push(wire::lines(&run(), vec![format!("{name}{third}")]));
        }
        assert_eq!(first_words(&mut backlog), ["fact", "third   ", "fourth  "]);
        assert_eq!(backlog.take_n_dropped(), 2);
        assert_eq!(backlog.take_n_dropped(), 0);
    }
}
