//! The machines: what each brings, whether it lives, and who sits on it.

use std::time::Duration;

use ds_plan::SeatsFree;
use ds_topology::Device;
use serde::{Deserialize, Serialize};

use super::{RankRun, Time};

/// A node that is silent for longer is dead. Its agent speaks five times within.
pub(super) const SILENT_MAX: Duration = Duration::from_secs(5);
/// One whose stream broke comes back within, or is dead.
pub(super) const DETACHED_MAX: Duration = Duration::from_secs(3);

/// One that was heard within this is there, so that another of its name is not.
const TAKEN_MAX: Duration = Duration::from_millis(2500);

/// One machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// What it brings.
    pub inventory: ds_topology::Node,
    /// Who sits there: until its agent says that the process has ended, whatever became of the attempt.
    pub held: Vec<Held>,
    /// Whether it is attached, or was a moment ago.
    pub is_alive: bool,
    /// Whether it can be given orders; no part of what is kept.
    #[serde(skip)]
    pub is_attached: bool,
    /// When it is taken for dead; no part of what is kept.
    #[serde(skip)]
    pub deadline: Option<Time>,
}

/// A seat that is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// By whom.
    pub run: RankRun,
    /// On what.
    pub device: Device,
    /// Cores that it takes, if it computes on them.
    pub threads: u32,
}

impl Node {
    pub(super) fn new(inventory: ds_topology::Node) -> Self {
        Self { inventory, held: Vec::new(), is_alive: false, is_attached: false, deadline: None }
    }

    pub(super) fn attached(&mut self, now: Time) {
        self.is_alive = true;
        self.is_attached = true;
        self.deadline = Some(now + SILENT_MAX);
    }

    pub(super) fn heard(&mut self, now: Time) {
        if self.is_attached {
            self.deadline = Some(now + SILENT_MAX);
        }
    }

    /// Whether its agent has only just spoken.
    pub(super) fn is_there(&self, now: Time) -> bool {
        self.is_attached && self.deadline.is_some_and(|deadline| now + (SILENT_MAX - TAKEN_MAX) < deadline)
    }

    pub(super) fn left(&mut self, now: Time) {
        if self.is_attached {
            self.is_attached = false;
            self.deadline = Some(now + DETACHED_MAX);
        }
    }

    /// It is taken for dead.
    pub(super) fn gone(&mut self) {
        self.is_alive = false;
        self.is_attached = false;
        self.deadline = None;
    }

    pub(super) fn hold(&mut self, run: RankRun, device: Device, threads: u32) {
        self.held.push(Held { run, device, threads });
    }

    /// A process has ended. Whether it held a seat.
    pub(super) fn free(&mut self, run: &RankRun) -> bool {
        let n_held = self.held.len();
        self.held.retain(|held| held.run != *run);
        self.held.len() < n_held
    }

    /// What nobody holds.
    pub(super) fn seats_free(&self) -> SeatsFree {
        let mut free = SeatsFree::whole(&self.inventory);
        for held in &self.held {
            match held.device {
                Device::Cpu(_) => free.n_cores = free.n_cores.saturating_sub(held.threads),
                Device::Cuda(gpu) => free.gpus.retain(|&other| other != gpu),
            }
        }
        free
    }
}
