//! What people write: a fabric as YAML. Anything may stand in it; `Fabric::new` checks.

use serde::{Deserialize, Serialize};

use super::problem::FabricError;
use super::units::{Rate, Seconds};

/// A fabric as people write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FabricSpec {
    /// Of this format: 1.
    pub version: u32,
    /// For people.
    pub name: String,
    /// A hardware preset, such as `h800`; what computes is not the fabric's matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Machines, or NVLink domains that are wider than one.
    pub nodes: u32,
    /// What each is.
    pub node: NodeSpec,
    /// What joins them; a single node needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSpec>,
    /// What has failed or is slow: `plane=3`, `nic=node5/2`, `switch=leaf3.p2`, `link=P2.l0s1.up:x0.5`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// What the network costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<PriceSpec>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// GPUs, or whatever else a rank runs on.
    pub gpus: u32,
    /// What joins them; one GPU alone needs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<WithinSpec>,
    /// Network cards for training traffic; as many as GPUs, a multiple of them, or a part.
    #[serde(default)]
    pub nics: u32,
    /// What each is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nic: Option<NicSpec>,
}

/// What joins the GPUs of a node: every GPU has one link out of itself and one into itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithinSpec {
    /// What it is called.
    #[serde(default)]
    pub kind: WithinKind,
    /// Of one GPU, in one direction, by the datasheet.
    pub bandwidth: Rate,
    /// What is left of it for data; all of it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub achieved: Option<Rate>,
    /// Of each of the two links on the way.
    pub latency: Seconds,
}

/// What joins the GPUs of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithinKind {
    /// NVLink through NVSwitches.
    #[default]
    Nvlink,
    /// The bus.
    Pcie,
    /// Main memory, for ranks on the cores of one machine.
    Memory,
}

/// One network card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NicSpec {
    /// Each is on one plane, so one card may serve several.
    #[serde(default = "one")]
    pub ports: u32,
    /// Of one port, in one direction, by the datasheet.
    pub bandwidth: Rate,
    /// What is left of it for data; all of it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub achieved: Option<Rate>,
    /// The delay of an endpoint: from memory to the first switch, or back.
    pub latency: Seconds,
}

/// What joins nodes. Which fields a kind needs, and which it may leave out, `Fabric::new` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// The topology.
    pub kind: NetworkKind,
    /// Disjoint networks of this kind.
    #[serde(default = "one")]
    pub planes: u32,
    /// Ports of a switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radix: Option<u32>,
    /// A cable between switches.
    pub link: LinkSpec,
    /// Whether a flow may change its GPU within its node, so that it leaves by the NIC of the right plane or rail (PXN).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pxn: Option<bool>,
    /// Whether switches can reduce (SHARP).
    #[serde(default)]
    pub sharp: bool,

    /// Fat-trees: 2, or 3 with pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<u32>,
    /// Fat-trees: what hosts of a leaf may send, to what its uplinks carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oversubscription: Option<f64>,
    /// Fat-trees: ports of a leaf that lead to hosts. Slim Fly, Dragonfly: hosts of a switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts_per_switch: Option<u32>,
    /// Fat-trees: ports of a leaf that lead upwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplinks: Option<u32>,
    /// Two layers: of a plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spines: Option<u32>,
    /// Three layers: leaves that share their aggregation switches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves_per_pod: Option<u32>,
    /// Three layers: ports of an aggregation switch that lead upwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_uplinks: Option<u32>,
    /// Three layers: a cable to a core, when it is another than `link`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_link: Option<LinkSpec>,
    /// Multi-rail: rails, each with leaves of its own; as many as a node has NIC ports when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rails: Option<u32>,

    /// Slim Fly: the prime power that it is built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<u32>,
    /// Dragonfly: switches of a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_switches: Option<u32>,
    /// Dragonfly: cables of a switch to other groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_links: Option<u32>,
    /// Dragonfly: as many as can be joined when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<u32>,
}

/// The topology of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// Leaves and spines, or leaves, aggregation and cores.
    FatTree,
    /// One fat-tree a plane (the DeepSeek-V3 cluster).
    MultiPlaneFatTree,
    /// One fat-tree whose leaves belong to rails: GPUs of equal rank share leaves.
    MultiRailFatTree,
    /// McKay-Miller-Širáň graphs of diameter two (Besta and Hoefler, SC 2014).
    SlimFly,
    /// Groups that are wholly joined, of switches that are wholly joined (Kim et al., ISCA 2008).
    Dragonfly,
}

/// One cable between switches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// In one direction, by the datasheet.
    pub bandwidth: Rate,
    /// What is left of it for data; all of it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub achieved: Option<Rate>,
    /// Of a hop: the switch and the cable.
    pub latency: Seconds,
}

/// A price list by its name, or one written out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PriceSpec {
    /// `isca25`.
    Named(String),
    /// In dollars.
    Own(Prices),
}

/// What parts cost, in dollars; as in the method of Besta and Hoefler (SC 2014) a switch costs by its ports and a cable
/// by its rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// One port of a switch.
    pub switch_port: f64,
    /// One cable of 400 Gb/s between switches, with its transceivers.
    pub link: f64,
    /// One NIC port of 400 Gb/s with its cable.
    pub endpoint: f64,
}

impl FabricSpec {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it is no YAML, or not of this shape; says at which line.
    pub fn parse(yaml: &str) -> Result<Self, FabricError> {
        serde_yaml::from_str(yaml).map_err(|error| FabricError::Yaml(error.to_string()))
    }

    /// As YAML that `parse` reads.
    ///
    /// # Errors
    /// Never for a spec that was read.
    pub fn to_yaml(&self) -> Result<String, FabricError> {
        serde_yaml::to_string(self).map_err(|error| FabricError::Yaml(error.to_string()))
    }
}

impl NetworkKind {
    /// As it stands in YAML.
    pub fn word(self) -> &'static str {
        match self {
            Self::FatTree => "fat_tree",
            Self::MultiPlaneFatTree => "multi_plane_fat_tree",
            Self::MultiRailFatTree => "multi_rail_fat_tree",
            Self::SlimFly => "slim_fly",
            Self::Dragonfly => "dragonfly",
        }
    }

    /// Whether it has leaves and what is above them.
    pub fn is_tree(self) -> bool {
        matches!(self, Self::FatTree | Self::MultiPlaneFatTree | Self::MultiRailFatTree)
    }
}

fn one() -> u32 {
    1
}
