//! Nodes come, live, and go.

use ds_topology::Node as Inventory;

use super::ending::END_GRACE;
use super::failure::FaultKind;
use super::node::{DETACHED_MAX, SILENT_MAX};
use super::{Cluster, Effect, Node, Progress, RankRun, Time};

impl Cluster {
    /// A node is there, for the first time or again: both sides find out what the other one missed.
    pub(super) fn on_node_joined(
        &mut self,
        inventory: Inventory,
        running: &[RankRun],
        now: Time,
        out: &mut Vec<Effect>,
    ) {
        let name = inventory.name.clone();
        self.nodes.entry(name.clone()).or_insert_with(|| Node::new(inventory.clone()));
        let node = self.node_mut(&name);
        node.inventory = inventory;
        node.attached(now);
        let orphan_grace = self.default_grace();
        out.push(Effect::Welcome { node: name.clone(), heartbeat_timeout: SILENT_MAX, orphan_grace });
        let expected = self.expected_on(&name);
        for run in running {
            self.found_running(&name, run, expected.contains(run), out);
        }
        for run in expected.iter().filter(|run| !running.contains(run)) {
            self.found_missing(&name, run, now, out);
        }
        let still = self.expected_on(&name);
        self.node_mut(&name).held.retain(|held| running.contains(&held.run) || still.contains(&held.run));
        self.is_seating_due = true;
    }

    /// Ranks that should have a process there.
    fn expected_on(&self, node: &str) -> Vec<RankRun> {
        let attempts = self.jobs.values().filter_map(|job| Some((job, job.attempt.as_ref()?)));
        let runs = attempts.flat_map(|(job, attempt)| {
            let here = move |(_, rank): &(usize, &super::Rank)| rank.node == node && rank.progress != Progress::Gone;
            attempt.ranks.iter().enumerate().filter(here).map(|(rank, _)| attempt.run(&job.id, rank))
        });
        runs.collect()
    }

    fn found_running(&mut self, node: &str, run: &RankRun, is_expected: bool, out: &mut Vec<Effect>) {
        let end = Effect::EndRank { node: node.to_owned(), run: run.clone(), grace: END_GRACE };
        if !is_expected {
            return out.push(end);
        }
        let job = self.job_mut(&run.job);
        let threads = job.terms.threads;
        let attempt = job.attempt.as_mut().expect("an expected rank is one of an attempt");
        let rank = &mut attempt.ranks[run.rank as usize];
        if rank.told_to_end {
            out.push(end);
        }
        rank.progress = rank.progress.max(Progress::Started);
        let device = rank.device;
        if !self.nodes[node].held.iter().any(|held| held.run == *run) {
            self.node_mut(node).hold(run.clone(), device, threads);
        }
    }

    fn found_missing(&mut self, node: &str, run: &RankRun, now: Time, out: &mut Vec<Effect>) {
        let job = &self.jobs[&run.job];
        let (threads, ranks_in_process) = (job.terms.threads, job.terms.ranks_in_process());
        let rank = &job.attempt.as_ref().expect("an expected rank is one of an attempt").ranks[run.rank as usize];
        let (node, run) = (node.to_owned(), run.clone());
        if rank.told_to_end {
            let kind = FaultKind::NodeGone { after: DETACHED_MAX };
            self.change(&run.job, now, out, |job, out| {
                let attempt = job.attempt.as_mut().expect("it was there a moment ago");
                attempt.lose(&job.id, &[run.rank], &kind, now, out);
            });
        } else if rank.progress == Progress::Ordered {
            out.push(Effect::StartRank { node, run, device: rank.device, threads, ranks_in_process });
        } else {
            // The answer tells how it ended.
            out.push(Effect::EndRank { node, run, grace: std::time::Duration::ZERO });
        }
    }

    pub(super) fn on_node_heard(&mut self, name: &str, now: Time) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.heard(now);
        }
    }

    pub(super) fn on_node_left(&mut self, name: &str, now: Time) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.left(now);
        }
    }

    /// Nodes that were silent for too long are dead, and whoever sits there.
    pub(super) fn pass_time_of_nodes(&mut self, now: Time, out: &mut Vec<Effect>) {
        let is_dead = |node: &Node| node.deadline.is_some_and(|deadline| deadline <= now);
        let dead: Vec<String> =
            self.nodes.iter().filter(|(_, node)| is_dead(node)).map(|(name, _)| name.clone()).collect();
        for name in dead {
            let after = if self.nodes[&name].is_attached { SILENT_MAX } else { DETACHED_MAX };
            self.node_mut(&name).gone();
            out.push(Effect::Detach { node: name.clone(), after });
            let lost = self.expected_on(&name);
            for of_job in lost.chunk_by(|a, b| a.job == b.job) {
                let ranks: Vec<u32> = of_job.iter().map(|run| run.rank).collect();
                self.change(&of_job[0].job, now, out, |job, out| {
                    if let Some(attempt) = &mut job.attempt {
                        attempt.lose(&job.id, &ranks, &FaultKind::NodeGone { after }, now, out);
                    }
                });
            }
            self.is_seating_due = true;
        }
    }
}
