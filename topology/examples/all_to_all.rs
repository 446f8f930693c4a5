//! How long a whole all-to-all takes on a multi-plane fat-tree with eight planes, every flow on its own:
//! `all_to_all NODES [HOSTS_PER_LEAF] [BYTES] [mixed]`; sizes are drawn between 1/16 and all of BYTES where `mixed`.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench measures and prints")]

use std::error::Error;
use std::time::Instant;

use ds_topology::fabric::Fabric;
use ds_topology::flow::{FlowSet, Simulation, Weighting};
use ds_topology::routing::{FabricRoutes, Policy};
use ds_topology::{EndpointId, Routes};

const GPUS: u32 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, usual: u32| args.get(place).map_or(Ok(usual), |text| text.parse());
    let (nodes, per_leaf, bytes) = (number(0, 256)?, number(1, 32)?, f64::from(number(2, 1 << 20)?));
    let is_mixed = args.iter().any(|arg| arg == "mixed");
    let start = Instant::now();
    let mut routes = FabricRoutes::new(Fabric::parse(&yaml(nodes, per_leaf))?, Policy::Static);
    let n = nodes * GPUS;
    let n_flows = (n * (n - 1)) as usize;
    let mut flows = FlowSet::with_room(n_flows, 6 * n_flows);
    let mut chance = 1_u64;
    for (from, to) in (0..n).flat_map(|from| (0..n).filter(move |&to| to != from).map(move |to| (from, to))) {
        let mut path = None;
        let mut give = |_: f64, links: &[_]| path = Some(flows.add_path(links.iter().copied()));
        routes.paths(EndpointId(from), EndpointId(to), 0, &mut give)?;
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = if is_mixed { 1 + (chance >> 33) % 16 } else { 16 };
        flows.push(bytes * share as f64 / 16.0, path.ok_or("no path")?);
    }
    let made = start.elapsed();
    let start = Instant::now();
    let outcome = Simulation::new(routes.network(), &flows, Weighting::Equal).run()?;
    println!("{n_flows} flows, makespan {:.9} s; made {made:.2?}, solved {:.2?}", outcome.makespan, start.elapsed());
    if !is_mixed {
        // A NIC sends from its first flow, which has two cables of 600 ns to go, until its last without a break.
        let expected = 1.2e-6 + f64::from(GPUS * (nodes - 1)) * bytes / 5e10;
        println!("by hand {expected:.9} s, off by {:.1e}", (outcome.makespan - expected).abs() / expected);
    }
    Ok(())
}

fn yaml(nodes: u32, per_leaf: u32) -> String {
    format!(
        "version: 1\nname: planes\nnodes: {nodes}\n\
         node: {{ gpus: {GPUS}, within: {{ bandwidth: 160GB/s, latency: 500ns }},\n  \
         nics: {GPUS}, nic: {{ bandwidth: 50GB/s, latency: 600ns }} }}\n\
         network: {{ kind: multi_plane_fat_tree, planes: {GPUS}, hosts_per_switch: {per_leaf}, spines: {per_leaf},\n  \
         link: {{ bandwidth: 50GB/s, latency: 400ns }} }}\n"
    )
}
