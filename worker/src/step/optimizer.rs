//! AdamW with master weights: one fused update over all matrices, one over all norms.

use ds_kernels::{AdamW, TorchError, fused_adamw};
use ds_model::StageModel;
use ds_plan::spec::AdamWSpec;
use tch::{Kind, Tensor, no_grad};

/// Master weights and moments of a stage, aligned with `StageModel::parameters`.
pub struct Optimizer {
    spec: AdamWSpec,
    /// The model's own tensors where it computes in the masters' format.
    masters: Vec<Tensor>,
    moments1: Vec<Tensor>,
    moments2: Vec<Tensor>,
    /// Updates so far, one number a parameter as the fused kernel wants it.
    n_updates: Vec<Tensor>,
    decays: Vec<bool>,
}

/// The format of masters, gradients and moments for a format of computation.
pub fn master_kind(compute: Kind) -> Kind {
    if compute == Kind::Double { Kind::Double } else { Kind::Float }
}

impl Optimizer {
    /// Fresh moments over the model's present weights.
    pub fn new(spec: AdamWSpec, model: &StageModel) -> Self {
        let parameters = model.parameters();
        let masters: Vec<Tensor> = parameters
            .iter()
            .map(|p| {
                let weight = p.tensor.detach();
                let kind = master_kind(weight.kind());
                if weight.kind() == kind { weight } else { weight.to_kind(kind) }
            })
            .collect();
        let zeros = || masters.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
        Self {
            spec,
            moments1: zeros(),
            moments2: zeros(),
            n_updates: masters.iter().map(|m| Tensor::zeros([], (Kind::Float, m.device()))).collect(),
            decays: parameters.iter().map(|p| p.decays).collect(),
            masters,
        }
    }

    /// Master weights, to save or to overwrite in place.
    pub fn masters(&self) -> &[Tensor] {
        &self.masters
    }

    /// First moments.
    pub fn moments1(&self) -> &[Tensor] {
        &self.moments1
    }

    /// Second moments.
    pub fn moments2(&self) -> &[Tensor] {
        &self.moments2
    }

    /// After masters were overwritten: tells the model, and how many updates they have seen.
    pub fn restored(&mut self, model: &StageModel, n_updates: u64) {
        no_grad(|| {
            for count in &mut self.n_updates {
                let _ = count.fill_(n_updates as f64);
            }
        });
        self.publish(model);
    }

    /// One update of every parameter with a gradient, and hence of all: an expert without tokens has a zero gradient.
    ///
    /// # Errors
    /// What LibTorch refuses.
    pub fn step(&mut self, model: &StageModel, gradients: &[Tensor], learning_rate: f64) -> Result<(), TorchError> {
        for decays in [true, false] {
            let pick = |all: &[Tensor]| -> Vec<Tensor> {
                all.iter().zip(&self.decays).filter(|(_, d)| **d == decays).map(|(t, _)| t.shallow_clone()).collect()
            };
            let settings = AdamW {
                learning_rate,
                beta1: self.spec.beta1,
                beta2: self.spec.beta2,
                weight_decay: if decays { self.spec.weight_decay } else { 0.0 },
                eps: self.spec.eps,
            };
            fused_adamw(
                &pick(&self.masters),
                &pick(gradients),
                &pick(&self.moments1),
                &pick(&self.moments2),
                &pick(&self.n_updates),
                settings,
            )?;
        }
        self.publish(model);
        Ok(())
    }

    /// Copies masters into a model that computes in another format.
    fn publish(&self, model: &StageModel) {
        no_grad(|| {
            for (parameter, master) in model.parameters().iter().zip(&self.masters) {
                if parameter.tensor.kind() != master.kind() {
                    parameter.tensor.shallow_clone().copy_(master);
                }
            }
        });
    }
}
