//! What a token gets back from its experts, in one pass.
#![expect(
    unsafe_code,
    reason = "calls the C++ shim; shapes are checked here and tensors are dense, which it relies on"
)]

use std::ptr::null_mut;

use tch::{Kind, Tensor};

use super::{is_known, made, wide};
use crate::ffi::{checked, ds_combine, ds_combine_back, handle};
use crate::{Differentiable, Forward, NodeError, TorchError, apply, cuda};

/// h[t] + Σ_j weight[t, j] · rows[place[t, j]], summed in FP32 at least, in the order of j: `h` is `[t, d]`, `rows`
/// `[t·k, d]`, `weight` `[t, k]` of FP32 at least, and `place`, `[t, k]`, a permutation of all rows.
///
/// # Errors
/// When LibTorch refuses, or the shapes do not belong together.
pub fn combine(h: &Tensor, rows: &Tensor, place: &Tensor, weight: &Tensor) -> Result<Tensor, TorchError> {
    let ([t, d], [t2, k]) = (sizes(h)?, sizes(weight)?);
    if t != t2 || rows.size() != [t * k, d] || place.size() != [t, k] || place.kind() != Kind::Int64 {
        let reason =
            format!("h {:?}, rows {:?}, places {:?}, weights {:?}", h.size(), rows.size(), place.size(), weight.size());
        return Err(TorchError::Refused { op: "combine", reason });
    }
    if !(is_known(h) || cuda::takes(h)) || rows.kind() != h.kind() || weight.kind() != wide(h.kind()) {
        let back = rows.index_select(0, &place.reshape([-1])).view([t, k, d]);
        let weighed = back * weight.to_kind(h.kind()).unsqueeze(-1);
        return Ok(h + weighed.sum_dim_intlist([1_i64].as_slice(), false, None::<Kind>));
    }
    let outputs = apply(Combine, &[h, rows, weight, place])?;
    Ok(outputs.into_iter().next().expect("the node has one output"))
}

fn sizes(x: &Tensor) -> Result<[i64; 2], TorchError> {
    <[i64; 2]>::try_from(x.size())
        .map_err(|size| TorchError::Refused { op: "combine", reason: format!("{size:?} is no matrix") })
}

struct Combine;

impl Differentiable for Combine {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        let [h, rows, weight, place] = inputs else {
            return Err("combining takes a stream, rows, weights and places".into());
        };
        let [h, rows, weight, place] = [h, rows, weight, place].map(Tensor::contiguous);
        if h.device().is_cuda() {
            let out = cuda::combine(&h, &rows, &place, &weight)?;
            return Ok(Forward { outputs: vec![out], saved: vec![rows, weight, place] });
        }
        let mut out = null_mut();
        // SAFETY: all tensors live, are dense and fit each other; places are a permutation of the rows.
        checked("combine", |error| unsafe {
            ds_combine(handle(&h), handle(&rows), handle(&place), handle(&weight), &mut out, error)
        })?;
        let [out] = made([out])?;
        Ok(Forward { outputs: vec![out], saved: vec![rows, weight, place] })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let ([rows, weight, place], [Some(dout)]) = (saved, gradients) else { return Ok(vec![None, None, None, None]) };
        let dense = dout.contiguous();
        if dense.device().is_cuda() {
            let (drows, dweight) = cuda::combine_backward(&dense, rows, place, weight)?;
            return Ok(vec![Some(dout.shallow_clone()), Some(drows), Some(dweight), None]);
        }
        let (mut drows, mut dweight) = (null_mut(), null_mut());
        // SAFETY: as above; the gradient has the shape of the output.
        checked("combine backward", |error| unsafe {
            ds_combine_back(
                handle(&dense),
                handle(rows),
                handle(place),
                handle(weight),
                &mut drows,
                &mut dweight,
                error,
            )
        })?;
        let [drows, dweight] = made([drows, dweight])?;
        Ok(vec![Some(dout.shallow_clone()), Some(drows), Some(dweight), None])
    }
}
