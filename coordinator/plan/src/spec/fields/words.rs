//! Words that stand for the cases of plain enums.

use std::fmt;

use ds_arch::{GateScore, MtpInput};

use crate::spec::field::word;
use crate::spec::kind::Word;
use crate::spec::value::{Slot, Value};
use crate::spec::{ComputeType, DeviceKind, ScheduleKind};

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

words!(MTP_INPUTS, MtpInput {
    PreNorm = "pre_norm": "The residual stream before the final norm.",
    PostNorm = "post_norm": "The output of the final norm.",
});

words!(SCHEDULES, ScheduleKind {
    OneFOneB = "1f1b": "One forward, one backward (arXiv 2104.04473).",
    GPipe = "gpipe": "All forwards, then all backwards (arXiv 1811.06965).",
    Interleaved = "interleaved": "1F1B with parallel.virtual_stages short stages a rank (arXiv 2104.04473).",
    ZbH1 = "zb_h1": "1F1B whose weight gradients wait for the pipeline to drain (arXiv 2401.10241).",
    DualPipe = "dualpipe": "Microbatches enter at both ends; every stage is held twice (arXiv 2412.19437).",
    DualPipeV = "dualpipe_v": "DualPipe cut in half and folded: down the ranks and back up.",
});

impl fmt::Display for ScheduleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

words!(COMPUTE_TYPES, ComputeType {
    F32 = "f32": "IEEE single.",
    Bf16 = "bf16": "bfloat16.",
    F64 = "f64": "IEEE double, everywhere: for comparisons.",
});

words!(DEVICES, DeviceKind {
    Cpu = "cpu": "Cores of the node.",
    Cuda = "cuda": "One GPU a rank.",
});
