//! Buffers of communication: exchanges of experts, messages between stages, reductions of gradients.

use std::collections::BTreeSet;

use ds_arch::Place;

use super::state::Held;
use super::widths::Widths;
use crate::job::JobPlan;
use crate::schedule::{Action, transfers};
use crate::spec::DeviceKind;

/// Gradients that are reduced at once on GPUs, in bytes.
const BUCKET_BYTES: u64 = 64 << 20;
/// Likewise on cores, in elements (`worker/src/step/reduce.rs`).
const BUCKET_ELEMENTS: u64 = 8 << 20;
/// Two buckets on their way, each four times: put together, handed to the wire, as it came, and summed.
const BUCKET_COPIES: u64 = 8;

impl JobPlan {
    /// Rows that are sent and received by dispatch, and again by combine, of one layer, when this rank receives
    /// `imbalance` times its even share. Where forward and backward overlap, each has its own.
    pub(super) fn exchange(&self, pipeline: u32, widths: Widths, imbalance: f64) -> u64 {
        let model = &self.spec().model;
        let is_moe = |place: &Place| matches!(place, Place::Layer(layer) if model.is_moe(*layer));
        let has_experts = self.stages_at(pipeline).iter().any(|stage| stage.places().iter().any(is_moe));
        if !has_experts || self.grid().n_expert() == 1 {
            return 0;
        }
        let elements = self.microbatch_tokens() * u64::from(model.moe.top_k) * u64::from(model.hidden_size);
        let elements = elements.div_ceil(self.grid().n_tensor().into());
        let at_once = if self.actions(pipeline).iter().any(|a| matches!(a, Action::Overlapped { .. })) { 2 } else { 1 };
        let share = widths.dispatch.total(elements) + widths.combine.total(elements);
        at_once * (share + (imbalance * share as f64).ceil() as u64)
    }

    /// One message of each kind to or from each stage at another coordinate; buckets of gradients, as far as they are more
    /// than what is gone by then; with weights divided, those of two places, one in use and one on its way.
    pub(super) fn communication(&self, pipeline: u32, held: Held, gradients: u64, gone: u64, widths: Widths) -> u64 {
        let mut links = BTreeSet::new();
        for piece in self.actions(pipeline).iter().flat_map(|action| action.pieces()) {
            let transfer = transfers(piece, self.placement());
            let ends = [(true, transfer.receive), (false, transfer.send)];
            let elsewhere = ends.into_iter().filter_map(|(is_in, peer)| Some((is_in, peer?)));
            let elsewhere = elsewhere.filter(|(_, peer)| peer.pipeline != pipeline);
            links.extend(elsewhere.map(|(is_in, peer)| (is_in, peer.pipeline, peer.stage, piece.stage)));
        }
        let message = widths.kept.activation.total(self.microbatch_tokens() * u64::from(self.spec().model.hidden_size));
        let has_copies = self.grid().n_samplers() > 1;
        let in_flight = match self.spec().cluster.device {
            DeviceKind::Cpu => BUCKET_COPIES * gradients.min(BUCKET_ELEMENTS * widths.full),
            DeviceKind::Cuda => 2 * gradients.min(BUCKET_BYTES),
        };
        let bucket = if has_copies { in_flight.saturating_sub(gone) } else { 0 };
        let gathered = if self.spec().parallel.zero == 3 { 2 * held.largest_place * widths.weight } else { 0 };
        links.len() as u64 * message.div_ceil(self.grid().n_tensor().into()) + bucket + gathered
    }
}
