//! A step that ranks recorded while they ran, played again on a fabric: who computed what and who sent how much to whom is
//! as it was; how long that takes follows from a hardware preset and the fabric, on a virtual clock. What the real routing
//! of this model does to every plane can be seen so.

mod check;
mod measured;
mod price;
mod record;
mod report;

pub use check::RecordError;
pub(crate) use check::check;
pub use measured::Measured;
pub use price::Prices;
pub use record::{Does, Event, Meeting, Recorder, StepRecord};
pub use report::{PlaneLoad, Replayed, Shares, report};
