//! Nodes and ranks that behave as real ones do, a network that loses what a broken connection loses, and laws that must
//! hold whatever happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ds_plan::spec::JobSpec;
use ds_proto::StepMetrics;

use super::world::World;
use crate::cluster::{ByRank, Effect, Event, Exit, JobState, OfRank, RankRun};

pub(super) const NODES: [(&str, u32); 3] = [("a", 2), ("b", 3), ("c", 4)];
pub(super) const STEPS: u64 = 3;

/// A rank's process as it really is.
#[derive(Default)]
pub(super) struct Process {
    node: &'static str,
    cores: u32,
    /// On their way to the coordinator, in order; lost with it.
    words: VecDeque<ByRank>,
    /// Said again after a lost connection if no answer came.
    unanswered: Option<ByRank>,
    pub(super) is_over: bool,
}

/// A node agent as it really is.
#[derive(Default)]
pub(super) struct Agent {
    pub(super) is_attached: bool,
    /// On their way to the coordinator, in order; kept over a lost connection.
    facts: VecDeque<(RankRun, OfRank)>,
    ended: BTreeMap<RankRun, Exit>,
}

pub(super) struct Chaos {
    pub(super) world: World,
    pub(super) agents: BTreeMap<&'static str, Agent>,
    pub(super) processes: BTreeMap<RankRun, Process>,
    /// Ranks that were told to end, or that were known to have none to tell.
    settled: BTreeSet<RankRun>,
    /// Jobs whose ranks may sit where others sit.
    pub(super) sharing: BTreeSet<String>,
    pub(super) log: Vec<String>,
}

impl Chaos {
    pub(super) fn new() -> Self {
        let agents = NODES.map(|(name, _)| (name, Agent::default())).into();
        Self {
            world: World::new(),
            agents,
            processes: BTreeMap::new(),
            settled: BTreeSet::new(),
            sharing: BTreeSet::new(),
            log: Vec::new(),
        }
    }

    pub(super) fn on(&mut self, event: Event) {
        self.log.push(format!("{:?} {event:?}", self.world.now));
        if let Event::OfRank { run, said: OfRank::Exited(_) | OfRank::NotStarted { .. }, .. } = &event {
            self.settled.insert(run.clone());
        }
        let effects = self.world.on(event);
        self.obey(effects);
    }

    /// Step by step, since what one tick orders must be seen before the next.
    pub(super) fn wait(&mut self, duration: Duration) {
        self.log.push(format!("{:?} wait {duration:?}", self.world.now));
        let end = self.world.now + duration;
        while let Some(due) = self.world.cluster.next_deadline().filter(|&due| due <= end) {
            let effects = self.world.wait(due.since(self.world.now));
            self.obey(effects);
        }
        self.world.wait(end.since(self.world.now));
    }

    pub(super) fn obey(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.log.push(format!("    {effect:?}"));
            match effect {
                Effect::StartRank { node, run, threads, .. } => {
                    self.assert_current(&run);
                    self.start(&node, run, threads);
                }
                Effect::EndRank { node, run, .. } => {
                    self.settled.insert(run.clone());
                    self.end(&node, &run);
                }
                Effect::Configure { run, .. } => {
                    self.assert_current(&run);
                    self.answer(&run, None, ByRank::Listening { addresses: vec!["x".to_owned()] });
                }
                Effect::Connect { run, .. } => {
                    self.assert_current(&run);
                    self.answer(&run, Some("listening"), ByRank::Ready { resumed_step: 0 });
                }
                Effect::Go { run } => {
                    self.assert_current(&run);
                    self.answer(&run, Some("ready"), ByRank::Finished { step: STEPS, stopped: false });
                }
                Effect::Stop { run, .. } => {
                    self.assert_current(&run);
                    self.stop(&run);
                }
                Effect::Detach { node, .. } => {
                    if let Some((_, agent)) = self.agents.iter_mut().find(|(name, _)| **name == node) {
                        agent.is_attached = false;
                    }
                }
                Effect::Release { job, attempt } => self.assert_settled(&job, attempt),
                Effect::Welcome { .. } | Effect::Tell { .. } | Effect::Show { .. } => {}
            }
        }
    }

    fn assert_current(&self, run: &RankRun) {
        let newest = self.world.job(&run.job).n_attempts;
        assert_eq!(run.attempt, newest, "an order for {run}");
    }

    fn assert_settled(&self, job: &str, attempt: u32) {
        for (run, process) in &self.processes {
            if run.job == job && run.attempt == attempt && !process.is_over {
                let is_lost = !self.world.cluster.nodes().any(|n| n.inventory.name == process.node && n.is_alive);
                assert!(self.settled.contains(run) || is_lost, "{run} was never told to end");
            }
        }
    }

    fn start(&mut self, node: &str, run: RankRun, cores: u32) {
        let Some((&node, agent)) = self.agents.iter_mut().find(|(name, agent)| **name == node && agent.is_attached)
        else {
            return;
        };
        if let Some(exit) = agent.ended.get(&run) {
            return agent.facts.push_back((run, OfRank::Exited(exit.clone())));
        }
        if self.processes.contains_key(&run) {
            return;
        }
        agent.facts.push_back((run.clone(), OfRank::Started { pid: 1 }));
        let words = VecDeque::from([ByRank::Registered]);
        self.processes.insert(run, Process { node, cores, words, ..Process::default() });
    }

    /// Its process ends, and its agent will say so.
    pub(super) fn die(&mut self, run: &RankRun, code: Option<i32>) {
        let Some(process) = self.processes.get_mut(run).filter(|process| !process.is_over) else { return };
        process.is_over = true;
        if code.is_none() {
            process.words.clear();
        }
        let exit = Exit { code, signal: code.is_none().then_some(9), last_lines: Vec::new() };
        let agent = self.agents.get_mut(process.node).unwrap();
        agent.ended.insert(run.clone(), exit.clone());
        agent.facts.push_back((run.clone(), OfRank::Exited(exit)));
    }

    fn end(&mut self, node: &str, run: &RankRun) {
        let agent = self.agents.get_mut(node).unwrap();
        if !agent.is_attached {
            return;
        }
        match (self.processes.get(run).is_some_and(|process| !process.is_over), agent.ended.get(run)) {
            (true, _) => self.die(run, None),
            (false, Some(exit)) => agent.facts.push_back((run.clone(), OfRank::Exited(exit.clone()))),
            (false, None) => {
                agent.facts.push_back((run.clone(), OfRank::NotStarted { reason: "not here".to_owned() }));
            }
        }
    }

    /// A rank is told something and answers. What it was told before says nothing new.
    fn answer(&mut self, run: &RankRun, answers: Option<&str>, word: ByRank) {
        let Some(process) = self.processes.get_mut(run).filter(|process| !process.is_over) else { return };
        let kind = match &process.unanswered {
            None => None,
            Some(ByRank::Listening { .. }) => Some("listening"),
            Some(ByRank::Ready { .. }) => Some("ready"),
            Some(_) => Some("finished"),
        };
        if kind != answers {
            return;
        }
        process.unanswered = Some(word.clone());
        if let ByRank::Finished { .. } = word {
            let step = |step| ByRank::Step(StepMetrics { step, ..StepMetrics::default() });
            process.words.extend((1..=STEPS).map(step));
        }
        process.words.push_back(word);
    }

    fn stop(&mut self, run: &RankRun) {
        let Some(process) = self.processes.get_mut(run).filter(|process| !process.is_over) else { return };
        if let Some(ByRank::Finished { .. }) = process.unanswered
            && process.words.iter().any(|word| matches!(word, ByRank::Finished { .. }))
        {
            process.words.clear();
            process.words.push_back(ByRank::Finished { step: 1, stopped: true });
        }
    }

    /// A rank's next word arrives, or it leaves.
    pub(super) fn rank_speaks(&mut self, run: &RankRun) {
        let process = self.processes.get_mut(run).unwrap();
        let Some(word) = process.words.pop_front() else { return };
        if matches!(word, ByRank::Registered) && self.world.cluster.admits(run).is_err() {
            return self.die(run, Some(1));
        }
        let is_last = matches!(word, ByRank::Finished { .. });
        self.on(Event::ByRank { run: run.clone(), said: word });
        if is_last {
            self.die(run, Some(0));
        }
    }

    pub(super) fn agent_speaks(&mut self, node: &'static str) {
        let agent = self.agents.get_mut(node).unwrap();
        if !agent.is_attached {
            return;
        }
        match agent.facts.pop_front() {
            Some((run, said)) => self.on(Event::OfRank { node: node.to_owned(), run, said }),
            None => self.on(Event::NodeHeard { node: node.to_owned() }),
        }
    }

    /// Ranks with a process.
    pub(super) fn alive(&self) -> Vec<RankRun> {
        self.processes.iter().filter(|(_, process)| !process.is_over).map(|(run, _)| run.clone()).collect()
    }

    pub(super) fn submit(&mut self, spec: JobSpec, priority: i32) {
        let (shares, n_before) = (spec.cluster.share_devices, self.world.effects.len());
        let id = self.world.submit_spec(spec, Some(priority));
        self.log.push(format!("submit {id}"));
        if shares {
            self.sharing.insert(id);
        }
        self.obey(self.world.effects[n_before..].to_vec());
    }

    pub(super) fn resume(&mut self, job: &str) {
        if self.world.cluster.may_resume(job).is_ok() {
            self.log.push(format!("resume {job}"));
            let effects = self.world.resume(job);
            self.obey(effects);
        }
    }

    /// Unless it is attached.
    pub(super) fn attach(&mut self, node: &'static str) {
        let agent = self.agents.get_mut(node).unwrap();
        if std::mem::replace(&mut agent.is_attached, true) {
            return;
        }
        let here = |(_, process): &(&RankRun, &Process)| process.node == node && !process.is_over;
        let running: Vec<RankRun> = self.processes.iter().filter(here).map(|(run, _)| run.clone()).collect();
        let n_cores = NODES.iter().find(|(name, _)| *name == node).unwrap().1;
        self.log.push(format!("join {node} with {running:?}"));
        let effects = self.world.join_with(node, n_cores, &running);
        self.obey(effects);
    }

    pub(super) fn detach(&mut self, node: &'static str) {
        let agent = self.agents.get_mut(node).unwrap();
        if std::mem::take(&mut agent.is_attached) {
            self.on(Event::NodeLeft { node: node.to_owned() });
        }
    }

    /// The agent dies with all its ranks; nobody will tell of them.
    pub(super) fn kill_node(&mut self, node: &'static str) {
        *self.agents.get_mut(node).unwrap() = Agent::default();
        for process in self.processes.values_mut().filter(|process| process.node == node) {
            process.is_over = true;
            process.words.clear();
        }
        self.on(Event::NodeLeft { node: node.to_owned() });
    }

    /// Ranks that are there find the next coordinator and repeat what was not answered.
    pub(super) fn restart(&mut self) {
        self.log.push("the coordinator dies".to_owned());
        for agent in self.agents.values_mut() {
            agent.is_attached = false;
        }
        for process in self.processes.values_mut().filter(|process| !process.is_over) {
            process.words.retain(|word| matches!(word, ByRank::Step(_) | ByRank::Finished { .. }));
            if let Some(word @ (ByRank::Listening { .. } | ByRank::Ready { .. })) = &process.unanswered {
                process.words.push_front(word.clone());
            }
            process.words.push_front(ByRank::Registered);
        }
        let effects = self.world.restart(false);
        self.obey(effects);
    }

    pub(super) fn check(&self) {
        for (name, n_cores) in NODES {
            let uses = |(run, process): (&RankRun, &Process)| {
                let counts = process.node == name && !process.is_over && !self.sharing.contains(&run.job);
                if counts { process.cores } else { 0 }
            };
            let used: u32 = self.processes.iter().map(uses).sum();
            assert!(used <= n_cores, "{used} cores of {n_cores} are in use on {name}");
        }
        for job in self.world.cluster.jobs() {
            let runs = matches!(job.state, JobState::Starting | JobState::Running | JobState::Stopping);
            assert_eq!(runs, job.attempt.is_some(), "{} is {}", job.id, job.state.word());
            assert_eq!(job.state.has_ended(), job.ended.is_some(), "{} is {}", job.id, job.state.word());
        }
    }

    /// Nothing bad happens any more.
    pub(super) fn calm_down(&mut self) {
        for round in 0..2000 {
            for (node, _) in NODES {
                self.attach(node);
                for _ in 0..10 {
                    self.agent_speaks(node);
                }
            }
            for run in self.alive() {
                self.on(Event::ByRank { run: run.clone(), said: ByRank::Heartbeat });
                for _ in 0..STEPS + 4 {
                    if !self.processes[&run].is_over {
                        self.rank_speaks(&run);
                    }
                }
            }
            self.wait(Duration::from_secs(1));
            self.check();
            if self.world.cluster.jobs().iter().all(|job| job.state.has_ended()) && round > 20 {
                return;
            }
        }
        let left = self.world.cluster.jobs().into_iter().filter(|job| !job.state.has_ended());
        panic!("these did not end: {:#?}", left.map(|job| (&job.id, job.state, &job.reason)).collect::<Vec<_>>());
    }
}
