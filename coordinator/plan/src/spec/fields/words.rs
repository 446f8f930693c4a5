//! Words that stand for the cases of plain enums.

use std::fmt;

use ds_arch::{BiasUse, GateScore, GroupScore, MtpInput};

use crate::spec::field::word;
use crate::spec::kind::Word;
use crate::spec::value::{Slot, Value};
use crate::spec::{
    BiasRule, ComputeType, DeviceKind, ExchangeKind, MomentType, NetworkKind, PlanesUse, Recompute, ScaleType,
    ScheduleKind, WireType,
};

macro_rules! words {
    ($name:ident, $type:ty { $($case:ident = $word:literal: $doc:literal),* $(,)? }) => {
        pub(super) const $name: &[Word] = &[$(word($word, $doc)),*];
        impl Slot for $type {
            fn value(&self) -> Value {
                Value::Text(match self { $(Self::$case => $word),* }.to_owned())
            }
            fn slot(value: Value) -> Option<Self> {
                match value {
                    $(Value::Text(text) if text == $word => Some(Self::$case),)*
                    _ => None,
                }
            }
        }
    };
}

words!(SCORES, GateScore {
    Sigmoid = "sigmoid": "DeepSeek-V3.",
    Softmax = "softmax": "DeepSeek-V2.",
});

words!(GROUP_SCORES, GroupScore {
    TwoBest = "two_best": "The sum of its two best biased scores (DeepSeek-V3).",
    Best = "best": "Its best score (DeepSeek-V2).",
});

words!(BIAS_USES, BiasUse {
    Added = "added": "Added to the affinity.",
    Factor = "factor": "One more than it multiplies the affinity (arXiv 2408.15664, the multiplicative variant).",
});

words!(BIAS_RULES, BiasRule {
    Sign = "sign": "By speed against the sign of the load error.",
    Proportional = "proportional": "By speed times the load error, as a share of the mean load.",
});

words!(MTP_INPUTS, MtpInput {
    PreNorm = "pre_norm": "The residual stream before the final norm.",
    PostNorm = "post_norm": "The output of the final norm.",
});

words!(SCHEDULES, ScheduleKind {
    OneFOneB = "1f1b": "One forward, one backward (arXiv 2104.04473).",
    GPipe = "gpipe": "All forwards, then all backwards (arXiv 1811.06965).",
    Interleaved = "interleaved": "1F1B with parallel.virtual_stages short stages a rank (arXiv 2104.04473).",
    InterleavedZb = "interleaved_zb": "Likewise; weight gradients wait for the pipeline to drain (arXiv 2401.10241).",
    LoopedBfs = "looped_bfs": "All microbatches through one of parallel.virtual_stages, then the next (arXiv 2211.05953).",
    ZbH1 = "zb_h1": "1F1B whose weight gradients wait for the pipeline to drain (arXiv 2401.10241).",
    ZbV = "zb_v": "Down the ranks and back up; weight gradients wait for the drain (arXiv 2401.10241).",
    DualPipe = "dualpipe": "Microbatches enter at both ends; every stage is held twice (arXiv 2412.19437).",
    DualPipeV = "dualpipe_v": "DualPipe cut in half and folded: down the ranks and back up.",
});

words!(COMPUTE_TYPES, ComputeType {
    F32 = "f32": "IEEE single.",
    Bf16 = "bf16": "bfloat16.",
    Fp8 = "fp8": "Matrices multiply in 8-bit floats with block-wise scales, the rest is bfloat16 (arXiv 2412.19437).",
    F64 = "f64": "IEEE double, everywhere: for comparisons.",
});

words!(SCALE_TYPES, ScaleType {
    Exact = "exact": "The greatest element over 448.",
    PowerOfTwo = "power_of_two": "The next power of two, so that scaling rounds nothing.",
});

words!(MOMENT_TYPES, MomentType {
    F32 = "f32": "IEEE single; double in compute: f64.",
    Bf16 = "bf16": "bfloat16 (DeepSeek-V3).",
});

words!(WIRE_TYPES, WireType {
    Compute = "compute": "That of activations: precision.compute, or bfloat16 in fp8.",
    Bf16 = "bf16": "bfloat16.",
    Fp8 = "fp8": "8-bit floats with an FP32 scale for each 128 of them (DeepSeek-V3's dispatch).",
    LogFmt8 = "logfmt8": "8-bit logarithms with two FP32 scales for each 128 of them (arXiv 2505.09343).",
    LogFmt10 = "logfmt10": "Likewise, of 10 bits: about as good as bfloat16 on the way back.",
});

words!(RECOMPUTE, Recompute {
    None = "none": "Nothing is computed again.",
    Norms = "norms": "Norms, SwiGLU and the up-projections of MLA, as DeepSeek-V3 does (arXiv 2412.19437).",
    Full = "full": "Whole layers: only their inputs are kept.",
});

words!(EXCHANGES, ExchangeKind {
    Plain = "plain": "A row for every choice, from rank to rank.",
    NodeLimited = "node_limited": "Once to every node and on within it; nodes add results (arXiv 2412.19437).",
});

words!(DEVICES, DeviceKind {
    Cpu = "cpu": "Cores of the node.",
    Cuda = "cuda": "One GPU a rank.",
});

words!(NETWORKS, NetworkKind {
    Real = "real": "That of the machines.",
    Simulated = "simulated": "cluster.fabric, on a virtual clock; ranks are threads of one process.",
});

words!(PLANES, PlanesUse {
    Any = "any": "Whatever address of a peer answers first.",
    Own = "own": "Each rank its own NIC; to other planes by a neighbour, also when a plane is lost.",
    Striped = "striped": "Likewise, and long messages over all planes at once.",
});

/// As the spec writes them.
macro_rules! displayed {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.value().fmt(f)
            }
        }
    )*};
}
displayed!(ScheduleKind, ExchangeKind, ComputeType, MomentType, WireType, Recompute);
