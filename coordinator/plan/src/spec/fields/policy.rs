//! Number formats, and how experts are kept equally loaded.

use super::words::{COMPUTE_TYPES, MOMENT_TYPES, WIRE_TYPES};
use crate::spec::BalancePolicy;
use crate::spec::field::{Field, Lens, NOT_NEGATIVE, POSITIVE, count, field, lens, word};
use crate::spec::kind::{Kind, Word};
use crate::spec::value::{Slot, Value, slot};

const NONE: &str = "none";
const LOSS_FREE: &str = "loss_free";

const POLICIES: &[Word] = &[
    word(NONE, "The gate's bias stays zero."),
    word(LOSS_FREE, "The gate's bias moves against the sign of the load error (arXiv 2408.15664)."),
];

impl Slot for BalancePolicy {
    fn value(&self) -> Value {
        Value::Text(if matches!(self, Self::None) { NONE } else { LOSS_FREE }.to_owned())
    }
    /// Without its numbers, which are fields of their own.
    fn slot(value: Value) -> Option<Self> {
        match value.to_string().as_str() {
            NONE => Some(Self::None),
            LOSS_FREE => Some(Self::LossFree { speed: 0.0, freeze_after: None }),
            _ => None,
        }
    }
}

const SPEED: Lens = Lens {
    get: |spec, _| match &spec.balance.policy {
        BalancePolicy::None => Value::Null,
        BalancePolicy::LossFree { speed, .. } => speed.value(),
    },
    set: |spec, _, value| match &mut spec.balance.policy {
        BalancePolicy::None => {}
        BalancePolicy::LossFree { speed, .. } => *speed = slot(value),
    },
};

const FREEZE_AFTER: Lens = Lens {
    get: |spec, _| match &spec.balance.policy {
        BalancePolicy::None => Value::Null,
        BalancePolicy::LossFree { freeze_after, .. } => freeze_after.value(),
    },
    set: |spec, _, value| match &mut spec.balance.policy {
        BalancePolicy::None => {}
        BalancePolicy::LossFree { freeze_after, .. } => *freeze_after = slot(value),
    },
};

pub(super) const FIELDS: &[Field] = &[
    field(
        "precision.compute",
        Kind::Word(COMPUTE_TYPES),
        lens!(s, at => s.precision.compute),
        "Number format of forward and backward; master weights and gradients are FP32 (FP64 in f64).",
    )
    .default("f32"),
    field(
        "precision.moments",
        Kind::Word(MOMENT_TYPES),
        lens!(s, at => s.precision.moments),
        "Number format of both moments of AdamW.",
    )
    .default("f32"),
    field(
        "precision.dispatch",
        Kind::Word(WIRE_TYPES),
        lens!(s, at => s.precision.dispatch),
        "Number format of tokens on their way to experts, and of the gradients on theirs.",
    )
    .default("compute"),
    field(
        "precision.combine",
        Kind::Word(WIRE_TYPES),
        lens!(s, at => s.precision.combine),
        "Number format of results on their way back from experts.",
    )
    .default("compute"),
    field("balance.policy", Kind::Word(POLICIES), lens!(s, at => s.balance.policy), "What moves the gate's bias.")
        .default(LOSS_FREE),
    field("balance.speed", POSITIVE, SPEED, "How far a bias moves in a step.")
        .default("0.001")
        .when("policy", &[LOSS_FREE]),
    field("balance.freeze_after", count(0), FREEZE_AFTER, "Step from which biases stay; null to keep moving.")
        .nullable()
        .default("null")
        .when("policy", &[LOSS_FREE]),
    field(
        "balance.sequence_weight",
        NOT_NEGATIVE,
        lens!(s, at => s.balance.sequence_weight),
        "Weight of the sequence-wise balance loss (arXiv 2412.19437); 0 for none.",
    )
    .default("0.0001"),
];
