//! What crosses between ranks: elements of the stream between stages, and rows of tokens to experts and back.

use ds_arch::logfmt;
use ds_plan::spec::{ComputeType, PrecisionSpec, WireType};

use crate::hardware::Format;

/// Elements that share a scale (arXiv 2412.19437, §3.3).
const TILE: f64 = 128.0;

/// Number formats of what ranks send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Bytes of an element of activations.
    pub element_bytes: u32,
    /// Of rows to experts, and of gradients of what they give.
    pub dispatch: WireType,
    /// Of rows back, and of gradients of tokens.
    pub combine: WireType,
}

impl Wire {
    /// What others send who multiply in that format: rows in FP8 go to experts as such (arXiv 2412.19437, §3.3), all else
    /// has 16 bits.
    pub fn usual(format: Format) -> Self {
        let dispatch = if format == Format::Fp8 { WireType::Fp8 } else { WireType::Bf16 };
        Self { element_bytes: 2, dispatch, combine: WireType::Bf16 }
    }

    /// What a job says.
    pub fn of(precision: &PrecisionSpec) -> Self {
        let element_bytes = match precision.compute {
            ComputeType::F64 => 8,
            ComputeType::F32 => 4,
            ComputeType::Bf16 | ComputeType::Fp8 => 2,
        };
        Self { element_bytes, dispatch: precision.dispatch, combine: precision.combine }
    }

    /// Bytes of a token's row of a width, on its way to the experts and back.
    pub(crate) fn rows(&self, width: u32) -> [f64; 2] {
        let d = f64::from(width);
        [self.dispatch, self.combine].map(|format| match format {
            WireType::Compute => f64::from(self.element_bytes) * d,
            WireType::Bf16 => 2.0 * d,
            WireType::Fp8 => d + 4.0 * (d / TILE).ceil(),
            WireType::LogFmt8 => logfmt::row_bytes(width as usize, logfmt::Bits::EIGHT) as f64,
            WireType::LogFmt10 => logfmt::row_bytes(width as usize, logfmt::Bits::TEN) as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_bytes_of_its_format_and_its_scales() {
        let wire = |element_bytes, dispatch, combine| Wire { element_bytes, dispatch, combine };
        assert_eq!(Wire::usual(Format::Fp8).rows(7168), [7168.0 + 4.0 * 56.0, 2.0 * 7168.0]);
        assert_eq!(wire(4, WireType::Compute, WireType::Bf16).rows(64), [256.0, 128.0]);
        assert_eq!(wire(8, WireType::Fp8, WireType::Compute).rows(130), [138.0, 1040.0]);
        let [eight, ten] = wire(2, WireType::LogFmt8, WireType::LogFmt10).rows(128);
        assert!(eight > 128.0 && eight < 160.0 && ten > 160.0 && ten < 192.0, "{eight} {ten}");
    }
}
