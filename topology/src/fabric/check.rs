//! From a spec to checked sizes: every mistake at once.

use super::check_network::plane;
use super::cost::prices;
use super::problem::Problem;
use super::shape::{NodeShape, Shape};
use super::spec::{FabricSpec, LinkSpec, NetworkKind, NetworkSpec, NodeSpec, Prices};
use super::units::Rate;

/// Links are counted with 32 bits; this leaves room for all that a fabric of this size has.
const MOST_GPUS: u64 = 1 << 24;

/// What a spec says once it has been checked.
pub(super) struct Checked {
    pub(super) shape: Shape,
    pub(super) prices: Prices,
    pub(super) pxn: bool,
}

/// Where mistakes are gathered.
pub(super) struct Found(Vec<Problem>);

impl Found {
    pub(super) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub(super) fn not_zero(&mut self, field: &'static str, number: u32) {
        if number == 0 {
            self.push(Problem::Zero { field });
        }
    }

    /// What the datasheet says and what is left of it.
    fn rates(&mut self, field: [&'static str; 2], bandwidth: Rate, achieved: Option<Rate>) {
        for (field, rate) in field.into_iter().zip([Some(bandwidth), achieved]) {
            if let Some(rate) = rate.filter(|rate| rate.0 <= 0.0) {
                self.push(Problem::NoRate { field, found: rate.to_string() });
            }
        }
        if let Some(achieved) = achieved.filter(|achieved| *achieved > bandwidth) {
            let (achieved, bandwidth) = (achieved.to_string(), bandwidth.to_string());
            self.push(Problem::AchievedTooMuch { field: field[1], achieved, bandwidth });
        }
    }

    fn link(&mut self, field: [&'static str; 2], link: &LinkSpec) {
        self.rates(field, link.bandwidth, link.achieved);
    }
}

/// All that must hold before links are built.
pub(super) fn check(spec: &FabricSpec) -> Result<Checked, Vec<Problem>> {
    let mut found = Found(Vec::new());
    if spec.version != 1 {
        found.push(Problem::Version { found: spec.version });
    }
    found.not_zero("nodes", spec.nodes);
    node(&spec.node, &mut found);
    let n_gpus = u64::from(spec.nodes) * u64::from(spec.node.gpus);
    if n_gpus > MOST_GPUS {
        found.push(Problem::TooLarge { field: "nodes x node.gpus", found: n_gpus, most: MOST_GPUS });
    }
    let prices = prices(spec.prices.as_ref()).unwrap_or_else(|problem| {
        found.push(problem);
        Prices { switch_port: 0.0, link: 0.0, endpoint: 0.0 }
    });
    match &spec.network {
        None if spec.nodes > 1 => found.push(Problem::Disconnected { nodes: spec.nodes }),
        Some(network) => network_numbers(network, spec, &mut found),
        None => (),
    }
    // Sizes are derived from numbers that make sense only.
    if !found.0.is_empty() {
        return Err(found.0);
    }
    let node = NodeShape { gpus: spec.node.gpus, nics: spec.node.nics, ports: ports(&spec.node) };
    let mut shape = Shape { nodes: spec.nodes, node, planes: 0, plane: None };
    let mut pxn = false;
    if let Some(network) = &spec.network {
        shape.planes = network.planes;
        shape.plane = plane(network, spec, &mut found);
        let by_kind = matches!(network.kind, NetworkKind::MultiPlaneFatTree | NetworkKind::MultiRailFatTree);
        pxn = network.pxn.unwrap_or(by_kind);
    }
    if found.0.is_empty() { Ok(Checked { shape, prices, pxn }) } else { Err(found.0) }
}

/// Ports of a NIC.
pub(super) fn ports(node: &NodeSpec) -> u32 {
    node.nic.as_ref().map_or(0, |nic| nic.ports)
}

fn node(node: &NodeSpec, found: &mut Found) {
    found.not_zero("node.gpus", node.gpus);
    match &node.within {
        Some(within) => {
            found.rates(["node.within.bandwidth", "node.within.achieved"], within.bandwidth, within.achieved)
        }
        None if node.gpus > 1 => {
            found.push(Problem::Missing { field: "node.within", needed_by: "it joins the GPUs of a node" });
        }
        None => (),
    }
    match &node.nic {
        Some(nic) => {
            found.not_zero("node.nic.ports", nic.ports);
            found.rates(["node.nic.bandwidth", "node.nic.achieved"], nic.bandwidth, nic.achieved);
        }
        None if node.nics > 0 => found.push(Problem::Missing { field: "node.nic", needed_by: "a node has NICs" }),
        None => (),
    }
    let (gpus, nics) = (node.gpus, node.nics);
    if gpus > 0 && nics > 0 && !gpus.is_multiple_of(nics) && !nics.is_multiple_of(gpus) {
        found.push(Problem::NicsAndGpus { nics, gpus });
    }
}

fn network_numbers(network: &NetworkSpec, spec: &FabricSpec, found: &mut Found) {
    found.link(["network.link.bandwidth", "network.link.achieved"], &network.link);
    if let Some(link) = &network.core_link {
        found.link(["network.core_link.bandwidth", "network.core_link.achieved"], link);
    }
    found.not_zero("network.planes", network.planes);
    let numbers = [
        ("network.radix", network.radix),
        ("network.hosts_per_switch", network.hosts_per_switch),
        ("network.uplinks", network.uplinks),
        ("network.spines", network.spines),
        ("network.leaves_per_pod", network.leaves_per_pod),
        ("network.core_uplinks", network.core_uplinks),
        ("network.rails", network.rails),
        ("network.q", network.q),
        ("network.group_switches", network.group_switches),
        ("network.global_links", network.global_links),
        ("network.groups", network.groups),
    ];
    for (field, number) in numbers {
        const MOST: u32 = 4096;
        match number {
            Some(0) => found.push(Problem::Zero { field }),
            Some(number) if number > MOST => {
                found.push(Problem::TooLarge { field, found: number.into(), most: MOST.into() });
            }
            _ => (),
        }
    }
    if let Some(layers) = network.layers.filter(|layers| !matches!(layers, 2 | 3)) {
        found.push(Problem::Layers { found: layers });
    }
    if let Some(ratio) = network.oversubscription.filter(|ratio| !(ratio.is_finite() && *ratio >= 1.0)) {
        found.push(Problem::Oversubscription { found: ratio });
    }
    meaning(network, found);
    planes(network, &spec.node, found);
}

/// Fields that another kind has.
fn meaning(network: &NetworkSpec, found: &mut Found) {
    let kind = network.kind;
    let (tree, layers) = (kind.is_tree(), network.layers.unwrap_or(2));
    let (fly, dragon) = (kind == NetworkKind::SlimFly, kind == NetworkKind::Dragonfly);
    let given = [
        ("network.layers", network.layers.is_some(), tree),
        ("network.oversubscription", network.oversubscription.is_some(), tree),
        ("network.uplinks", network.uplinks.is_some(), tree),
        ("network.spines", network.spines.is_some(), tree && layers == 2),
        ("network.leaves_per_pod", network.leaves_per_pod.is_some(), tree && layers == 3),
        ("network.core_uplinks", network.core_uplinks.is_some(), tree && layers == 3),
        ("network.core_link", network.core_link.is_some(), tree && layers == 3),
        ("network.rails", network.rails.is_some(), kind == NetworkKind::MultiRailFatTree),
        ("network.q", network.q.is_some(), fly),
        ("network.group_switches", network.group_switches.is_some(), dragon),
        ("network.global_links", network.global_links.is_some(), dragon),
        ("network.groups", network.groups.is_some(), dragon),
    ];
    for (field, _, _) in given.into_iter().filter(|(_, given, meant)| *given && !meant) {
        let kind = match (tree, layers) {
            (true, 3) => "fat_tree with three layers",
            (true, _) if field != "network.rails" => "fat_tree with two layers",
            _ => kind.word(),
        };
        found.push(Problem::Meaningless { field, kind });
    }
}

fn planes(network: &NetworkSpec, node: &NodeSpec, found: &mut Found) {
    let (planes, kind, ports) = (network.planes, network.kind, ports(node));
    let have = node.nics.saturating_mul(ports);
    if node.nics == 0 {
        found.push(Problem::Zero { field: "node.nics" });
    } else if planes > have {
        found.push(Problem::MorePlanesThanPorts { planes, nics: node.nics, ports, have });
    } else if planes > 0 && have % planes != 0 {
        let why = "so that a node is on every plane alike";
        let field = "network.planes";
        found.push(Problem::DoesNotDivide { field, number: planes, of: "NIC ports of a node", whole: have, why });
    }
    if planes > 256 {
        found.push(Problem::TooLarge { field: "network.planes", found: planes.into(), most: 256 });
    }
    let rule = match kind {
        NetworkKind::MultiPlaneFatTree if planes == 1 => "2 or more",
        NetworkKind::FatTree | NetworkKind::MultiRailFatTree if planes > 1 => "1",
        _ => return,
    };
    found.push(Problem::PlanesOfKind { planes, kind: kind.word(), rule });
}
