//! How ranks divide the work.

use super::words::{EXCHANGES, RECOMPUTE, SCHEDULES};
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
        "Stages that each pipeline rank holds; more than 1 under interleaved, interleaved_zb and looped_bfs only.",
    )
    .default("1"),
    field(
        "parallel.zero",
        whole(0, 3),
        lens!(s, at => s.parallel.zero),
        "What ranks with the same weights divide: 0 nothing, 1 the optimizer's state, 2 also gradients, 3 also weights.",
    )
    .default("0"),
    field(
        "parallel.recompute",
        Kind::Word(RECOMPUTE),
        lens!(s, at => s.parallel.recompute),
        "What backward computes again instead of keeping it.",
    )
    .default("none"),
    field(
        "parallel.exchange",
        Kind::Word(EXCHANGES),
        lens!(s, at => s.parallel.exchange),
        "How tokens travel to experts on other ranks.",
    )
    .default("plain"),
];
