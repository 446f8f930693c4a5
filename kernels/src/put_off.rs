//! Weights' gradients that backward notes instead of computing, so that whoever walks a graph back has them made when he
//! likes: backward is split into that of inputs and that of weights (zero bubble, arXiv 2401.10241, §2).

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tch::{Tensor, no_grad};

use crate::TorchError;
use crate::fused::wide;

/// Adds a weight's gradient to a sum of the weight's shape, FP32 at least.
type Add = Box<dyn FnOnce(&Tensor) -> Result<(), TorchError> + Send>;

/// The gradient of one weight, still to be computed.
pub struct WeightGradient {
    weight: Tensor,
    add: Add,
}

impl fmt::Debug for WeightGradient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeightGradient").field("weight", &self.weight.size()).finish_non_exhaustive()
    }
}

impl WeightGradient {
    /// Of what: a leaf of the graph, or a view of one.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// Computes it and adds it to `sum`, which has the weight's shape and is FP32 at least.
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn add_to(self, sum: &Tensor) -> Result<(), TorchError> {
        no_grad(|| (self.add)(sum))
    }
}

/// Where backward notes them. Nodes that are made within [`PutOff::scope`] give no gradient of their weight, and note it
/// here when they run backward, on whatever thread.
#[derive(Clone, Debug, Default)]
pub struct PutOff(Arc<Mutex<Vec<WeightGradient>>>);

thread_local! {
    static CURRENT: RefCell<Option<PutOff>> = const { RefCell::new(None) };
}

impl PutOff {
    /// Runs `body`, whose nodes note here.
    pub fn scope<T>(&self, body: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(Some(self.clone()));
        let result = body();
        CURRENT.set(before);
        result
    }

    /// What has been noted since the last time, in the order of notes.
    pub fn take(&self) -> Vec<WeightGradient> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// That of the scope in which a node is made.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    fn note(&self, gradient: WeightGradient) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(gradient);
    }
}

/// The gradient of `weight`, which `add` adds to a sum: now, in the weight's format, or noted and none.
pub(crate) fn weight_gradient(
    put_off: Option<&PutOff>,
    weight: &Tensor,
    add: impl FnOnce(&Tensor) -> Result<(), TorchError> + Send + 'static,
) -> Result<Option<Tensor>, TorchError> {
    if let Some(put_off) = put_off {
        put_off.note(WeightGradient { weight: weight.detach(), add: Box::new(add) });
        return Ok(None);
    }
    let sum = Tensor::f_zeros(weight.size(), (wide(weight.kind()), weight.device()))?;
    add(&sum)?;
    Ok(Some(sum.f_to_kind(weight.kind())?))
}
