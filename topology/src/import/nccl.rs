//! NCCL's topology XML (`NCCL_TOPO_DUMP_FILE`): the PCIe tree of one node with its GPUs, NVLinks and NICs.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

use super::{ImportError, Imported, nic, one_node, within};
use crate::fabric::{NodeSpec, Rate, WithinKind};

const EXPECTED: &str = "NCCL's topology XML";
const PCIE: f64 = 32e9;

pub(super) fn import(text: &str) -> Result<Imported, ImportError> {
    let form = |reason: String| ImportError::Form { expected: EXPECTED, reason };
    let document = Document::parse(text).map_err(|error| form(error.to_string()))?;
    let root = document.root_element();
    if root.tag_name().name() != "system" {
        return Err(form(format!("the outermost element is <{}>, not <system>", root.tag_name().name())));
    }
    let gpus: Vec<Node<'_, '_>> = of_name(root, "gpu").collect();
    if gpus.is_empty() {
        return Err(ImportError::Nothing { source_name: EXPECTED, what: "GPU" });
    }
    let mut assumed = Vec::new();
    let links =
        gpus.iter().map(|gpu| of_name(*gpu, "nvlink").map(|link| number(link, "count").unwrap_or(1)).sum::<u32>());
    let n_links = links.min().unwrap_or(0);
    let within = if gpus.len() < 2 {
        None
    } else if n_links > 0 {
        let rate = nvlink_rate(gpus.iter().filter_map(|gpu| number(*gpu, "sm")).min().unwrap_or(0));
        Some(within(WithinKind::Nvlink, Rate(rate * f64::from(n_links))))
    } else {
        assumed.push("GPUs reach each other over PCIe 4.0 x16, 32 GB/s in one direction".to_owned());
        Some(within(WithinKind::Pcie, Rate(PCIE)))
    };
    let cards = cards(root);
    let ports = cards.values().map(|ports| ports.len() as u32).min().unwrap_or(0);
    let rate = cards.values().flatten().copied().fold(f64::INFINITY, f64::min);
    let fits = |nics: u32| (gpus.len() as u32).is_multiple_of(nics) || nics.is_multiple_of(gpus.len() as u32);
    let nics = Some(cards.len() as u32).filter(|&nics| nics > 0 && ports > 0 && fits(nics)).unwrap_or(0);
    if nics == 0 && !cards.is_empty() {
        assumed.push(format!("{} NICs do not go into {} GPUs, so none is for training", cards.len(), gpus.len()));
    }
    assumed.push("the file says nothing about other nodes: set nodes and add network".to_owned());
    let nic = (nics > 0).then(|| nic(Rate(rate), ports));
    let node = NodeSpec { gpus: gpus.len() as u32, within, nics, nic };
    Ok(Imported { spec: one_node("from-nccl", node), assumed })
}

/// Bytes per second of every port, by the card that it is on. Interfaces that are no training NIC have no GUID.
fn cards(root: Node<'_, '_>) -> BTreeMap<String, Vec<f64>> {
    let mut cards: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for net in of_name(root, "net") {
        let guid = net.attribute("guid").unwrap_or("0x0");
        let megabits = number(net, "speed").unwrap_or(0);
        if guid.trim_start_matches("0x").bytes().all(|digit| digit == b'0') || megabits == 0 {
            continue;
        }
        cards.entry(guid.to_owned()).or_default().push(f64::from(megabits) * 1e6 / 8.0);
    }
    cards
}

/// Of one direction of one link, by the datasheets of the compute capability.
fn nvlink_rate(sm: u32) -> f64 {
    match sm {
        ..70 => 20e9,
        70..100 => 25e9,
        100.. => 50e9,
    }
}

fn of_name<'a, 'input: 'a>(below: Node<'a, 'input>, name: &'a str) -> impl Iterator<Item = Node<'a, 'input>> {
    below.descendants().filter(move |node| node.has_tag_name(name))
}

fn number(node: Node<'_, '_>, attribute: &str) -> Option<u32> {
    node.attribute(attribute)?.parse().ok()
}
