//! Weights' gradients that wait: backward is split into that of inputs, which the stage before waits for, and that of
//! weights, which fills bubbles (zero bubble, arXiv 2401.10241, §2).

use crate::ModelError;
use crate::parameters::Gradients;

type Work = Box<dyn FnOnce(&mut Gradients) -> Result<(), ModelError>>;

/// What is left to do of the backward of one microbatch on one stage: weights' gradients. It holds inputs and output
/// gradients of the stage's products until then.
#[derive(Default)]
pub struct WeightWork(Vec<Work>);

impl WeightWork {
    pub(crate) fn push(&mut self, work: impl FnOnce(&mut Gradients) -> Result<(), ModelError> + 'static) {
        self.0.push(Box::new(work));
    }

    /// Computes the gradients and adds them to `gradients`.
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn run(self, gradients: &mut Gradients) -> Result<(), ModelError> {
        self.0.into_iter().try_for_each(|work| work(gradients))
    }
}
