//! Paths by the routing rule of a case's platform, where a case lists none.

use std::collections::HashMap;

use serde::Deserialize;

use super::problem::{LinkId, Network};
use crate::fabric::{Fabric, FabricError, Fault, FaultError};
use crate::routing::{FabricRoutes, Policy};
use crate::{EndpointId, NoRoute, Routes};

/// Sizes of a network, and what of it has failed, by their names in a case.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sizes {
    n: u32,
    hosts: u32,
    hosts_per_leaf: u32,
    spines: u32,
    k: u32,
    nodes: u32,
    gpus_per_node: u32,
    planes: u32,
    rails: u32,
    pxn: Option<bool>,
    nodes_per_leaf: u32,
    spines_per_plane: u32,
    q: u32,
    routers: u32,
    concentration: u32,
    a: u32,
    h: u32,
    groups: u32,
    failed: Vec<String>,
    failed_links: Vec<String>,
    /// `[node, GPU]`.
    failed_nics: Vec<(u32, u32)>,
    failed_planes: Vec<u32>,
}

/// Why a platform gives no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// An unknown word.
    #[error("platform.kind `{0}` has no rule that makes paths; list the flows, or use one of {KINDS}")]
    Kind(String),
    /// A size that is missing or zero.
    #[error("platform.params: {0} must be given and greater than 0")]
    Size(&'static str),
    /// Sizes that do not fit each other.
    #[error("platform.params: {0}")]
    Fabric(String),
    /// A fault that names nothing.
    #[error("platform.params: {0}")]
    Fault(String),
    /// Sizes that do not fit the list of links.
    #[error("platform.links has no link `{link}`, which a {kind} of these platform.params has")]
    NoLink {
        /// By name.
        link: String,
        /// What the links form.
        kind: String,
    },
    /// Failures have cut the network.
    #[error(transparent)]
    NoRoute(#[from] NoRoute),
}

const KINDS: &str = "star, fat_tree_2l, fat_tree_3l, mpft, mrft, slim_fly, dragonfly";

/// The paths of a platform.
pub(super) struct Rule {
    routes: Ways,
    /// The links of a case by those of the fabric.
    link: Vec<LinkId>,
    path: Vec<LinkId>,
    usual_hops: usize,
}

enum Ways {
    /// Up to the middle and down again.
    Star(u32),
    Fabric(Box<FabricRoutes>),
}

impl Rule {
    /// Of links that may be listed in any order.
    pub(super) fn new(kind: &str, sizes: &Sizes, network: &Network) -> Result<Self, RuleError> {
        let routes = ways(kind, sizes)?;
        let number: HashMap<&str, LinkId> =
            (0..).zip(network).map(|(number, link)| (link.name.as_str(), LinkId(number))).collect();
        let find = |name: String| {
            let found = number.get(name.as_str()).copied();
            found.ok_or_else(|| RuleError::NoLink { link: name, kind: kind.to_owned() })
        };
        let (link, usual_hops) = match &routes {
            Ways::Star(n) => {
                ((0..*n).flat_map(|e| [format!("up{e}"), format!("dn{e}")]).map(find).collect::<Result<_, _>>()?, 2)
            }
            Ways::Fabric(routes) => {
                let names = routes.network().iter().map(|link| link.name.clone());
                (names.map(find).collect::<Result<_, _>>()?, if kind == "fat_tree_2l" { 4 } else { 6 })
            }
        };
        Ok(Self { routes, link, path: Vec::new(), usual_hops })
    }

    pub(super) fn n_endpoints(&self) -> u32 {
        match &self.routes {
            Ways::Star(n) => *n,
            Ways::Fabric(routes) => routes.n_endpoints(),
        }
    }

    /// Links of a path, about.
    pub(super) fn usual_hops(&self) -> usize {
        self.usual_hops
    }

    /// Links from one endpoint to another.
    pub(super) fn path(&mut self, from: EndpointId, to: EndpointId) -> Result<&[LinkId], RuleError> {
        let (path, link) = (&mut self.path, &self.link);
        path.clear();
        match &mut self.routes {
            Ways::Star(_) => path.extend([link[2 * from.0 as usize], link[2 * to.0 as usize + 1]]),
            Ways::Fabric(routes) => routes.paths(from, to, 0, &mut |_, way| {
                path.extend(way.iter().map(|hop| link[hop.0 as usize]));
            })?,
        }
        Ok(&self.path)
    }
}

fn ways(kind: &str, sizes: &Sizes) -> Result<Ways, RuleError> {
    if kind == "star" {
        return Ok(Ways::Star(given("n", sizes.n)?));
    }
    let fabric =
        Fabric::parse(&yaml(kind, sizes)?).map_err(|error: FabricError| RuleError::Fabric(error.to_string()))?;
    let links = sizes.failed.iter().chain(&sizes.failed_links).map(|link| format!("link={link}"));
    let nics = sizes.failed_nics.iter().map(|(node, nic)| format!("nic=node{node}/{nic}"));
    let planes = sizes.failed_planes.iter().map(|plane| format!("plane={plane}"));
    let faults: Result<Vec<Fault>, FaultError> = links.chain(nics).chain(planes).map(|fault| fault.parse()).collect();
    let fabric = faults.and_then(|faults| fabric.with_faults(&faults));
    let fabric = fabric.map_err(|error| RuleError::Fault(error.to_string()))?;
    Ok(Ways::Fabric(Box::new(FabricRoutes::new(fabric, Policy::Static))))
}

/// The sizes as a fabric. Rates do not matter to static routes, so all are alike.
fn yaml(kind: &str, sizes: &Sizes) -> Result<String, RuleError> {
    let (nic, link) = ("nic: { bandwidth: 1GB/s, latency: 1us }", "link: { bandwidth: 1GB/s, latency: 1us }");
    let alone = format!("{{ gpus: 1, nics: 1, {nic} }}");
    let joined =
        |gpus| format!("{{ gpus: {gpus}, within: {{ bandwidth: 1GB/s, latency: 1us }}, nics: {gpus}, {nic} }}");
    let (nodes, node, network) = match kind {
        "fat_tree_2l" => {
            let per_leaf = given("hosts_per_leaf", sizes.hosts_per_leaf)?;
            let spines = given("spines", sizes.spines)?;
            let network = format!("kind: fat_tree, hosts_per_switch: {per_leaf}, spines: {spines}");
            (given("hosts", sizes.hosts)?, alone, network)
        }
        "fat_tree_3l" => {
            let k = given("k", sizes.k)?;
            let half = k / 2;
            let up = format!("hosts_per_switch: {half}, uplinks: {half}, core_uplinks: {half}");
            let network = format!("kind: fat_tree, layers: 3, radix: {k}, {up}, core_{link}");
            (given("hosts", sizes.hosts)?, alone, network)
        }
        "mpft" => {
            let (planes, per_leaf) = (given("planes", sizes.planes)?, given("nodes_per_leaf", sizes.nodes_per_leaf)?);
            let spines = given("spines_per_plane", sizes.spines_per_plane)?;
            let tree = format!("hosts_per_switch: {per_leaf}, spines: {spines}");
            let network = format!("kind: multi_plane_fat_tree, planes: {planes}, {tree}, pxn: {}", sizes.pxn());
            (given("nodes", sizes.nodes)?, joined(given("gpus_per_node", sizes.gpus_per_node)?), network)
        }
        "mrft" => {
            let (per_leaf, spines) = (given("nodes_per_leaf", sizes.nodes_per_leaf)?, given("spines", sizes.spines)?);
            let tree = format!("hosts_per_switch: {per_leaf}, spines: {spines}");
            let network = format!("kind: multi_rail_fat_tree, {tree}, pxn: {}", sizes.pxn());
            (given("nodes", sizes.nodes)?, joined(given("rails", sizes.rails)?), network)
        }
        "slim_fly" => {
            let (q, per_router) = (given("q", sizes.q)?, given("concentration", sizes.concentration)?);
            let routers = if sizes.routers > 0 { sizes.routers } else { 2 * q * q };
            (routers * per_router, alone, format!("kind: slim_fly, q: {q}, hosts_per_switch: {per_router}"))
        }
        "dragonfly" => {
            let (a, h, groups) = (given("a", sizes.a)?, given("h", sizes.h)?, given("groups", sizes.groups)?);
            let per_router = given("concentration", sizes.concentration)?;
            let graph = format!("group_switches: {a}, global_links: {h}, groups: {groups}");
            (groups * a * per_router, alone, format!("kind: dragonfly, {graph}, hosts_per_switch: {per_router}"))
        }
        found => return Err(RuleError::Kind(found.to_owned())),
    };
    Ok(format!("version: 1\nname: case\nnodes: {nodes}\nnode: {node}\nnetwork: {{ {network}, {link} }}\n"))
}

impl Sizes {
    fn pxn(&self) -> bool {
        self.pxn.unwrap_or(true)
    }
}

fn given(name: &'static str, size: u32) -> Result<u32, RuleError> {
    if size > 0 { Ok(size) } else { Err(RuleError::Size(name)) }
}
