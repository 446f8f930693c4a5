//! RMSNorm, a pass each way.

use tch::{Kind, Tensor};

use super::launch::{Argument, Launch, SHARED_BYTES_MAX, named, pack, threads_for_row};
use crate::TorchError;

/// Rows whose shares of the weight's gradient one block sums, unless that makes more than [`BLOCKS_MAX`].
const ROWS: i64 = 16;
/// Four for each of an H100's processors: more would write more shares than they save time.
const BLOCKS_MAX: i64 = 528;
/// The longest row for which a block has the memory.
pub const ROW_MAX: i64 = SHARED_BYTES_MAX / SUM_BYTES;
/// Of the sum that a block keeps for every element of a row.
const SUM_BYTES: i64 = 4;

/// x / √(mean x² + ε) · w over the last dimension, and 1 / √(…) of every row in FP32, which [`rms_norm_backward`] wants:
/// what [`crate::fused::rms_norm`] computes. FP32 or BF16; no autograd.
///
/// # Errors
/// When formats or sizes do not belong together, or CUDA refuses.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor), TorchError> {
    let (x, weight) = (x.contiguous(), weight.contiguous());
    let (rows, n) = rows(&x, &weight)?;
    let y = x.empty_like();
    let scale = Tensor::empty([rows], (Kind::Float, x.device()));
    let launch = Launch {
        kernel: &named("rms_norm", n, &[&x, &weight])?,
        blocks: rows,
        threads: threads_for_row(n, x.kind()),
        shared_bytes: 0,
        arguments: &[
            Argument::Tensor(&x),
            Argument::Tensor(&weight),
            Argument::Tensor(&y),
            Argument::Tensor(&scale),
            Argument::Long(n),
            Argument::Float(eps as f32),
        ],
    };
    launch.on(x.device())?;
    Ok((y, scale))
}

/// Gradients of `x` and, in FP32, of `weight`, given that of what [`rms_norm`] gave. Its sums depend on the sizes alone, not
/// on the card.
///
/// # Errors
/// Likewise, and when rows are longer than [`ROW_MAX`].
pub fn rms_norm_backward(
    dy: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    scale: &Tensor,
) -> Result<(Tensor, Tensor), TorchError> {
    let (dy, x, weight) = (dy.contiguous(), x.contiguous(), weight.contiguous());
    let (rows, n) = rows(&x, &weight)?;
    let per_block = ROWS.max((rows + BLOCKS_MAX - 1) / BLOCKS_MAX);
    let blocks = (rows + per_block - 1) / per_block;
    let dx = x.empty_like();
    let shares = Tensor::empty([blocks, n], (Kind::Float, x.device()));
    let launch = Launch {
        kernel: &named("rms_norm_back", n, &[&dy, &x, &weight])?,
        blocks,
        threads: threads_for_row(n, x.kind()),
        shared_bytes: (n + pack(x.kind()) - 1) / pack(x.kind()) * pack(x.kind()) * SUM_BYTES,
        arguments: &[
            Argument::Tensor(&dy),
            Argument::Tensor(&x),
            Argument::Tensor(&weight),
            Argument::Tensor(scale),
            Argument::Tensor(&dx),
            Argument::Tensor(&shares),
            Argument::Long(rows),
            Argument::Long(n),
            Argument::Long(per_block),
        ],
    };
    launch.on(x.device())?;
    Ok((dx, shares.f_sum_dim_intlist([0_i64].as_slice(), false, None::<Kind>)?))
}

/// Rows of `x` and their width, which is that of the weight.
fn rows(x: &Tensor, weight: &Tensor) -> Result<(i64, i64), TorchError> {
    let n = weight.numel() as i64;
    if n == 0 || weight.size() != [n] || x.size().last() != Some(&n) {
        let reason = format!("rows of {:?} and a weight {:?}", x.size(), weight.size());
        return Err(TorchError::Refused { op: "RMSNorm", reason });
    }
    Ok((x.numel() as i64 / n, n))
}
