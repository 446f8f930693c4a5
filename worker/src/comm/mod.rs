//! How ranks talk: operations that do not block, with deadlines; numbered per group, headers compared before data is
//! used; reductions in rank order; abort from any thread; a failed peer named within a second.
//!
//! Three layers, each knowing only the one below:
//! - [`Group`] and [`Pending`]: tensors in, tensors out. `operation` says what each sends and awaits.
//! - `state`: what every operation awaits, as a machine that reads no clock and sends nothing. Messages and failures
//!   in, effects out.
//! - `transport`: how a message reaches another rank. [`threads`] hands it over inside one process; [`Listener`] makes
//!   a mesh of TCP connections, or links within nodes and along planes, by which ranks pass on what is for others; with
//!   the feature `mpi`, `Mpi` sends it over MPI. All carry the same messages, so all give the same bits. Tensors on cards
//!   go by NCCL beside that ([`Group::on_cards`]).
//!
//! # Contract
//! - Starting an operation copies its input and never waits for a peer. What a socket does not take at once lies in a
//!   queue of at most 4 GiB a peer; what arrives before its operation started lies in a mailbox of as much.
//! - All members start the collectives of a group in the same order; sends and receives are numbered per ordered pair.
//!   Waits may come in any order, or never: whoever delivers the last message of a phase carries the operation on, so
//!   no rank's progress depends on another's waiting, and dropping a [`Pending`] does not cancel it.
//! - A send has ended when its copy is queued; a mismatch that its receiver finds reaches the sender with the next
//!   operation on the group.
//! - The first failure of a group is its last: every pending and later operation on it fails with the same cause, on
//!   every member. A deadline that passes fails one wait, not the group.
//! - An [`Endpoint`] that is dropped without [`Endpoint::close`] poisons all of its groups. After a goodbye, peers
//!   complete whatever needs nothing more of the rank that left.
//! - Results lie on the device of the input; [`Group::receive`] and [`Group::all_gather_bytes`] give host memory.

mod endpoint;
mod group;
mod pending;

mod dtype;
mod error;
mod signature;
mod wire;

mod mailbox;
mod operation;
mod phases;
mod reduce;
mod state;

mod cards;
mod clock;
mod handshake;
mod links;
mod memory;
mod mesh;
#[cfg(feature = "mpi")]
mod mpi;
mod outbox;
mod payload;
mod planes;
mod reader;
mod shared;
mod tcp;
mod threads;
mod transport;
mod ways;

pub use cards::{Cards, Channel, Mark, Move, Nccl};
pub use dtype::Dtype;
pub use endpoint::Endpoint;
pub use error::{CommError, ConnectError, Mismatch, Reason};
pub use group::Group;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use pending::Pending;
pub use signature::{Detail, Op, ReduceOp, Shape, Signature};
pub use tcp::{Listener, Refusal};
pub use threads::threads;
pub use transport::PlaneTraffic;
pub use ways::{Nic, Peer, Wiring};
