//! The order of work in a pipeline, as data: a list of actions per pipeline coordinate. The worker executes it, a
//! simulator times it, `dsctl plan` draws it, tests prove its laws.

mod of_kind;
mod sizes;

mod dual_pipe;
mod dual_pipe_v;
mod gpipe;
mod interleaved;
mod interleaved_zb;
mod looped_bfs;
mod one_f_one_b;
mod rounds;
mod stream;
mod two_ways;
mod zb_h1;
mod zb_v;

mod deadlock;
mod draw;
mod live;
mod placement;
mod timeline;
mod transfers;

use serde::{Deserialize, Serialize};

pub use deadlock::{deadlock, sends_ahead};
pub use draw::draw;
pub use dual_pipe::dual_pipe;
pub use dual_pipe_v::dual_pipe_v;
pub use gpipe::gpipe;
pub use interleaved::interleaved;
pub use interleaved_zb::interleaved_zb;
pub use live::{peak_activations, peak_live};
pub use looped_bfs::looped_bfs;
pub use of_kind::Schedule;
pub use one_f_one_b::one_f_one_b;
pub use placement::Placement;
pub use sizes::ImpossibleSchedule;
pub(crate) use sizes::{fits_microbatches, fits_pipeline, fits_virtual};
pub use timeline::{Span, Stuck, Timeline, timeline};
pub use transfers::{Payload, Peer, Transfer, transfers};
pub use zb_h1::zb_h1;
pub use zb_v::zb_v;

/// A run of layers, in the order of the model; stage 0 embeds, the last one scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StageId(pub u32);

/// A microbatch of one step, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Microbatch(pub u32);

/// What is done to a microbatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Pass {
    /// Activations.
    Forward,
    /// Input and weight gradients together.
    Backward,
    /// Input gradients only.
    BackwardInput,
    /// The weight gradients that `BackwardInput` put off.
    BackwardWeight,
}

impl Pass {
    /// As drawings and traces name it.
    pub fn letter(self) -> char {
        match self {
            Self::Forward => 'F',
            Self::Backward => 'B',
            Self::BackwardInput => 'I',
            Self::BackwardWeight => 'W',
        }
    }
}

/// One pass of one microbatch through one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Piece {
    /// Where.
    pub stage: StageId,
    /// Of what.
    pub microbatch: Microbatch,
    /// Which way.
    pub pass: Pass,
}

/// What a rank does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// One piece alone.
    One(Piece),
    /// The communication of each half hides behind the computation of the other.
    Overlapped {
        /// Of one microbatch.
        forward: Piece,
        /// Of another.
        backward: Piece,
    },
}

impl Action {
    /// The pieces, in order.
    pub fn pieces(self) -> impl Iterator<Item = Piece> {
        let (first, second) = match self {
            Self::One(piece) => (piece, None),
            Self::Overlapped { forward, backward } => (forward, Some(backward)),
        };
        std::iter::once(first).chain(second)
    }
}
