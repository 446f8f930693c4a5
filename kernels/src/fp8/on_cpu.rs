//! E4M3 codes on the CPU, in one pass over the matrix.
#![expect(unsafe_code, reason = "calls the C++ shim; matrices are dense, which it relies on")]

use std::ptr::null_mut;

use tch::{Kind, Tensor};

use super::quantise::{ALONG, Quantised, ScaleRule, Scaling};
use crate::TorchError;
use crate::ffi::{checked, ds_e4m3_dequantise, ds_e4m3_quantise, handle};
use crate::fused::made;

/// Codes, scales and numbers of `x`, `[m, k]`; bit for bit what [`super::step_by_step`] gives.
///
/// # Panics
/// When LibTorch refuses.
pub(super) fn quantise(x: &Tensor, scaling: Scaling, rule: ScaleRule, least: f64) -> Quantised {
    assert_eq!(x.dim(), 2, "a matrix");
    let x = if x.kind() == Kind::BFloat16 { x.shallow_clone() } else { x.to_kind(Kind::Float) }.contiguous();
    let (height, tiles) = cut(scaling);
    let power_of_two = (rule == ScaleRule::PowerOfTwo).into();
    let (mut codes, mut numbers, mut scales) = (null_mut(), null_mut(), null_mut());
    // SAFETY: `x` lives and is a dense matrix of one of the two formats that the shim knows; it makes all results.
    let done = checked("E4M3 codes", |error| unsafe {
        ds_e4m3_quantise(handle(&x), height, tiles, power_of_two, least, &mut codes, &mut numbers, &mut scales, error)
    });
    let [codes, numbers, scales] = refused(done.and_then(|()| made([codes, numbers, scales])));
    Quantised::new(codes.view_dtype(Kind::Float8e4m3fn), scales, scaling).with(numbers)
}

/// Code · scale, in FP32.
///
/// # Panics
/// When LibTorch refuses.
pub(super) fn dequantise(q: &Quantised) -> Tensor {
    // A transposed matrix is dense the other way round.
    if !q.codes.is_contiguous() && q.codes.tr().is_contiguous() {
        return dequantise(&q.transposed()).tr();
    }
    let (codes, scales) = (q.codes.contiguous(), q.scales.contiguous());
    let (height, tiles) = cut(q.scaling);
    let (m, k) = codes.size2().expect("a matrix");
    let across = if tiles == 1 { ALONG } else { 1 };
    let expected = [(m + height - 1) / height, (k + across - 1) / across];
    assert_eq!(scales.size(), expected, "scales of a matrix of {m} x {k}");
    assert_eq!((codes.kind(), scales.kind()), (Kind::Float8e4m3fn, Kind::Float), "codes and scales");
    let mut numbers = null_mut();
    // SAFETY: both tensors live and are dense; the scales are those of the cut, as checked; the shim makes the result.
    let done = checked("numbers of E4M3 codes", |error| unsafe {
        ds_e4m3_dequantise(handle(&codes), handle(&scales), height, tiles, &mut numbers, error)
    });
    let [numbers] = refused(done.and_then(|()| made([numbers])));
    numbers
}

/// Rows of a band, and whether tiles of a band's columns share a scale rather than each column having its own.
fn cut(scaling: Scaling) -> (i64, i32) {
    match scaling {
        Scaling::Tiles => (1, 1),
        Scaling::Upright => (ALONG, 0),
        Scaling::Blocks => (ALONG, 1),
    }
}

/// As tch's own operations do.
fn refused<T>(result: Result<T, TorchError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
