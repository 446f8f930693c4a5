//! A training step played on a fabric: the schedule's actions, with their computations and messages, contend for the
//! ranks' streams and the fabric's links.
//!
//! # What is assumed
//! 1. A rank has a compute stream and an exchange stream; each does one thing at a time, in an order that is fixed
//!    before the step begins and the same on all ranks of a pipeline coordinate. Sends between stages run beside both.
//! 2. An action begins when the one before it has ended and what it receives is there; what it sends leaves when it
//!    has ended. An action of one piece does its parts one after the other. In an overlapped action the parts of the
//!    forward, of the backward and of its weight gradients go side by side; whoever can begin first goes first.
//! 3. An exchange begins when all ranks of its group have come to it (its kernels first tell each other the counts).
//!    A rank leaves it when all that it sends has left and all that it gets is there.
//! 4. A row crosses to a node once and is forwarded within the node chunk by chunk as it comes: both run at once.
//! 5. Messages share links by max-min fairness; one begins after the latency of its path. Between the same two GPUs
//!    an exchange is one message. Every message of an exchange keeps its path, as queue pairs do.
//! 6. Gradients are reduced after the last backward: dense ones over all data ranks, those of experts over the ranks
//!    that hold the same experts; within nodes directly, between nodes round a ring for each index, in chunks, so that
//!    both run at once. What several coordinates hold, as under DualPipe, they then sum, each rank its share. Then the
//!    optimizer, then the weights are gathered the same way.
//! 7. Work on experts, forward and for both gradients, takes longer by how many rows a rank gets, compared with the
//!    mean. Where experts are alike, chance alone gives the busiest rank more, and the layer waits for it.
//! 8. Kernels that exchange take multiprocessors away from what computes beside them; in an overlapped action all
//!    computations slow down evenly by what its exchanges would take away, which hold them longer there than alone.
//!
//! # What is solved once
//! Ranks, groups, messages and links are coloured until equal colours see equal surroundings ([`classes`]). Max-min
//! shares are unique, so all of one colour fare alike, and one of each is played for all; where a failure, a
//! straggler or skewed loads tell things apart, so do the colours. Without reuse everything has a colour of its own.
//! What a group sends is solved once for all times that it has its links for itself ([`islands`]). Messages, paths and
//! programs are kept between runs that differ in what befalls the fabric ([`Base`]).

mod base;
mod blame;
mod classes;
mod closing;
mod error;
mod event;
mod expected;
mod fluid;
mod interleave;
mod islands;
mod job;
mod order;
mod page;
mod planned;
mod play;
mod program;
mod quotient;
mod recorded;
mod run;
mod scene;
mod slab;
mod strands;
mod summary;
#[cfg(test)]
mod tests;
mod what_if;

pub use base::Base;
pub use blame::Blame;
pub use error::SimulateError;
pub use event::{Epoch, Straggler};
pub use job::{Closing, Moe, Options, StepJob};
pub use planned::{PlannedError, PlannedStep, Skew, closing};
pub(crate) use recorded::{Stage, replay};
pub use run::{LinkLoad, Run, Span, Stream};
pub use summary::{BusyLink, Phase, Summary};
pub use what_if::{Change, WhatIf, WhatIfError, states};

/// Plays steps of a job. `epochs` are the states of the fabric in order, the first from the beginning on.
///
/// # Errors
/// When parts of the job do not fit together, no route is left, or the step can never end.
pub fn simulate(job: &StepJob<'_>, epochs: &mut [Epoch<'_>], options: &Options) -> Result<Run, SimulateError> {
    let Some((first, later)) = epochs.split_first_mut() else {
        return Err(SimulateError::Count { what: "epochs", found: 0, expected: 1 });
    };
    Base::new(job, first, options)?.then(later)
}
