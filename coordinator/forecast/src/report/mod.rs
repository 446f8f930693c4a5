//! What people are told before they launch: does it fit, how fast is it, what binds, what does it cost; as facts, as
//! text and as a page.

mod aligned;
mod outlook;
mod page;
mod pictures;
mod schedules;
mod search_page;
mod search_text;
mod text;

pub use outlook::{Binding, MemoryOutlook, Outlook, StepOutlook, TermOutlook, TrainingOutlook, outlook};
pub use page::page;
pub use pictures::{load_picture, memory_picture, parts_picture, schedule_picture};
pub use schedules::{schedules_json, schedules_picture, schedules_text};
pub use search_page::search_picture;
pub use search_text::{search_json, search_text};
