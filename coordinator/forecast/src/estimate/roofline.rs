//! How long a kernel takes: its arithmetic at the rate that its shape allows, or its memory traffic, whichever is
//! longer, and the gap before the next kernel.

use crate::hardware::{Format, Hardware};
use crate::workload::{Kernel, Role};

/// Tiles of a result that a multiprocessor computes at once, with the share of the best rate that each reaches: smaller
/// tiles read their operands more often.
const TILES: [(f64, f64, f64); 4] = [(256.0, 128.0, 1.0), (128.0, 128.0, 0.93), (128.0, 64.0, 0.8), (64.0, 64.0, 0.6)];

/// From so many waves of tiles on, the last one's idle multiprocessors count by half a wave in the mean.
const MANY_WAVES: f64 = 8.0;

/// Seconds on the GPU.
pub fn seconds(hardware: &Hardware, kernel: &Kernel) -> f64 {
    let bandwidth = hardware.memory_bandwidth * hardware.memory_efficiency;
    match *kernel {
        Kernel::Matmul { rows, columns, depth, batches, format, role } => {
            let arithmetic = matmul_seconds(hardware, (rows, columns, depth), batches, format, role);
            let result = if role == Role::WeightGradient { 4.0 } else { 2.0 };
            let operands = format.bytes() * (rows * depth + depth * columns);
            let bytes = batches * (operands + result * rows * columns);
            arithmetic.max(bytes / bandwidth) + hardware.kernel_seconds
        }
        Kernel::FusedAttention { flops, bytes, backward } => {
            let efficiency =
                if backward { hardware.attention_backward_efficiency } else { hardware.attention_efficiency };
            (flops / (hardware.flops_f16 * efficiency)).max(bytes / bandwidth) + hardware.kernel_seconds
        }
        Kernel::Memory { bytes, n } => bytes / bandwidth + n * hardware.kernel_seconds,
    }
}

/// Seconds that the CPU needs to launch it.
pub fn launch_seconds(hardware: &Hardware, kernel: &Kernel, backward: bool) -> f64 {
    let each = if backward { hardware.backward_launch_seconds } else { hardware.launch_seconds };
    each * kernel.launches()
}

/// Whole waves of tiles, each tile at the rate of one multiprocessor, its pipeline filled and drained once. The fastest
/// of the tile sizes is taken, as libraries do.
fn matmul_seconds(hardware: &Hardware, shape: (f64, f64, f64), batches: f64, format: Format, role: Role) -> f64 {
    let (rows, columns, depth) = shape;
    let is_grouped = role == Role::Grouped || (role == Role::WeightGradient && batches > 1.0);
    let rate = hardware.peak(format) * efficiency(hardware, format, role, is_grouped) / hardware.n_multiprocessors;
    let with = |(tall, wide, share): (f64, f64, f64)| {
        let tiles = (rows / tall).ceil() * (columns / wide).ceil() * batches;
        let waves = tiles / hardware.n_multiprocessors;
        let waves = if waves < MANY_WAVES { waves.ceil() } else { waves + 0.5 };
        waves * 2.0 * tall * wide * (depth + hardware.half_depth) / (rate * share)
    };
    TILES.into_iter().map(with).fold(f64::INFINITY, f64::min)
}

fn efficiency(hardware: &Hardware, format: Format, role: Role, is_grouped: bool) -> f64 {
    match (format, role) {
        (Format::F16, _) if is_grouped => hardware.grouped_efficiency,
        (Format::Fp8, Role::Plain) => hardware.matmul_efficiency_fp8,
        (Format::Fp8, Role::WeightGradient) => hardware.weight_gradient_efficiency_fp8,
        (Format::Fp8, Role::Grouped) => hardware.grouped_efficiency_fp8,
        _ => hardware.matmul_efficiency,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware;

    fn product(rows: f64, columns: f64, depth: f64) -> Kernel {
        Kernel::Matmul { rows, columns, depth, batches: 1.0, format: Format::F16, role: Role::Plain }
    }

    #[test]
    fn no_kernel_beats_the_peak() {
        for name in hardware::PRESETS {
            let machine = hardware::hardware(name).unwrap();
            for size in [64.0, 1000.0, 4096.0, 20_000.0] {
                let kernel = product(size, size, size);
                let rate = kernel.flops() / seconds(&machine, &kernel);
                assert!(rate < machine.flops_f16, "{name}: {size} runs at {rate}");
            }
        }
    }

    #[test]
    fn more_of_any_dimension_never_takes_less_time() {
        let machine = hardware::hardware("A100").unwrap();
        let sizes = [1.0, 63.0, 128.0, 500.0, 1024.0, 1025.0, 7168.0];
        for (a, b) in sizes.iter().zip(&sizes[1..]) {
            for other in sizes {
                let pairs = [
                    (product(*a, other, 512.0), product(*b, other, 512.0)),
                    (product(other, *a, 512.0), product(other, *b, 512.0)),
                    (product(other, 512.0, *a), product(other, 512.0, *b)),
                ];
                for (less, more) in pairs {
                    assert!(seconds(&machine, &less) <= seconds(&machine, &more), "{less:?} {more:?}");
                }
            }
        }
    }

    #[test]
    fn faster_memory_never_slows_a_kernel() {
        let slow = hardware::hardware("H100").unwrap();
        let fast = Hardware { memory_bandwidth: 2.0 * slow.memory_bandwidth, ..slow.clone() };
        let moves = Kernel::Memory { bytes: 1e9, n: 1.0 };
        for kernel in [product(128.0, 128.0, 8192.0), product(4096.0, 4096.0, 4096.0), moves] {
            assert!(seconds(&fast, &kernel) <= seconds(&slow, &kernel), "{kernel:?}");
        }
        assert!(seconds(&fast, &moves) < 0.51 * seconds(&slow, &moves));
    }
}
