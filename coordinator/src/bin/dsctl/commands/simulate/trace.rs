//! The trace of a run, as a file.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use ds_forecast::simulate::Run;
use ds_forecast::trace::{Counter, chrome};
use ds_topology::fabric::Fabric;
use ds_topology::flow::LinkId;

use crate::failure::Failure;

/// Links that are shown one by one.
const BUSIEST: usize = 8;

pub(super) fn write(path: &Path, run: &Run, fabric: &Fabric) -> Result<(), Failure> {
    let failed = |source| Failure::Write { path: path.to_owned(), source };
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    chrome(run, &counters(run, fabric), &mut file).map_err(failed)?;
    file.flush().map_err(failed)
}

/// What NICs send into each plane, and the busiest links.
fn counters(run: &Run, fabric: &Fabric) -> Vec<Counter> {
    let n_ports = fabric.nics_per_node() * fabric.ports_per_nic();
    let ports: Vec<LinkId> = match fabric.n_planes() {
        0 => Vec::new(),
        _ => (0..fabric.n_nodes()).flat_map(|node| (0..n_ports).map(move |port| fabric.port_up(node, port))).collect(),
    };
    let plane = |plane: u32| {
        let on_it = ports.iter().filter(|&&link| fabric.plane_of(link).is_some_and(|p| u32::from(p.0) == plane));
        Counter { name: format!("plane {plane}"), links: on_it.map(|link| link.0).collect() }
    };
    let mut links: Vec<u32> = (0..run.n_links()).filter(|&link| run.link(link).bytes > 0.0).collect();
    let busy = |link: u32| run.link(link).bytes / run.link(link).capacity;
    links.sort_by(|&a, &b| busy(b).total_cmp(&busy(a)));
    links.truncate(BUSIEST);
    let alone =
        links.into_iter().map(|link| Counter { name: fabric.network()[link as usize].name.clone(), links: vec![link] });
    (0..fabric.n_planes()).map(plane).chain(alone).collect()
}
