//! Files that are hardly jobs at all.

/// The whole file, and what is said.
pub(crate) const CASES: &[(&str, &[&str])] = &[
    ("", &["job.yaml:1:1: the file is empty; begin it with version: 1 and kind: train"]),
    ("# nothing\n", &["job.yaml:1:1: the file is empty; begin it with version: 1 and kind: train"]),
    ("just words", &["job.yaml:1:1: just words is not a section of keys"]),
    ("- version: 1", &["job.yaml:1:1: a list is not a section of keys"]),
    ("a: b: c", &["job.yaml:1:5: this is no YAML: mapping values are not allowed in this context"]),
    (
        "\u{feff}version: 9",
        &[
            "job.yaml:1:10: version: 9 is newer than 1, the newest that this dsctl reads; use the dsctl that it was written for, or a later one",
        ],
    ),
    (
        "version: 1",
        &[
            "job.yaml:1:1: kind: is missing; write train: what the job does",
            "job.yaml:1:1: name: is missing; write text: what people call the job",
            "job.yaml:1:1: model: is missing; write preset: deepseek-v3, deepseek-v2-lite, bard or tiny",
            "job.yaml:1:1: data.train: is missing; write a path: a folder of token shards, or text or JSONL (also .zst): a file, or a folder of them; relative to this file",
            "job.yaml:1:1: train: is missing; write a list: what happens in which order; one phase for now",
        ],
    ),
    ("x: \"abc", &["job.yaml:1:4: this is no YAML: while scanning a quoted scalar, found unexpected end of stream"]),
];
