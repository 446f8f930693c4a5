//! What a coordinate keeps for backward: activations live from the beginning of their forward to the end of their last
//! gradient.

use super::{Action, Pass, Piece, StageId};

/// The most microbatches whose activations a coordinate holds of one stage at once.
pub fn peak_live(actions: &[Action], stage: StageId) -> u32 {
    let peak = peak_activations(actions, |piece| u64::from(piece.stage == stage));
    u32::try_from(peak).expect("no more than there are microbatches")
}

/// The most that a coordinate holds at once of all its stages, when one microbatch of a piece's stage takes `size`.
/// Within an overlapped pair the backward frees layer by layer what the forward then takes.
pub fn peak_activations(actions: &[Action], size: impl Fn(Piece) -> u64) -> u64 {
    let (mut live, mut peak) = (0_u64, 0_u64);
    for &action in actions {
        match action {
            Action::One(piece) if piece.pass == Pass::Forward => live += size(piece),
            // The weight gradients still need them.
            Action::One(piece) if piece.pass == Pass::BackwardInput => {}
            Action::One(piece) => live -= size(piece),
            Action::Overlapped { forward, backward } => live = live - size(backward) + size(forward),
        }
        peak = peak.max(live);
    }
    peak
}
