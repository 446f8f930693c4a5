//! Number formats, and how experts are kept equally loaded.

use super::words::{BIAS_RULES, COMPUTE_TYPES, MOMENT_TYPES, SCALE_TYPES, WIRE_TYPES};
use crate::spec::field::{Field, Lens, NOT_NEGATIVE, POSITIVE, count, field, lens, whole, word};
use crate::spec::kind::{Kind, Word};
use crate::spec::value::{Slot, Value, slot};
use crate::spec::{BalancePolicy, BiasRule, PlacementPolicy};

const NONE: &str = "none";
const FORCED: &str = "forced";
const LOSS_FREE: &str = "loss_free";

const POLICIES: &[Word] = &[
    word(NONE, "The gate's bias stays zero."),
    word(FORCED, "Experts take turns whatever the gate says, for benchmarks."),
    word(LOSS_FREE, "The gate's bias moves against the load error (arXiv 2408.15664)."),
];

impl Slot for BalancePolicy {
    fn value(&self) -> Value {
        let word = match self {
            Self::None => NONE,
            Self::Forced => FORCED,
            Self::LossFree { .. } => LOSS_FREE,
        };
        Value::Text(word.to_owned())
    }
    /// Without its numbers, which are fields of their own.
    fn slot(value: Value) -> Option<Self> {
        match value.to_string().as_str() {
            NONE => Some(Self::None),
            FORCED => Some(Self::Forced),
            LOSS_FREE => Some(Self::LossFree { speed: 0.0, rule: BiasRule::Sign, freeze_after: None }),
            _ => None,
        }
    }
}

/// A number of the loss-free policy; null beside others.
macro_rules! of_loss_free {
    ($field:ident) => {
        Lens {
            get: |spec, _| match &spec.balance.policy {
                BalancePolicy::LossFree { $field, .. } => $field.value(),
                BalancePolicy::None | BalancePolicy::Forced => Value::Null,
            },
            set: |spec, _, value| {
                if let BalancePolicy::LossFree { $field, .. } = &mut spec.balance.policy {
                    *$field = slot(value);
                }
            },
        }
    };
}

const FIXED: &str = "fixed";
const EPLB: &str = "eplb";

const PLACEMENTS: &[Word] = &[
    word(FIXED, "Equal runs on the ranks of an expert group, as long as the job runs."),
    word(EPLB, "By measured loads, at step boundaries (DeepSeek's EPLB; arXiv 2412.19437, §3.4)."),
];

impl Slot for PlacementPolicy {
    fn value(&self) -> Value {
        let word = match self {
            Self::Fixed => FIXED,
            Self::Eplb { .. } => EPLB,
        };
        Value::Text(word.to_owned())
    }
    /// Without its numbers, which are fields of their own.
    fn slot(value: Value) -> Option<Self> {
        match value.to_string().as_str() {
            FIXED => Some(Self::Fixed),
            EPLB => Some(Self::Eplb { redundant: 0, every: 1, above: 0.0, gain: 0.0 }),
            _ => None,
        }
    }
}

/// A number of the placement by load; null beside others.
macro_rules! of_eplb {
    ($field:ident) => {
        Lens {
            get: |spec, _| match &spec.balance.placement {
                PlacementPolicy::Eplb { $field, .. } => $field.value(),
                PlacementPolicy::Fixed => Value::Null,
            },
            set: |spec, _, value| {
                if let PlacementPolicy::Eplb { $field, .. } = &mut spec.balance.placement {
                    *$field = slot(value);
                }
            },
        }
    };
}

const REDUNDANT: Lens = of_eplb!(redundant);
const EVERY: Lens = of_eplb!(every);
const ABOVE: Lens = of_eplb!(above);
const GAIN: Lens = of_eplb!(gain);

const SPEED: Lens = of_loss_free!(speed);
const RULE: Lens = of_loss_free!(rule);
const FREEZE_AFTER: Lens = of_loss_free!(freeze_after);

pub(super) const FIELDS: &[Field] = &[
    field(
        "precision.compute",
        Kind::Word(COMPUTE_TYPES),
        lens!(s, at => s.precision.compute),
        "Number format of forward and backward; master weights and gradients are FP32 (FP64 in f64).",
    )
    .default("f32"),
    field(
        "precision.scales",
        Kind::Word(SCALE_TYPES),
        lens!(s, at => s.precision.scales),
        "How a scale of compute: fp8 follows from the greatest element of its tile or block.",
    )
    .default("exact"),
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
        "Number format of what goes to experts: tokens, and in backward the gradients of results.",
    )
    .default("compute"),
    field(
        "precision.combine",
        Kind::Word(WIRE_TYPES),
        lens!(s, at => s.precision.combine),
        "Number format of what comes back from experts: results, and in backward the gradients of tokens.",
    )
    .default("compute"),
    field("balance.policy", Kind::Word(POLICIES), lens!(s, at => s.balance.policy), "What moves the gate's bias.")
        .default(LOSS_FREE),
    field("balance.speed", POSITIVE, SPEED, "How far a bias moves in a step.")
        .default("0.001")
        .when("policy", &[LOSS_FREE]),
    field("balance.rule", Kind::Word(BIAS_RULES), RULE, "How a load error moves a bias.")
        .default("sign")
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
    field(
        "balance.batch_weight",
        NOT_NEGATIVE,
        lens!(s, at => s.balance.batch_weight),
        "Weight of the same loss over all tokens of a microbatch at once; 0 for none.",
    )
    .default("0.0"),
    field(
        "balance.placement",
        Kind::Word(PLACEMENTS),
        lens!(s, at => s.balance.placement),
        "Where the weights of experts live.",
    )
    .default(FIXED),
    field(
        "balance.redundant",
        whole(0, 65_536),
        REDUNDANT,
        "Spare slots of an expert group, for replicas of hot experts.",
    )
    .default("0")
    .when("placement", &[EPLB]),
    field("balance.rebalance_every", count(1), EVERY, "Steps between decisions whether experts move.")
        .default("100")
        .when("placement", &[EPLB]),
    field(
        "balance.rebalance_above",
        NOT_NEGATIVE,
        ABOVE,
        "By what share of the mean load the busiest rank must exceed it before experts move.",
    )
    .default("0.2")
    .when("placement", &[EPLB]),
    field("balance.rebalance_gain", NOT_NEGATIVE, GAIN, "By how much a move must lower that share.")
        .default("0.05")
        .when("placement", &[EPLB]),
];
