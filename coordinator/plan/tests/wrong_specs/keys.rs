//! Keys, sections and YAML that a spec has no use for, and what is missing.

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    (&[("version: 1\n", "")], &["job.yaml:1:1: version: is missing; write 1: version of this format"]),
    (&[("kind: train\n", "")], &["job.yaml:1:1: kind: is missing; write train: what the job does"]),
    (&[("name: base\n", "")], &["job.yaml:1:1: name: is missing; write text: what people call the job"]),
    (
        &[("warmup: 5", "wramup: 5")],
        &["job.yaml:21:7: train[0].learning_rate.wramup: is no key here; did you mean warmup"],
    ),
    (&[("seed: 7", "sede: 7")], &["job.yaml:4:1: sede: is no key here; did you mean seed"]),
    (&[("seed: 7", "steps: 7")], &["job.yaml:4:1: steps: is no key here; it stands at train[].steps"]),
    (
        &[("seed: 7", "colour: red")],
        &[
            "job.yaml:4:1: colour: is no key here; write version, kind, name, seed, model, data, parallel, train, precision, balance, checkpoint or cluster",
        ],
    ),
    (&[("parallel:", "paralel:")], &["job.yaml:11:1: paralel: is no key here; did you mean parallel"]),
    (
        &[("peak: 1.0e-3", "peek: 1.0e-3")],
        &["job.yaml:20:7: train[0].learning_rate.peek: is no key here; did you mean peak"],
    ),
    (&[("seed: 7", "name: other")], &["job.yaml:4:1: name stands twice, first at job.yaml:3:1; keep one of them"]),
    (&[("model:\n  preset: tiny", "model: tiny")], &["job.yaml:5:8: model: tiny is not a section of keys"]),
    (
        &[("data:\n  train: /data/train\n  validation: /data/validation\n  tokenizer: bytes\n", "")],
        &[
            "job.yaml:1:1: data.train: is missing; write a path: a folder of token shards, or text or JSONL (also .zst): a file, or a folder of them; relative to this file",
        ],
    ),
    (
        &[("  train: /data/train\n", "")],
        &[
            "job.yaml:8:3: data.train: is missing; write a path: a folder of token shards, or text or JSONL (also .zst): a file, or a folder of them; relative to this file",
        ],
    ),
    (
        &[("  - steps: 100\n    sequence", "    steps: 100\n    sequence")],
        &["job.yaml:15:5: train: a section is not a list; begin each item with a dash"],
    ),
    (
        &[("          to: 1.0e-4\n", "")],
        &[
            "job.yaml:25:11: train[0].learning_rate.pieces[1].to: is missing; write a number, at least 0: learning rate at the end of the piece",
        ],
    ),
    (
        &[("steps: 45", "steps: 45\n          to: 1.0e-4")],
        &[
            "job.yaml:25:15: train[0].learning_rate.pieces[0].to: 1.0e-4 means nothing here, it stands beside shape: cosine or step only; leave it out",
        ],
    ),
    (
        &[("policy: loss_free", "policy: none")],
        &[
            "job.yaml:31:10: balance.speed: 0.001 means nothing here, it stands beside policy: loss_free only; leave it out",
        ],
    ),
    (
        &[("  preset: tiny\n", "  n_layers: 4\n")],
        &[
            "job.yaml:6:3: model: has no preset and no vocab_size, hidden_size, n_dense_layers, dense_hidden, attention.n_heads, attention.kv_lora_rank, attention.qk_nope_dim, attention.qk_rope_dim, attention.v_head_dim, attention.max_positions, moe.n_experts, moe.n_shared, moe.top_k and moe.expert_hidden; write preset: deepseek-v3, deepseek-v2-lite, bard or tiny",
        ],
    ),
    (
        &[("model:\n  preset: tiny\n", "")],
        &["job.yaml:1:1: model: is missing; write preset: deepseek-v3, deepseek-v2-lite, bard or tiny"],
    ),
    (
        &[("seed: 7", "seed: 7\n  x: [")],
        &["job.yaml:5:4: this is no YAML: mapping values are not allowed in this context"],
    ),
    (&[("seed: 7", "seed: *one")], &["job.yaml:4:7: this is no YAML: while parsing node, found unknown anchor"]),
    (&[("seed: 7", "seed: !!int 7")], &["job.yaml:4:7: seed: the tag !!int is not read; leave it out"]),
    (
        &[("policy: loss_free", "<<: { policy: none }")],
        &["job.yaml:30:3: balance: merge keys (<<) are not read; write the keys out"],
    ),
    (&[("seed: 7", "seed: 7\n[a]: 7")], &["job.yaml:5:1: a key must be a word"]),
    (
        &[("steps: 50\n          to: 1.0e-4", "steps: 50\n          to: 1.0e-4\n        - 7")],
        &["job.yaml:28:11: train[0].learning_rate.pieces[2]: 7 is not a section of keys"],
    ),
    (
        &[("version: 1", "version: 1\n---\nversion: 1")],
        &["job.yaml:2:1: a second document begins; one file is one job"],
    ),
    (
        &[("tokenizer: bytes", "tokenizer: &b bytes"), ("name: base", "name: *b")],
        &["job.yaml:3:7: this is no YAML: while parsing node, found unknown anchor"],
    ),
    (
        &[("name: base", "name: &b base"), ("seed: 7", "seed: *b")],
        &["job.yaml:4:7: seed: aliases (*name) are not read; write the value out"],
    ),
    (
        &[(
            "seed: 7",
            "seed: 7\ndeep: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
        )],
        &["job.yaml:5:38: lists and sections are nested deeper than 32"],
    ),
    (&[("preset: tiny", "presets: tiny")], &["job.yaml:6:3: model.presets: is no key here; did you mean preset"]),
    (
        &[("steps: 45", "stpes: 45")],
        &["job.yaml:24:11: train[0].learning_rate.pieces[0].stpes: is no key here; did you mean steps"],
    ),
    (
        &[("seed: 7", "seed: 7\noptimizer: { beta1: 0.9 }")],
        &["job.yaml:5:1: optimizer: is no key here; it stands at train[].optimizer"],
    ),
    (
        &[("cluster:\n  device: cpu\n  comm_timeout: 60s", "cluster: [cpu]")],
        &["job.yaml:34:10: cluster: a list is not a section of keys"],
    ),
];
