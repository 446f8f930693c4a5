//! The kernels' sources.

/// A file of kernels.
#[derive(Debug)]
pub struct Source {
    /// Its name below `cuda/`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
    /// Its kernels that stand in every format, for rows that start at 16 bytes and for any.
    pub in_formats: &'static [&'static str],
    /// The others.
    pub alone: &'static [&'static str],
}

/// What the files include.
pub(super) const HEADER: (&str, &str) = ("common.cuh", include_str!("../../cuda/common.cuh"));

/// The endings of a kernel's name: formats, for rows that start at 16 bytes and for any.
const FORMATS: [&str; 4] = ["f32", "f32_any", "bf16", "bf16_any"];

impl Source {
    /// Of all its kernels.
    pub fn names(&self) -> Vec<String> {
        let in_formats = self.in_formats.iter().flat_map(|kernel| FORMATS.map(|format| format!("{kernel}_{format}")));
        in_formats.chain(self.alone.iter().map(|&kernel| kernel.to_owned())).collect()
    }
}

/// All files.
pub const SOURCES: &[Source] = &[
    Source {
        name: "quantise.cu",
        text: include_str!("../../cuda/quantise.cu"),
        in_formats: &["quantise_tiles", "quantise_blocks", "quantise_upright"],
        alone: &[],
    },
    Source {
        name: "rms_norm.cu",
        text: include_str!("../../cuda/rms_norm.cu"),
        in_formats: &["rms_norm", "rms_norm_back"],
        alone: &[],
    },
    Source {
        name: "swiglu.cu",
        text: include_str!("../../cuda/swiglu.cu"),
        in_formats: &["swiglu", "swiglu_back"],
        alone: &[],
    },
    Source {
        name: "permute.cu",
        text: include_str!("../../cuda/permute.cu"),
        in_formats: &["spread", "gather", "combine", "combine_back"],
        alone: &["count_choices", "start_choices", "place_choices"],
    },
    Source {
        name: "gate.cu",
        text: include_str!("../../cuda/gate.cu"),
        in_formats: &[],
        alone: &["gate", "gate_back"],
    },
];
