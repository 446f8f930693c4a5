//! Which ranks this node runs, and what an order means here. Pure: it says what to do, the agent does it.
//!
//! Orders may arrive twice and late (a coordinator that restarted repeats them), so each is stamped with its attempt:
//! what is done already is not done again, and the newest attempt of a job is the only one that runs.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use ds_plan::RankId;

use super::process::Exit;

/// Ends of ranks that are remembered, so that a repeated order is answered instead of carried out again. Twice the
/// ranks that one node may be given.
const ENDS_KEPT: usize = 512;

/// Time that a rank of an older attempt has to end, before it is killed.
const OLDER_GRACE: Duration = Duration::from_secs(1);

/// One run of one rank.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RankRun {
    pub(super) job: String,
    pub(super) rank: RankId,
    pub(super) attempt: u32,
}

impl fmt::Display for RankRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of job {}, attempt {}", self.rank.0, self.job, self.attempt)
    }
}

/// An order to start a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) run: RankRun,
    /// As the rank's command line takes it.
    pub(super) device: String,
    pub(super) threads: u32,
    /// More than one: all ranks of the job, which share it.
    pub(super) ranks_in_process: u32,
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Start a process; then call `started` or `not_started`.
    Start(Start),
    /// End the process.
    End(RankRun, Duration),
    /// Tell the coordinator how it ended.
    ReportExit(RankRun, Exit),
    /// Tell the coordinator that there is no such process and why.
    ReportAbsent(RankRun, &'static str),
}

/// The ranks of this node.
#[derive(Debug, Default)]
pub(super) struct Seats {
    /// With the process id.
    running: BTreeMap<RankRun, u32>,
    /// Until the ranks of older attempts have ended.
    waiting: Vec<Start>,
    ended: VecDeque<(RankRun, Exit)>,
    /// After `end_all`.
    is_closed: bool,
}

impl Seats {
    /// An order to start a rank.
    pub(super) fn on_start(&mut self, start: Start) -> Vec<Act> {
        let run = &start.run;
        if self.running.contains_key(run) || self.waiting.contains(&start) {
            return Vec::new();
        }
        if let Some((_, exit)) = self.ended.iter().find(|(ended, _)| ended == run) {
            return vec![Act::ReportExit(run.clone(), exit.clone())];
        }
        if self.is_closed {
            return vec![Act::ReportAbsent(run.clone(), "the node agent is ending")];
        }
        if self.newest_attempt(&run.job).is_some_and(|newest| newest > run.attempt) {
            return vec![Act::ReportAbsent(run.clone(), "a newer attempt of the job runs on this node")];
        }
        let mut acts = self.drop_waiting(|other| other.job == run.job && other.attempt < run.attempt);
        acts.extend(self.older(run).map(|older| Act::End(older.clone(), OLDER_GRACE)));
        self.waiting.push(start);
        acts.extend(self.due());
        acts
    }

    /// An order to end a rank.
    pub(super) fn on_end(&mut self, run: RankRun, grace: Duration) -> Vec<Act> {
        if self.running.contains_key(&run) {
            return vec![Act::End(run, grace)];
        }
        if let Some((_, exit)) = self.ended.iter().find(|(ended, _)| *ended == run) {
            return vec![Act::ReportExit(run, exit.clone())];
        }
        match self.drop_waiting(|waiting| *waiting == run) {
            dropped if dropped.is_empty() => vec![Act::ReportAbsent(run, "this node does not run it")],
            dropped => dropped,
        }
    }

    /// The agent started the process.
    pub(super) fn started(&mut self, run: RankRun, pid: u32) {
        self.running.insert(run, pid);
    }

    /// The process has ended.
    pub(super) fn on_exit(&mut self, run: RankRun, exit: Exit) -> Vec<Act> {
        self.running.remove(&run);
        self.ended.push_back((run.clone(), exit.clone()));
        if self.ended.len() > ENDS_KEPT {
            self.ended.pop_front();
        }
        let mut acts = vec![Act::ReportExit(run, exit)];
        acts.extend(self.due());
        acts
    }

    /// Every rank is to end, and none to start.
    pub(super) fn end_all(&mut self, grace: Duration) -> Vec<Act> {
        self.is_closed = true;
        let mut acts = self.drop_waiting(|_| true);
        acts.extend(self.running.keys().map(|run| Act::End(run.clone(), grace)));
        acts
    }

    /// Every rank that runs, with its process id.
    pub(super) fn running(&self) -> impl Iterator<Item = (&RankRun, u32)> {
        self.running.iter().map(|(run, &pid)| (run, pid))
    }

    fn newest_attempt(&self, job: &str) -> Option<u32> {
        let runs = self.running.keys().chain(self.waiting.iter().map(|start| &start.run));
        runs.chain(self.ended.iter().map(|(run, _)| run)).filter(|run| run.job == job).map(|run| run.attempt).max()
    }

    fn older(&self, run: &RankRun) -> impl Iterator<Item = &RankRun> {
        self.running.keys().filter(|other| other.job == run.job && other.attempt < run.attempt)
    }

    /// Takes out what no rank of an older attempt holds up any more.
    fn due(&mut self) -> Vec<Act> {
        let (held_up, due): (Vec<Start>, Vec<Start>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|start| self.older(&start.run).next().is_some());
        self.waiting = held_up;
        due.into_iter().map(Act::Start).collect()
    }

    fn drop_waiting(&mut self, is_dropped: impl Fn(&RankRun) -> bool) -> Vec<Act> {
        let (dropped, kept): (Vec<Start>, Vec<Start>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|start| is_dropped(&start.run));
        self.waiting = kept;
        dropped.into_iter().map(|start| Act::ReportAbsent(start.run, "it was ended before it started")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    fn run(job: &str, attempt: u32, rank: u32) -> RankRun {
        RankRun { job: job.to_owned(), attempt, rank: RankId(rank) }
    }

    fn start(job: &str, attempt: u32, rank: u32) -> Start {
        Start { run: run(job, attempt, rank), device: "cpu".to_owned(), threads: 1, ranks_in_process: 1 }
    }

    fn exit(code: i32) -> Exit {
        Exit { code: Some(code), signal: None, last_lines: vec!["the end".to_owned()] }
    }

    /// With these ranks running, as processes 100, 101, ..
    fn seats(starts: &[Start]) -> Seats {
        let mut seats = Seats::default();
        for (pid, start) in (100..).zip(starts) {
            assert_eq!(seats.on_start(start.clone()), [Act::Start(start.clone())]);
            seats.started(start.run.clone(), pid);
        }
        seats
    }

    #[test]
    fn a_rank_that_runs_is_not_started_again() {
        let mut seats = seats(&[start("a", 1, 0)]);
        assert_eq!(seats.on_start(start("a", 1, 0)), []);
        assert_eq!(seats.running().map(|(_, pid)| pid).collect::<Vec<_>>(), [100]);
    }

    #[test]
    fn a_rank_that_has_ended_is_reported_again_and_not_started_again() {
        let mut seats = seats(&[start("a", 1, 0)]);
        let report = [Act::ReportExit(run("a", 1, 0), exit(3))];
        assert_eq!(seats.on_exit(run("a", 1, 0), exit(3)), report);
        assert_eq!(seats.on_start(start("a", 1, 0)), report);
        assert_eq!(seats.on_end(run("a", 1, 0), GRACE), report);
    }

    #[test]
    fn a_newer_attempt_starts_when_the_last_rank_of_the_older_one_has_ended() {
        let mut seats = seats(&[start("a", 1, 0), start("a", 1, 1), start("b", 1, 0)]);
        let ends = [Act::End(run("a", 1, 0), OLDER_GRACE), Act::End(run("a", 1, 1), OLDER_GRACE)];
        assert_eq!(seats.on_start(start("a", 2, 0)), ends);
        assert_eq!(seats.on_exit(run("a", 1, 1), exit(0)), [Act::ReportExit(run("a", 1, 1), exit(0))]);
        assert_eq!(
            seats.on_exit(run("a", 1, 0), exit(0)),
            [Act::ReportExit(run("a", 1, 0), exit(0)), Act::Start(start("a", 2, 0))]
        );
    }

    #[test]
    fn an_older_attempt_is_refused() {
        let mut seats = seats(&[start("a", 2, 0)]);
        assert!(matches!(seats.on_start(start("a", 1, 1))[..], [Act::ReportAbsent(..)]));
        seats.on_exit(run("a", 2, 0), exit(0));
        assert!(matches!(seats.on_start(start("a", 1, 1))[..], [Act::ReportAbsent(..)]));
    }

    #[test]
    fn an_order_to_end_names_its_attempt() {
        let mut seats = seats(&[start("a", 2, 0)]);
        assert!(matches!(seats.on_end(run("a", 1, 0), GRACE)[..], [Act::ReportAbsent(..)]));
        assert_eq!(seats.on_end(run("a", 2, 0), GRACE), [Act::End(run("a", 2, 0), GRACE)]);
    }

    #[test]
    fn a_rank_that_waits_to_start_can_be_ended() {
        let mut seats = seats(&[start("a", 1, 0)]);
        seats.on_start(start("a", 2, 0));
        assert!(
            matches!(&seats.on_end(run("a", 2, 0), GRACE)[..], [Act::ReportAbsent(ended, _)] if ended.attempt == 2)
        );
        assert_eq!(seats.on_exit(run("a", 1, 0), exit(0)).len(), 1);
    }

    #[test]
    fn ending_all_leaves_nothing_to_start() {
        let mut seats = seats(&[start("a", 1, 0), start("b", 1, 0)]);
        seats.on_start(start("a", 2, 0));
        assert_eq!(seats.end_all(GRACE).len(), 3);
        assert_eq!(seats.on_exit(run("a", 1, 0), exit(0)).len(), 1);
        assert!(matches!(seats.on_start(start("c", 1, 0))[..], [Act::ReportAbsent(..)]));
    }

    #[test]
    fn only_the_newest_ends_are_kept() {
        let mut seats = Seats::default();
        for attempt in 1..1000 {
            seats.on_exit(run("a", attempt, 0), exit(0));
        }
        assert_eq!(seats.ended.len(), ENDS_KEPT);
    }
}
