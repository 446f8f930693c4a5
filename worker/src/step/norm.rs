//! The global gradient norm: every logical parameter counts once, summed in the order of the model's table, so that
//! the order does not depend on the grid.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use ds_arch::parameters;
use ds_kernels::{TorchError, norms};
use ds_model::StageModel;
use ds_plan::JobPlan;
use tch::{Kind, Tensor, no_grad};

use crate::comm::{CommError, Group, ReduceOp};

/// Which logical gradients this rank answers for.
pub struct NormShare {
    n_logical: usize,
    /// (parameter of the stage, row of a stacked one, place in the model's table).
    mine: Vec<(usize, Option<i64>, usize)>,
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
    /// Of what this rank writes to checkpoints, by logical names: each stands on exactly one rank.
    pub fn new(plan: &JobPlan, writes: &HashSet<String>, model: &StageModel) -> Self {
        let table = parameters(&plan.spec().model);
        let place: HashMap<&str, usize> = table.iter().enumerate().map(|(i, p)| (p.name.as_str(), i)).collect();
        let mut mine = Vec::new();
        for (i, parameter) in model.parameters().iter().enumerate() {
            for logical in parameter.logical.iter().filter(|logical| writes.contains(&logical.name)) {
                mine.push((i, logical.index, place[logical.name.as_str()]));
            }
        }
        Self { n_logical: table.len(), mine }
    }

    /// The root of the sum of squares of all logical gradients of the job.
    ///
    /// # Errors
    /// When a peer fails or LibTorch refuses.
    pub fn global_norm(&self, gradients: &[Tensor], world: &Group, deadline: Instant) -> Result<f64, NormError> {
        let views: Vec<Tensor> = self
            .mine
            .iter()
            .map(|&(i, row, _)| row.map_or_else(|| gradients[i].shallow_clone(), |row| gradients[i].get(row)))
            .collect();
        let mut squares = vec![0.0_f64; self.n_logical];
        for (&(_, _, place), norm) in self.mine.iter().zip(norms(&views)?) {
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
