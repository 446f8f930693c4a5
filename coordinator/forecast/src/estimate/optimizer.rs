//! AdamW, and the reduction of gradients before it.

use ds_plan::spec::ScheduleKind;

use super::collective::{ring_seconds, share};
use crate::hardware::Hardware;
use crate::workload::{Layout, Network};

/// Bytes of an update of one parameter: the gradient is read for its norm, cleared, and read for the update (12); FP32
/// weight and two moments are read and written (24); the 16-bit weight is written (2).
const UPDATE_BYTES: f64 = 38.0;

/// Parameters that one rank of a pipeline coordinate holds, before they are divided among data ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Held {
    /// Of which every data rank has a copy.
    pub(super) shared: f64,
    /// Routed experts, of which only replicas have copies.
    pub(super) routed: f64,
}

/// What the layers of a rank hold.
pub(super) fn held(network: &Network, layout: &Layout, layers: &[u32], ends: f64) -> Held {
    let t = f64::from(layout.tensor);
    let shared = layers.iter().map(|&layer| network.shared_parameters(layer)).sum::<f64>();
    let routed = layers.iter().map(|&layer| network.expert_parameters(layer)).sum::<f64>();
    Held { shared: (shared + ends * network.vocabulary_parameters()) / t, routed: routed / f64::from(layout.expert) }
}

/// Seconds of the update. Divided state (ZeRO-1, FSDP) divides it by the ranks that share it.
pub(super) fn update_seconds(hardware: &Hardware, layout: &Layout, held: Held) -> f64 {
    let divided = layout.shard_optimizer || layout.shard_weights;
    let (shared_by, routed_by) = if divided { groups(layout) } else { (1, 1) };
    let n = held.shared / f64::from(shared_by) + held.routed / f64::from(routed_by);
    n * UPDATE_BYTES / (hardware.memory_bandwidth * hardware.memory_efficiency)
}

/// Seconds of the reduction of gradients, and of the gathering of weights where state is divided.
pub(super) fn reduce_seconds(hardware: &Hardware, layout: &Layout, held: Held) -> f64 {
    let (shared_by, routed_by) = groups(layout);
    // All-reduce passes everything twice. Where state is divided, the second time it is 16-bit weights.
    let divided = layout.shard_optimizer || layout.shard_weights;
    let width = layout.gradient_bytes + if divided { 2.0 } else { layout.gradient_bytes };
    let ring = |n: u32, stride: u32, parameters: f64| ring_seconds(hardware, n, stride, width * share(n) * parameters);
    ring(shared_by, layout.tensor, held.shared) + ring(routed_by, layout.tensor * layout.expert, held.routed)
}

/// Seconds in which two pipeline ranks that hold the same stages, as under DualPipe, give each other the summed gradients
/// that each has a share of; a ring of two over the network.
pub(super) fn copies_seconds(hardware: &Hardware, layout: &Layout, held: Held) -> f64 {
    if layout.schedule != ScheduleKind::DualPipe || layout.pipeline < 2 {
        return 0.0;
    }
    let (shared_by, routed_by) = groups(layout);
    let share = held.shared / f64::from(shared_by) + held.routed / f64::from(routed_by);
    ring_seconds(hardware, 2, layout.tensor * layout.context * layout.data, layout.gradient_bytes * share)
}

/// Ranks that hold the same shared weights, and the same experts.
fn groups(layout: &Layout) -> (u32, u32) {
    let samplers = layout.data * layout.context;
    (samplers, (samplers / layout.expert).max(1))
}
