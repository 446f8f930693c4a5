//! The global gradient norm: every logical parameter counts once, summed in the order of the model's table, so that
//! the order does not depend on the grid.

use std::collections::HashMap;
use std::time::Instant;

use ds_arch::parameters;
use ds_kernels::{TorchError, norms};
use ds_model::StageModel;
use ds_plan::JobPlan;
use tch::{Kind, Tensor, no_grad};

use super::slots::{Slot, Slots, logical};
use crate::comm::{CommError, Group, ReduceOp};

/// Which logical gradients this rank answers for.
pub struct NormShare {
    n_logical: usize,
    /// With their places in the model's table.
    mine: Vec<(Slot, usize)>,
}

/// Why a norm could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum NormError {
    /// A peer failed.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// LibTorch refused.
    #[error(transparent)]
    Torch(#[from] TorchError),
}

impl NormShare {
    /// Of what this rank writes to checkpoints: each logical matrix stands on exactly one rank.
    pub fn new(plan: &JobPlan, writes: &Slots, model: &StageModel) -> Self {
        let table = parameters(&plan.spec().model);
        let place: HashMap<&str, usize> = table.iter().enumerate().map(|(i, p)| (p.name.as_str(), i)).collect();
        let mine = logical(model).filter(|&(_, slot)| writes.contains(slot)).map(|(name, slot)| (slot, place[name]));
        Self { n_logical: table.len(), mine: mine.collect() }
    }

    /// The root of the sum of squares of all logical gradients of the job.
    ///
    /// # Errors
    /// When a peer fails or LibTorch refuses.
    pub fn global_norm(&self, gradients: &[Tensor], world: &Group, deadline: Instant) -> Result<f64, NormError> {
        let views: Vec<Tensor> = self.mine.iter().map(|(slot, _)| slot.of(gradients)).collect();
        let mut squares = vec![0.0_f64; self.n_logical];
        for (&(_, place), norm) in self.mine.iter().zip(norms(&views)?) {
            squares[place] = norm * norm;
        }
        // Every entry stands on one rank and is zero elsewhere, so this sum is exact.
        let all = world.all_reduce(&Tensor::from_slice(&squares), ReduceOp::Sum).wait(deadline)?;
        let all = Vec::<f64>::try_from(all.to_kind(Kind::Double)).expect("a vector of doubles");
        Ok(all.iter().sum::<f64>().sqrt())
    }
}

/// The factor that brings gradients of this norm down to the norm `limit` (arXiv 1211.5063); 1 for shorter ones.
pub fn clip(norm: f64, limit: f64) -> f64 {
    if norm > limit { limit / (norm + 1e-6) } else { 1.0 }
}

/// Multiplies all of them in place.
pub(super) fn scale(gradients: &[Tensor], by: f64) {
    if by != 1.0 {
        no_grad(|| {
            for gradient in gradients {
                let _ = gradient.shallow_clone().g_mul_scalar_(by);
            }
        });
    }
}
