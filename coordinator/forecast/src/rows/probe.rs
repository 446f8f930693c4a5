//! Measurements of less than a step: the kernels of a profile, and exchanges on their own.

use crate::estimate::{exchange_alone, layer_blocks, pair_seconds, seconds};
use crate::hardware::Hardware;
use crate::workload::{Block, Kernel, Layout, Network, Role};

/// Layers of the pair of passes in the published profile of DeepSeek-V3's training.
const PROFILED_LAYERS: f64 = 4.0;

/// What was measured. Kernels are the sum over a forward and a backward of four sparse layers, in milliseconds, beside
/// an exchange; bandwidths are in 10⁹ bytes/s and count what a token's row brings to its own node too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Products of all experts with activations and with their gradients.
    Grouped,
    /// Products of single weights with activations and with their gradients, recomputed ones included.
    Linear,
    /// All weight gradients in 8 bits.
    WeightGradient,
    /// Fused attention.
    AttentionForward,
    /// Fused attention.
    AttentionBackward,
    /// Dispatch beside computation, once a layer.
    DispatchBeside,
    /// Combine beside computation, forward and backward.
    CombineBeside,
    /// The whole pair, from its beginning to its end.
    Pair,
    /// Dispatch alone.
    DispatchBandwidth,
    /// Combine alone.
    CombineBandwidth,
}

impl Probe {
    /// By the name of its metric.
    pub(super) fn named(metric: &str) -> Option<Self> {
        Some(match metric {
            "grouped_ms" => Self::Grouped,
            "linear_ms" => Self::Linear,
            "weight_gradient_ms" => Self::WeightGradient,
            "attention_forward_ms" => Self::AttentionForward,
            "attention_backward_ms" => Self::AttentionBackward,
            "dispatch_ms" | "dispatch_backward_ms" => Self::DispatchBeside,
            "combine_ms" => Self::CombineBeside,
            "pair_ms" => Self::Pair,
            "dispatch_gbps" => Self::DispatchBandwidth,
            "combine_gbps" => Self::CombineBandwidth,
            _ => return None,
        })
    }

    /// Whether more is slower.
    pub(super) fn is_time(self) -> bool {
        !matches!(self, Self::DispatchBandwidth | Self::CombineBandwidth)
    }

    pub(super) fn predict(self, hardware: &Hardware, network: &Network, layout: &Layout) -> f64 {
        let Some(exchange) = exchange_alone(hardware, network, layout) else { return 0.0 };
        let ms = 1e3 * PROFILED_LAYERS;
        match self {
            Self::DispatchBandwidth => exchange.dispatch_bytes / exchange.dispatch_seconds / 1e9,
            Self::CombineBandwidth => exchange.combine_bytes / exchange.combine_seconds / 1e9,
            Self::DispatchBeside => ms * exchange.dispatch_seconds * hardware.exchange_contention,
            Self::CombineBeside => 2.0 * ms * exchange.combine_seconds * hardware.exchange_contention,
            Self::Pair => 1e3 * pair_seconds(hardware, network, layout, PROFILED_LAYERS),
            _ => {
                let blocks = layer_blocks(network, layout, network.layers);
                let all = hardware.n_multiprocessors;
                let beside = all / (all - hardware.exchange_multiprocessors);
                let chosen = blocks.iter().flat_map(|block| kernels(block, layout)).filter(|kernel| self.is(kernel));
                ms * beside * chosen.map(|kernel| seconds(hardware, kernel)).sum::<f64>()
            }
        }
    }

    fn is(self, kernel: &Kernel) -> bool {
        let eight_bits = crate::hardware::Format::Fp8;
        match (self, *kernel) {
            (Self::Grouped, Kernel::Matmul { role, format, .. }) => role == Role::Grouped && format == eight_bits,
            (Self::Linear, Kernel::Matmul { role, format, .. }) => role == Role::Plain && format == eight_bits,
            (Self::WeightGradient, Kernel::Matmul { role, format, .. }) => {
                role == Role::WeightGradient && format == eight_bits
            }
            (Self::AttentionForward, Kernel::FusedAttention { backward, .. }) => !backward,
            (Self::AttentionBackward, Kernel::FusedAttention { backward, .. }) => backward,
            _ => false,
        }
    }
}

/// All kernels of a forward and a backward.
fn kernels<'a>(block: &'a Block, layout: &Layout) -> impl Iterator<Item = &'a Kernel> {
    let again = layout.recompute.again(block);
    block.forward.iter().chain(&block.input).chain(&block.weight).chain(again)
}
