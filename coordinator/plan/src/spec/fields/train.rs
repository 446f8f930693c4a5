//! What happens in which order.

use crate::spec::LearningRateShape;
use crate::spec::field::{Field, Lens, NOT_NEGATIVE, POSITIVE, SHARE, count, field, lens, whole, word};
use crate::spec::kind::{Kind, Word};
use crate::spec::value::{Slot, Value, slot};

/// Sequences of a step; the plan lists every microbatch of it.
const BATCH: Kind = whole(1, 1 << 20);

pub(super) const FIELDS: &[Field] = &[
    field("train[].steps", count(1), lens!(s, at => s.train[at.phase].steps), "Optimizer updates of this phase."),
    field(
        "train[].sequence",
        whole(1, 1 << 24),
        lens!(s, at => s.train[at.phase].sequence),
        "Length of a sequence, in tokens.",
    ),
    field("train[].batch", BATCH, lens!(s, at => s.train[at.phase].batch), "Sequences of a step, over all data ranks."),
    field("train[].microbatch", BATCH, lens!(s, at => s.train[at.phase].microbatch), "Sequences of a microbatch.")
        .default("1"),
    field(
        "train[].clip",
        POSITIVE,
        lens!(s, at => s.train[at.phase].clip),
        "Largest global gradient norm; null to leave gradients alone.",
    )
    .nullable()
    .default("1.0"),
    field("train[].mtp_weight", NOT_NEGATIVE, lens!(s, at => s.train[at.phase].mtp_weight), "Weight of the MTP loss.")
        .default("0.3"),
    field(
        "train[].evaluate_every",
        count(0),
        lens!(s, at => s.train[at.phase].evaluate_every),
        "Steps between evaluations; the end is always evaluated. 0 for only the end.",
    )
    .default("0"),
    field(
        "train[].evaluate_bytes",
        count(1),
        lens!(s, at => s.train[at.phase].evaluate_bytes),
        "Evaluate on this many bytes of the held-out text at most; null for all.",
    )
    .nullable()
    .default("null"),
    field(
        "train[].trace_every",
        count(0),
        lens!(s, at => s.train[at.phase].trace_every),
        "Steps between steps whose trace is written, into traces beside the checkpoints, for ui.perfetto.dev. 0 for none.",
    )
    .default("0"),
    field(
        "train[].ema",
        Kind::Flag,
        lens!(s, at => s.train[at.phase].ema),
        "Whether an exponential moving average of the weights is kept, in the memory of the host.",
    )
    .default("false"),
    field(
        "train[].ema_decay",
        SHARE,
        lens!(s, at => s.train[at.phase].ema_decay),
        "What the average keeps of itself at an update.",
    )
    .default("0.999"),
];

const CONSTANT: &str = "constant";
const COSINE: &str = "cosine";
const STEP: &str = "step";

const SHAPES: &[Word] = &[
    word(CONSTANT, "It stays."),
    word(COSINE, "Half a cosine down (or up) to `to`."),
    word(STEP, "It is `to` from the first step of the piece."),
];

impl Slot for LearningRateShape {
    fn value(&self) -> Value {
        let word = match self {
            Self::Constant => CONSTANT,
            Self::Cosine { .. } => COSINE,
            Self::Step { .. } => STEP,
        };
        Value::Text(word.to_owned())
    }
    /// Without its end value, which is a field of its own.
    fn slot(value: Value) -> Option<Self> {
        match value.to_string().as_str() {
            CONSTANT => Some(Self::Constant),
            COSINE => Some(Self::Cosine { to: 0.0 }),
            STEP => Some(Self::Step { to: 0.0 }),
            _ => None,
        }
    }
}

const TO: Lens = Lens {
    get: |spec, at| match spec.train[at.phase].learning_rate.pieces[at.piece].shape {
        LearningRateShape::Constant => Value::Null,
        LearningRateShape::Cosine { to } | LearningRateShape::Step { to } => Value::Real(to),
    },
    set: |spec, at, value| match &mut spec.train[at.phase].learning_rate.pieces[at.piece].shape {
        LearningRateShape::Constant => {}
        LearningRateShape::Cosine { to } | LearningRateShape::Step { to } => *to = slot(value),
    },
};

pub(super) const LEARNING_RATE: &[Field] = &[
    field(
        "train[].learning_rate.peak",
        POSITIVE,
        lens!(s, at => s.train[at.phase].learning_rate.peak),
        "Learning rate after the warm-up.",
    ),
    field(
        "train[].learning_rate.warmup",
        count(0),
        lens!(s, at => s.train[at.phase].learning_rate.warmup),
        "Steps of the linear warm-up.",
    )
    .default("0"),
    field(
        "train[].learning_rate.pieces[].shape",
        Kind::Word(SHAPES),
        lens!(s, at => s.train[at.phase].learning_rate.pieces[at.piece].shape),
        "How the learning rate moves within the piece.",
    ),
    field(
        "train[].learning_rate.pieces[].steps",
        count(1),
        lens!(s, at => s.train[at.phase].learning_rate.pieces[at.piece].steps),
        "Steps that the piece takes.",
    ),
    field("train[].learning_rate.pieces[].to", NOT_NEGATIVE, TO, "Learning rate at the end of the piece.")
        .when("shape", &[COSINE, STEP]),
];

pub(super) const OPTIMIZER: &[Field] = &[
    field(
        "train[].optimizer.beta1",
        SHARE,
        lens!(s, at => s.train[at.phase].optimizer.beta1),
        "Decay of the first moment.",
    )
    .default("0.9"),
    field(
        "train[].optimizer.beta2",
        SHARE,
        lens!(s, at => s.train[at.phase].optimizer.beta2),
        "Decay of the second moment.",
    )
    .default("0.95"),
    field(
        "train[].optimizer.eps",
        POSITIVE,
        lens!(s, at => s.train[at.phase].optimizer.eps),
        "Added to the root of the second moment.",
    )
    .default("1.0e-8"),
    field(
        "train[].optimizer.weight_decay",
        NOT_NEGATIVE,
        lens!(s, at => s.train[at.phase].optimizer.weight_decay),
        "Decoupled decay, on matrices and not on norms.",
    )
    .default("0.1"),
];
