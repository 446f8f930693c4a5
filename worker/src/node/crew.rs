//! Ranks that are threads of one process: whose it is, and who ends with it.

use std::collections::VecDeque;

use super::process::Exit;
use super::seats::RankRun;

/// Crews that are remembered after their end, so that a rank whose order comes late is not started alone.
const ENDED_KEPT: usize = 64;

/// What a rank finds that is to run in a process with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// The process runs.
    Process(u32),
    /// It has ended.
    Ended(Exit),
}

#[derive(Debug)]
struct Crew {
    /// The first is whose name the process has.
    members: Vec<RankRun>,
    pid: u32,
    exit: Option<Exit>,
}

/// The crews of a node, one of an attempt of a job.
#[derive(Debug, Default)]
pub(super) struct Crews(VecDeque<Crew>);

impl Crews {
    /// A rank joins the crew of its attempt, if there is one.
    pub(super) fn join(&mut self, run: &RankRun) -> Option<Joined> {
        let crew = self.0.iter_mut().find(|crew| crew.is_of(run))?;
        if let Some(exit) = &crew.exit {
            return Some(Joined::Ended(exit.clone()));
        }
        crew.members.push(run.clone());
        Some(Joined::Process(crew.pid))
    }

    /// A process was started for a rank, and for those of its attempt that follow.
    pub(super) fn form(&mut self, run: RankRun, pid: u32) {
        self.0.push_back(Crew { members: vec![run], pid, exit: None });
        let ended = self.0.iter().filter(|crew| crew.exit.is_some()).count();
        if ended > ENDED_KEPT
            && let Some(oldest) = self.0.iter().position(|crew| crew.exit.is_some())
        {
            self.0.remove(oldest);
        }
    }

    /// The rank whose name the process of another has.
    pub(super) fn named<'a>(&'a self, run: &'a RankRun) -> &'a RankRun {
        self.0.iter().find(|crew| crew.is_of(run)).map_or(run, |crew| &crew.members[0])
    }

    /// The process of that name has ended: all ranks that end with it.
    pub(super) fn end(&mut self, run: RankRun, exit: &Exit) -> Vec<RankRun> {
        let Some(crew) = self.0.iter_mut().find(|crew| crew.is_of(&run)) else { return vec![run] };
        crew.exit = Some(exit.clone());
        crew.members.clone()
    }
}

impl Crew {
    fn is_of(&self, run: &RankRun) -> bool {
        self.members.first().is_some_and(|first| first.job == run.job && first.attempt == run.attempt)
    }
}

#[cfg(test)]
mod tests {
    use ds_plan::RankId;

    use super::*;

    fn run(attempt: u32, rank: u32) -> RankRun {
        RankRun { job: "a".to_owned(), attempt, rank: RankId(rank) }
    }

    fn exit() -> Exit {
        Exit { code: Some(0), signal: None, last_lines: Vec::new() }
    }

    #[test]
    fn ranks_of_an_attempt_share_a_process_and_its_end() {
        let mut crews = Crews::default();
        assert_eq!(crews.join(&run(1, 3)), None);
        crews.form(run(1, 3), 77);
        assert_eq!(crews.join(&run(1, 0)), Some(Joined::Process(77)));
        assert_eq!(crews.named(&run(1, 0)), &run(1, 3));
        assert_eq!(crews.join(&run(2, 0)), None, "another attempt has its own");
        assert_eq!(crews.end(run(1, 3), &exit()), [run(1, 3), run(1, 0)]);
        assert_eq!(crews.join(&run(1, 2)), Some(Joined::Ended(exit())));
        assert_eq!(crews.end(run(4, 1), &exit()), [run(4, 1)], "a rank of its own");
    }

    #[test]
    fn few_ends_are_kept() {
        let mut crews = Crews::default();
        for attempt in 0..1000 {
            crews.form(run(attempt, 0), attempt);
            crews.end(run(attempt, 0), &exit());
        }
        assert!(crews.0.len() <= ENDED_KEPT + 1);
    }
}
