//! How long a collective takes: latency, then bytes over bandwidth.

use crate::hardware::{Format, Hardware};
use crate::workload::{Collective, Group, Layout, Network, scaled_row};

/// Distinct ones of `n` boxes that `picks` picks hit, in the mean.
pub(crate) fn distinct(picks: f64, n: f64) -> f64 {
    n * (1.0 - (1.0 - 1.0 / n).powf(picks))
}

/// Whether `n` ranks that stand `stride` apart reach beyond one NVLink domain.
pub fn spans_nodes(hardware: &Hardware, n: u32, stride: u32) -> bool {
    n > 1 && u64::from(n) * u64::from(stride) > u64::from(hardware.nvlink_gpus)
}

/// Seconds of a ring in which each of `n` ranks, `stride` apart, passes `bytes` on in all. Rings over several nodes
/// share the network cards of a node: those whose ranks stand apart have a card each, the others more.
pub fn ring_seconds(hardware: &Hardware, n: u32, stride: u32, bytes: f64) -> f64 {
    if n <= 1 {
        return 0.0;
    }
    if !spans_nodes(hardware, n, stride) {
        return hardware.nvlink_seconds + bytes / (hardware.nvlink_bandwidth * hardware.nvlink_efficiency);
    }
    let cards_a_ring = f64::from((hardware.nvlink_gpus / stride).max(1));
    let network = hardware.nic_bandwidth * hardware.nic_efficiency * cards_a_ring;
    let inside = hardware.nvlink_bandwidth * hardware.nvlink_efficiency;
    let hops = f64::from(n) / cards_a_ring;
    hops * hardware.nic_seconds + bytes / network.min(inside)
}

/// Seconds of a collective of a block.
pub fn seconds_of(
    hardware: &Hardware,
    layout: &Layout,
    collective: Collective,
    top_k: f64,
    max_nodes: Option<u32>,
) -> f64 {
    let place = |group| match group {
        Group::Tensor => (layout.tensor, 1),
        Group::Context => (layout.context, layout.tensor),
        Group::Expert => (layout.expert, layout.tensor),
    };
    match collective {
        Collective::AllReduce(group, bytes) => {
            let (n, stride) = place(group);
            ring_seconds(hardware, n, stride, 2.0 * share(n) * bytes)
        }
        Collective::GatherScatter(group, bytes) => {
            // Two collectives, each with a latency of its own.
            let (n, stride) = place(group);
            2.0 * ring_seconds(hardware, n, stride, share(n) * bytes)
        }
        Collective::Gather(group, bytes) => {
            let (n, stride) = place(group);
            ring_seconds(hardware, n, stride, share(n) * bytes)
        }
        Collective::Dispatch(row) | Collective::Combine(row) => {
            exchange_seconds(hardware, layout, layout.tokens() * row / layout.between(), top_k, max_nodes)
        }
    }
}

/// Dispatch or combine of `bytes` of tokens, each sent once to every node that it needs and on from there over NVLink
/// (arXiv 2412.19437, §3.2.2); within one domain, once to every rank that it needs.
fn exchange_seconds(hardware: &Hardware, layout: &Layout, bytes: f64, top_k: f64, max_nodes: Option<u32>) -> f64 {
    let n = f64::from(layout.expert);
    if n <= 1.0 {
        return 0.0;
    }
    let domain = f64::from(hardware.nvlink_gpus / layout.tensor).max(1.0);
    let nodes = (n / domain).max(1.0);
    let ExchangeBytes { network, inside } = exchange_bytes(bytes, top_k, n, nodes, max_nodes);
    let network = network / (hardware.nic_bandwidth * hardware.exchange_efficiency);
    let inside = inside / (hardware.nvlink_bandwidth * hardware.nvlink_exchange_efficiency);
    hardware.exchange_seconds + network.max(inside)
}

/// A dispatch and a combine with nothing beside them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExchangeAlone {
    /// Seconds of a dispatch.
    pub dispatch_seconds: f64,
    /// Seconds of a combine.
    pub combine_seconds: f64,
    /// Bytes that one rank's tokens bring to nodes (to ranks, on one node), their own included: what logical bandwidth
    /// counts.
    pub dispatch_bytes: f64,
    /// Likewise.
    pub combine_bytes: f64,
}

/// The exchange of a sparse layer of a network that has experts.
pub fn exchange_alone(hardware: &Hardware, network: &Network, layout: &Layout) -> ExchangeAlone {
    let (top_k, max_nodes) = network.experts.map_or((0.0, None), |e| (f64::from(e.top_k), e.max_nodes));
    let d = f64::from(network.hidden);
    let row = if layout.format == Format::Fp8 { scaled_row(d) } else { 2.0 * d };
    let nodes = f64::from(layout.expert * layout.tensor) / f64::from(hardware.nvlink_gpus);
    let open = nodes.min(max_nodes.map_or(f64::INFINITY, f64::from));
    let copies = if nodes > 1.0 { distinct(top_k, open) } else { distinct(top_k, f64::from(layout.expert)) };
    let rows = layout.tokens() * copies;
    let seconds = |collective| seconds_of(hardware, layout, collective, top_k, max_nodes);
    ExchangeAlone {
        dispatch_seconds: seconds(Collective::Dispatch(row)),
        combine_seconds: seconds(Collective::Combine(2.0 * d)),
        dispatch_bytes: rows * row,
        combine_bytes: rows * 2.0 * d,
    }
}

/// What one rank sends in a dispatch, or receives in a combine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ExchangeBytes {
    /// Over its network card.
    pub(crate) network: f64,
    /// Over NVLink.
    pub(crate) inside: f64,
}

/// The bytes that leave a rank whose own tokens have `bytes` in all, when each goes to `top_k` experts drawn evenly from
/// those of `n` ranks on `nodes` nodes, of which it may choose `max_nodes`. A row passes the network once a node, and
/// NVLink once a rank; what stays on its node or rank passes neither.
pub(crate) fn exchange_bytes(bytes: f64, top_k: f64, n: f64, nodes: f64, max_nodes: Option<u32>) -> ExchangeBytes {
    let open = nodes.min(max_nodes.map_or(f64::INFINITY, f64::from));
    let ranks = n * open / nodes;
    ExchangeBytes {
        network: bytes * distinct(top_k, open) * (1.0 - 1.0 / nodes),
        inside: bytes * distinct(top_k, ranks) * (1.0 - 1.0 / n),
    }
}

/// The share of the whole that a ring passes on in each of its rounds.
fn share(n: u32) -> f64 {
    f64::from(n.saturating_sub(1)) / f64::from(n.max(1))
}
