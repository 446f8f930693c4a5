//! Tokens to the rows of their experts, and back.

use tch::{Kind, Tensor};

use super::launch::{Argument, Launch, named, threads_for_row};
use crate::TorchError;

/// Choices that one warp of `permute.cu` counts and places.
const CHUNK: i64 = 512;
/// Experts for which one block has threads.
const EXPERTS_MAX: i64 = 1024;
/// So that counts fit 32 bits.
const CHOICES_MAX: i64 = 1 << 31;

/// The row of every choice, `[t, k]`, and how often each of e experts was chosen, `[e]`: rows lie by expert, within an expert
/// by token. `experts` is `[t, k]` of numbers below e.
///
/// # Errors
/// When there are more experts than 1024, more choices than 2³¹, or CUDA refuses.
pub fn place(experts: &Tensor, n_experts: i64) -> Result<(Tensor, Tensor), TorchError> {
    let choices = experts.numel() as i64;
    if experts.kind() != Kind::Int64 || !(1..=EXPERTS_MAX).contains(&n_experts) || choices > CHOICES_MAX {
        let reason = format!(
            "{choices} choices ({:?}) of {n_experts} experts: at most {CHOICES_MAX} (Int64) of {EXPERTS_MAX}",
            experts.kind()
        );
        return Err(TorchError::Refused { op: "permutation", reason });
    }
    let (experts, device) = (experts.contiguous(), experts.device());
    let blocks = (choices + CHUNK - 1) / CHUNK;
    let [counts, starts] = [(); 2].map(|()| Tensor::empty([blocks, n_experts], (Kind::Int, device)));
    let totals = Tensor::empty([n_experts], (Kind::Int64, device));
    let place = experts.empty_like();
    let start = |kernel, blocks, threads, shared_bytes, arguments: &[Argument<'_>]| {
        Launch { kernel, blocks, threads, shared_bytes, arguments }.on(device)
    };
    let (e, n) = (Argument::Int(n_experts as i32), Argument::Long(choices));
    start("count_choices", blocks, 32, 4 * n_experts, &[Argument::Tensor(&experts), Argument::Tensor(&counts), n, e])?;
    start(
        "start_choices",
        1,
        (n_experts as u32).next_multiple_of(32),
        0,
        &[Argument::Tensor(&counts), Argument::Tensor(&starts), Argument::Tensor(&totals), Argument::Long(blocks), e],
    )?;
    let tensors = [&experts, &starts, &place].map(Argument::Tensor);
    start("place_choices", blocks, 32, 4 * n_experts, &[tensors[0], tensors[1], tensors[2], n, e])?;
    Ok((place, totals))
}

/// Rows `[t·k, d]`: row `place[t, j]` is token t of `x`, `[t, d]`. FP32 or BF16; no autograd.
///
/// # Errors
/// When the shapes do not belong together or CUDA refuses.
pub fn spread(x: &Tensor, place: &Tensor) -> Result<Tensor, TorchError> {
    let x = x.contiguous();
    let [t, k, d] = sizes(&x, place)?;
    let rows = Tensor::empty([t * k, d], (x.kind(), x.device()));
    by_rows("spread", t, d, &[&x, &rows], &[&x, place, &rows], k)?;
    Ok(rows)
}

/// The sum, `[t, d]`, of the rows of each token, in the order of its choices: the way back of [`spread`].
///
/// # Errors
/// Likewise.
pub fn gather(rows: &Tensor, place: &Tensor) -> Result<Tensor, TorchError> {
    let rows = rows.contiguous();
    let (t, k) = place.size2()?;
    let d = rows.size().last().copied().unwrap_or(0);
    let x = Tensor::empty([t, d], (rows.kind(), rows.device()));
    fits(&x, &rows, place)?;
    by_rows("gather", t, d, &[&rows, &x], &[&rows, place, &x], k)?;
    Ok(x)
}

/// h[t] + Σ_j weight[t, j] · rows[place[t, j]], as [`crate::fused::combine`] computes. `weight` is FP32.
///
/// # Errors
/// Likewise.
pub fn combine(h: &Tensor, rows: &Tensor, place: &Tensor, weight: &Tensor) -> Result<Tensor, TorchError> {
    let [h, rows, weight] = [h, rows, weight].map(Tensor::contiguous);
    let [t, k, d] = sizes(&h, place)?;
    fits(&h, &rows, place)?;
    weighs(&weight, place)?;
    let out = h.empty_like();
    by_rows("combine", t, d, &[&h, &rows, &out], &[&h, &rows, place, &weight, &out], k)?;
    Ok(out)
}

/// Gradients of `rows` and of `weight`, given that of what [`combine`] gave.
///
/// # Errors
/// Likewise.
pub fn combine_backward(
    dout: &Tensor,
    rows: &Tensor,
    place: &Tensor,
    weight: &Tensor,
) -> Result<(Tensor, Tensor), TorchError> {
    let [dout, rows, weight] = [dout, rows, weight].map(Tensor::contiguous);
    let [t, k, d] = sizes(&dout, place)?;
    fits(&dout, &rows, place)?;
    weighs(&weight, place)?;
    let (drows, dweight) = (rows.empty_like(), weight.empty_like());
    let tensors = [&dout, &rows, place, &weight, &drows, &dweight];
    by_rows("combine_back", t * k, d, &[&dout, &rows, &drows], &tensors, k)?;
    Ok((drows, dweight))
}

/// A block for each of so many rows of d; `alike` have one format.
fn by_rows(
    kernel: &str,
    blocks: i64,
    d: i64,
    alike: &[&Tensor],
    tensors: &[&Tensor],
    k: i64,
) -> Result<(), TorchError> {
    let arguments: Vec<Argument<'_>> =
        tensors.iter().map(|t| Argument::Tensor(t)).chain([Argument::Long(k), Argument::Long(d)]).collect();
    let launch = Launch {
        kernel: &named(kernel, d, alike)?,
        blocks,
        threads: threads_for_row(d, alike[0].kind()),
        shared_bytes: 0,
        arguments: &arguments,
    };
    launch.on(alike[0].device())
}

fn refused(reason: String) -> TorchError {
    TorchError::Refused { op: "permutation", reason }
}

/// Tokens, choices of each, width.
fn sizes(x: &Tensor, place: &Tensor) -> Result<[i64; 3], TorchError> {
    match (x.size().as_slice(), place.size().as_slice()) {
        (&[t, d], &[t2, k]) if t == t2 && place.kind() == Kind::Int64 => Ok([t, k, d]),
        _ => Err(refused(format!("tokens {:?}, places {:?} of {:?}", x.size(), place.size(), place.kind()))),
    }
}

fn fits(x: &Tensor, rows: &Tensor, place: &Tensor) -> Result<(), TorchError> {
    let [t, k, d] = sizes(x, place)?;
    if rows.size() == [t * k, d] {
        return Ok(());
    }
    Err(refused(format!("rows {:?} for tokens {:?} and places {:?}", rows.size(), x.size(), place.size())))
}

fn weighs(weight: &Tensor, place: &Tensor) -> Result<(), TorchError> {
    if weight.size() == place.size() && weight.kind() == Kind::Float {
        return Ok(());
    }
    Err(refused(format!("weights {:?} of {:?} for places {:?}", weight.size(), weight.kind(), place.size())))
}
