//! Values that their own field refuses.

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    (&[("version: 1", "version: one")], &["job.yaml:1:10: version: one is no whole number; write 1"]),
    (
        &[("version: 1", "version: 2"), ("seed: 7", "seed: x")],
        &[
            "job.yaml:1:10: version: 2 is newer than 1, the newest that this dsctl reads; use the dsctl that it was written for, or a later one",
        ],
    ),
    (&[("version: 1", "version: 0")], &["job.yaml:1:10: version: 0 is less than 1"]),
    (&[("kind: train", "kind: trian")], &["job.yaml:2:7: kind: trian is not known here; did you mean train"]),
    (
        &[("kind: train", "kind: serve"), ("seed: 7", "seed: x")],
        &["job.yaml:2:7: kind: serve is no kind of job that this dsctl knows; write train"],
    ),
    (&[("name: base", "name: \"\"")], &["job.yaml:3:7: name: \"\" is empty"]),
    (
        &[("seed: 7", "seed: three")],
        &["job.yaml:4:7: seed: three is no whole number; write a whole number, at least 0"],
    ),
    (&[("seed: 7", "seed: -7")], &["job.yaml:4:7: seed: -7 is less than 0"]),
    (
        &[("seed: 7", "seed: 18446744073709551616")],
        &["job.yaml:4:7: seed: 18446744073709551616 is more than 18446744073709551615"],
    ),
    (&[("seed: 7", "seed: \"7\"")], &["job.yaml:4:7: seed: \"7\" is text, not a whole number; leave out the quotes"]),
    (
        &[("seed: 7", "seed: [7]")],
        &["job.yaml:4:7: seed: a list is not a whole number; write a whole number, at least 0"],
    ),
    (&[("seed: 7", "seed:")], &["job.yaml:4:1: seed: has no value; leave the key out for 1"]),
    (&[("steps: 100", "steps: 0")], &["job.yaml:15:12: train[0].steps: 0 is less than 1"]),
    (
        &[("steps: 100", "steps: 1.5")],
        &["job.yaml:15:12: train[0].steps: 1.5 is no whole number; write a whole number, at least 1"],
    ),
    (
        &[("peak: 1.0e-3", "peak: fast")],
        &["job.yaml:20:13: train[0].learning_rate.peak: fast is no number; write a number, more than 0"],
    ),
    (
        &[("peak: 1.0e-3", "peak: -1.0e-3")],
        &["job.yaml:20:13: train[0].learning_rate.peak: -1.0e-3 is not more than 0"],
    ),
    (
        &[("peak: 1.0e-3", "peak: 1.0e999")],
        &["job.yaml:20:13: train[0].learning_rate.peak: 1.0e999 is too large for a number"],
    ),
    (
        &[("peak: 1.0e-3", "peak: .nan")],
        &["job.yaml:20:13: train[0].learning_rate.peak: .nan is no number; write a number, more than 0"],
    ),
    (
        &[("evaluate_every: 50", "optimizer: { beta1: 1.0 }")],
        &["job.yaml:28:25: train[0].optimizer.beta1: 1.0 is not at least 0 and less than 1"],
    ),
    (
        &[("device: cpu", "device: tpu")],
        &["job.yaml:35:11: cluster.device: tpu is not known here; did you mean cpu? There are cpu and cuda"],
    ),
    (
        &[("device: cpu", "device: cudda")],
        &["job.yaml:35:11: cluster.device: cudda is not known here; did you mean cuda? There are cpu and cuda"],
    ),
    (
        &[("device: cpu", "share_devices: yes")],
        &["job.yaml:35:18: cluster.share_devices: yes is neither true nor false"],
    ),
    (
        &[("comm_timeout: 60s", "comm_timeout: 60")],
        &["job.yaml:36:17: cluster.comm_timeout: 60 has no unit; did you mean 60s"],
    ),
    (
        &[("comm_timeout: 60s", "comm_timeout: soon")],
        &[
            "job.yaml:36:17: cluster.comm_timeout: soon is no duration; write a number and its unit: 500ms, 30s, 10m or 2h",
        ],
    ),
    (&[("comm_timeout: 60s", "comm_timeout: 1ms")], &["job.yaml:36:17: cluster.comm_timeout: 1ms is less than 100ms"]),
    (&[("comm_timeout: 60s", "comm_timeout: 900h")], &["job.yaml:36:17: cluster.comm_timeout: 900h is more than 24h"]),
    (
        &[("policy: loss_free", "policy: loss_fre")],
        &[
            "job.yaml:30:11: balance.policy: loss_fre is not known here; did you mean loss_free? There are none, forced and loss_free",
        ],
    ),
    (
        &[("train: /data/train", "train: ~/train")],
        &["job.yaml:8:10: data.train: ~/train begins with ~, which only a shell knows; write the whole path"],
    ),
    (
        &[("steps: 45", "steps: many"), ("steps: 100", "steps: 20")],
        &[
            "job.yaml:24:18: train[0].learning_rate.pieces[0].steps: many is no whole number; write a whole number, at least 1",
        ],
    ),
    (
        &[("shape: cosine", "shape: cosin")],
        &[
            "job.yaml:25:18: train[0].learning_rate.pieces[1].shape: cosin is not known here; did you mean cosine? There are constant, cosine and step",
        ],
    ),
    (
        &[("validation: /data/validation", "validation: [a, b]")],
        &["job.yaml:9:15: data.validation: a list is not a path; write a path, or null for none"],
    ),
    (&[("evaluate_every: 50", "evaluate_bytes: 0")], &["job.yaml:28:21: train[0].evaluate_bytes: 0 is less than 1"]),
    (
        &[("evaluate_every: 50", "clip: none")],
        &["job.yaml:28:11: train[0].clip: none is no number; write a number, more than 0, or null for none"],
    ),
    (&[("evaluate_every: 50", "mtp_weight: -1")], &["job.yaml:28:17: train[0].mtp_weight: -1 is not at least 0"]),
    (&[("checkpoint:\n  every: 50", "checkpoint:\n  keep: 0")], &["job.yaml:33:9: checkpoint.keep: 0 is less than 1"]),
    (&[("device: cpu", "threads: 0")], &["job.yaml:35:12: cluster.threads: 0 is less than 1"]),
    (
        &[("device: cpu", "priority: high")],
        &["job.yaml:35:13: cluster.priority: high is no whole number; write a whole number from -1000000 to 1000000"],
    ),
    (&[("speed: 0.001", "speed: 0")], &["job.yaml:31:10: balance.speed: 0 is not more than 0"]),
    (
        &[("speed: 0.001", "sequence_weight: -0.1")],
        &["job.yaml:31:20: balance.sequence_weight: -0.1 is not at least 0"],
    ),
    (
        &[("expert: 2", "schedule: gpip")],
        &[
            "job.yaml:13:13: parallel.schedule: gpip is not known here; did you mean gpipe? There are 1f1b, gpipe, interleaved, interleaved_zb, looped_bfs, zb_h1, zb_v, dualpipe and dualpipe_v",
        ],
    ),
    (&[("name: base", "name: \"a\\nb\"")], &["job.yaml:3:7: name: \"a…\" has line breaks or control characters"]),
    (&[("expert: 2", "zero: 4")], &["job.yaml:13:9: parallel.zero: 4 is more than 3"]),
    (&[("expert: 2", "virtual_stages: 0")], &["job.yaml:13:19: parallel.virtual_stages: 0 is less than 1"]),
    (
        &[("expert: 2", "recompute: norm")],
        &[
            "job.yaml:13:14: parallel.recompute: norm is not known here; did you mean norms? There are none, norms and full",
        ],
    ),
    (&[("evaluate_every: 50", "ema: 0.999")], &["job.yaml:28:10: train[0].ema: 0.999 is neither true nor false"]),
    (
        &[("device: cpu", "fabric: [a]")],
        &["job.yaml:35:11: cluster.fabric: a list is not a path; write a path, or null for none"],
    ),
    (&[("device: cpu", "hardware: \"\"")], &["job.yaml:35:13: cluster.hardware: \"\" is empty"]),
];
