//! Groups whose tensors lie on cards: NCCL moves them, one communicator and one stream a group, and nobody waits on the
//! host for data. Everything else of a group (bytes, counts, failures) goes by messages as ever, which is how a rank
//! learns that a peer is gone while a kernel of NCCL would wait for it without end: a thread looks at every group and
//! aborts what has failed, or takes too long ([`watch`]).
//!
//! What NCCL does stands behind traits, so that all else is tested without a card.

mod card_group;
mod nccl;
mod operations;
mod receives;
mod watch;

use tch::{Device, Tensor};

use super::signature::ReduceOp;

pub(super) use card_group::{CardGroup, Flight};
pub use nccl::Nccl;
pub(super) use receives::Asked;

/// One step of an operation; steps of one operation are handed over together. Tensors are contiguous.
#[derive(Debug)]
pub enum Move {
    /// The reduction over all, in place.
    AllReduce {
        /// Of every place, of one size.
        tensor: Tensor,
        /// How.
        op: ReduceOp,
    },
    /// The nth of as many equal runs of the reduction over all, at place n.
    ReduceScatter {
        /// Of every place, of one size.
        from: Tensor,
        /// What it gives.
        to: Tensor,
        /// How.
        op: ReduceOp,
    },
    /// The reduction over all, at one place only, in place.
    Reduce {
        /// Of every place, of one size.
        tensor: Tensor,
        /// The place.
        root: usize,
        /// How.
        op: ReduceOp,
    },
    /// Equal runs of all, in the order of places.
    AllGather {
        /// Of this place.
        from: Tensor,
        /// What it gives.
        to: Tensor,
    },
    /// From one place to all, in place.
    Broadcast {
        /// Of one size.
        tensor: Tensor,
        /// The place.
        root: usize,
    },
    /// To one place.
    Send {
        /// What.
        tensor: Tensor,
        /// The place.
        to: usize,
    },
    /// From one place.
    Receive {
        /// What it fills.
        tensor: Tensor,
        /// The place.
        from: usize,
    },
}

/// What joins groups of cards.
pub trait Cards: Send + Sync {
    /// What the members of a new group are told by one of them.
    ///
    /// # Errors
    /// In the library's words.
    fn id(&self) -> Result<Vec<u8>, String>;

    /// Begins to join; the channel tells when it is ready.
    ///
    /// # Errors
    /// In the library's words.
    fn join(&self, id: &[u8], n_places: usize, place: usize) -> Result<Box<dyn Channel>, String>;
}

/// One group's communicator and stream, as one member sees it.
pub trait Channel: Send + Sync {
    /// Where its tensors lie.
    fn device(&self) -> Device;

    /// Whether what was begun has been taken; not whether it has ended.
    ///
    /// # Errors
    /// When something failed, in the library's words.
    fn is_ready(&self) -> Result<bool, String>;

    /// Hands an operation over. It begins after all that the caller's own stream has been given so far.
    ///
    /// # Errors
    /// In the library's words.
    fn start(&self, moves: &[Move]) -> Result<(), String>;

    /// The end of all that has been started, once the channel is ready.
    ///
    /// # Errors
    /// In the library's words.
    fn mark(&self) -> Result<Box<dyn Mark>, String>;

    /// Ends whatever is under way; results are of no use any more. May be called again.
    fn abort(&self);
}

/// A point on the stream of a channel.
pub trait Mark: Send + Sync {
    /// Whether all before it has ended.
    ///
    /// # Errors
    /// In the library's words.
    fn has_passed(&self) -> Result<bool, String>;

    /// What the caller's own stream is given from now on comes after it.
    ///
    /// # Errors
    /// In the library's words.
    fn hold(&self) -> Result<(), String>;
}
