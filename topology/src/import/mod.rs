//! A real cluster as a fabric's spec: from what its tools print. What a source does not say is assumed, and said so.

mod kubernetes;
mod nccl;
mod nodes;
mod nvidia_smi;
mod slurm;

use crate::fabric::{
    FabricSpec, LinkSpec, NetworkKind, NetworkSpec, NicSpec, NodeSpec, Rate, Seconds, WithinKind, WithinSpec,
};

/// A spec, and what was assumed to make it whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// As far as the source says.
    pub spec: FabricSpec,
    /// One sentence each.
    pub assumed: Vec<String>,
}

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// What `nvidia-smi topo -m` prints: one node.
    NvidiaSmi,
    /// What NCCL writes to `NCCL_TOPO_DUMP_FILE`: one node.
    Nccl,
    /// Slurm's `topology.conf` (topology/tree): the switches of a cluster.
    Slurm,
    /// What `kubectl get nodes -o json` prints: the nodes of a cluster, with labels of their switches.
    Kubernetes,
}

/// Why there is no spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is something else.
    #[error("this is not {expected}: {reason}")]
    Form {
        /// What it should be.
        expected: &'static str,
        /// Where it is not.
        reason: String,
    },
    /// There is nothing to make a fabric of.
    #[error("{source_name} names no {what}")]
    Nothing {
        /// The source.
        source_name: &'static str,
        /// GPUs, nodes, switches.
        what: &'static str,
    },
    /// A name that nothing has.
    #[error("line {line}: switch {switch} joins {missing}, which no line describes")]
    UnknownSwitch {
        /// From 1.
        line: usize,
        /// On that line.
        switch: String,
        /// Named there.
        missing: String,
    },
    /// A node below two leaves.
    #[error("line {line}: node {node} is below switch {first} already, and now below {second}")]
    TwoLeaves {
        /// From 1.
        line: usize,
        /// Which.
        node: String,
        /// Its first leaf.
        first: String,
        /// Its second.
        second: String,
    },
    /// More tiers than can be described.
    #[error("switches are {tiers} tiers deep, a fat-tree has at most 3")]
    TooDeep {
        /// Of the source.
        tiers: usize,
    },
    /// Nodes that differ.
    #[error("node {one} has {one_has} GPUs and node {other} has {other_has}: a fabric has nodes of one sort")]
    UnequalNodes {
        /// Its name.
        one: String,
        /// How many.
        one_has: u32,
        /// Its name.
        other: String,
        /// How many.
        other_has: u32,
    },
}

/// Reads what a tool printed.
///
/// # Errors
/// When it is something else, or no fabric can be made of it.
pub fn import(source: Source, text: &str) -> Result<Imported, ImportError> {
    match source {
        Source::NvidiaSmi => nvidia_smi::import(text),
        Source::Nccl => nccl::import(text),
        Source::Slurm => slurm::import(text),
        Source::Kubernetes => kubernetes::import(text),
    }
}

impl Imported {
    /// As YAML with what was assumed on top.
    ///
    /// # Errors
    /// Never for a spec that was imported.
    pub fn to_yaml(&self) -> Result<String, crate::fabric::FabricError> {
        let assumed: String = self.assumed.iter().map(|sentence| format!("# Assumed: {sentence}\n")).collect();
        Ok(format!("{assumed}{}", self.spec.to_yaml()?))
    }
}

/// One node alone.
fn one_node(name: &str, node: NodeSpec) -> FabricSpec {
    FabricSpec {
        version: 1,
        name: name.to_owned(),
        gpu: None,
        nodes: 1,
        node,
        network: None,
        faults: vec![],
        prices: None,
    }
}

/// Half of what two GPUs of a node need for a small message (arXiv 2505.09343, table 5).
const WITHIN_LATENCY: Seconds = Seconds(1.665e-6);
const NIC_LATENCY: Seconds = Seconds(1.4e-6);
const HOP_LATENCY: Seconds = Seconds(450e-9);

fn within(kind: WithinKind, bandwidth: Rate) -> WithinSpec {
    WithinSpec { kind, bandwidth, achieved: None, latency: WITHIN_LATENCY }
}

fn nic(bandwidth: Rate, ports: u32) -> NicSpec {
    NicSpec { ports, bandwidth, achieved: None, latency: NIC_LATENCY }
}

/// A network of a kind, with nothing said about its sizes.
fn network(kind: NetworkKind, bandwidth: Rate) -> NetworkSpec {
    NetworkSpec {
        kind,
        planes: 1,
        radix: None,
        link: LinkSpec { bandwidth, achieved: None, latency: HOP_LATENCY },
        pxn: None,
        sharp: false,
        layers: None,
        oversubscription: None,
        hosts_per_switch: None,
        uplinks: None,
        spines: None,
        leaves_per_pod: None,
        core_uplinks: None,
        core_link: None,
        rails: None,
        q: None,
        group_switches: None,
        global_links: None,
        groups: None,
    }
}

/// A multi-rail tree over nodes of which so many are below each leaf, with as many cables upwards as downwards.
fn tree(tiers: usize, nodes_per_leaf: u32, leaves_per_pod: u32, n_rails: u32, bandwidth: Rate) -> NetworkSpec {
    let mut network = network(NetworkKind::MultiRailFatTree, bandwidth);
    network.hosts_per_switch = Some(nodes_per_leaf);
    network.uplinks = Some(nodes_per_leaf);
    if tiers == 3 {
        network.layers = Some(3);
        network.leaves_per_pod = Some(leaves_per_pod * n_rails);
        network.core_uplinks = Some(leaves_per_pod * n_rails);
    }
    network
}
