//! Sizes of a plane: those that are written, and those that follow from the radix.

use super::check::{Found, ports};
use super::dragonfly::Dragonfly;
use super::problem::Problem;
use super::shape::PlaneShape;
use super::slim_fly::{self, SlimFly};
use super::spec::{FabricSpec, NetworkKind, NetworkSpec};
use super::tree::{Leaves, Tree2, Tree3};

/// The plane of a network, when it can be.
pub(super) fn plane(network: &NetworkSpec, spec: &FabricSpec, found: &mut Found) -> Option<PlaneShape> {
    let hosts = spec.nodes * (spec.node.nics * ports(&spec.node) / network.planes);
    match network.kind {
        NetworkKind::SlimFly => slim_fly(network, hosts, found).map(PlaneShape::SlimFly),
        NetworkKind::Dragonfly => dragonfly(network, hosts, found).map(PlaneShape::Dragonfly),
        _ => {
            let (leaves, uplinks) = leaves(network, spec, hosts, found)?;
            if network.layers == Some(3) {
                tree3(network, leaves, uplinks, found).map(PlaneShape::Tree3)
            } else {
                tree2(network, leaves, uplinks, found).map(PlaneShape::Tree2)
            }
        }
    }
}

/// Hosts under leaves, and cables of a leaf upwards.
fn leaves(network: &NetworkSpec, spec: &FabricSpec, hosts: u32, found: &mut Found) -> Option<(Leaves, u32)> {
    let rails = match network.kind {
        NetworkKind::MultiRailFatTree => network.rails.unwrap_or(spec.node.nics * ports(&spec.node)),
        _ => 1,
    };
    let n_ports = spec.node.nics * ports(&spec.node);
    if !n_ports.is_multiple_of(rails) {
        let why = "so that every rail has as many of them";
        let field = "network.rails";
        found.push(Problem::DoesNotDivide { field, number: rails, of: "NIC ports of a node", whole: n_ports, why });
        return None;
    }
    // What a leaf must send upwards for each host.
    let speed = spec.node.nic.as_ref().map_or(0.0, |nic| nic.bandwidth.0) / network.link.bandwidth.0;
    let per_host = speed / network.oversubscription.unwrap_or(1.0);
    let up_for = |down: u32| (f64::from(down) * per_host - 1e-9).ceil().max(1.0) as u32;
    let down = match (network.hosts_per_switch, network.radix) {
        (Some(down), _) => down,
        (None, Some(radix)) => (1..radix).rev().find(|&down| down.saturating_add(up_for(down)) <= radix).unwrap_or(0),
        (None, None) => {
            let needed_by = "or network.hosts_per_switch and network.uplinks in its place";
            found.push(Problem::Missing { field: "network.radix", needed_by });
            return None;
        }
    };
    let leaves = Leaves { hosts, rails, per_leaf: down.max(1) };
    let alone = leaves.count() == 1 && network.layers != Some(3);
    let up = match (network.uplinks, network.spines, network.radix) {
        (Some(up), ..) | (None, Some(up), None) => up,
        (None, _, Some(_)) if alone => 0,
        (None, _, Some(_)) => up_for(down),
        (None, None, None) if alone => 0,
        (None, None, None) => {
            found.push(Problem::NoUplinks { field: "uplinks", leaves: leaves.count(), what: "uplinks" });
            return None;
        }
    };
    let used = if alone { hosts } else { leaves.per_leaf };
    let sum = format!("{used} to hosts + {up} upwards");
    fits(network, "a leaf", u64::from(used) + u64::from(up), sum, found).then_some((leaves, up))
}

fn tree2(network: &NetworkSpec, leaves: Leaves, uplinks: u32, found: &mut Found) -> Option<Tree2> {
    if uplinks == 0 {
        return Some(Tree2 { leaves, uplinks, spines: 1 });
    }
    let count = leaves.count();
    let derived = divisors(uplinks).find(|spines| ports_of_top(count, uplinks, *spines) <= radix(network));
    let spines = network.spines.or(derived).unwrap_or(uplinks);
    whole("network.spines", spines, "uplinks of a leaf", uplinks, found)?;
    let sum = format!("{count} leaves x {} cables each", uplinks / spines);
    fits(network, "a spine", ports_of_top(count, uplinks, spines), sum, found).then_some(Tree2 {
        leaves,
        uplinks,
        spines,
    })
}

fn tree3(network: &NetworkSpec, leaves: Leaves, aggregations: u32, found: &mut Found) -> Option<Tree3> {
    let rails = leaves.rails;
    // Half of an aggregation switch leads down; pods hold whole sets of rails.
    let half = network.radix.map(|radix| (radix / 2 / rails * rails).max(rails));
    let Some(leaves_per_pod) = network.leaves_per_pod.or(half) else {
        let needed_by = "or network.leaves_per_pod and network.core_uplinks in its place";
        found.push(Problem::Missing { field: "network.radix", needed_by });
        return None;
    };
    whole("network.rails", rails, "leaves of a pod", leaves_per_pod, found)?;
    let uplinks = network.core_uplinks.unwrap_or_else(|| network.radix.unwrap_or(0).saturating_sub(leaves_per_pod));
    let mut tree = Tree3 { leaves, leaves_per_pod, aggregations, uplinks, cores: 1 };
    let pods = tree.pods();
    if uplinks == 0 && pods > 1 {
        let (leaves, what) = (leaves.count(), "cables of aggregation switches to cores");
        found.push(Problem::NoUplinks { field: "core_uplinks", leaves, what });
        return None;
    }
    let sum = format!("{leaves_per_pod} leaves + {uplinks} cores");
    let down_and_up = u64::from(leaves_per_pod) + u64::from(uplinks);
    if !fits(network, "an aggregation switch", down_and_up, sum, found) {
        return None;
    }
    tree.cores =
        divisors(uplinks).find(|cores| ports_of_top(pods, uplinks, *cores) <= radix(network)).unwrap_or(uplinks);
    let sum = format!("{pods} pods x {} cables each", uplinks / tree.cores.max(1));
    fits(network, "a core", ports_of_top(pods, uplinks, tree.cores), sum, found).then_some(tree)
}

fn slim_fly(network: &NetworkSpec, hosts: u32, found: &mut Found) -> Option<SlimFly> {
    let Some(q) = network.q else {
        found.push(Problem::Missing { field: "network.q", needed_by: "a Slim Fly has 2 q² switches" });
        return None;
    };
    // Tables of the field grow with its square.
    const MOST: u32 = 64;
    if q > MOST {
        found.push(Problem::TooLarge { field: "network.q", found: q.into(), most: MOST.into() });
        return None;
    }
    if !slim_fly::can_be_built(q) {
        found.push(Problem::NoSlimFly { q });
        return None;
    }
    let degree = slim_fly::degree(q);
    // Half of a switch's cables lead to hosts: full global bandwidth (Besta and Hoefler, section II-B2).
    let hosts_per_switch = network.hosts_per_switch.unwrap_or(degree.div_ceil(2));
    let fly = SlimFly { hosts, q, hosts_per_switch };
    let sum = format!("{hosts_per_switch} to hosts + {degree} to switches");
    let fits = fits(network, "a switch", u64::from(hosts_per_switch) + u64::from(degree), sum, found);
    let room = u64::from(fly.n_switches()) * u64::from(hosts_per_switch);
    let sum = format!("{} switches x {hosts_per_switch} hosts", fly.n_switches());
    (has_room(hosts, "the Slim Fly", room, sum, found) && fits).then_some(fly)
}

fn dragonfly(network: &NetworkSpec, hosts: u32, found: &mut Found) -> Option<Dragonfly> {
    // Balanced (Kim et al., section 3.1): a = 2p = 2h, and so 4h - 1 ports.
    let balanced = network.radix.map(|radix| (radix + 1) / 4);
    let (Some(switches), Some(global_links), Some(hosts_per_switch)) = (
        network.group_switches.or(balanced.map(|h| 2 * h)),
        network.global_links.or(balanced),
        network.hosts_per_switch.or(balanced),
    ) else {
        let needed_by = "or network.group_switches, network.global_links and network.hosts_per_switch in its place";
        found.push(Problem::Missing { field: "network.radix", needed_by });
        return None;
    };
    let most = switches * global_links + 1;
    let groups = network.groups.unwrap_or(most);
    if groups > most {
        found.push(Problem::TooManyGroups { groups, switches, links: global_links, most });
        return None;
    }
    let fly = Dragonfly { hosts, groups, switches, hosts_per_switch, global_links };
    let sum = format!("{hosts_per_switch} to hosts + {} in its group + {global_links} global", switches - 1);
    let needed = u64::from(hosts_per_switch) + u64::from(switches - 1) + u64::from(global_links);
    let fits = fits(network, "a switch", needed, sum, found);
    let room = u64::from(groups) * u64::from(switches) * u64::from(hosts_per_switch);
    let sum = format!("{groups} groups x {switches} switches x {hosts_per_switch} hosts");
    (has_room(hosts, "the Dragonfly", room, sum, found) && fits).then_some(fly)
}

/// Without a radix a switch has what it needs.
fn radix(network: &NetworkSpec) -> u64 {
    network.radix.map_or(u64::MAX, u64::from)
}

fn ports_of_top(below: u32, uplinks: u32, tops: u32) -> u64 {
    u64::from(below) * u64::from(uplinks / tops.max(1))
}

/// From the least, so that the fewest switches with the thickest bundles of cables come first.
fn divisors(number: u32) -> impl Iterator<Item = u32> {
    (1..=number).filter(move |divisor| number.is_multiple_of(*divisor))
}

fn fits(network: &NetworkSpec, what: &'static str, needed: u64, sum: String, found: &mut Found) -> bool {
    let fits = needed <= radix(network);
    if let (false, Some(radix)) = (fits, network.radix) {
        found.push(Problem::RadixTooSmall { what, needed, sum, radix });
    }
    fits
}

fn has_room(hosts: u32, what: &'static str, room: u64, sum: String, found: &mut Found) -> bool {
    let fits = u64::from(hosts) <= room;
    if !fits {
        found.push(Problem::TooManyHosts { hosts: hosts.into(), what, room, sum });
    }
    fits
}

fn whole(field: &'static str, number: u32, of: &'static str, whole: u32, found: &mut Found) -> Option<()> {
    if number > 0 && whole.is_multiple_of(number) {
        return Some(());
    }
    let why = "so that every leaf has as many cables to each";
    found.push(Problem::DoesNotDivide { field, number, of, whole, why });
    None
}
