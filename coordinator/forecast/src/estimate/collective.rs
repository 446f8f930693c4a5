//! How long a collective takes: latency, then bytes over bandwidth.

use crate::hardware::Hardware;
use crate::workload::{Collective, Dispatch, Group, Layout, Network};

/// Distinct ones of `n` boxes that `picks` picks hit, in the mean.
fn distinct(picks: f64, n: f64) -> f64 {
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
pub fn seconds_of(hardware: &Hardware, network: &Network, layout: &Layout, collective: Collective) -> f64 {
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
            exchange_seconds(hardware, network, layout, layout.tokens() * row / layout.between())
        }
    }
}

/// Dispatch or combine of `bytes` of tokens, as the layout's way of dispatching sends them.
fn exchange_seconds(hardware: &Hardware, network: &Network, layout: &Layout, bytes: f64) -> f64 {
    let n = f64::from(layout.expert);
    let Some(experts) = network.experts.filter(|_| n > 1.0) else { return 0.0 };
    let domain = f64::from(hardware.nvlink_gpus / layout.tensor).max(1.0);
    let nodes = (n / domain).max(1.0);
    let top_k = f64::from(experts.top_k);
    let (sent, network, inside) = match layout.dispatch {
        Dispatch::Deduplicated => (
            exchange_bytes(bytes, top_k, n, nodes, experts.max_nodes),
            hardware.exchange_efficiency,
            hardware.nvlink_exchange_efficiency,
        ),
        // The collective library moves it, as fast as it moves rings.
        Dispatch::EveryExpert => {
            let sent = ExchangeBytes {
                network: bytes * top_k * (1.0 - 1.0 / nodes),
                inside: bytes * top_k * (1.0 / nodes - 1.0 / n),
            };
            (sent, hardware.nic_efficiency, hardware.nvlink_efficiency)
        }
    };
    let network = sent.network / (hardware.nic_bandwidth * network);
    let inside = sent.inside / (hardware.nvlink_bandwidth * inside);
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

/// The exchange of a sparse layer; none in a network without experts.
pub fn exchange_alone(hardware: &Hardware, network: &Network, layout: &Layout) -> Option<ExchangeAlone> {
    let experts = network.experts?;
    let top_k = f64::from(experts.top_k);
    let [dispatched, combined] = layout.wire.rows(network.hidden);
    let nodes = f64::from(layout.expert * layout.tensor) / f64::from(hardware.nvlink_gpus);
    let open = nodes.min(experts.max_nodes.map_or(f64::INFINITY, f64::from));
    let copies = if nodes > 1.0 { distinct(top_k, open) } else { distinct(top_k, f64::from(layout.expert)) };
    let rows = layout.tokens() * copies;
    Some(ExchangeAlone {
        dispatch_seconds: seconds_of(hardware, network, layout, Collective::Dispatch(dispatched)),
        combine_seconds: seconds_of(hardware, network, layout, Collective::Combine(combined)),
        dispatch_bytes: rows * dispatched,
        combine_bytes: rows * combined,
    })
}

/// What one rank sends in a dispatch, or receives in a combine.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ExchangeBytes {
    /// Over its network card.
    network: f64,
    /// Over NVLink.
    inside: f64,
}

/// The bytes that leave a rank whose own tokens have `bytes` in all, when each goes to `top_k` experts drawn evenly from
/// those of `n` ranks on `nodes` nodes, of which it may choose `max_nodes`. A row passes the network once a node, and
/// NVLink once a rank; what stays on its node or rank passes neither (arXiv 2412.19437, §3.2.2).
fn exchange_bytes(bytes: f64, top_k: f64, n: f64, nodes: f64, max_nodes: Option<u32>) -> ExchangeBytes {
    let open = nodes.min(max_nodes.map_or(f64::INFINITY, f64::from));
    let ranks = n * open / nodes;
    ExchangeBytes {
        network: bytes * distinct(top_k, open) * (1.0 - 1.0 / nodes),
        inside: bytes * distinct(top_k, ranks) * (1.0 - 1.0 / n),
    }
}

/// The share of the whole that a ring passes on in each of its rounds.
pub(super) fn share(n: u32) -> f64 {
    f64::from(n.saturating_sub(1)) / f64::from(n.max(1))
}
