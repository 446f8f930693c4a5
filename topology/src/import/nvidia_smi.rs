//! `nvidia-smi topo -m`: a matrix of what lies between each two devices of one node.

use super::{ImportError, Imported, nic, one_node, within};
use crate::fabric::{NodeSpec, Rate, WithinKind};

const EXPECTED: &str = "what nvidia-smi topo -m prints";

/// One direction of an NVLink of the second to fourth generation (V100, A100, H100): 25 GB/s by the datasheets.
const NVLINK: f64 = 25e9;
/// A PCIe 4.0 x16 slot.
const PCIE: f64 = 32e9;
const NIC: f64 = 50e9;

pub(super) fn import(text: &str) -> Result<Imported, ImportError> {
    let form = |reason: String| ImportError::Form { expected: EXPECTED, reason };
    let text = without_escapes(text);
    let mut rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_head = |words: &Vec<&str>| words.first() == Some(&"GPU0") && words.get(1).is_none_or(|word| is_device(word));
    let head = rows.by_ref().find(is_head).ok_or_else(|| form("no line begins with GPU0, GPU1, …".to_owned()))?;
    let devices: Vec<&str> = head.into_iter().take_while(|word| is_device(word)).collect();
    let mut cells: Vec<Vec<&str>> = Vec::new();
    for row in rows.take_while(|row| row.first().is_none_or(|word| *word != "Legend:")) {
        let Some((name, cells_of_row)) = row.split_first().filter(|(name, _)| is_device(name)) else { continue };
        let expected = devices.get(cells.len()).copied().unwrap_or("no more rows");
        if *name != expected || cells_of_row.len() < devices.len() {
            let n = cells_of_row.len();
            return Err(form(format!("row {name} has {n} cells, where {expected} with {} is due", devices.len())));
        }
        cells.push(cells_of_row[..devices.len()].to_vec());
    }
    if cells.len() != devices.len() {
        return Err(form(format!("{} columns and {} rows", devices.len(), cells.len())));
    }
    let n_gpus = devices.iter().filter(|device| device.starts_with("GPU")).count();
    let links = nvlinks(&cells, n_gpus);
    let nics = near_nics(&cells, n_gpus);
    let mut assumed = Vec::new();
    let within = if n_gpus < 2 {
        None
    } else if links > 0 {
        assumed
            .push(format!("each of a GPU's {links} NVLinks carries 25 GB/s in one direction (50 on B200 and GB200)"));
        Some(within(WithinKind::Nvlink, Rate(NVLINK * f64::from(links))))
    } else {
        assumed.push("GPUs reach each other over PCIe 4.0 x16, 32 GB/s in one direction".to_owned());
        Some(within(WithinKind::Pcie, Rate(PCIE)))
    };
    let usable = nics > 0 && ((n_gpus as u32).is_multiple_of(nics) || nics.is_multiple_of(n_gpus as u32));
    let nics = if usable { nics } else { 0 };
    if nics > 0 {
        assumed.push("the NICs next to GPUs (PIX or PXB) are for training and run at 400 Gb/s".to_owned());
    }
    assumed.push("the matrix says nothing about other nodes: set nodes and add network".to_owned());
    let node = NodeSpec { gpus: n_gpus as u32, within, nics, nic: (nics > 0).then(|| nic(Rate(NIC), 1)) };
    Ok(Imported { spec: one_node("from-nvidia-smi", node), assumed })
}

fn is_device(word: &str) -> bool {
    let number = word.strip_prefix("GPU").or_else(|| word.strip_prefix("NIC"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Of the GPU that has the fewest: to a switch all of them lead everywhere, from GPU to GPU they add up.
fn nvlinks(cells: &[Vec<&str>], n_gpus: usize) -> u32 {
    let of_gpu = |row: usize| -> u32 {
        let counts: Vec<u32> =
            cells[row][..n_gpus].iter().filter_map(|cell| cell.strip_prefix("NV")?.parse().ok()).collect();
        let through_switch =
            counts.len() + 1 == n_gpus && counts.windows(2).all(|pair| pair[0] == pair[1]) && counts[0] > 3;
        if through_switch { counts[0] } else { counts.iter().sum() }
    };
    (0..n_gpus).map(of_gpu).min().unwrap_or(0)
}

/// NICs that share a PCIe switch with a GPU; those farther away are for storage and management.
fn near_nics(cells: &[Vec<&str>], n_gpus: usize) -> u32 {
    let near = |nic: &usize| (0..n_gpus).any(|gpu| matches!(cells[gpu][*nic], "PIX" | "PXB"));
    (n_gpus..cells.len()).filter(near).count() as u32
}

/// The head is underlined where it is printed to a terminal.
fn without_escapes(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| kept + part.split_once('m').map_or("", |(_, rest)| rest))
}
