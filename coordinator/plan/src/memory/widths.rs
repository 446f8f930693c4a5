//! Bytes of an element, by what it is.

use crate::spec::{ComputeType, JobSpec, MomentType, WireType};

/// Bytes of elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    /// Of a weight in forward and backward.
    pub(super) weight: u64,
    /// Of master weights, gradients, scores, logits.
    pub(super) full: u64,
    /// Of one moment.
    pub(super) moment: u64,
    /// Of what is kept for backward.
    pub(super) kept: Kept,
    /// Of a row of dispatch.
    pub(super) dispatch: Width,
    /// Of a row of combine.
    pub(super) combine: Width,
}

/// What backward needs, in the formats that it is kept in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Streams between operations.
    pub(super) activation: Width,
    /// Inputs of matrices.
    pub(super) matrix_input: Width,
    /// The output of attention, which is the input of the matrix after it.
    pub(super) after_attention: Width,
    /// Statistics and scores.
    pub(super) full: Width,
}

/// 32nds of a byte, since block-wise formats have a scale of 4 bytes for each 128 elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Width(u64);

impl Width {
    const fn bytes(n: u64) -> Self {
        Self(32 * n)
    }

    /// E4M3 and its scales (arXiv 2412.19437, §3.3.2).
    const FP8: Self = Self(32 + 1);
    /// E5M6, 12 bits, and its scales (ibid., §3.3.3).
    const E5M6: Self = Self(48 + 1);

    /// LogFMT of so many bits, and its two scales (arXiv 2505.09343, §3.2).
    const fn log_fmt(bits: u64) -> Self {
        Self(4 * bits + 2)
    }

    /// 32nds of a byte of so many elements.
    pub(super) fn of(self, elements: u64) -> u64 {
        self.0 * elements
    }

    /// Bytes of so many elements, rounded up.
    pub(super) fn total(self, elements: u64) -> u64 {
        self.of(elements).div_ceil(32)
    }
}

impl Widths {
    pub(super) fn of(spec: &JobSpec) -> Self {
        let precision = &spec.precision;
        let (weight, full) = match precision.compute {
            ComputeType::F32 => (4, 4),
            ComputeType::Bf16 => (2, 4),
            // E4M3 twice: Hopper's FP8 matrix units take both operands with the summed dimension innermost, so forward
            // and input gradients need a copy each. Scales of 128 x 128 blocks are less than a thousandth.
            ComputeType::Fp8 => (2, 4),
            ComputeType::F64 => (8, 8),
        };
        let activation = Width::bytes(if precision.compute == ComputeType::Fp8 { 2 } else { weight });
        let is_fp8 = precision.compute == ComputeType::Fp8;
        let kept = Kept {
            activation,
            matrix_input: if is_fp8 { Width::FP8 } else { activation },
            after_attention: if is_fp8 { Width::E5M6 } else { activation },
            full: Width::bytes(full),
        };
        let wire = |wire| match wire {
            WireType::Compute => activation,
            WireType::Bf16 => Width::bytes(2),
            WireType::Fp8 => Width::FP8,
            WireType::LogFmt8 => Width::log_fmt(8),
            WireType::LogFmt10 => Width::log_fmt(10),
        };
        Self {
            weight,
            full,
            moment: if precision.moments == MomentType::Bf16 { 2 } else { full },
            kept,
            dispatch: wire(precision.dispatch),
            combine: wire(precision.combine),
        }
    }
}
