//! Pictures of plans and simulations as SVG: pure functions from plain data to text. They need no file beside them, are
//! readable on light and on dark ground, and tell shapes apart by more than their hue.

mod bars;
mod chart;
mod heat;
mod legend;
mod schedule;
mod style;
mod svg;
mod unit;

pub use bars::{Bars, Row, bars};
pub use chart::{Chart, Series, chart};
pub use heat::{Heat, heat};
pub use schedule::{ScheduleRow, Segment, schedule, schedule_rows, schedule_window};
pub use style::{STYLE, text_width};
pub use svg::{Canvas, Frame, Picture, escape};
pub use unit::Unit;
