//! A spec before anything was read into it. Every field is set, or named in a problem, before anybody sees it.

use std::path::PathBuf;
use std::time::Duration;

use ds_arch::{
    AttentionConfig, BiasUse, GateScore, GroupLimit, GroupScore, ModelConfig, MoeConfig, MtpConfig, MtpInput,
    RopeConfig,
};

use super::{
    BalancePolicy, BalanceSpec, CheckpointSpec, ClusterSpec, ComputeType, DataSpec, DeviceKind, ExchangeKind, JobSpec,
    MomentType, NetworkKind, ParallelSpec, PlacementPolicy, PlanesUse, PrecisionSpec, Recompute, ScaleType,
    ScheduleKind, TokenizerSpec, WireType,
};

pub(super) fn blank() -> JobSpec {
    JobSpec {
        name: String::new(),
        seed: 0,
        model: model(),
        data: DataSpec { train: PathBuf::new(), validation: None, tokenizer: TokenizerSpec::Bytes },
        parallel: ParallelSpec {
            pipeline: 1,
            data: 1,
            context: 1,
            tensor: 1,
            expert: 1,
            schedule: ScheduleKind::OneFOneB,
            virtual_stages: 1,
            zero: 0,
            recompute: Recompute::None,
            exchange: ExchangeKind::Plain,
        },
        train: Vec::new(),
        precision: PrecisionSpec {
            compute: ComputeType::F32,
            scales: ScaleType::Exact,
            moments: MomentType::F32,
            dispatch: WireType::Compute,
            combine: WireType::Compute,
        },
        balance: BalanceSpec {
            policy: BalancePolicy::None,
            sequence_weight: 0.0,
            batch_weight: 0.0,
            placement: PlacementPolicy::Fixed,
        },
        checkpoint: CheckpointSpec { every: 0, keep: 0, folder: None, start_from: None },
        cluster: ClusterSpec {
            device: DeviceKind::Cpu,
            gpus_per_node: None,
            threads: 0,
            share_devices: false,
            network: NetworkKind::Real,
            planes: PlanesUse::Any,
            priority: 0,
            max_restarts: 0,
            heartbeat_timeout: Duration::ZERO,
            comm_timeout: Duration::ZERO,
            fabric: None,
            hardware: None,
            orphan_grace: None,
        },
    }
}

fn model() -> ModelConfig {
    ModelConfig {
        vocab_size: 0,
        hidden_size: 0,
        n_layers: 0,
        n_dense_layers: 0,
        dense_hidden: 0,
        attention: AttentionConfig {
            n_heads: 0,
            q_lora_rank: None,
            kv_lora_rank: 0,
            qk_nope_dim: 0,
            qk_rope_dim: 0,
            v_head_dim: 0,
            rope: RopeConfig::plain(0.0),
            max_positions: 0,
        },
        moe: MoeConfig {
            n_experts: 0,
            n_shared: 0,
            top_k: 0,
            expert_hidden: 0,
            groups: GroupLimit::AnyGroup,
            group_score: GroupScore::TwoBest,
            score: GateScore::Sigmoid,
            bias: BiasUse::Added,
            normalise: false,
            route_scale: 0.0,
        },
        mtp: MtpConfig { depth: 0, input: MtpInput::PostNorm },
        norm_eps: 0.0,
        init_std: 0.0,
    }
}
