//! Slurm's `topology.conf` (topology/tree): which nodes are below which switch, and which switches below which.

use std::collections::{BTreeMap, BTreeSet};

use super::nodes::expand;
use super::{ImportError, Imported, nic, tree, within};
use crate::fabric::{FabricSpec, NodeSpec, Rate, WithinKind};

const EXPECTED: &str = "Slurm's topology.conf";
const GPUS: u32 = 8;
const NIC: f64 = 50e9;

struct Line {
    number: usize,
    switch: String,
    nodes: Vec<String>,
    switches: Vec<String>,
}

pub(super) fn import(text: &str) -> Result<Imported, ImportError> {
    let lines = lines(text)?;
    let mut leaf_of: BTreeMap<&str, &str> = BTreeMap::new();
    for line in &lines {
        for node in &line.nodes {
            if let Some(first) = leaf_of.insert(node, &line.switch) {
                let (node, first, second) = (node.clone(), first.to_owned(), line.switch.clone());
                return Err(ImportError::TwoLeaves { line: line.number, node, first, second });
            }
        }
    }
    if leaf_of.is_empty() {
        return Err(ImportError::Nothing { source_name: EXPECTED, what: "node" });
    }
    let known: BTreeSet<&str> = lines.iter().map(|line| line.switch.as_str()).collect();
    for line in &lines {
        if let Some(missing) = line.switches.iter().find(|switch| !known.contains(switch.as_str())) {
            let (switch, missing) = (line.switch.clone(), missing.clone());
            return Err(ImportError::UnknownSwitch { line: line.number, switch, missing });
        }
    }
    let tiers = depth(&lines)?;
    let most = |counts: &mut dyn Iterator<Item = usize>| counts.max().unwrap_or(0) as u32;
    let nodes_per_leaf = most(&mut lines.iter().map(|line| line.nodes.len()));
    let is_leaf = |name: &String| lines.iter().any(|line| line.switch == *name && !line.nodes.is_empty());
    let leaves_per_pod = most(&mut lines.iter().map(|line| line.switches.iter().filter(|name| is_leaf(name)).count()));
    let node = NodeSpec {
        gpus: GPUS,
        within: Some(within(WithinKind::Nvlink, Rate(450e9))),
        nics: GPUS,
        nic: Some(nic(Rate(NIC), 1)),
    };
    let spec = FabricSpec {
        version: 1,
        name: "from-slurm".to_owned(),
        gpu: None,
        nodes: leaf_of.len() as u32,
        node,
        network: Some(tree(tiers, nodes_per_leaf, leaves_per_pod.max(1), GPUS, Rate(NIC))),
        faults: Vec::new(),
        prices: None,
    };
    let assumed = vec![
        "the file says nothing about nodes: 8 GPUs, NVLink of 450 GB/s, 8 NICs of 400 Gb/s".to_owned(),
        "a leaf of the file stands for one leaf of each rail, with as many cables upwards as downwards".to_owned(),
    ];
    Ok(Imported { spec, assumed })
}

/// `SwitchName=leaf1 Nodes=node[1-8]`; lines that end with a backslash go on.
fn lines(text: &str) -> Result<Vec<Line>, ImportError> {
    let mut found = Vec::new();
    let (mut whole, mut first) = (String::new(), 1);
    for (number, part) in (1..).zip(text.lines()) {
        let part = part.split('#').next().unwrap_or_default().trim();
        if whole.is_empty() {
            first = number;
        }
        if let Some(part) = part.strip_suffix('\\') {
            whole += part;
            whole.push(' ');
            continue;
        }
        whole += part;
        let text = std::mem::take(&mut whole);
        if !text.trim().is_empty() {
            found.push(line(first, &text)?);
        }
    }
    Ok(found)
}

fn line(number: usize, text: &str) -> Result<Line, ImportError> {
    let form = |reason: &str| ImportError::Form { expected: EXPECTED, reason: format!("line {number}: {reason}") };
    let mut line = Line { number, switch: String::new(), nodes: Vec::new(), switches: Vec::new() };
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').ok_or_else(|| form(&format!("`{word}` has no `=`")))?;
        let names = || expand(value).ok_or_else(|| form(&format!("`{value}` is no list of names")));
        match key.to_ascii_lowercase().as_str() {
            "switchname" => line.switch = value.to_owned(),
            "nodes" => line.nodes = names()?,
            "switches" => line.switches = names()?,
            "linkspeed" => (),
            _ => return Err(form(&format!("`{key}` is not known; known: SwitchName, Nodes, Switches, LinkSpeed"))),
        }
    }
    if line.switch.is_empty() { Err(form("there is no SwitchName")) } else { Ok(line) }
}

/// Tiers from the top to leaves.
fn depth(lines: &[Line]) -> Result<usize, ImportError> {
    let children: BTreeMap<&str, &Line> = lines.iter().map(|line| (line.switch.as_str(), line)).collect();
    let mut tier: Vec<&Line> = lines.iter().filter(|line| !line.nodes.is_empty()).collect();
    let mut tiers = 1;
    loop {
        let below: BTreeSet<&str> = tier.iter().map(|line| line.switch.as_str()).collect();
        tier = children
            .values()
            .filter(|line| line.switches.iter().any(|name| below.contains(name.as_str())))
            .copied()
            .collect();
        if tier.is_empty() {
            return Ok(tiers);
        }
        tiers += 1;
        if tiers > 3 {
            return Err(ImportError::TooDeep { tiers });
        }
    }
}
