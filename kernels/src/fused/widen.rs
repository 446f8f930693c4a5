//! BF16 on processors that do not multiply it: LibTorch's product there is a plain loop, an order of magnitude slower than
//! the same product in FP32. So operands are widened, multiplied in FP32 and rounded once, which is at least as exact.

use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

/// Whether this processor multiplies BF16 itself.
pub fn multiplies_bf16() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        let found = std::arch::is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        let found = true;
        found
    })
}

/// Whether products of this tensor are better made in FP32.
pub fn widens(x: &Tensor) -> bool {
    x.device() == Device::Cpu && x.kind() == Kind::BFloat16 && !multiplies_bf16()
}
