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
    /// For Hopper cards only, whose own instructions it uses.
    pub is_hoppers: bool,
}

/// What the files include.
pub(super) const HEADER: (&str, &str) = ("common.cuh", include_str!("../../cuda/common.cuh"));

/// The endings of a kernel's name: formats, for rows that start at 16 bytes and for any.
const FORMATS: [&str; 4] = ["f32", "f32_any", "bf16", "bf16_any"];

impl Source {
    /// The architecture that NVRTC is told for a card of this one, such as `sm_90`; none where the card does not run these
    /// kernels.
    pub fn architecture(&self, card: &str) -> Option<String> {
        match (self.is_hoppers, card) {
            (false, _) => Some(card.to_owned()),
            (true, "sm_90") => Some("sm_90a".to_owned()),
            (true, _) => None,
        }
    }

    /// Of all its kernels.
    pub fn names(&self) -> Vec<String> {
        let in_formats = self.in_formats.iter().flat_map(|kernel| FORMATS.map(|format| format!("{kernel}_{format}")));
        in_formats.chain(self.alone.iter().map(|&kernel| kernel.to_owned())).collect()
    }
}

/// All files.
pub const SOURCES: &[Source] = &[
    Source {
        name: "adamw.cu",
        text: include_str!("../../cuda/adamw.cu"),
        in_formats: &["adamw"],
        alone: &[],
        is_hoppers: false,
    },
    Source {
        name: "quantise.cu",
        text: include_str!("../../cuda/quantise.cu"),
        in_formats: &["quantise_tiles", "quantise_blocks", "quantise_upright"],
        alone: &["dequantise_tiles"],
        is_hoppers: false,
    },
    Source {
        name: "rms_norm.cu",
        text: include_str!("../../cuda/rms_norm.cu"),
        in_formats: &["rms_norm", "rms_norm_back"],
        alone: &[],
        is_hoppers: false,
    },
    Source {
        name: "swiglu.cu",
        text: include_str!("../../cuda/swiglu.cu"),
        in_formats: &["swiglu", "swiglu_back"],
        alone: &[],
        is_hoppers: false,
    },
    Source {
        name: "permute.cu",
        text: include_str!("../../cuda/permute.cu"),
        in_formats: &["spread", "gather", "combine", "combine_back"],
        alone: &["count_choices", "start_choices", "place_choices"],
        is_hoppers: false,
    },
    Source {
        name: "gate.cu",
        text: include_str!("../../cuda/gate.cu"),
        in_formats: &[],
        alone: &["gate", "gate_back"],
        is_hoppers: false,
    },
    Source {
        name: "grouped.cu",
        text: include_str!("../../cuda/grouped.cu"),
        in_formats: &[],
        alone: &["grouped_rows", "grouped_weights"],
        is_hoppers: true,
    },
];
