//! The SwiGLU networks of a rank's experts over rows that are sorted by expert: threads take whole experts, and what lies
//! between two products stays in the cache.
#![expect(
    unsafe_code,
    reason = "calls the C++ shim; shapes are checked here and tensors are dense, which it relies on"
)]

use std::ptr::null_mut;

use tch::Tensor;

use super::{made, widens};
use crate::TorchError;
use crate::counters::{PLAIN, Which};
use crate::ffi::{
    WeightsOfExperts, checked, ds_experts, ds_experts_back, ds_experts_back_input, ds_experts_back_weight, handle,
};

/// Weights of e experts of width d and inner width n, and the rows that each has got.
#[derive(Debug)]
pub struct Experts {
    gate_up: Tensor,
    down: Tensor,
    counts: Vec<i64>,
}

impl Experts {
    /// `gate_up` is `[2e, n, d]`, gate and up projection of an expert next to each other; `down` is `[e, d, n]`; rows are
    /// counted for each of the e experts.
    ///
    /// # Errors
    /// When the shapes do not belong together.
    pub fn new(gate_up: &Tensor, down: &Tensor, counts: &[i64]) -> Result<Self, TorchError> {
        let (up, last) = (gate_up.size(), down.size());
        let fits = matches!((up.as_slice(), last.as_slice()), (&[two_e, n, d], &[e, d2, n2])
            if two_e == 2 * e && n == n2 && d == d2 && e == counts.len() as i64);
        if !fits || gate_up.kind() != down.kind() || counts.iter().any(|&count| count < 0) {
            let reason = format!(
                "{} counts, gate and up {up:?}, down {last:?}: these are not e, [2e, n, d], [e, d, n]",
                counts.len()
            );
            return Err(TorchError::Refused { op: "experts", reason });
        }
        let dense = |weight: &Tensor| weight.detach().contiguous();
        Ok(Self { gate_up: dense(gate_up), down: dense(down), counts: counts.to_vec() })
    }

    /// For the shim, while this lives.
    fn face(&self) -> WeightsOfExperts {
        WeightsOfExperts {
            gate_up: handle(&self.gate_up),
            down: handle(&self.down),
            counts: self.counts.as_ptr(),
            n: self.counts.len(),
            // Rows have the weights' format and device.
            widen: widens(&self.down).into(),
        }
    }

    /// Products of one kind: each expert with rows has two weights.
    fn count(&self, which: Which) {
        PLAIN.add(which, 2 * self.counts.iter().filter(|&&count| count > 0).count() as u64);
    }

    /// Sums have the shapes of the weights.
    fn check_sums(&self, sums: [&Tensor; 2]) -> Result<(), TorchError> {
        for (sum, weight) in sums.into_iter().zip([&self.gate_up, &self.down]) {
            if sum.size() != weight.size() || !sum.is_contiguous() {
                let reason = format!("a gradient of {:?} for a weight of {:?}", sum.size(), weight.size());
                return Err(TorchError::Refused { op: "experts backward", reason });
            }
        }
        Ok(())
    }

    fn check(&self, rows: &Tensor) -> Result<(), TorchError> {
        let (n, d) = (self.counts.iter().sum::<i64>(), self.down.size()[1]);
        if rows.size() != [n, d] || rows.kind() != self.down.kind() {
            let reason = format!(
                "rows {:?} of {:?} for counts that sum to {n}, width {d}, {:?}",
                rows.size(),
                rows.kind(),
                self.down.kind()
            );
            return Err(TorchError::Refused { op: "experts", reason });
        }
        Ok(())
    }
}

/// W_down (silu(W_gate x) ⊙ W_up x) of each row's expert: `[r, d]` for `x` `[r, d]`; and `[r, 2n]`, the two halves that
/// [`experts_backward`] wants. On the CPU; no autograd.
///
/// # Errors
/// When the shapes do not belong together or LibTorch refuses.
pub fn experts(x: &Tensor, weights: &Experts) -> Result<(Tensor, Tensor), TorchError> {
    weights.check(x)?;
    weights.count(Which::Forward);
    let x = x.contiguous();
    let (mut y, mut both) = (null_mut(), null_mut());
    // SAFETY: all tensors live, are dense and fit each other, as do the counts; the shim makes both results.
    checked("experts", |error| unsafe { ds_experts(handle(&x), weights.face(), &mut y, &mut both, error) })?;
    let [y, both] = made([y, both])?;
    Ok((y, both))
}

/// The gradient of `x`, given that of what [`experts`] gave. The weights' gradients are added to `sums`, gate and up
/// projections first, which have the weights' shapes and are FP32 at least.
///
/// # Errors
/// Likewise.
pub fn experts_backward(
    dy: &Tensor,
    x: &Tensor,
    both: &Tensor,
    weights: &Experts,
    sums: [&Tensor; 2],
) -> Result<Tensor, TorchError> {
    weights.check(dy)?;
    weights.check(x)?;
    weights.check_sums(sums)?;
    weights.count(Which::InputGradient);
    weights.count(Which::WeightGradient);
    let (dy, x) = (dy.contiguous(), x.contiguous());
    let mut dx = null_mut();
    // SAFETY: all tensors live, are dense and fit each other, as do the counts; the shim makes the result.
    checked("experts backward", |error| unsafe {
        ds_experts_back(
            handle(&dy),
            handle(&x),
            handle(both),
            weights.face(),
            handle(sums[0]),
            handle(sums[1]),
            &mut dx,
            error,
        )
    })?;
    let [dx] = made([dx])?;
    Ok(dx)
}

/// What [`experts_backward_inputs`] gives.
#[derive(Debug)]
pub struct ExpertsBack {
    /// The gradient of x, `[r, d]`.
    pub dx: Tensor,
    /// That of the two halves, `[r, 2n]`.
    pub dboth: Tensor,
    /// What the last product was of, `[r, n]`.
    pub act: Tensor,
}

/// The first part of [`experts_backward`]: no gradient of weights, but what they are made of.
///
/// # Errors
/// Likewise.
pub fn experts_backward_inputs(dy: &Tensor, both: &Tensor, weights: &Experts) -> Result<ExpertsBack, TorchError> {
    weights.check(dy)?;
    weights.count(Which::InputGradient);
    let dy = dy.contiguous();
    let (mut dx, mut dboth, mut act) = (null_mut(), null_mut(), null_mut());
    // SAFETY: all tensors live, are dense and fit each other, as do the counts; the shim makes the results.
    checked("experts backward", |error| unsafe {
        ds_experts_back_input(handle(&dy), handle(both), weights.face(), &mut dx, &mut dboth, &mut act, error)
    })?;
    let [dx, dboth, act] = made([dx, dboth, act])?;
    Ok(ExpertsBack { dx, dboth, act })
}

/// The other part: the weights' gradients are added to `sums`, as [`experts_backward`] adds them.
///
/// # Errors
/// Likewise.
pub fn experts_backward_weights(
    dy: &Tensor,
    x: &Tensor,
    back: &ExpertsBack,
    weights: &Experts,
    sums: [&Tensor; 2],
) -> Result<(), TorchError> {
    weights.check(dy)?;
    weights.check(x)?;
    weights.check_sums(sums)?;
    weights.count(Which::WeightGradient);
    let (dy, x) = (dy.contiguous(), x.contiguous());
    // SAFETY: all tensors live, are dense and fit each other, as do the counts.
    checked("experts backward", |error| unsafe {
        ds_experts_back_weight(
            handle(&dy),
            handle(&x),
            handle(&back.dboth),
            handle(&back.act),
            weights.face(),
            handle(sums[0]),
            handle(sums[1]),
            error,
        )
    })
}
