//! What a trainer needs before its first step: the stage's weights, the groups, the tokens.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ds_data::{TokenFolder, TokenizerChoice, prepare};
use ds_kernels::fp8::{self, ScaleRule};
use ds_model::{Precision, Products, SequenceShare, StageModel, StagePart};
use ds_plan::schedule::transfers;
use ds_plan::spec::{BalancePolicy, ComputeType, PrecisionSpec, Recompute, ScaleType, TokenizerSpec};
use ds_plan::{GroupKind, JobPlan, RankPlan, Stage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::{Device, Kind};

use super::checkpoints::{self, Checkpoints};
use crate::comm::{CommError, Endpoint, Group, Nccl};
use crate::error::RankError;
use crate::exchange::{CommExchange, Formats, Nodes};
use crate::step::{Cut, Ema, Optimizer, now};

/// What a seat brings to a rank.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Where checkpoints of the run go, and come from.
    pub checkpoints: PathBuf,
    /// Where text that became tokens lies.
    pub token_cache: PathBuf,
}

/// The groups that a rank talks in.
pub(crate) struct Groups {
    pub(crate) world: Group,
    pub(crate) pipeline: Group,
    pub(crate) data: Group,
    /// Of ranks that share sequences.
    pub(crate) context: Option<Group>,
    pub(crate) expert: Group,
    pub(crate) replica: Group,
    /// Of an exchange that is limited by nodes: those of the same index, those of the same node.
    pub(crate) nodes: Option<(Group, Group)>,
    /// Of every operation.
    pub(crate) timeout: Duration,
}

impl Groups {
    pub(crate) fn new(endpoint: &Endpoint, plan: &JobPlan, rank: &RankPlan) -> Self {
        // In the plan's order, on every rank.
        let made: Vec<(GroupKind, Group)> =
            rank.groups.iter().map(|group| (group.kind, endpoint.group(group.id, &group.ranks))).collect();
        let found = |kind| made.iter().find(|(k, _)| *k == kind).map(|(_, group)| group.clone());
        let of = |kind| found(kind).expect("a rank is in one group of each kind");
        Self {
            world: of(GroupKind::World),
            pipeline: of(GroupKind::Pipeline),
            data: of(GroupKind::Data),
            context: found(GroupKind::Context),
            expert: of(GroupKind::Expert),
            replica: of(GroupKind::Replica),
            nodes: found(GroupKind::Peers).zip(found(GroupKind::Node)),
            timeout: plan.spec().cluster.comm_timeout,
        }
    }

    /// The same with tensors on cards, where ranks have one each and all of them have NCCL; every rank calls it.
    ///
    /// # Errors
    /// When NCCL refuses, or a peer fails.
    pub(crate) fn on_cards(mut self, plan: &JobPlan, device: Device) -> Result<Self, RankError> {
        let Device::Cuda(card) = device else { return Ok(self) };
        if self.world.size() == 1 || plan.spec().cluster.share_devices {
            return Ok(self);
        }
        let nccl = Nccl::new(card);
        let told = nccl.as_ref().err().map_or("", String::as_str);
        let told = self.world.all_gather_bytes(told.as_bytes()).wait(self.deadline())?;
        if let Some(without) = told.iter().position(|reason| !reason.is_empty()) {
            let reason = String::from_utf8_lossy(&told[without]);
            tracing::warn!("tensors go by the host: rank {without} has no NCCL: {reason}");
            return Ok(self);
        }
        let nccl = nccl.map_err(|reason| RankError::Device { device: format!("cuda:{card}"), reason })?;
        tracing::info!("NCCL {}", nccl.version());
        let (none, pairs, timeout) = (BTreeSet::new(), sends_between_stages(plan), self.timeout);
        let moved = |group: &Group, pairs: &BTreeSet<(usize, usize)>| match group.size() {
            1 => Ok(group.clone()),
            _ => group.on_cards(&nccl, pairs, timeout),
        };
        self.pipeline = moved(&self.pipeline, &pairs)?;
        for group in [&mut self.data, &mut self.expert, &mut self.replica].into_iter().chain(&mut self.context) {
            *group = moved(group, &none)?;
        }
        if let Some((peers, node)) = &mut self.nodes {
            (*peers, *node) = (moved(peers, &none)?, moved(node, &none)?);
        }
        Ok(self)
    }

    /// What every rank has to say, in order, at rank 0; nothing at others. Every rank calls it.
    ///
    /// # Errors
    /// When a peer fails; within, when one does not say what it should.
    pub(super) fn at_first<T: Serialize + DeserializeOwned>(
        &self,
        own: &T,
    ) -> Result<Option<serde_json::Result<Vec<T>>>, CommError> {
        let own = serde_json::to_vec(own).expect("numbers, words, and lists of them are JSON");
        let told = self.world.all_gather_bytes(&own).wait(self.deadline())?;
        let read = || told.iter().map(|bytes| serde_json::from_slice(bytes)).collect();
        Ok((self.world.index() == 0).then(read))
    }

    /// When an operation that starts now has failed.
    pub(crate) fn deadline(&self) -> Instant {
        now() + self.timeout
    }
}

/// Who sends whom something in the pipeline: activations, gradients, gradients of what several hold.
fn sends_between_stages(plan: &JobPlan) -> BTreeSet<(usize, usize)> {
    let placement = plan.placement();
    let mut pairs = BTreeSet::new();
    for from in 0..placement.n_pipeline() {
        let pieces = plan.actions(from).iter().flat_map(|action| action.pieces());
        let to = pieces.filter_map(|piece| transfers(piece, placement).send).map(|to| to.pipeline);
        pairs.extend(to.filter(|&to| to != from).map(|to| (from as usize, to as usize)));
    }
    for shared in plan.shared_parameters() {
        let holders: Vec<usize> = shared.pipeline.iter().map(|&at| at as usize).collect();
        for &other in holders.iter().skip(1) {
            pairs.extend([(holders[0], other), (other, holders[0])]);
        }
    }
    pairs
}

pub(crate) fn device(name: &str) -> Result<Device, RankError> {
    let refused = |reason: String| RankError::Device { device: name.to_owned(), reason };
    let Some(index) = name.strip_prefix("cuda:") else { return Ok(Device::Cpu) };
    let index: usize = index.parse().map_err(|_| refused("its number does not read".to_owned()))?;
    ds_kernels::load_cuda().map_err(|error| refused(error.to_string()))?;
    match tch::Cuda::device_count() as usize {
        n if n <= index => return Err(refused(format!("LibTorch sees {n} GPUs"))),
        _ => (),
    }
    match ds_kernels::cuda::prepare(index) {
        Ok(()) => tracing::info!("{name}: kernels compiled"),
        Err(error) => tracing::warn!("{name}: LibTorch's operations instead of fused kernels: {error}"),
    }
    Ok(Device::Cuda(index))
}

/// Of activations and products.
pub(crate) fn precision(spec: &PrecisionSpec) -> Precision {
    match spec.compute {
        ComputeType::F32 => Kind::Float.into(),
        ComputeType::Bf16 => Kind::BFloat16.into(),
        ComputeType::Fp8 => {
            let rule = match spec.scales {
                ScaleType::Exact => ScaleRule::Exact,
                ScaleType::PowerOfTwo => ScaleRule::PowerOfTwo,
            };
            Precision { kind: Kind::BFloat16, products: Products::Fp8(rule) }
        }
        ComputeType::F64 => Kind::Double.into(),
    }
}

/// How tokens reach the experts of other ranks.
pub(super) fn exchange(plan: &JobPlan, groups: &Groups) -> CommExchange {
    let spec = plan.spec();
    let nodes = groups.nodes.clone().map(|(peers, node)| Nodes { peers, node });
    CommExchange::new(groups.expert.clone(), spec.model.moe.n_experts, Formats::of(&spec.precision), groups.timeout)
        .on_nodes_of(plan.grid().n_expert_on_node(spec.cluster.gpus_per_node))
        .over(nodes)
        .sharing(groups.context.clone())
}

/// Which positions of its sequences a rank has.
pub(super) fn sequence_share(plan: &JobPlan, rank: &RankPlan) -> SequenceShare {
    SequenceShare { place: rank.at.context as usize, n: plan.grid().n_context() as usize }
}

/// The rank's part of the network, with initial weights.
pub(crate) fn stage_model(plan: &JobPlan, rank: &RankPlan, device: Device) -> Result<StageModel, RankError> {
    let part = |stage: &Stage| StagePart {
        embeds: stage.embeds,
        layers: stage.layers.clone(),
        scores: stage.scores,
        mtp_layers: stage.mtp_layers.clone(),
        experts: rank.experts.clone(),
    };
    let parts = rank.stages.iter().map(part).collect();
    let spec = plan.spec();
    let precision = precision(&spec.precision);
    if let (Products::Fp8(_), Device::Cuda(index)) = (precision.products, device) {
        match fp8::prepare_products(index) {
            Ok(()) => tracing::info!("cuda:{index}: FP8 products by the card"),
            Err(error) => tracing::warn!("cuda:{index}: FP32 products of FP8 numbers: {error}"),
        }
    }
    let mut model = StageModel::of_parts(&spec.model, parts, device, precision, spec.seed)?;
    if spec.balance.policy == BalancePolicy::Forced {
        model.take_turns();
    }
    if spec.parallel.recompute == Recompute::Norms {
        model.recompute();
    }
    Ok(model)
}

/// The newest whole checkpoint of the run, or where the spec says to start, or the initial weights as they are.
/// Returns the updates that the weights have seen in this run, and their moving average if there is to be one.
pub(super) fn take_up_weights(
    plan: &JobPlan,
    checkpoints: &Checkpoints,
    model: &StageModel,
    optimizer: &mut Optimizer,
    groups: &Groups,
) -> Result<(u64, Option<Ema>), RankError> {
    let phase = &plan.spec().train[0];
    let ema = |optimizer: &Optimizer| phase.ema.then(|| Ema::new(optimizer.masters(), phase.ema_decay)).transpose();
    if let Some(newest) = checkpoints::newest(&checkpoints.folder, &groups.world, groups.deadline())? {
        checkpoints::load(&newest, model, optimizer, true)?;
        tracing::info!("resumed at step {}", newest.state().step);
        let ema = ema(optimizer)?;
        if let Some(ema) = &ema
            && !checkpoints::load_ema(&newest, model, optimizer, ema)?
        {
            tracing::warn!("no moving average was kept so far; it starts from the weights");
        }
        return Ok((newest.state().step, ema));
    }
    if let Some(start) = &plan.spec().checkpoint.start_from {
        checkpoints::load(&ds_checkpoint::Checkpoint::open(start)?, model, optimizer, false)?;
        tracing::info!("started from {}", start.display());
    }
    Ok((0, ema(optimizer)?))
}

/// Training and held-out tokens.
pub(super) fn open_tokens(
    plan: &JobPlan,
    setup: &Setup,
    cut: Cut,
) -> Result<(TokenFolder, Option<TokenFolder>), RankError> {
    let data = &plan.spec().data;
    let tokenizer = match &data.tokenizer {
        TokenizerSpec::Bytes => TokenizerChoice::Bytes,
        TokenizerSpec::File(path) => TokenizerChoice::File(path.clone()),
    };
    let open = |field, source| -> Result<TokenFolder, RankError> {
        let tokens = TokenFolder::open(&prepare(source, &tokenizer, &setup.token_cache, &mut |_| ())?)?;
        let vocab_size = plan.spec().model.vocab_size;
        if u64::from(tokens.vocab_size()) > u64::from(vocab_size) {
            return Err(RankError::Vocabulary { field, found: u64::from(tokens.vocab_size()), vocab_size });
        }
        if tokens.n_windows(cut.sequence, cut.extra()) == 0 {
            let needed = cut.sequence + cut.extra();
            return Err(RankError::TooLittleText { field, n_tokens: tokens.n_tokens(), needed });
        }
        Ok(tokens)
    };
    let validation = data.validation.as_ref().map(|source| open("validation", source)).transpose()?;
    Ok((open("train", &data.train)?, validation))
}
