//! What lies between the products of a SwiGLU network.

use tch::Tensor;

use super::launch::{Argument, Launch, named, pack};
use crate::TorchError;

/// Threads of a block.
const THREADS: i64 = 256;
/// Packs of a thread in `swiglu.cu`.
const PACKS: i64 = 2;

/// silu(gate) ⊙ up, `[…, n]`, of `both`, `[…, 2n]`, whose rows are gate and up next to each other. FP32 or BF16, rounded
/// once; no autograd.
///
/// # Errors
/// When the width of `both` is odd, or CUDA refuses.
pub fn swiglu(both: &Tensor) -> Result<Tensor, TorchError> {
    let both = both.contiguous();
    let (r, n) = halves(&both)?;
    let act = Tensor::empty(of_width(&both, n), (both.kind(), both.device()));
    let arguments = [Argument::Tensor(&both), Argument::Tensor(&act), Argument::Long(r), Argument::Long(n)];
    launch(&named("swiglu", n, &[&both])?, &both, &arguments)?;
    Ok(act)
}

/// The gradient of `both`, given that of what [`swiglu`] gave, and what it gave once more.
///
/// # Errors
/// Likewise, and when `dact` is not `[…, n]` of the same format.
pub fn swiglu_backward(both: &Tensor, dact: &Tensor) -> Result<(Tensor, Tensor), TorchError> {
    let (both, dact) = (both.contiguous(), dact.contiguous());
    let (r, n) = halves(&both)?;
    if dact.size() != of_width(&both, n) {
        let reason = format!("a gradient {:?} for halves of {:?}", dact.size(), both.size());
        return Err(TorchError::Refused { op: "SwiGLU", reason });
    }
    let (dboth, act) = (both.empty_like(), dact.empty_like());
    let tensors = [&both, &dact, &dboth, &act].map(Argument::Tensor);
    let [a, b, c, d] = tensors;
    launch(&named("swiglu_back", n, &[&both, &dact])?, &both, &[a, b, c, d, Argument::Long(r), Argument::Long(n)])?;
    Ok((dboth, act))
}

/// A thread for every two packs of a half.
fn launch(kernel: &str, both: &Tensor, arguments: &[Argument<'_>]) -> Result<(), TorchError> {
    let (r, n) = halves(both)?;
    let packs = r * ((n + pack(both.kind()) - 1) / pack(both.kind()));
    let blocks = (packs + THREADS * PACKS - 1) / (THREADS * PACKS);
    Launch { kernel, blocks, threads: THREADS as u32, shared_bytes: 0, arguments }.on(both.device())
}

/// Rows, and the width of a half.
fn halves(both: &Tensor) -> Result<(i64, i64), TorchError> {
    match both.size().last() {
        Some(&width) if width > 0 && width % 2 == 0 => Ok((both.numel() as i64 / width, width / 2)),
        _ => Err(TorchError::Refused { op: "SwiGLU", reason: format!("{:?} has no two halves", both.size()) }),
    }
}

/// The shape of `x` but for its last dimension.
fn of_width(x: &Tensor, width: i64) -> Vec<i64> {
    let mut size = x.size();
    size.pop();
    size.push(width);
    size
}
