//! The topology table of "Insights into DeepSeek-V3" (arXiv 2505.09343, table 3), counted anew.

use serde::Serialize;

use super::cost::ISCA25;
use super::facts::{Counts, USUAL_RADIX};
use super::{Fabric, slim_fly};

/// One row of the topology table of "Insights into DeepSeek-V3" (ISCA 2025, table 3).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PaperRow {
    /// As the paper calls it.
    pub name: &'static str,
    /// By our count.
    #[serde(flatten)]
    pub counts: Counts,
    /// Dollars for each endpoint.
    pub cost_per_endpoint: f64,
    /// What the paper prints, in dollars.
    pub published_cost: f64,
    /// How it is counted.
    pub how: &'static str,
}

/// The topology table of "Insights into DeepSeek-V3", from switches of 64 ports and the price list `isca25`.
///
/// Fat-trees are built and counted. The paper's Slim Fly has q = 28, which is no prime power, and its Dragonfly 511 groups:
/// both rows follow from the formulas of their counts.
pub fn paper_table() -> Vec<PaperRow> {
    let tree = |name, yaml: &str, planes: u32, published, how| {
        let fabric = Fabric::parse(yaml).expect("a fabric of the paper");
        assert_eq!(fabric.n_planes(), planes, "as the paper has it");
        row(name, fabric.counts(), published, how)
    };
    let yaml = |nodes: u32, ports: u32, network: &str| {
        let nics = "nic: { bandwidth: 400Gbps, latency: 1us }, within: { bandwidth: 1GB/s, latency: 1us }";
        let node = format!("node: {{ gpus: {ports}, nics: {ports}, {nics} }}");
        let link = "radix: 64, link: { bandwidth: 400Gbps, latency: 1us }";
        format!("{{ version: 1, name: t, nodes: {nodes}, {node}, network: {{ {network}, {link} }} }}")
    };
    vec![
        tree("FT2", &yaml(2048, 1, "kind: fat_tree"), 1, 9e6, "built"),
        tree("MPFT", &yaml(2048, 8, "kind: multi_plane_fat_tree, planes: 8"), 8, 72e6, "built"),
        tree("FT3", &yaml(65_536, 1, "kind: fat_tree, layers: 3"), 1, 491e6, "built"),
        row("SF", slim_fly_counts(28), 146e6, "by formula: q = 28, 2q² switches of degree 3q/2 and 21 hosts"),
        row(
            "DF",
            dragonfly_counts(16, 511),
            1522e6,
            "by formula: 511 groups of 32 switches, 16 hosts and 16 global links each",
        ),
    ]
}

fn row(name: &'static str, counts: Counts, published_cost: f64, how: &'static str) -> PaperRow {
    PaperRow { name, counts, cost_per_endpoint: counts.cost / counts.endpoints as f64, published_cost, how }
}

fn priced(endpoints: u64, switches: u64, links: u64) -> Counts {
    const RATE: f64 = 50e9;
    let cost = ISCA25.total(switches * u64::from(USUAL_RADIX), (links, RATE), (endpoints, RATE));
    Counts { endpoints, switches, links, cost }
}

/// Besta and Hoefler, SC 2014, section II: 2q² switches, (3q - δ)/2 cables each, and half as many hosts.
fn slim_fly_counts(q: u32) -> Counts {
    let (switches, degree) = (2 * u64::from(q) * u64::from(q), u64::from(slim_fly::degree(q)));
    priced(switches * degree.div_ceil(2), switches, switches * degree / 2)
}

/// Kim et al., ISCA 2008, section 3: balanced, a = 2p = 2h; every global port is used.
fn dragonfly_counts(h: u64, groups: u64) -> Counts {
    let (p, a) = (h, 2 * h);
    let switches = groups * a;
    priced(switches * p, switches, switches * (a - 1) / 2 + switches * h / 2)
}
