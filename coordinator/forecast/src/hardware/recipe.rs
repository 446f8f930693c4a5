//! How each machine's constants are fitted: on which rows, from which guesses.

use super::Hardware;

/// Which constants of a preset come from which rows.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// The preset.
    pub hardware: &'static str,
    /// Files that hold its rows; rows of other machines in them are not used.
    pub rows: &'static [&'static str],
    /// Name, guess, and how far (in logarithm) it may well be from the truth.
    pub constants: &'static [(&'static str, f64, f64)],
    /// What each group weighs; 1 for those not named.
    pub weights: &'static [(&'static str, f64)],
    /// Errors beyond this count less than their square.
    pub outlier: f64,
    /// How much the guesses weigh.
    pub hold: f64,
}

impl Recipe {
    /// What a group of rows weighs.
    pub fn weight(&self, group: &str) -> f64 {
        self.weights.iter().find(|(name, _)| *name == group).map_or(1.0, |&(_, weight)| weight)
    }
}

/// Of every preset that rows calibrate.
pub const RECIPES: &[Recipe] = &[A100, H800, B200, GB200];

const A100: Recipe = Recipe {
    hardware: "A100",
    rows: &[include_str!("calibration/a100_vtrain.csv"), include_str!("calibration/published.csv")],
    constants: &[
        ("matmul_efficiency", 0.85, 0.1),
        ("half_depth", 128.0, 0.7),
        ("memory_efficiency", 0.8, 0.1),
        ("kernel_seconds", 5e-6, 0.5),
        ("launch_seconds", 6e-5, 0.5),
        ("backward_launch_seconds", 3e-5, 0.5),
        ("collective_launch_seconds", 6e-5, 0.5),
        ("nvlink_efficiency", 0.7, 0.2),
        ("nvlink_seconds", 2e-5, 0.5),
        ("nic_efficiency", 0.6, 0.3),
        ("nic_seconds", 1.5e-5, 0.5),
        ("step_seconds", 2e-3, 0.5),
    ],
    weights: &[("A100, one node", 0.5), ("arXiv 2205.05198", 2.0)],
    outlier: 0.05,
    hold: 0.01,
};

/// The kernels of DeepSeek's profile, and DeepEP at 16 ranks (which NVLink limits) and at 64 (which the network does).
const H800: Recipe = Recipe {
    hardware: "H800",
    rows: &[include_str!("calibration/published.csv")],
    constants: &[
        ("matmul_efficiency_fp8", 0.55, 0.5),
        ("weight_gradient_efficiency_fp8", 0.4, 0.5),
        ("grouped_efficiency_fp8", 0.55, 0.5),
        ("attention_efficiency", 0.6, 0.5),
        ("attention_backward_efficiency", 0.5, 0.5),
        ("memory_efficiency", 0.7, 0.5),
        ("exchange_efficiency", 0.9, 0.5),
        ("nvlink_exchange_efficiency", 0.7, 0.5),
        ("exchange_contention", 1.5, 0.5),
    ],
    weights: &[],
    outlier: 0.2,
    hold: 0.001,
};

/// One row whose many small kernels wait for the CPU.
const B200: Recipe = Recipe {
    hardware: "B200",
    rows: &[include_str!("calibration/published.csv")],
    constants: &[("launch_seconds", 6e-5, 0.5), ("backward_launch_seconds", 6e-5, 0.5)],
    weights: &[],
    outlier: 0.2,
    hold: 0.01,
};

/// One row in 16 bits, which products set the pace of.
const GB200: Recipe = Recipe {
    hardware: "GB200",
    rows: &[include_str!("calibration/published.csv")],
    constants: &[("matmul_efficiency", 0.8, 0.5), ("grouped_efficiency", 0.6, 0.5)],
    weights: &[],
    outlier: 0.2,
    hold: 0.01,
};

macro_rules! slots {
    ($($field:ident),* $(,)?) => {
        /// A constant by its name, if calibration may set it.
        pub fn slot<'a>(hardware: &'a mut Hardware, name: &str) -> Option<&'a mut f64> {
            match name {
                $(stringify!($field) => Some(&mut hardware.$field),)*
                _ => None,
            }
        }
    };
}

slots!(
    matmul_efficiency,
    matmul_efficiency_fp8,
    weight_gradient_efficiency_fp8,
    grouped_efficiency,
    grouped_efficiency_fp8,
    half_depth,
    attention_efficiency,
    attention_backward_efficiency,
    memory_efficiency,
    kernel_seconds,
    launch_seconds,
    backward_launch_seconds,
    collective_launch_seconds,
    nvlink_efficiency,
    nvlink_seconds,
    nic_efficiency,
    nic_seconds,
    exchange_efficiency,
    nvlink_exchange_efficiency,
    exchange_seconds,
    exchange_contention,
    step_seconds,
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::hardware;

    #[test]
    fn recipes_name_constants_that_there_are() {
        for recipe in RECIPES {
            let mut machine = hardware(recipe.hardware).unwrap();
            for (constant, guess, spread) in recipe.constants {
                assert!(slot(&mut machine, constant).is_some(), "{constant}");
                assert!(*guess > 0.0 && *spread > 0.0);
            }
        }
    }
}
