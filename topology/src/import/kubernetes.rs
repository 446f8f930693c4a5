//! `kubectl get nodes -o json`: GPUs from capacities, switches from the labels `network.topology.nvidia.com/…`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{ImportError, Imported, nic, tree, within};
use crate::fabric::{FabricSpec, NodeSpec, Rate, WithinKind};

const EXPECTED: &str = "what kubectl get nodes -o json prints";
const NIC: f64 = 50e9;

#[derive(Deserialize)]
struct List {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    capacity: BTreeMap<String, String>,
}

impl Item {
    fn label(&self, name: &str) -> Option<&str> {
        self.metadata.labels.get(name).map(String::as_str)
    }

    fn switch(&self, tier: &str) -> Option<&str> {
        self.label(&format!("network.topology.nvidia.com/{tier}"))
    }

    fn n_gpus(&self) -> u32 {
        let capacity = self.status.capacity.get("nvidia.com/gpu").map(String::as_str);
        let number = capacity.or_else(|| self.label("nvidia.com/gpu.count"));
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

pub(super) fn import(text: &str) -> Result<Imported, ImportError> {
    let form = |error: serde_json::Error| ImportError::Form { expected: EXPECTED, reason: error.to_string() };
    let list: List = serde_json::from_str(text).map_err(form)?;
    // Nodes without GPUs are for the control plane.
    let items: Vec<&Item> = list.items.iter().filter(|item| item.n_gpus() > 0).collect();
    let Some(first) = items.first() else {
        return Err(ImportError::Nothing { source_name: EXPECTED, what: "node with GPUs" });
    };
    if let Some(other) = items.iter().find(|item| item.n_gpus() != first.n_gpus()) {
        let (one, other_name) = (first.metadata.name.clone(), other.metadata.name.clone());
        let (one_has, other_has) = (first.n_gpus(), other.n_gpus());
        return Err(ImportError::UnequalNodes { one, one_has, other: other_name, other_has });
    }
    let gpus = first.n_gpus();
    let product = first.label("nvidia.com/gpu.product").unwrap_or_default();
    let (gpu, bandwidth) = preset(product);
    let mut assumed = vec![
        format!("each GPU has one NIC of 400 Gb/s; NVLink carries {} in one direction", Rate(bandwidth)),
        "a leaf of the labels stands for one leaf of each rail, with as many cables upwards as downwards".to_owned(),
    ];
    if gpu.is_none() {
        assumed.push(format!("`{product}` is no GPU that is known here: set gpu and node.within.bandwidth"));
    }
    let tiers =
        ["leaf", "spine", "core"].iter().take_while(|tier| items.iter().all(|item| item.switch(tier).is_some()));
    let tiers = tiers.count();
    let network = match (items.len(), tiers) {
        (1, _) => None,
        (n, 0) => {
            assumed.push("nodes have no labels of switches, so that all are below one leaf of each rail".to_owned());
            Some(tree(1, n as u32, 1, gpus, Rate(NIC)))
        }
        (_, tiers) => Some(tree(
            tiers,
            most_below(&items, "leaf", None),
            most_below(&items, "spine", Some("leaf")),
            gpus,
            Rate(NIC),
        )),
    };
    let node = NodeSpec {
        gpus,
        within: (gpus > 1).then(|| within(WithinKind::Nvlink, Rate(bandwidth))),
        nics: gpus,
        nic: Some(nic(Rate(NIC), 1)),
    };
    let spec = FabricSpec {
        version: 1,
        name: "from-kubernetes".to_owned(),
        gpu: gpu.map(str::to_owned),
        nodes: items.len() as u32,
        node,
        network,
        faults: Vec::new(),
        prices: None,
    };
    Ok(Imported { spec, assumed })
}

/// Nodes, or distinct switches of another tier, below the switch of a tier that has the most.
fn most_below(items: &[&Item], tier: &str, of: Option<&str>) -> u32 {
    let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for item in items {
        let thing = of.map_or(Some(item.metadata.name.as_str()), |of| item.switch(of));
        if let (Some(switch), Some(thing)) = (item.switch(tier), thing) {
            below.entry(switch).or_default().insert(thing);
        }
    }
    below.values().map(BTreeSet::len).max().unwrap_or(1) as u32
}

/// The hardware preset of a product, and its NVLink in bytes per second in one direction, by the datasheets.
fn preset(product: &str) -> (Option<&'static str>, f64) {
    let known = [
        ("GB300", "gb300", 900e9),
        ("GB200", "gb200", 900e9),
        ("B200", "b200", 900e9),
        ("H800", "h800", 200e9),
        ("H200", "h200", 450e9),
        ("H100", "h100", 450e9),
        ("A100", "a100", 300e9),
    ];
    let found = known.into_iter().find(|(word, _, _)| product.contains(word));
    found.map_or((None, 450e9), |(_, preset, bandwidth)| (Some(preset), bandwidth))
}
