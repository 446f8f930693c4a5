//! What the user wrote, resolved: presets and defaults filled in, nothing missing. Public fields, no methods; what may
//! stand where is in the table of fields, what fits together is checked by the rules.

mod blank;
mod events;
mod field;
mod fields;
mod kind;
mod origin;
mod paths;
mod problem;
mod read;
mod resolved;
mod rules;
mod schema;
mod set;
mod start;
mod suggest;
mod tree;
mod value;
mod walk;
mod write;

use std::path::PathBuf;
use std::time::Duration;

use ds_arch::ModelConfig;

pub use origin::Origin;
pub use problem::{Problem, Problems};
pub use read::read;
pub use resolved::{Explained, Resolved};
pub use schema::schema;
pub use start::Differing;
pub use write::to_yaml;

/// A job of `kind: train`.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSpec {
    /// What people call it.
    pub name: String,
    /// Of the initial weights and of the order of samples.
    pub seed: u64,
    /// The network.
    pub model: ModelConfig,
    /// What it learns from.
    pub data: DataSpec,
    /// How ranks divide the work.
    pub parallel: ParallelSpec,
    /// What happens in which order; one phase for now.
    pub train: Vec<PhaseSpec>,
    /// Number formats.
    pub precision: PrecisionSpec,
    /// How experts are kept equally loaded.
    pub balance: BalanceSpec,
    /// What is kept.
    pub checkpoint: CheckpointSpec,
    /// Where it runs.
    pub cluster: ClusterSpec,
}

/// What the model learns from.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSpec {
    /// A folder of token shards, or text or JSONL (also `.zst`): a file, or a folder of them.
    pub train: PathBuf,
    /// Likewise, held out.
    pub validation: Option<PathBuf>,
    /// How text becomes tokens.
    pub tokenizer: TokenizerSpec,
}

/// How text becomes tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerSpec {
    /// A token is a byte; 256 ends a document.
    Bytes,
    /// A Hugging Face `tokenizer.json`.
    File(PathBuf),
}

/// The axes of the grid. Ranks = pipeline × data × context × tensor; `expert` divides data × context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParallelSpec {
    /// Pipeline stages.
    pub pipeline: u32,
    /// Ranks that see different samples.
    pub data: u32,
    /// Ranks that share a sequence.
    pub context: u32,
    /// Ranks that share a matrix.
    pub tensor: u32,
    /// Ranks that the experts of a layer are spread over.
    pub expert: u32,
    /// The order of microbatches in the pipeline.
    pub schedule: ScheduleKind,
    /// Stages that each pipeline rank holds under the looped schedules (`ScheduleKind::is_looped`); 1 under the others.
    pub virtual_stages: u32,
    /// What the ranks that hold the same weights divide among themselves (arXiv 1910.02054): 0 nothing, 1 the
    /// optimizer's state, 2 also gradients, 3 also weights.
    pub zero: u32,
    /// What backward computes again instead of keeping it.
    pub recompute: Recompute,
    /// How tokens travel to experts on other ranks.
    pub exchange: ExchangeKind,
}

/// How tokens travel to experts on other ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// A row for every choice, from rank to rank.
    Plain,
    /// Once to every node, to the rank of the same index there, and on within the node; each node adds its results
    /// before they return (arXiv 2412.19437, §3.2.2).
    NodeLimited,
}

/// What backward computes again instead of keeping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recompute {
    /// Nothing.
    None,
    /// Norms, SwiGLU and the up-projections of MLA (arXiv 2412.19437, §3.2.3 and §3.3.3).
    Norms,
    /// Whole layers: only their inputs are kept.
    Full,
}

/// The order of microbatches in the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScheduleKind {
    /// One forward, one backward.
    OneFOneB,
    /// All forwards, then all backwards.
    GPipe,
    /// 1F1B with several short stages a rank.
    Interleaved,
    /// Likewise, and weight gradients wait.
    InterleavedZb,
    /// Several short stages a rank, each for all microbatches before the next.
    LoopedBfs,
    /// 1F1B whose weight gradients wait.
    ZbH1,
    /// Microbatches go down the ranks and back up, and weight gradients wait.
    ZbV,
    /// Microbatches enter at both ends.
    DualPipe,
    /// Microbatches go down the ranks and back up.
    DualPipeV,
}

impl ScheduleKind {
    /// Every kind, in the order in which reports name them.
    pub const ALL: [Self; 9] = [
        Self::OneFOneB,
        Self::GPipe,
        Self::Interleaved,
        Self::InterleavedZb,
        Self::LoopedBfs,
        Self::ZbH1,
        Self::ZbV,
        Self::DualPipe,
        Self::DualPipeV,
    ];

    /// Whether a rank holds `parallel.virtual_stages` short stages, a whole pipeline apart.
    pub fn is_looped(self) -> bool {
        matches!(self, Self::Interleaved | Self::InterleavedZb | Self::LoopedBfs)
    }
}

/// A stretch of training under one setting.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseSpec {
    /// Optimizer updates.
    pub steps: u64,
    /// Tokens of a sequence.
    pub sequence: u32,
    /// Sequences of a step, over all data ranks.
    pub batch: u32,
    /// Sequences of a microbatch.
    pub microbatch: u32,
    /// Over the steps of this phase.
    pub learning_rate: LearningRateSpec,
    /// AdamW (arXiv 1711.05101).
    pub optimizer: AdamWSpec,
    /// Largest global gradient norm; none to leave gradients alone.
    pub clip: Option<f64>,
    /// Weight of the MTP loss, λ.
    pub mtp_weight: f64,
    /// Steps between evaluations; the end is always evaluated. 0: only the end.
    pub evaluate_every: u64,
    /// Evaluate on this many bytes of the held-out text at most; none for all.
    pub evaluate_bytes: Option<u64>,
    /// Steps between steps whose trace is written; 0: none.
    pub trace_every: u64,
    /// Whether an exponential moving average of the weights is kept, in the memory of the host.
    pub ema: bool,
    /// What the average keeps of itself at an update.
    pub ema_decay: f64,
}

/// Linear warm-up to `peak`, then pieces; the last piece goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct LearningRateSpec {
    /// After warm-up.
    pub peak: f64,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// What follows it, in order.
    pub pieces: Vec<LearningRatePiece>,
}

/// One piece of a learning-rate schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRatePiece {
    /// How it moves.
    pub shape: LearningRateShape,
    /// Steps that it takes.
    pub steps: u64,
}

/// How a learning rate moves within a piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LearningRateShape {
    /// It stays.
    Constant,
    /// Half a cosine down (or up) to `to`.
    Cosine {
        /// At the end of the piece.
        to: f64,
    },
    /// It is `to` from the first step of the piece.
    Step {
        /// Throughout the piece.
        to: f64,
    },
}

/// AdamW with decoupled weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWSpec {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// On matrices, not on norms.
    pub weight_decay: f64,
}

/// Number formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrecisionSpec {
    /// Of forward and backward; master weights and gradients are FP32 (FP64 in F64).
    pub compute: ComputeType,
    /// How scales of eight-bit floats follow from what they scale; only read in FP8.
    pub scales: ScaleType,
    /// Of both moments of AdamW.
    pub moments: MomentType,
    /// Of what goes to experts: tokens, and in backward the gradients of results.
    pub dispatch: WireType,
    /// Of what comes back from experts: results, and in backward the gradients of tokens.
    pub combine: WireType,
}

/// How a scale follows from the greatest element of its tile or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScaleType {
    /// The greatest element over 448.
    Exact,
    /// The next power of two.
    PowerOfTwo,
}

/// The format of AdamW's moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MomentType {
    /// IEEE single (double when computing in F64).
    F32,
    /// bfloat16.
    Bf16,
}

/// The format of what an exchange sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireType {
    /// That of activations.
    Compute,
    /// bfloat16.
    Bf16,
    /// 8-bit floats with a scale for each 128 of them.
    Fp8,
    /// 8-bit logarithms with two scales for each 128 of them (arXiv 2505.09343, §3.2).
    LogFmt8,
    /// Likewise, of 10 bits.
    LogFmt10,
}

/// The format of forward and backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComputeType {
    /// IEEE single.
    F32,
    /// bfloat16.
    Bf16,
    /// Matrices multiply in 8-bit floats with block-wise scales, the rest is bfloat16 (arXiv 2412.19437, §3.3).
    Fp8,
    /// IEEE double, everywhere: for comparisons.
    F64,
}

/// How experts are kept equally loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BalanceSpec {
    /// By a bias on the gate, or not.
    pub policy: BalancePolicy,
    /// Weight α of the sequence-wise loss (arXiv 2412.19437, equations 17 to 20); 0 for none.
    pub sequence_weight: f64,
    /// Likewise of the same loss over all tokens of a microbatch at once; 0 for none.
    pub batch_weight: f64,
    /// Where the weights of experts live.
    pub placement: PlacementPolicy,
}

/// Where the weights of experts live.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PlacementPolicy {
    /// Where they are when the job begins: equal runs on the ranks of an expert group.
    Fixed,
    /// Where measured loads say, by DeepSeek's load balancer.
    Eplb {
        /// Spare slots of an expert group, for replicas of hot experts.
        redundant: u32,
        /// Steps between decisions.
        every: u64,
        /// By what share of the mean load the busiest rank must exceed it before experts move.
        above: f64,
        /// By how much a move must lower that share.
        gain: f64,
    },
}

/// What moves the gate's bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BalancePolicy {
    /// Nothing: it stays zero.
    None,
    /// Nothing, and the gate chooses nothing: experts take turns, for benchmarks.
    Forced,
    /// Loss-free balancing (arXiv 2408.15664, algorithm 1 and its variants).
    LossFree {
        /// γ.
        speed: f64,
        /// How the load error becomes a step.
        rule: BiasRule,
        /// Step from which the speed is 0; none to keep moving.
        freeze_after: Option<u64>,
    },
}

/// How a load error moves a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BiasRule {
    /// γ · sign(mean − load).
    Sign,
    /// γ · (mean − load) / mean; the paper does not say by what it divides.
    Proportional,
}

/// What is kept of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSpec {
    /// Steps between checkpoints; the end is always kept. 0: only the end.
    pub every: u64,
    /// Newest checkpoints kept.
    pub keep: u32,
    /// Where, instead of the run's own folder.
    pub folder: Option<PathBuf>,
    /// Start from this checkpoint instead of fresh weights.
    pub start_from: Option<PathBuf>,
}

/// Where and how the ranks run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSpec {
    /// What ranks compute on.
    pub device: DeviceKind,
    /// Ranks that share a node, in their order; where an exchange is limited by nodes.
    pub gpus_per_node: Option<u32>,
    /// Threads of a rank inside LibTorch.
    pub threads: u32,
    /// Whether a rank may be seated on a GPU, or on cores, that another rank holds.
    pub share_devices: bool,
    /// Higher goes first.
    pub priority: i32,
    /// Attempts after the first.
    pub max_restarts: u32,
    /// A rank or node silent for this long is dead.
    pub heartbeat_timeout: Duration,
    /// A communication operation that takes longer has failed.
    pub comm_timeout: Duration,
    /// What carries the bytes between them.
    pub network: NetworkKind,
    /// How ranks use NICs on several planes.
    pub planes: PlanesUse,
    /// The network between them, as YAML: for planning and simulation.
    pub fabric: Option<PathBuf>,
    /// The name of a hardware preset: for planning and simulation.
    pub hardware: Option<String>,
    /// How long a rank waits for a lost coordinator; none: 0 under an embedded coordinator, 10 minutes otherwise.
    pub orphan_grace: Option<Duration>,
}

/// What carries the bytes between ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkKind {
    /// The network of their machines.
    Real,
    /// The memory of one process, whose threads they are; every step is played on the fabric.
    Simulated,
}

/// How ranks use NICs on several planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanesUse {
    /// Any address of a peer, the first that answers.
    Any,
    /// Each rank its own NIC; what is for another plane goes by a neighbour on it.
    Own,
    /// Likewise, and long messages over all planes at once.
    Striped,
}

/// What ranks compute on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The node's cores.
    Cpu,
    /// One GPU a rank.
    Cuda,
}
