//! Why a fabric cannot be: the field, both numbers and the rule.

use std::fmt;

use super::fault::FaultError;

/// Why there is no fabric.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FabricError {
    /// No YAML, or not of the shape of a fabric.
    #[error("{0}")]
    Yaml(
        /// With its line and column.
        String,
    ),
    /// It reads, but cannot be built.
    #[error("{0}")]
    Impossible(Problems),
}

/// All that is wrong with a spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Problems(pub Vec<Problem>);

/// One rule that a spec breaks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Another format.
    #[error("version: {found} is not known, this program reads 1")]
    Version {
        /// In the file.
        found: u32,
    },
    /// A number that must not be zero.
    #[error("{field}: 0 is too small, there must be at least 1")]
    Zero {
        /// Which.
        field: &'static str,
    },
    /// A number that no machine has.
    #[error("{field}: {found} is too large, at most {most} can be built")]
    TooLarge {
        /// Which.
        field: &'static str,
        /// In the file.
        found: u64,
        /// What is possible.
        most: u64,
    },
    /// A rate of zero.
    #[error("{field}: {found} must be greater than 0")]
    NoRate {
        /// Which.
        field: &'static str,
        /// In the file.
        found: String,
    },
    /// More than the datasheet says.
    #[error("{field}: {achieved} is more than its bandwidth of {bandwidth}")]
    AchievedTooMuch {
        /// Which.
        field: &'static str,
        /// In the file.
        achieved: String,
        /// In the file.
        bandwidth: String,
    },
    /// It is needed here.
    #[error("{field}: is missing, {needed_by}")]
    Missing {
        /// Which.
        field: &'static str,
        /// Why.
        needed_by: &'static str,
    },
    /// It means nothing here.
    #[error("{field}: means nothing for kind {kind}")]
    Meaningless {
        /// Which.
        field: &'static str,
        /// The topology.
        kind: &'static str,
    },
    /// Numbers that do not go into each other.
    #[error("{field}: {number} must divide {of} {whole}, {why}")]
    DoesNotDivide {
        /// Which.
        field: &'static str,
        /// In the file.
        number: u32,
        /// Of what.
        of: &'static str,
        /// How many there are.
        whole: u32,
        /// The rule.
        why: &'static str,
    },
    /// Neither as many, nor a multiple, nor a part.
    #[error("node.nics: {nics} NICs and {gpus} GPUs do not go into each other, so no GPU has NICs of its own")]
    NicsAndGpus {
        /// In the file.
        nics: u32,
        /// In the file.
        gpus: u32,
    },
    /// A node that cannot be on every plane.
    #[error("network.planes: {planes} planes need a NIC port each, a node has {nics} NICs x {ports} ports = {have}")]
    MorePlanesThanPorts {
        /// In the file.
        planes: u32,
        /// In the file.
        nics: u32,
        /// Of a NIC.
        ports: u32,
        /// Of a node.
        have: u32,
    },
    /// A kind whose name says how many planes it has.
    #[error("network.planes: {planes} does not fit kind {kind}, which has {rule}")]
    PlanesOfKind {
        /// In the file.
        planes: u32,
        /// The topology.
        kind: &'static str,
        /// How many.
        rule: &'static str,
    },
    /// A switch with more cables than ports.
    #[error("network.radix: {what} needs {needed} ports ({sum}), a switch has {radix}")]
    RadixTooSmall {
        /// Which switch.
        what: &'static str,
        /// How many.
        needed: u64,
        /// Why so many.
        sum: String,
        /// In the file.
        radix: u32,
    },
    /// Hosts without a port.
    #[error("nodes: {hosts} hosts a plane, but {what} has room for {room} ({sum})")]
    TooManyHosts {
        /// Of a plane.
        hosts: u64,
        /// The topology.
        what: &'static str,
        /// How many it takes.
        room: u64,
        /// Why.
        sum: String,
    },
    /// Nodes that nothing joins.
    #[error("network: is missing, so nothing joins {nodes} nodes")]
    Disconnected {
        /// In the file.
        nodes: u32,
    },
    /// Leaves that nothing joins.
    #[error("network.{field}: {leaves} leaves and no {what}, so hosts of different leaves cannot reach each other")]
    NoUplinks {
        /// Which.
        field: &'static str,
        /// Of a plane.
        leaves: u32,
        /// What is missing.
        what: &'static str,
    },
    /// No such graph.
    #[error("network.q: {q} is no prime power of the form 4w-1, 4w or 4w+1, so no Slim Fly is built on it")]
    NoSlimFly {
        /// In the file.
        q: u32,
    },
    /// Too many groups for their cables.
    #[error(
        "network.groups: {groups} groups, but {switches} switches x {links} global links of a group join at most {most}"
    )]
    TooManyGroups {
        /// In the file.
        groups: u32,
        /// Of a group.
        switches: u32,
        /// Of a switch.
        links: u32,
        /// What is possible.
        most: u32,
    },
    /// Neither two nor three.
    #[error("network.layers: {found} is neither 2 nor 3")]
    Layers {
        /// In the file.
        found: u32,
    },
    /// Less than none.
    #[error("network.oversubscription: {found} must be at least 1 (1 is full bisection, 2 halves it)")]
    Oversubscription {
        /// In the file.
        found: f64,
    },
    /// An unknown price list.
    #[error("prices: `{found}` is not known; known: isca25, or write out switch_port, link and endpoint")]
    Prices {
        /// In the file.
        found: String,
    },
    /// Something that cannot fail, or is not there.
    #[error("faults: {0}")]
    Fault(#[from] FaultError),
}

impl Problem {
    /// What to do, when we know.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::MorePlanesThanPorts { .. } => "take fewer planes, or more ports: node.nics or node.nic.ports",
            Self::RadixTooSmall { .. } => {
                "take network.layers: 3, more planes, a greater radix, or more oversubscription"
            }
            Self::TooManyHosts { .. } => "take fewer nodes, or larger sizes of the network",
            Self::PlanesOfKind { .. } => "kind multi_plane_fat_tree takes planes, the others have one",
            Self::NoSlimFly { .. } => "sizes that work: 4, 5, 7, 8, 9, 11, 13, 16, 17, 19, 23, 25, 27, 29",
            Self::Missing { field: "node.within", .. } => {
                "write within: { kind: nvlink, bandwidth: 200GB/s, latency: 1us }"
            }
            Self::Missing { field: "node.nic", .. } => "write nic: { bandwidth: 400Gbps, latency: 600ns }",
            Self::Disconnected { .. } => {
                "write network: { kind: fat_tree, radix: 64, link: { bandwidth: 400Gbps, latency: 400ns } }"
            }
            _ => return None,
        })
    }
}

/// One a line, each with its hint.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
            if let Some(hint) = problem.hint() {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}
