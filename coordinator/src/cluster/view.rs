//! What may be asked of a cluster, and why something is not done.

use super::attempt::{Attempt, Phase, Progress, Rank};
use super::{Cluster, Job, JobState, Node, RankRun, Time};

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody knows it.
    #[error("there is no job {id}")]
    NoSuchJob {
        /// As asked for.
        id: String,
    },
    /// There is nothing to stop.
    #[error("job {id} has ended: it is {}", state.word())]
    HasEnded {
        /// As asked for.
        id: String,
        /// How it ended.
        state: JobState,
    },
    /// There is nothing to go on with.
    #[error("job {id} is {}; what failed or was cancelled can go on", state.word())]
    NotResumable {
        /// As asked for.
        id: String,
        /// What it is up to.
        state: JobState,
    },
    /// Two machines of one name, or one whose broken connection nobody has noticed yet.
    #[error("a node named {name} is attached already\nhint: name this one with ds-worker node --name NAME")]
    NodeTaken {
        /// Of both.
        name: String,
    },
    /// A rank that belongs to nothing that runs.
    #[error("{run} is not wanted: {why}")]
    NotWanted {
        /// Who.
        run: RankRun,
        /// Why.
        why: &'static str,
    },
}

impl Cluster {
    /// One job.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn job(&self, id: &str) -> Result<&Job, Refusal> {
        self.jobs.get(id).ok_or_else(|| Refusal::NoSuchJob { id: id.to_owned() })
    }

    /// All jobs, as they were handed in.
    pub fn jobs(&self) -> Vec<&Job> {
        let mut jobs: Vec<&Job> = self.jobs.values().collect();
        jobs.sort_by(|a, b| (a.submitted, &a.id).cmp(&(b.submitted, &b.id)));
        jobs
    }

    /// All nodes by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The number in the id of the next job.
    pub fn next_number(&self) -> u64 {
        self.counters.number + 1
    }

    /// Numbers up to this one are taken.
    pub fn skip_numbers(&mut self, number: u64) {
        self.counters.number = self.counters.number.max(number);
    }

    /// Whether an [`super::Event::Cancelled`] would do anything. Doing it twice is no mistake.
    ///
    /// # Errors
    /// When it would not.
    pub fn may_cancel(&self, id: &str) -> Result<(), Refusal> {
        match self.job(id)?.state {
            state @ (JobState::Done | JobState::Failed) => Err(Refusal::HasEnded { id: id.to_owned(), state }),
            _ => Ok(()),
        }
    }

    /// Whether an [`super::Event::Resumed`] would do anything.
    ///
    /// # Errors
    /// When it would not.
    pub fn may_resume(&self, id: &str) -> Result<(), Refusal> {
        match self.job(id)?.state {
            JobState::Failed | JobState::Cancelled => Ok(()),
            state => Err(Refusal::NotResumable { id: id.to_owned(), state }),
        }
    }

    /// Whether a rank that registers is one that is waited for.
    ///
    /// # Errors
    /// When it is not.
    pub fn admits(&self, run: &RankRun) -> Result<(), Refusal> {
        let no = |why| Err(Refusal::NotWanted { run: run.clone(), why });
        let Some(job) = self.jobs.get(&run.job) else { return no("there is no such job") };
        if run.attempt != job.n_attempts {
            return no("there is another attempt");
        }
        let Some(attempt) = &job.attempt else { return no("the attempt is over") };
        match attempt.ranks.get(run.rank as usize) {
            None => no("there is no such rank"),
            Some(_) if !attempt.is_live() => no("the attempt is ending"),
            Some(rank) if rank.progress == Progress::Gone => no("its process has ended"),
            Some(_) => Ok(()),
        }
    }

    /// Whether a node of that name may attach.
    ///
    /// # Errors
    /// When there is another one.
    pub fn admits_node(&self, name: &str, now: Time) -> Result<(), Refusal> {
        match self.nodes.get(name) {
            Some(node) if node.is_there(now) => Err(Refusal::NodeTaken { name: name.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Whether all that ends with the coordinator has ended.
    pub fn is_quiet(&self) -> bool {
        !self.is_embedded || self.jobs.values().all(|job| job.attempt.is_none())
    }
}

impl Job {
    /// Seconds from the first start of its ranks to its end.
    pub fn wall_seconds(&self) -> Option<f64> {
        Some(self.ended?.since(self.started?).as_secs_f64())
    }

    /// What peers of an attempt show each other.
    pub fn peer_token(&self, attempt: u32) -> String {
        format!("{}-{attempt}", self.secret)
    }
}

impl Attempt {
    /// What a rank is up to, in a word.
    pub fn word(&self, rank: &Rank) -> &'static str {
        match rank.progress {
            Progress::Ordered => "waiting",
            Progress::Started | Progress::Registered | Progress::Listening => "starting",
            Progress::Ready if self.phase == Phase::Running => "running",
            Progress::Ready => "ready",
            Progress::Gone => "exited",
        }
    }
}
