//! The table of fields, in the order in which a spec is written. Reader, schema, explanations and the resolved file
//! all come from it.

mod cluster;
mod data;
mod head;
mod model;
mod parallel;
mod policy;
mod sections;
mod train;
mod words;

use super::field::Field;

pub(super) use head::{KINDS, VERSION};
pub(super) use model::{PRESET, PRESET_PATH};
pub(super) use sections::{Child, List, Section, everything, section};

/// Every field.
pub(super) fn fields() -> impl Iterator<Item = &'static Field> + Clone {
    let rows = [
        head::FIELDS,
        model::FIELDS,
        model::ATTENTION,
        model::YARN,
        model::MOE,
        model::MTP,
        data::FIELDS,
        parallel::FIELDS,
        train::FIELDS,
        train::LEARNING_RATE,
        train::OPTIMIZER,
        policy::FIELDS,
        cluster::FIELDS,
    ];
    rows.into_iter().flatten()
}

/// The field of that path.
pub(super) fn field_at(path: &str) -> Option<&'static Field> {
    fields().find(|field| field.path == path)
}
