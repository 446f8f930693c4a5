//! The model as data: its numbers, its logical parameters, its operations. One truth for planner, model, checkpoint
//! tools and bridge; no LibTorch.

mod config;
mod counts;
pub mod e4m3;
pub mod e5m2;
mod eight_bits;
pub mod hugging_face;
mod ids;
pub mod logfmt;
mod operations;
mod parameters;
mod presets;

pub use config::{
    AttentionConfig, BiasUse, GateScore, GroupLimit, GroupScore, ModelConfig, MoeConfig, MtpConfig, MtpInput,
    RopeConfig,
};
pub use counts::{Counts, counts};
pub use ids::{ExpertId, LayerId};
pub use operations::{Cost, Load, Operation, OperationKind, operations, optimizer_operation, places};
pub use parameters::{Init, Parameter, Place, gate_bias_name, parameters};
pub use presets::{PRESETS, preset};
