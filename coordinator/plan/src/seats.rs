//! Ranks to devices: which node and which of its GPUs or shares of cores every rank of a plan gets.
//!
//! Expert groups talk most, so each stays within one node while there is room. A job that fits on one node takes the
//! smallest such node and leaves the large ones free.

use std::cmp::Reverse;

use ds_topology::{Device, GpuId, Node};
use serde::{Deserialize, Serialize};

use crate::grid::{GroupKind, RankId};
use crate::job::JobPlan;
use crate::spec::{DeviceKind, NetworkKind};

/// What is there of a node: free devices, or all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatsFree {
    /// As it registered.
    pub node: String,
    /// Cores that no rank holds.
    pub n_cores: u32,
    /// GPUs that no rank holds.
    pub gpus: Vec<GpuId>,
}

impl SeatsFree {
    /// All of an empty node.
    pub fn whole(node: &Node) -> Self {
        let gpus = node.gpus.iter().map(|gpu| gpu.id).collect();
        Self { node: node.name.clone(), n_cores: node.n_cores, gpus }
    }
}

/// Where a rank computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Who.
    pub rank: RankId,
    /// On which node.
    pub node: String,
    /// On what; shares of cores are numbered from zero within the job on its node.
    pub device: Device,
}

/// Why a plan cannot be seated now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeatError {
    /// Others hold what it needs: it fits an empty cluster.
    #[error("needs {}, {free} are free, {exist} exist", unit.times(*.needs))]
    Wait {
        /// Seats of the job.
        needs: u32,
        /// Seats that nobody holds.
        free: u32,
        /// Seats of the empty cluster.
        exist: u32,
        /// What a seat is.
        unit: SeatUnit,
    },
    /// It does not even fit an empty cluster.
    #[error("needs {}, {exist} exist", unit.times(*.needs))]
    Never {
        /// Seats of the job.
        needs: u32,
        /// Seats of the empty cluster.
        exist: u32,
        /// What a seat is.
        unit: SeatUnit,
    },
}

/// What a seat is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeatUnit {
    /// One GPU.
    Gpu,
    /// Cores of one node.
    Cores(u32),
}

impl SeatUnit {
    /// So many, in words.
    fn times(self, n: u32) -> String {
        let s = if n == 1 { "" } else { "s" };
        match self {
            Self::Gpu => format!("{n} GPU{s}"),
            Self::Cores(1) => format!("{n} core{s}"),
            Self::Cores(each) => format!("{n} seat{s} of {each} cores on one node"),
        }
    }
}

/// Seats every rank, or says what is missing. `all` is the empty cluster, `free` what is left of it; both list the
/// same nodes in any order. With `cluster.share_devices` a device may have several ranks, and the least loaded comes
/// first; on a simulated network all ranks are on one node.
///
/// # Errors
/// When there are too few seats: now, or ever.
pub fn seats(plan: &JobPlan, free: &[SeatsFree], all: &[SeatsFree]) -> Result<Vec<Seat>, SeatError> {
    let cluster = &plan.spec().cluster;
    let unit = match cluster.device {
        DeviceKind::Cuda => SeatUnit::Gpu,
        DeviceKind::Cpu => SeatUnit::Cores(cluster.threads.max(1)),
    };
    let count = |nodes: &[SeatsFree]| nodes.iter().map(|node| capacity(node, unit)).sum::<u32>();
    let (needs, exist) = (plan.grid().n_ranks(), count(all));
    if cluster.network == NetworkKind::Simulated {
        return together(plan, free, all, unit).ok_or(SeatError::Never { needs, exist, unit });
    }
    if cluster.share_devices {
        return shared(plan, free, all, unit).ok_or(SeatError::Never { needs, exist, unit });
    }
    let free_seats = count(free);
    if needs <= free_seats {
        Ok(alone(plan, free, unit))
    } else if needs <= exist {
        Err(SeatError::Wait { needs, free: free_seats, exist, unit })
    } else {
        Err(SeatError::Never { needs, exist, unit })
    }
}

/// Ranks that a node seats when each is alone.
fn capacity(node: &SeatsFree, unit: SeatUnit) -> u32 {
    match unit {
        SeatUnit::Gpu => node.gpus.len() as u32,
        SeatUnit::Cores(threads) => node.n_cores / threads,
    }
}

fn expert_groups(plan: &JobPlan) -> impl Iterator<Item = &[RankId]> {
    plan.groups().iter().filter(|group| group.kind == GroupKind::Expert).map(|group| group.ranks.as_slice())
}

/// One rank a device. Groups are equally large, so filling node after node with whole groups seats as many whole ones
/// as any other way; the rest fills what is left.
fn alone(plan: &JobPlan, free: &[SeatsFree], unit: SeatUnit) -> Vec<Seat> {
    let n_ranks = plan.grid().n_ranks();
    let mut nodes: Vec<Filling<'_>> = free.iter().map(|node| Filling::new(node, unit)).collect();
    // The smallest node that holds all, else the largest first.
    nodes.sort_by_key(|filling| {
        let size = filling.room();
        let order = if size >= n_ranks { (0, size) } else { (1, u32::MAX - size) };
        (order, filling.node.node.clone())
    });
    let mut seats = Vec::new();
    let mut left: Vec<RankId> = Vec::new();
    for group in expert_groups(plan) {
        match nodes.iter_mut().find(|node| node.room() as usize >= group.len()) {
            Some(node) => seats.extend(group.iter().map(|&rank| node.seat(rank))),
            None => left.extend(group),
        }
    }
    for rank in left {
        let node = nodes.iter_mut().find(|node| node.room() > 0).expect("there are as many seats as ranks");
        seats.push(node.seat(rank));
    }
    seats.sort_by_key(|seat| seat.rank);
    seats
}

struct Filling<'a> {
    node: &'a SeatsFree,
    unit: SeatUnit,
    taken: u32,
}

impl<'a> Filling<'a> {
    fn new(node: &'a SeatsFree, unit: SeatUnit) -> Self {
        Self { node, unit, taken: 0 }
    }

    fn room(&self) -> u32 {
        capacity(self.node, self.unit) - self.taken
    }

    fn seat(&mut self, rank: RankId) -> Seat {
        let device = match self.unit {
            SeatUnit::Gpu => Device::Cuda(self.node.gpus[self.taken as usize]),
            SeatUnit::Cores(_) => Device::Cpu(self.taken as u16),
        };
        self.taken += 1;
        Seat { rank, node: self.node.node.clone(), device }
    }
}

/// Several ranks a device: every expert group goes to the node with the least load. None when there is no device.
fn shared(plan: &JobPlan, free: &[SeatsFree], all: &[SeatsFree], unit: SeatUnit) -> Option<Vec<Seat>> {
    let mut nodes = sharing(free, all, unit);
    let mut seats = Vec::new();
    for group in expert_groups(plan) {
        let node = nodes.iter_mut().min_by(|a, b| a.compare(b))?;
        seats.extend(group.iter().map(|&rank| node.seat(rank)));
    }
    seats.sort_by_key(|seat| seat.rank);
    Some(seats)
}

/// Every rank on the node with the least load. None when there is no device.
fn together(plan: &JobPlan, free: &[SeatsFree], all: &[SeatsFree], unit: SeatUnit) -> Option<Vec<Seat>> {
    let node = &mut sharing(free, all, unit).into_iter().min_by(Sharing::compare)?;
    Some((0..plan.grid().n_ranks()).map(|rank| node.seat(RankId(rank))).collect())
}

/// The nodes with devices, by name.
fn sharing<'a>(free: &[SeatsFree], all: &'a [SeatsFree], unit: SeatUnit) -> Vec<Sharing<'a>> {
    let has_devices = |node: &&SeatsFree| match unit {
        SeatUnit::Gpu => !node.gpus.is_empty(),
        SeatUnit::Cores(_) => node.n_cores > 0,
    };
    let free_of = |node: &SeatsFree| free.iter().find(|other| other.node == node.node);
    let mut nodes: Vec<Sharing<'_>> =
        all.iter().filter(has_devices).map(|node| Sharing::new(node, free_of(node), unit)).collect();
    nodes.sort_by(|a, b| a.node.node.cmp(&b.node.node));
    nodes
}

struct Sharing<'a> {
    node: &'a SeatsFree,
    unit: SeatUnit,
    /// Devices, or cores, that ranks hold: others' and this job's; one more for each rank above the first.
    held: u64,
    /// Ranks on each GPU.
    on_gpu: Vec<u32>,
    n_seated: u16,
}

impl<'a> Sharing<'a> {
    fn new(node: &'a SeatsFree, free: Option<&SeatsFree>, unit: SeatUnit) -> Self {
        let is_free = |gpu: &GpuId| free.is_some_and(|free| free.gpus.contains(gpu));
        let on_gpu: Vec<u32> = node.gpus.iter().map(|gpu| u32::from(!is_free(gpu))).collect();
        let held = match unit {
            SeatUnit::Gpu => on_gpu.iter().copied().map(u64::from).sum(),
            SeatUnit::Cores(_) => node.n_cores.saturating_sub(free.map_or(0, |free| free.n_cores)).into(),
        };
        Self { node, unit, held, on_gpu, n_seated: 0 }
    }

    /// By load, a/b < c/d as a·d < c·b; of equally loaded nodes the larger first.
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let (mine, theirs) = (self.n_devices(), other.n_devices());
        (self.held * theirs).cmp(&(other.held * mine)).then(Reverse(mine).cmp(&Reverse(theirs)))
    }

    fn n_devices(&self) -> u64 {
        match self.unit {
            SeatUnit::Gpu => self.node.gpus.len() as u64,
            SeatUnit::Cores(_) => self.node.n_cores.into(),
        }
    }

    fn seat(&mut self, rank: RankId) -> Seat {
        let device = match self.unit {
            SeatUnit::Gpu => {
                let least = (0..self.on_gpu.len()).min_by_key(|&gpu| self.on_gpu[gpu]).expect("nodes without are out");
                self.on_gpu[least] += 1;
                self.held += 1;
                Device::Cuda(self.node.gpus[least])
            }
            SeatUnit::Cores(threads) => {
                self.held += u64::from(threads);
                Device::Cpu(self.n_seated)
            }
        };
        self.n_seated += 1;
        Seat { rank, node: self.node.node.clone(), device }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{small_plans, spec};

    fn node(name: &str, n_cores: u32, n_gpus: u16) -> SeatsFree {
        SeatsFree { node: name.to_owned(), n_cores, gpus: (0..n_gpus).map(GpuId).collect() }
    }

    /// A plan of `pipeline` expert groups of `expert` ranks.
    fn plan(pipeline: u32, expert: u32, device: DeviceKind, threads: u32, share_devices: bool) -> JobPlan {
        let mut job = spec("tiny", pipeline, expert, expert);
        job.cluster.device = device;
        job.cluster.threads = threads;
        job.cluster.share_devices = share_devices;
        JobPlan::new(job).unwrap()
    }

    fn places(seats: &[Seat]) -> Vec<String> {
        seats.iter().map(|seat| format!("{} {:?}", seat.node, seat.device)).collect()
    }

    #[test]
    fn every_rank_gets_a_device_of_its_own() {
        let nodes = [node("a", 5, 0), node("b", 3, 0), node("c", 8, 0)];
        for plan in small_plans() {
            let seats = seats(&plan, &nodes, &nodes).unwrap();
            let ranks: Vec<RankId> = seats.iter().map(|seat| seat.rank).collect();
            assert_eq!(ranks, plan.grid().ranks().collect::<Vec<_>>());
            let devices: BTreeSet<_> = seats.iter().map(|seat| (&seat.node, seat.device)).collect();
            assert_eq!(devices.len(), ranks.len(), "{seats:?}");
            for node in &nodes {
                let taken = seats.iter().filter(|seat| seat.node == node.node).count();
                assert!(taken <= node.n_cores as usize, "{seats:?}");
            }
        }
    }

    #[test]
    fn an_expert_group_stays_on_one_node_while_there_is_room() {
        let nodes = [node("a", 0, 3), node("b", 0, 2)];
        let seats = seats(&plan(2, 2, DeviceKind::Cuda, 1, false), &nodes, &nodes).unwrap();
        assert_eq!(places(&seats), ["a Cuda(GpuId(0))", "a Cuda(GpuId(1))", "b Cuda(GpuId(0))", "b Cuda(GpuId(1))"]);
    }

    #[test]
    fn a_group_that_fits_nowhere_takes_what_is_left() {
        let nodes = [node("a", 0, 1), node("b", 0, 1)];
        let seats = seats(&plan(1, 2, DeviceKind::Cuda, 1, false), &nodes, &nodes).unwrap();
        assert_eq!(places(&seats), ["a Cuda(GpuId(0))", "b Cuda(GpuId(0))"]);
    }

    #[test]
    fn a_small_job_leaves_the_large_node_alone() {
        let nodes = [node("a", 64, 0), node("b", 4, 0), node("c", 8, 0)];
        let seats = seats(&plan(2, 2, DeviceKind::Cpu, 1, false), &nodes, &nodes).unwrap();
        assert!(seats.iter().all(|seat| seat.node == "b"), "{seats:?}");
    }

    fn refused(plan: &JobPlan, free: &[SeatsFree], all: &[SeatsFree], sentence: &str) -> SeatError {
        let error = seats(plan, free, all).unwrap_err();
        assert_eq!(error.to_string(), sentence);
        error
    }

    #[test]
    fn a_job_waits_for_gpus_that_others_hold() {
        let job = plan(2, 2, DeviceKind::Cuda, 1, false);
        let error = refused(&job, &[node("a", 0, 2)], &[node("a", 0, 8)], "needs 4 GPUs, 2 are free, 8 exist");
        assert!(matches!(error, SeatError::Wait { .. }));
    }

    #[test]
    fn a_job_never_fits_a_cluster_that_is_too_small() {
        let job = plan(2, 2, DeviceKind::Cuda, 1, false);
        let error = refused(&job, &[node("a", 0, 3)], &[node("a", 0, 3)], "needs 4 GPUs, 3 exist");
        assert!(matches!(error, SeatError::Never { .. }));
        refused(&job, &[], &[], "needs 4 GPUs, 0 exist");
    }

    #[test]
    fn the_threads_of_a_rank_are_cores_of_one_node() {
        let job = plan(1, 2, DeviceKind::Cpu, 2, false);
        let odd = [node("a", 3, 0), node("b", 1, 0)];
        refused(&job, &odd, &odd, "needs 2 seats of 2 cores on one node, 1 exist");
        assert!(seats(&job, &[node("a", 4, 0)], &[node("a", 4, 0)]).is_ok());
    }

    #[test]
    fn shared_cores_seat_more_ranks_than_there_are_cores() {
        let nodes = [node("a", 2, 0)];
        let seats = seats(&plan(2, 2, DeviceKind::Cpu, 1, true), &nodes, &nodes).unwrap();
        assert_eq!(places(&seats), ["a Cpu(0)", "a Cpu(1)", "a Cpu(2)", "a Cpu(3)"]);
    }

    #[test]
    fn sharing_spreads_groups_over_the_least_loaded_nodes() {
        let all = [node("a", 2, 0), node("b", 2, 0)];
        let job = plan(2, 2, DeviceKind::Cpu, 1, true);
        assert_eq!(places(&seats(&job, &all, &all).unwrap()), ["a Cpu(0)", "a Cpu(1)", "b Cpu(0)", "b Cpu(1)"]);
        let busy = [node("a", 0, 0), node("b", 2, 0)];
        assert!(seats(&plan(1, 2, DeviceKind::Cpu, 1, true), &busy, &all).unwrap().iter().all(|s| s.node == "b"));
    }

    #[test]
    fn a_shared_gpu_is_taken_when_no_free_one_is_left() {
        let (free, all) = ([SeatsFree { gpus: vec![GpuId(1)], ..node("a", 0, 0) }], [node("a", 0, 2)]);
        let seats = seats(&plan(1, 2, DeviceKind::Cuda, 1, true), &free, &all).unwrap();
        assert_eq!(places(&seats), ["a Cuda(GpuId(1))", "a Cuda(GpuId(0))"]);
    }

    #[test]
    fn sharing_makes_no_gpu_where_there_is_none() {
        let nodes = [node("a", 8, 0)];
        refused(&plan(1, 1, DeviceKind::Cuda, 1, true), &nodes, &nodes, "needs 1 GPU, 0 exist");
    }
}
