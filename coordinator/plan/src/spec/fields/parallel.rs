//! How ranks divide the work.

use super::words::SCHEDULES;
use crate::spec::field::{Field, field, lens, whole};
use crate::spec::kind::Kind;

const AXIS: Kind = whole(1, 1 << 16);

pub(super) const FIELDS: &[Field] = &[
    field("parallel.pipeline", AXIS, lens!(s, at => s.parallel.pipeline), "Pipeline stages.").default("1"),
    field("parallel.data", AXIS, lens!(s, at => s.parallel.data), "Ranks that see different samples.")
        .same_as("parallel.expert"),
    field("parallel.context", AXIS, lens!(s, at => s.parallel.context), "Ranks that share a sequence.").default("1"),
    field("parallel.tensor", AXIS, lens!(s, at => s.parallel.tensor), "Ranks that share a matrix.").default("1"),
    field(
        "parallel.expert",
        AXIS,
        lens!(s, at => s.parallel.expert),
        "Ranks that the experts of a layer are spread over; divides data x context.",
    )
    .default("1"),
    field(
        "parallel.schedule",
        Kind::Word(SCHEDULES),
        lens!(s, at => s.parallel.schedule),
        "The order of microbatches in the pipeline.",
    )
    .default("1f1b"),
    field(
        "parallel.virtual_stages",
        whole(1, 1024),
        lens!(s, at => s.parallel.virtual_stages),
        "Stages that each pipeline rank holds; more than 1 under schedule: interleaved only.",
    )
    .default("1"),
];
