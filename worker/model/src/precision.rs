//! The number formats of a model.

use ds_arch::hugging_face::is_quantised;
use ds_kernels::fp8::{self, ScaleRule};
use ds_kernels::fused;
use tch::{Kind, Tensor};

use crate::ModelError;

/// The number formats of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precision {
    /// Of activations, and of weights that no product of codes reads.
    pub kind: Kind,
    /// How the projections of attention, of feed-forward networks and of experts multiply.
    pub products: Products,
}

/// How projections multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// In the format of activations.
    Plain,
    /// On E4M3 codes, all three of them (arXiv 2412.19437, §3.3); these weights are then kept in FP32, since every
    /// product makes codes of them.
    Fp8(ScaleRule),
}

impl From<Kind> for Precision {
    fn from(kind: Kind) -> Self {
        Self { kind, products: Products::Plain }
    }
}

impl Precision {
    /// Of the gate, and of what is summed over many terms: FP32 at least.
    pub fn wide(self) -> Kind {
        if self.kind == Kind::Double { Kind::Double } else { Kind::Float }
    }

    /// Of a weight as the model keeps it.
    pub(crate) fn of_weight(self, name: &str) -> Kind {
        match self.products {
            Products::Fp8(_) if is_quantised(name) => Kind::Float,
            Products::Fp8(_) | Products::Plain => self.kind,
        }
    }
}

impl Products {
    /// x Wᵀ over the last dimension of `x`; the weight is `[out, in]`.
    pub(crate) fn linear(self, x: &Tensor, weight: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Self::Plain => linear(x, weight),
            Self::Fp8(rule) => {
                let (rows, shape) = rows(x, weight);
                Ok(fp8::linear(&rows, weight, rule)?.view(shape.as_slice()))
            }
        }
    }
}

/// x Wᵀ over the last dimension of `x`, in the format of activations.
pub(crate) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor, ModelError> {
    let (rows, shape) = rows(x, weight);
    Ok(fused::linear(&rows, weight)?.view(shape.as_slice()))
}

/// `x` as a matrix, and the shape of its product with a weight `[out, in]`.
pub(crate) fn rows(x: &Tensor, weight: &Tensor) -> (Tensor, Vec<i64>) {
    let mut shape = x.size();
    let width = shape.pop().expect("a matrix has columns");
    shape.push(weight.size()[0]);
    (x.reshape([-1, width]), shape)
}
