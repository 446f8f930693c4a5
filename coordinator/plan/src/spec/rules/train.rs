//! Numbers of a phase that must fit each other, the grid and the model.

use super::Rule;
use crate::spec::BalancePolicy;
use crate::spec::problem::Wrong;

pub(super) const RULES: &[Rule] = &[
    Rule {
        needs: &["train[].batch", "parallel.data", "train[].microbatch"],
        broken: |spec, at| {
            let (data, microbatch) = (spec.parallel.data, spec.train[at.phase].microbatch);
            let (batch, unit) = (u64::from(spec.train[at.phase].batch), u64::from(data) * u64::from(microbatch));
            (!batch.is_multiple_of(unit)).then(|| {
                let wrong = Wrong::new(format!("must be a multiple of parallel.data {data} x microbatch {microbatch}"));
                match batch / unit * unit {
                    0 => wrong.hint(format!("write {unit}")),
                    below => wrong.hint(format!("write {below} or {}", below + unit)),
                }
            })
        },
    },
    Rule {
        needs: &["train[].sequence", "model.attention.max_positions"],
        broken: |spec, at| {
            let longest = spec.model.attention.max_positions;
            (spec.train[at.phase].sequence > longest)
                .then(|| Wrong::new(format!("is more than model.attention.max_positions {longest}")))
        },
    },
    Rule {
        needs: &["train[].sequence", "parallel.context"],
        broken: |spec, at| {
            let context = spec.parallel.context;
            (!spec.train[at.phase].sequence.is_multiple_of(context)).then(|| {
                Wrong::new(format!("must be a multiple of parallel.context {context}, since its ranks share it"))
            })
        },
    },
    Rule {
        needs: &["train[].learning_rate.warmup", "train[].steps"],
        broken: |spec, at| {
            let steps = spec.train[at.phase].steps;
            (spec.train[at.phase].learning_rate.warmup > steps)
                .then(|| Wrong::new(format!("is more than the {steps} steps of the phase")))
        },
    },
    Rule {
        needs: &[
            "train[].learning_rate.pieces[].steps",
            "train[].learning_rate.pieces",
            "train[].learning_rate.warmup",
            "train[].steps",
        ],
        broken: |spec, at| {
            let phase = &spec.train[at.phase];
            let before: u64 = phase.learning_rate.pieces[..at.piece].iter().map(|piece| piece.steps).sum();
            let begins = phase.learning_rate.warmup + before;
            (begins >= phase.steps).then(|| {
                Wrong::new(format!("would begin after step {begins} of a phase of {}", phase.steps))
                    .hint("leave the piece out, or train longer")
            })
        },
    },
    Rule {
        needs: &["train[].evaluate_every", "data.validation"],
        broken: |spec, at| {
            let has_nothing = spec.data.validation.is_none() && spec.train[at.phase].evaluate_every > 0;
            has_nothing
                .then(|| Wrong::new("needs data.validation, which is null").hint("name held-out data, or write 0"))
        },
    },
    Rule {
        needs: &["balance.freeze_after", "balance.policy", "train[].steps"],
        broken: |spec, at| {
            let BalancePolicy::LossFree { freeze_after: Some(freeze), .. } = spec.balance.policy else { return None };
            let steps = spec.train[at.phase].steps;
            (freeze > steps)
                .then(|| Wrong::new(format!("is after the last of {steps} steps")).hint("write null to keep moving"))
        },
    },
];
