//! The trace of a run, as a file.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use ds_forecast::simulate::Run;
use ds_forecast::trace::{Counter, chrome};
use ds_topology::fabric::Fabric;

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
    let mut links: Vec<u32> = (0..run.n_links()).filter(|&link| run.link(link).bytes > 0.0).collect();
    let busy = |link: u32| run.link(link).bytes / run.link(link).capacity;
    links.sort_by(|&a, &b| busy(b).total_cmp(&busy(a)));
    links.truncate(BUSIEST);
    let name = |link: u32| fabric.network()[link as usize].name.clone();
    let alone = links.into_iter().map(|link| Counter { name: name(link), links: vec![link] });
    planes(fabric).into_iter().chain(alone).collect()
}

/// The ports of all NICs into each plane.
pub(super) fn planes(fabric: &Fabric) -> Vec<Counter> {
    let mut planes: Vec<Counter> =
        (0..fabric.n_planes()).map(|plane| Counter { name: format!("plane {plane}"), links: Vec::new() }).collect();
    if planes.is_empty() {
        return planes;
    }
    let n_ports = fabric.nics_per_node() * fabric.ports_per_nic();
    for link in (0..fabric.n_nodes()).flat_map(|node| (0..n_ports).map(move |port| fabric.port_up(node, port))) {
        if let Some(plane) = fabric.plane_of(link) {
            planes[usize::from(plane.0)].links.push(link.0);
        }
    }
    planes
}
