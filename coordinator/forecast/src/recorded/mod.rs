//! A step that ranks recorded while they ran, played again on a fabric: who computed what and who sent how much to whom is
//! as it was; how long that takes follows from a hardware preset and the fabric, on a virtual clock. What the real routing
//! of this model does to every plane can be seen so. Of ranks that train, what no plan knows is [`Measured`]: their
//! exchanges, the rows of their experts, what stages passed on; the rest of the record follows from the actions that both
//! plan and ranks execute.
//!
//! # What is assumed
//! 1. A rank computes one thing at a time, in the order in which it did; a group does its operations in order. What else
//!    waits for what is in the record.
//! 2. An operation of a group begins when all of its ranks have come to it; a rank leaves it when all that it sends has
//!    left and all that it gets is there.
//! 3. Messages share links by max-min fairness, those of all groups together; one begins after the latency of its path.
//! 4. Computations take what the preset says for their part of the pass, those of experts by how many rows they had;
//!    exchanges beside them do not slow them down.

mod check;
mod measured;
mod player;
mod price;
mod record;
mod report;

pub use check::RecordError;
pub(crate) use check::check;
pub use measured::Measured;
pub use player::Player;
pub use price::Prices;
pub use record::{Does, Event, Meeting, Recorder, StepRecord};
pub use report::{PlaneLoad, Replayed, Shares, report};
