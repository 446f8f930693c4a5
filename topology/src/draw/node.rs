//! One node: its GPUs, what joins them, its NICs and their planes. Colours are those of the busiest node.

use super::layout::worst;
use super::svg::Svg;
use super::{Busy, colour};
use crate::fabric::{Fabric, WithinKind};

pub(super) const HEIGHT: f64 = 190.0;
/// GPUs that are drawn one by one.
const GPUS_MAX: u32 = 16;

pub(super) fn draw(svg: &mut Svg, fabric: &Fabric, busy: &Busy, (x, y): (f64, f64), width: f64) {
    svg.panel(x, y, width, HEIGHT - 10.0);
    let (n, shown) = (fabric.gpus_per_node(), fabric.gpus_per_node().min(GPUS_MAX));
    let more = if n > shown { format!(", {shown} of {n} GPUs drawn") } else { String::new() };
    let nodes = format!("each of {} nodes; colours of the busiest{more}", fabric.n_nodes());
    let nodes = if busy.seconds.is_some() || n > shown { nodes } else { format!("each of {} nodes", fabric.n_nodes()) };
    svg.text(x + 12.0, y + 20.0, "start", 13.0, &nodes);
    let step = (width - 24.0) / f64::from(shown);
    let at = |gpu: u32| x + 12.0 + step * (f64::from(gpu) + 0.5);
    let bar = (width - 24.0, y + 50.0);
    let all = |gpu: u32| (0..fabric.n_nodes()).map(move |node| node * n + gpu);
    let joined = if fabric.spec().node.within.is_some() { shown } else { 0 };
    for gpu in 0..joined {
        let links = all(gpu).flat_map(|gpu| [fabric.gpu_out(gpu), fabric.gpu_in(gpu)]).flatten();
        stem(svg, busy, (at(gpu), bar.1 + 10.0), (at(gpu), y + 92.0), worst(fabric, busy, links));
    }
    if let Some(within) = &fabric.spec().node.within {
        let kind = match within.kind {
            WithinKind::Nvlink => "NVLink",
            WithinKind::Pcie => "PCIe",
            WithinKind::Memory => "main memory",
        };
        let rate = within.achieved.unwrap_or(within.bandwidth);
        svg.labelled((x + width / 2.0, bar.1), (bar.0, 20.0), &format!("{kind}, {rate} each way"), kind);
    }
    for gpu in 0..shown {
        svg.labelled((at(gpu), y + 102.0), ((step - 6.0).min(80.0), 20.0), &format!("GPU {gpu}"), &gpu.to_string());
    }
    ports(svg, fabric, busy, (x, y), width, n == shown);
}

/// NICs below the GPUs, each with the planes of its ports.
fn ports(svg: &mut Svg, fabric: &Fabric, busy: &Busy, (x, y): (f64, f64), width: f64, all_shown: bool) {
    let (n_nics, n_ports) = (fabric.nics_per_node(), fabric.ports_per_nic());
    if n_nics == 0 || fabric.n_planes() == 0 {
        return;
    }
    let shown = if all_shown { n_nics.min(GPUS_MAX) } else { GPUS_MAX.min(n_nics) };
    let step = (width - 24.0) / f64::from(shown);
    for nic in 0..shown {
        let at = x + 12.0 + step * (f64::from(nic) + 0.5);
        let of_nic = nic * n_ports..(nic + 1) * n_ports;
        let of_nodes = (0..fabric.n_nodes()).flat_map(|node| of_nic.clone().map(move |port| (node, port)));
        let links = of_nodes.flat_map(|(node, port)| [fabric.port_up(node, port), fabric.port_down(node, port)]);
        stem(svg, busy, (at, y + 112.0), (at, y + 130.0), worst(fabric, busy, links));
        svg.labelled((at, y + 140.0), ((step - 6.0).min(80.0), 20.0), &format!("NIC {nic}"), &nic.to_string());
        let planes: Vec<String> = of_nic.map(|port| (port % fabric.n_planes()).to_string()).collect();
        if fabric.n_planes() > 1 {
            svg.text(at, y + 164.0, "middle", 9.0, &format!("plane {}", planes.join(", ")));
        }
    }
}

fn stem(svg: &mut Svg, busy: &Busy, from: (f64, f64), to: (f64, f64), (seconds, down): (f64, bool)) {
    let colour = if down { colour::DOWN.to_owned() } else { busy.colour(seconds) };
    svg.line(from, to, 5.0, &colour, down, "");
}
