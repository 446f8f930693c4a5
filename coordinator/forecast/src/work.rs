//! The work of a stage as data: what a pass of one microbatch computes and exchanges, in order. The roofline model
//! makes it; the step simulator plays it on a fabric.

use ds_arch::LayerId;
use ds_plan::schedule::Pass;
use serde::{Deserialize, Serialize};

/// Which way tokens go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Exchange {
    /// Tokens to their experts; in backward, gradients of the results.
    Dispatch,
    /// Results back to their tokens; in backward, gradients of the tokens.
    Combine,
}

/// One part of a pass. Parts of a pass follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// The rank computes alone.
    Compute {
        /// For traces and reports, for example `attention`.
        label: &'static str,
        /// How long, with nothing beside it, on a rank with the mean load.
        seconds: f64,
        /// The layer whose routed experts work: on a rank that gets more tokens of it, this takes longer.
        experts_of: Option<LayerId>,
    },
    /// The ranks of the expert group exchange what the gate of a layer decided.
    Exchange {
        /// Whose gate.
        layer: LayerId,
        /// Which way.
        exchange: Exchange,
        /// Bytes of one token's row on the wire, its scales included.
        row_bytes: f64,
    },
}

/// One pass of one microbatch through one stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PassWork {
    /// In order.
    pub parts: Vec<Part>,
}

impl PassWork {
    /// Seconds of computation.
    pub fn compute_seconds(&self) -> f64 {
        let seconds = |part: &Part| if let Part::Compute { seconds, .. } = part { *seconds } else { 0.0 };
        self.parts.iter().map(seconds).sum()
    }
}

/// All passes of one microbatch through one stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageWork {
    /// Activations.
    pub forward: PassWork,
    /// Input gradients, with whatever is recomputed for them.
    pub backward_input: PassWork,
    /// Weight gradients. A full backward is `backward_input` and then `backward_weight`.
    pub backward_weight: PassWork,
    /// Bytes that a rank sends to the next stage forward, and gets back as a gradient.
    pub boundary_bytes: f64,
}

impl StageWork {
    /// A part of a pass, from zero. The parts of a whole backward are those of the input gradients, then those of the weight
    /// gradients.
    pub fn part(&self, pass: Pass, number: u32) -> Option<&Part> {
        let passes: &[&PassWork] = match pass {
            Pass::Forward => &[&self.forward],
            Pass::Backward => &[&self.backward_input, &self.backward_weight],
            Pass::BackwardInput => &[&self.backward_input],
            Pass::BackwardWeight => &[&self.backward_weight],
        };
        passes.iter().flat_map(|pass| &pass.parts).nth(number as usize)
    }
}
