//! The SwiGLU networks of a rank's experts by grouped products: one product for all experts, whatever each has got.

use tch::{Kind, Tensor};

use super::swiglu;
use crate::TorchError;

/// Bytes that every row of a factor is a multiple of, for LibTorch's grouped product.
const ROW_BYTES: i64 = 16;

/// Whether [`grouped_experts`] takes rows of these tensors: LibTorch has grouped products for cards in BF16.
pub fn groups(x: &Tensor, down: &Tensor) -> bool {
    let alike = x.kind() == Kind::BFloat16 && down.kind() == Kind::BFloat16;
    x.device().is_cuda() && alike && widths_fit(down)
}

fn widths_fit(down: &Tensor) -> bool {
    let bytes = down.kind().elt_size_in_bytes() as i64;
    down.size()[1..].iter().all(|width| width * bytes % ROW_BYTES == 0)
}

/// W_down (silu(W_gate x) ⊙ W_up x) of each row's expert, differentiable: `x` is `[r, d]`, sorted by expert, `gate_up`
/// `[2e, n, d]`, gate and up projection of an expert next to each other, `down` `[e, d, n]`; the e `counts` sum to r.
///
/// # Errors
/// When LibTorch refuses.
pub fn grouped_experts(x: &Tensor, gate_up: &Tensor, down: &Tensor, counts: &[i64]) -> Result<Tensor, TorchError> {
    let (e, d, n) = down.size3()?;
    let ends: Vec<i32> = counts
        .iter()
        .scan(0, |end, &count| {
            *end += count;
            Some(i32::try_from(*end).ok())
        })
        .collect::<Option<_>>()
        .ok_or_else(|| TorchError::Refused { op: "experts", reason: format!("{counts:?}: 2³¹ rows or more") })?;
    let ends = Tensor::from_slice(&ends).to_device(x.device());
    let product = |x: &Tensor, weights: &Tensor| {
        x.f_internal_grouped_mm(&weights.transpose(1, 2), Some(&ends), None::<&Tensor>, None::<Kind>)
    };
    let both = product(x, &gate_up.f_view([e, 2 * n, d])?)?;
    Ok(product(&swiglu(&both)?, down)?)
}
