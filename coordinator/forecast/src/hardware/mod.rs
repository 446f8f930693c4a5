//! Machines as numbers: what a data sheet promises, and what calibration found is reached of it.

mod presets;
mod recipe;

use ds_plan::spec::{DeviceKind, JobSpec};
use ds_topology::fabric::Fabric;
use serde::{Deserialize, Serialize};

pub use presets::{PRESETS, Source, hardware, sources};
pub use recipe::{RECIPES, Recipe, slot};

/// The name of the machine that a job says it is for, or, if it says nothing, its fabric.
pub fn named_by<'a>(spec: &'a JobSpec, fabric: Option<&'a Fabric>) -> Option<&'a str> {
    spec.cluster.hardware.as_deref().or(fabric.and_then(Fabric::gpu))
}

/// The preset that stands for a kind of device where nobody names one.
pub fn usual(device: DeviceKind) -> &'static str {
    match device {
        DeviceKind::Cpu => "CPU",
        // What DeepSeek-V3 was trained on.
        DeviceKind::Cuda => "H800",
    }
}

/// One kind of GPU in the nodes that it comes in. Rates are of one GPU, bandwidths of one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// What people call it.
    pub name: String,
    /// Matrix FLOP/s in FP16 and BF16, dense.
    pub flops_f16: f64,
    /// Matrix FLOP/s in FP8, dense; as in FP16 where the machine has no FP8.
    pub flops_fp8: f64,
    /// Matrix FLOP/s in FP32.
    pub flops_f32: f64,
    /// Streaming multiprocessors: tiles that are computed at once.
    pub n_multiprocessors: f64,
    /// Bytes/s of device memory.
    pub memory_bandwidth: f64,
    /// Bytes of device memory.
    pub memory_bytes: f64,
    /// GPUs that NVLink joins.
    pub nvlink_gpus: u32,
    /// Bytes/s between a GPU and the others of its NVLink domain.
    pub nvlink_bandwidth: f64,
    /// Bytes/s of a GPU's share of the network cards.
    pub nic_bandwidth: f64,
    /// Dollars for one GPU for one hour.
    pub dollars_per_gpu_hour: f64,
    /// Share of `flops_f16` that a large matrix product reaches.
    pub matmul_efficiency: f64,
    /// Share of `flops_fp8` that a large matrix product reaches, scales and casts of its operands apart.
    pub matmul_efficiency_fp8: f64,
    /// Likewise for weight gradients, whose operands have to be transposed and whose results are FP32.
    pub weight_gradient_efficiency_fp8: f64,
    /// Share of `flops_f16` that products grouped by expert reach, all three of a weight.
    pub grouped_efficiency: f64,
    /// Share of `flops_fp8` that products grouped by expert reach.
    pub grouped_efficiency_fp8: f64,
    /// Depth of a product, in elements, at which half of the time goes into filling and draining the pipeline.
    pub half_depth: f64,
    /// Share of `flops_f16` that fused attention reaches forward, over the causal half.
    pub attention_efficiency: f64,
    /// Likewise backward.
    pub attention_backward_efficiency: f64,
    /// Share of `memory_bandwidth` that elementwise kernels reach.
    pub memory_efficiency: f64,
    /// Seconds between the ends of one kernel and the beginning of the next on the GPU.
    pub kernel_seconds: f64,
    /// Seconds that the CPU needs to launch one operation of forward; a GPU that is faster waits for it.
    pub launch_seconds: f64,
    /// Likewise in backward, where no interpreter runs.
    pub backward_launch_seconds: f64,
    /// Seconds that the CPU needs to launch one collective.
    pub collective_launch_seconds: f64,
    /// Share of `nvlink_bandwidth` that rings reach.
    pub nvlink_efficiency: f64,
    /// Seconds before the first byte of a collective over NVLink.
    pub nvlink_seconds: f64,
    /// Share of `nic_bandwidth` that rings over several nodes reach.
    pub nic_efficiency: f64,
    /// Seconds of each hop of a ring over several nodes.
    pub nic_seconds: f64,
    /// Share of `nic_bandwidth` that dispatch and combine between nodes reach.
    pub exchange_efficiency: f64,
    /// Share of `nvlink_bandwidth` that dispatch and combine reach within a node.
    pub nvlink_exchange_efficiency: f64,
    /// Seconds before and after dispatch or combine: counts are exchanged, channels fill and drain.
    pub exchange_seconds: f64,
    /// Multiprocessors that dispatch and combine occupy while they run.
    pub exchange_multiprocessors: f64,
    /// By how much dispatch and combine take longer beside computation.
    pub exchange_contention: f64,
    /// Seconds that a step costs whatever it computes.
    pub step_seconds: f64,
}

impl Hardware {
    /// Peak matrix FLOP/s of a format.
    pub fn peak(&self, format: Format) -> f64 {
        match format {
            Format::F32 => self.flops_f32,
            Format::F16 => self.flops_f16,
            Format::Fp8 => self.flops_fp8,
        }
    }
}

/// The format that a matrix product multiplies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// IEEE single.
    F32,
    /// FP16 or BF16: equally fast.
    F16,
    /// E4M3 or E5M2.
    Fp8,
}

impl Format {
    /// Bytes of an element.
    pub fn bytes(self) -> f64 {
        match self {
            Self::F32 => 4.0,
            Self::F16 => 2.0,
            Self::Fp8 => 1.0,
        }
    }
}
