//! How many microbatches a stage keeps activations of.

use super::{Action, Pass, StageId};

/// The most microbatches whose activations a stage holds at once: from the beginning of their forward to the end of
/// their last gradient.
pub fn peak_live(actions: &[Action], stage: StageId) -> u32 {
    let mut live = 0_i64;
    let mut peak = 0_i64;
    for action in actions {
        let own = || action.pieces().filter(|piece| piece.stage == stage);
        live += own().filter(|piece| piece.pass == Pass::Forward).count() as i64;
        peak = peak.max(live);
        live -= own().filter(|piece| matches!(piece.pass, Pass::Backward | Pass::BackwardWeight)).count() as i64;
    }
    peak as u32
}
