//! The loss: cross-entropies as sums, weighted so that the whole batch counts as one mean.

use tch::{Reduction, Tensor};

/// A target that no loss is taken for.
pub const IGNORED: i64 = -100;

/// Factors on the raw sums. All zero (the default): a pass that nobody walks back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossWeights {
    /// On the sum of the main cross-entropies.
    pub token: f64,
    /// On the sum of all MTP cross-entropies.
    pub mtp: f64,
    /// On the sum of the sequence-wise balance terms over sequences and MoE layers.
    pub balance: f64,
    /// On the sum of the balance terms of whole microbatches over microbatches and MoE layers.
    pub batch_balance: f64,
}

/// Raw sums and the numbers of their terms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageLosses {
    /// Cross-entropy in nats, and targets.
    pub loss: (f64, f64),
    /// Likewise of all MTP modules.
    pub mtp: (f64, f64),
    /// Balance terms, and sequences times MoE layers.
    pub balance: (f64, f64),
}

/// Sum of the cross-entropies of `logits`, `[b, t, vocabulary]`, in FP32 at least.
pub(crate) fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Tensor {
    let vocabulary = *logits.size().last().expect("logits have a width");
    let kind = if logits.kind() == tch::Kind::Double { tch::Kind::Double } else { tch::Kind::Float };
    let rows = logits.reshape([-1, vocabulary]).to_kind(kind);
    rows.cross_entropy_loss(&targets.reshape([-1]), None::<&Tensor>, Reduction::Sum, IGNORED, 0.0)
}

/// Targets that count.
pub(crate) fn n_targets(targets: &Tensor) -> f64 {
    targets.ne(IGNORED).sum(tch::Kind::Int64).int64_value(&[]) as f64
}
