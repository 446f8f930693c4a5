//! Values that do not fit each other.

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    (
        &[("preset: tiny", "preset: brad")],
        &[
            "job.yaml:6:11: model.preset: brad is no preset; did you mean bard? There are deepseek-v3, deepseek-v2-lite, bard and tiny",
        ],
    ),
    (
        &[("preset: tiny", "preset: llama")],
        &["job.yaml:6:11: model.preset: llama is no preset; write deepseek-v3, deepseek-v2-lite, bard or tiny"],
    ),
    (
        &[("preset: tiny", "preset: tiny\n  attention: { qk_rope_dim: 7 }")],
        &["job.yaml:7:29: model.attention.qk_rope_dim: 7 is odd, but rotary positions turn pairs; write 6 or 8"],
    ),
    (
        &[("preset: tiny", "preset: tiny\n  n_dense_layers: 5")],
        &["job.yaml:7:19: model.n_dense_layers: 5 is more than model.n_layers 4"],
    ),
    (
        &[("preset: tiny", "preset: tiny\n  moe: { top_k: 9 }")],
        &["job.yaml:7:17: model.moe.top_k: 9 is more than model.moe.n_experts 8"],
    ),
    (
        &[("preset: tiny", "preset: tiny\n  moe: { top_k: 5 }")],
        &[
            "job.yaml:7:17: model.moe.top_k: 5 is more than the 4 experts of picked_groups 2 of n_groups 4, with n_experts 8",
        ],
    ),
    (
        &[("preset: tiny", "preset: tiny\n  moe: { n_groups: 3 }")],
        &["job.yaml:7:20: model.moe.n_groups: 3 must divide model.moe.n_experts 8, since groups are equal"],
    ),
    (
        &[("preset: tiny", "preset: tiny\n  moe: { picked_groups: 5 }")],
        &["job.yaml:7:25: model.moe.picked_groups: 5 is more than model.moe.n_groups 4"],
    ),
    (
        &[("preset: tiny", "preset: tiny\n  vocab_size: 256")],
        &["job.yaml:7:15: model.vocab_size: 256 is too few for data.tokenizer bytes, which has 257 tokens"],
    ),
    (
        &[("pipeline: 2", "pipeline: 5")],
        &["job.yaml:12:13: parallel.pipeline: 5 needs as many layers, model.n_layers is 4; write at most 4"],
    ),
    (
        &[("expert: 2", "expert: 3\n  data: 3"), ("batch: 8", "batch: 9")],
        &["job.yaml:13:11: parallel.expert: 3 must divide model.moe.n_experts 8, since every rank holds as many"],
    ),
    (
        &[("expert: 2", "expert: 2\n  data: 3"), ("batch: 8", "batch: 9")],
        &["job.yaml:13:11: parallel.expert: 2 must divide data 3 x context 1, since experts are spread over them"],
    ),
    (
        &[
            ("expert: 2", "expert: 4\n  exchange: node_limited"),
            ("comm_timeout: 60s", "comm_timeout: 60s\n  gpus_per_node: 3"),
        ],
        &[
            "job.yaml:38:18: cluster.gpus_per_node: 3 must be a multiple of parallel.expert 4 x tensor 1, or divide it and be a multiple of tensor, since every node has as many ranks of an expert group",
        ],
    ),
    (
        &[("expert: 2", "expert: 2\n  data: 4096\n  tensor: 4096")],
        &["job.yaml:12:13: parallel: pipeline 2 x data 4096 x context 1 x tensor 4096 is more than 262144 ranks"],
    ),
    (
        &[("batch: 8", "batch: 7")],
        &["job.yaml:17:12: train[0].batch: 7 must be a multiple of parallel.data 2 x microbatch 1; write 6 or 8"],
    ),
    (
        &[("batch: 8", "batch: 1")],
        &["job.yaml:17:12: train[0].batch: 1 must be a multiple of parallel.data 2 x microbatch 1; write 2"],
    ),
    (
        &[("microbatch: 1", "microbatch: 3")],
        &["job.yaml:17:12: train[0].batch: 8 must be a multiple of parallel.data 2 x microbatch 3; write 6 or 12"],
    ),
    (
        &[("sequence: 32", "sequence: 2048")],
        &["job.yaml:16:15: train[0].sequence: 2048 is more than model.attention.max_positions 1024"],
    ),
    (
        &[("expert: 2", "expert: 2\n  context: 3\n  data: 2")],
        &["job.yaml:18:15: train[0].sequence: 32 must be a multiple of parallel.context 3, since its ranks share it"],
    ),
    (
        &[("warmup: 5", "warmup: 500")],
        &["job.yaml:21:15: train[0].learning_rate.warmup: 500 is more than the 100 steps of the phase"],
    ),
    (
        &[("steps: 100", "steps: 50")],
        &[
            "job.yaml:26:18: train[0].learning_rate.pieces[1].steps: 50 would begin after step 50 of a phase of 50; leave the piece out, or train longer",
        ],
    ),
    (
        &[("  validation: /data/validation\n", "")],
        &[
            "job.yaml:27:21: train[0].evaluate_every: 50 needs data.validation, which is null; name held-out data, or write 0",
        ],
    ),
    (
        &[("speed: 0.001", "freeze_after: 101")],
        &["job.yaml:31:17: balance.freeze_after: 101 is after the last of 100 steps; write null to keep moving"],
    ),
    (
        &[("expert: 2", "expert: 16\n  data: 16"), ("batch: 8", "batch: 16")],
        &["job.yaml:13:11: parallel.expert: 16 must divide model.moe.n_experts 8, since every rank holds as many"],
    ),
    (
        &[("pipeline: 2", "pipeline: 3\n  schedule: dualpipe"), ("batch: 8", "batch: 12")],
        &[
            "job.yaml:13:13: parallel.schedule: dualpipe does not fit: parallel.pipeline 3 is odd, dualpipe needs an even one, since its ends are held together; write parallel.pipeline: 4, or schedule: dualpipe_v",
        ],
    ),
    (
        &[("expert: 2", "expert: 2\n  schedule: dualpipe"), ("batch: 8", "batch: 10")],
        &[
            "job.yaml:14:13: parallel.schedule: dualpipe does not fit: 5 microbatches a step are odd, dualpipe needs an even number, half for each direction; a step has train[].batch 10 / parallel.data 2 / microbatch 1 of them",
        ],
    ),
    (
        &[("expert: 2", "expert: 2\n  schedule: dualpipe"), ("batch: 8", "batch: 4")],
        &[
            "job.yaml:14:13: parallel.schedule: dualpipe does not fit: 2 microbatches a step are too few, dualpipe needs at least 2 x parallel.pipeline 2; a step has train[].batch 4 / parallel.data 2 / microbatch 1 of them",
        ],
    ),
    (
        &[("expert: 2", "expert: 2\n  schedule: dualpipe_v"), ("batch: 8", "batch: 6")],
        &[
            "job.yaml:14:13: parallel.schedule: dualpipe_v does not fit: 3 microbatches a step are too few, dualpipe_v needs at least 2 x parallel.pipeline 2; a step has train[].batch 6 / parallel.data 2 / microbatch 1 of them",
        ],
    ),
    (
        &[("pipeline: 2", "pipeline: 4\n  schedule: dualpipe_v"), ("batch: 8", "batch: 16")],
        &[
            "job.yaml:13:13: parallel.schedule: dualpipe_v does not fit: it cuts the model into 8 stages, each of a layer or more, model.n_layers is 4",
        ],
    ),
    (
        &[("expert: 2", "expert: 2\n  schedule: interleaved")],
        &[
            "job.yaml:14:13: parallel.schedule: interleaved does not fit: parallel.virtual_stages is 1, interleaved needs at least 2; write parallel.virtual_stages: 2, or more",
        ],
    ),
    (
        &[("expert: 2", "expert: 2\n  schedule: interleaved\n  virtual_stages: 2"), ("batch: 8", "batch: 10")],
        &[
            "job.yaml:14:13: parallel.schedule: interleaved does not fit: 5 microbatches a step must be a multiple of 2, since interleaved takes them in as many equal rounds as they fill parallel.pipeline 2; a step has train[].batch 10 / parallel.data 2 / microbatch 1 of them",
        ],
    ),
    (
        &[("expert: 2", "expert: 2\n  schedule: zb_h1\n  virtual_stages: 2")],
        &[
            "job.yaml:14:13: parallel.schedule: zb_h1 does not fit: parallel.virtual_stages 2 means nothing under zb_h1, only interleaved, interleaved_zb and looped_bfs have any; leave parallel.virtual_stages out",
        ],
    ),
    (
        &[("speed: 0.001", "speed: 0.001\n  placement: eplb\n  redundant: 3")],
        &[
            "job.yaml:33:14: balance.redundant: 3 with model.moe.n_experts 8 makes 11 slots, which must be a multiple of parallel.expert 2, since every rank holds as many; write 2 or 4",
        ],
    ),
];
