//! What is kept of a run, and where it runs.

use std::time::Duration;

use super::words::{DEVICES, NETWORKS, PLANES};
use crate::spec::field::{Field, count, field, lens, time, whole};
use crate::spec::kind::Kind;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const TENTH: Duration = Duration::from_millis(100);

pub(super) const FIELDS: &[Field] = &[
    field(
        "checkpoint.every",
        count(0),
        lens!(s, at => s.checkpoint.every),
        "Steps between checkpoints; the end is always kept. 0 for only the end.",
    )
    .default("500"),
    field("checkpoint.keep", whole(1, 1_000_000), lens!(s, at => s.checkpoint.keep), "Newest checkpoints kept.")
        .default("2"),
    field(
        "checkpoint.folder",
        Kind::Path,
        lens!(s, at => s.checkpoint.folder),
        "Where checkpoints go; null for the run's own folder.",
    )
    .nullable()
    .default("null"),
    field(
        "checkpoint.start_from",
        Kind::Path,
        lens!(s, at => s.checkpoint.start_from),
        "Start from this checkpoint; null for fresh weights.",
    )
    .nullable()
    .default("null"),
    field("cluster.device", Kind::Word(DEVICES), lens!(s, at => s.cluster.device), "What ranks compute on.")
        .default("cpu"),
    field(
        "cluster.gpus_per_node",
        whole(1, 1 << 16),
        lens!(s, at => s.cluster.gpus_per_node),
        "Ranks that share a node, in their order, for exchange: node_limited; null for one node.",
    )
    .nullable()
    .default("null"),
    field("cluster.threads", whole(1, 4096), lens!(s, at => s.cluster.threads), "Threads of a rank inside LibTorch.")
        .default("1"),
    field(
        "cluster.share_devices",
        Kind::Flag,
        lens!(s, at => s.cluster.share_devices),
        "Whether ranks may be seated on a GPU, or on cores, that others hold.",
    )
    .default("false"),
    field(
        "cluster.priority",
        whole(-1_000_000, 1_000_000),
        lens!(s, at => s.cluster.priority),
        "Place in the queue; higher goes first.",
    )
    .default("0"),
    field(
        "cluster.max_restarts",
        whole(0, 1_000_000),
        lens!(s, at => s.cluster.max_restarts),
        "Attempts after the first.",
    )
    .default("3"),
    field(
        "cluster.heartbeat_timeout",
        time(TENTH, HOUR),
        lens!(s, at => s.cluster.heartbeat_timeout),
        "A rank or node that is silent for this long is dead.",
    )
    .default("10s"),
    field(
        "cluster.comm_timeout",
        time(TENTH, DAY),
        lens!(s, at => s.cluster.comm_timeout),
        "A communication operation that takes longer has failed.",
    )
    .default("5m"),
    field(
        "cluster.orphan_grace",
        time(Duration::ZERO, DAY),
        lens!(s, at => s.cluster.orphan_grace),
        "How long a rank waits for a lost coordinator; null for 0s under an embedded one, 10m otherwise.",
    )
    .nullable()
    .default("null"),
    field("cluster.network", Kind::Word(NETWORKS), lens!(s, at => s.cluster.network), "What carries the bytes between ranks.")
        .default("real"),
    field("cluster.planes", Kind::Word(PLANES), lens!(s, at => s.cluster.planes), "How ranks use NICs on several planes.")
        .default("any"),
    field(
        "cluster.fabric",
        Kind::Path,
        lens!(s, at => s.cluster.fabric),
        "The network between ranks, as YAML, for plan, simulate and network: simulated; relative to this file; null for \
         none.",
    )
    .nullable()
    .default("null"),
    field(
        "cluster.hardware",
        Kind::Text,
        lens!(s, at => s.cluster.hardware),
        "The name of a hardware preset, for plan, simulate and network: simulated; null for that of the fabric.",
    )
    .nullable()
    .default("null"),
];
