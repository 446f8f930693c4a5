//! AdamW with master weights: one fused update over all matrices, one over all norms.

use ds_kernels::cuda::{self, Weight};
use ds_kernels::{AdamW, TorchError, fused_adamw};
use ds_model::StageModel;
use ds_plan::spec::{AdamWSpec, MomentType};
use tch::{Kind, Tensor, no_grad};

use super::buckets::cut;
use super::norm::scale;
use super::slots::Slots;

/// Master weights and moments of what is updated here, aligned with its slots.
pub struct Optimizer {
    slots: Slots,
    spec: AdamWSpec,
    /// The model's own tensors where it computes in the masters' format.
    masters: Vec<Tensor>,
    moments1: Vec<Tensor>,
    moments2: Vec<Tensor>,
    /// Updates so far, one number a parameter as the fused kernel wants it.
    counts: Vec<Tensor>,
    n_updates: u64,
    decays: Vec<bool>,
}

/// The format of masters and gradients for a format of computation.
pub fn master_kind(compute: Kind) -> Kind {
    if compute == Kind::Double { Kind::Double } else { Kind::Float }
}

impl Optimizer {
    /// Fresh moments over the model's present weights in these slots.
    pub fn new(spec: AdamWSpec, moments: MomentType, model: &StageModel, slots: Slots) -> Self {
        let masters: Vec<Tensor> = slots
            .iter()
            .map(|slot| {
                let weight = slot.weight(model);
                let kind = master_kind(weight.kind());
                if weight.kind() == kind { weight } else { weight.to_kind(kind) }
            })
            .collect();
        let zeros = || {
            let kind = |master: &Tensor| match moments {
                MomentType::F32 => master.kind(),
                MomentType::Bf16 => Kind::BFloat16,
            };
            masters.iter().map(|m| Tensor::zeros(m.size(), (kind(m), m.device()))).collect::<Vec<_>>()
        };
        Self {
            spec,
            moments1: zeros(),
            moments2: zeros(),
            counts: masters.iter().map(|m| Tensor::zeros([], (Kind::Float, m.device()))).collect(),
            n_updates: 0,
            decays: slots.iter().map(|slot| model.parameters()[slot.parameter].decays).collect(),
            masters,
            slots,
        }
    }

    /// What is updated here.
    pub fn slots(&self) -> &Slots {
        &self.slots
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
            for count in &mut self.counts {
                let _ = count.fill_(n_updates as f64);
            }
        });
        self.n_updates = n_updates;
        self.publish(model);
    }

    /// One update of every slot: an expert without tokens has a zero gradient. Gradients are one tensor a parameter; the
    /// update is that of gradients times `clip`, which they may be multiplied by in place.
    ///
    /// # Errors
    /// What LibTorch refuses.
    pub fn step(
        &mut self,
        model: &StageModel,
        gradients: &[Tensor],
        learning_rate: f64,
        clip: f64,
    ) -> Result<(), TorchError> {
        self.n_updates += 1;
        let gradients: Vec<Tensor> = self.slots.iter().map(|slot| slot.of(gradients)).collect();
        if self.masters.iter().all(cuda::takes) {
            return self.step_on_card(model, &gradients, learning_rate, clip);
        }
        scale(&gradients, clip);
        for decays in [true, false] {
            let settings = self.settings(learning_rate, decays);
            let places: Vec<usize> = (0..self.masters.len()).filter(|&i| self.decays[i] == decays).collect();
            for places in self.at_once(&places) {
                self.update(places, &gradients, settings)?;
            }
        }
        self.publish(model);
        Ok(())
    }

    fn settings(&self, learning_rate: f64, decays: bool) -> AdamW {
        AdamW {
            learning_rate,
            beta1: self.spec.beta1,
            beta2: self.spec.beta2,
            weight_decay: if decays { self.spec.weight_decay } else { 0.0 },
            eps: self.spec.eps,
        }
    }

    /// By the card's kernel, which clips and publishes on the way.
    fn step_on_card(
        &self,
        model: &StageModel,
        gradients: &[Tensor],
        learning_rate: f64,
        clip: f64,
    ) -> Result<(), TorchError> {
        for (i, (slot, master)) in self.slots.iter().zip(&self.masters).enumerate() {
            let tensor = slot.weight(model);
            let weight = Weight {
                master,
                gradient: &gradients[i],
                moments: [&self.moments1[i], &self.moments2[i]],
                copy: (tensor.kind() != master.kind()).then_some(&tensor),
            };
            cuda::adamw(&weight, self.settings(learning_rate, self.decays[i]), clip, self.n_updates)?;
        }
        Ok(())
    }

    /// All of them, or as many as are widened for an update at the same time: what that takes is small beside a rank's
    /// weights.
    fn at_once<'a>(&self, places: &'a [usize]) -> Vec<&'a [usize]> {
        let is_wide = |&i: &usize| self.moments1[i].kind() == self.masters[i].kind();
        if places.iter().all(is_wide) {
            return vec![places];
        }
        cut(places, |&i| self.masters[i].numel())
    }

    /// LibTorch's fused kernel wants moments in the masters' format.
    fn update(&self, places: &[usize], gradients: &[Tensor], settings: AdamW) -> Result<(), TorchError> {
        let pick = |all: &[Tensor]| -> Vec<Tensor> { places.iter().map(|&i| all[i].shallow_clone()).collect() };
        let widened = |all: &[Tensor]| -> Vec<Tensor> {
            places.iter().map(|&i| all[i].to_kind(self.masters[i].kind())).collect()
        };
        let (moments1, moments2) = (widened(&self.moments1), widened(&self.moments2));
        let (masters, gradients, counts) = (pick(&self.masters), pick(gradients), pick(&self.counts));
        fused_adamw(&masters, &gradients, &moments1, &moments2, &counts, settings)?;
        no_grad(|| {
            for (kept, wide) in [(&self.moments1, moments1), (&self.moments2, moments2)] {
                for (&i, wide) in places.iter().zip(wide) {
                    if kept[i].kind() != wide.kind() {
                        kept[i].shallow_clone().copy_(&wide);
                    }
                }
            }
        });
        Ok(())
    }

    /// Copies masters into a model that computes in another format.
    pub fn publish(&self, model: &StageModel) {
        no_grad(|| {
            for (slot, master) in self.slots.iter().zip(&self.masters) {
                let mut weight = slot.weight(model);
                if weight.kind() != master.kind() {
                    weight.copy_(master);
                }
            }
        });
    }
}
