//! `--set` that cannot be laid over a file, or lays a mistake over it.

/// Key and value, and what is said.
pub(crate) const CASES: &[((&str, &str), &[&str])] = &[
    (("sed", "3"), &["--set sed: is no key here; did you mean seed"]),
    (("seed", "three"), &["--set seed: three is no whole number; write a whole number, at least 0"]),
    (("train.1.steps", "3"), &["job.yaml:15:3: train: has 2 items, at most 1 is possible for now"]),
    (("train[3].steps", "3"), &["--set train[3].steps: there is no item 3, the list has 1, counted from 0"]),
    (("train.steps", "3"), &["--set train.steps: steps is asked of a list of 1; write [0].steps for the first"]),
    (("seed.x", "3"), &["--set seed.x: 7 is a value without keys"]),
    (("model.0", "3"), &["--set model.0: item 0 is asked of a section of keys"]),
    (("train..steps", "3"), &["--set train..steps: this is no key; write it as train[0].steps or train.0.steps"]),
    (("seed", "[1"), &["--set seed: this is no YAML: while parsing a flow sequence, expected ',' or ']'"]),
    (
        ("model.preset", "deepseek-v4"),
        &[
            "--set model.preset: deepseek-v4 is no preset; did you mean deepseek-v3? There are deepseek-v3, deepseek-v2-lite, bard and tiny",
        ],
    ),
    (
        ("parallel.pipeline", "8"),
        &["--set parallel.pipeline: 8 needs as many layers, model.n_layers is 4; write at most 4"],
    ),
    (
        ("train.0.learning_rate.pieces.5.steps", "6"),
        &["--set train.0.learning_rate.pieces.5.steps: there is no item 5, the list has 2, counted from 0"],
    ),
    (("balance", "none"), &["--set balance: none is not a section of keys"]),
    (("seed", "a: b: c"), &["--set seed: this is no YAML: mapping values are not allowed in this context"]),
    (("train", "null"), &["--set train: has 0 items, at least 1 is needed"]),
    (
        ("train.0", "null"),
        &[
            "--set train.0: train[0].steps: is missing; write a whole number, at least 1: optimizer updates of this phase",
            "--set train.0: train[0].sequence: is missing; write a whole number from 1 to 16777216: length of a sequence, in tokens",
            "--set train.0: train[0].batch: is missing; write a whole number from 1 to 1048576: sequences of a step, over all data ranks",
            "--set train.0: train[0].learning_rate.peak: is missing; write a number, more than 0: learning rate after the warm-up",
        ],
    ),
    (("balance.speed", "0"), &["--set balance.speed: 0 is not more than 0"]),
    (
        ("model.preset", ""),
        &[
            "job.yaml:6:3: model: has no preset and no vocab_size, hidden_size, n_layers, n_dense_layers, dense_hidden, attention.n_heads, attention.kv_lora_rank, attention.qk_nope_dim, attention.qk_rope_dim, attention.v_head_dim, attention.max_positions, moe.n_experts, moe.n_shared, moe.top_k and moe.expert_hidden; write preset: deepseek-v3, deepseek-v2-lite, bard or tiny",
        ],
    ),
];
