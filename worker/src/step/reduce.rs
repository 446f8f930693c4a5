//! Gradients of the whole batch: copies of a shared parameter are summed over their stages, dense gradients over all
//! data ranks, expert gradients over the replicas of the expert. Sums run in rank order, so they are deterministic.

use std::time::Instant;

use tch::{Tensor, no_grad};

use super::buckets::{cut, flat, in_turn, spread};
use crate::comm::{CommError, Group, ReduceOp};

/// Sums `gradients` over `group`, in place.
///
/// # Errors
/// When a peer fails.
pub fn sum_over(group: &Group, gradients: &[Tensor], deadline: Instant) -> Result<(), CommError> {
    if group.size() == 1 {
        return Ok(());
    }
    in_turn(
        cut(gradients, Tensor::numel),
        |bucket| group.all_reduce(&flat(bucket.iter().map(Tensor::shallow_clone)), ReduceOp::Sum),
        |bucket, sums| spread(&sums, bucket.iter().map(Tensor::shallow_clone)),
        deadline,
    )
}

/// Sums gradients of parameters that the same stages hold copies of, in place; `holders` are indices in the pipeline group.
/// The first holder adds in order and sends the sums back.
///
/// # Errors
/// When a peer fails.
pub fn sum_over_holders(
    pipeline: &Group,
    holders: &[usize],
    gradients: &[Tensor],
    deadline: Instant,
) -> Result<(), CommError> {
    for bucket in cut(gradients, Tensor::numel) {
        let own = || bucket.iter().map(Tensor::shallow_clone);
        spread(&summed(pipeline, holders, flat(own()), deadline)?, own());
    }
    Ok(())
}

/// The sum of every holder's tensor.
fn summed(pipeline: &Group, holders: &[usize], own: Tensor, deadline: Instant) -> Result<Tensor, CommError> {
    let (&owner, others) = holders.split_first().expect("a shared parameter is held somewhere");
    let (shape, kind) = (own.size(), own.kind());
    if pipeline.index() != owner {
        pipeline.send(owner, &own).wait(deadline)?;
        return pipeline.receive(owner, &shape, kind).wait(deadline);
    }
    let mut sum = own;
    let copies: Vec<_> = others.iter().map(|&other| pipeline.receive(other, &shape, kind)).collect();
    for copy in copies {
        let copy = copy.wait(deadline)?.to_device(sum.device());
        let _ = no_grad(|| sum.g_add_(&copy));
    }
    let sent: Vec<_> = others.iter().map(|&other| pipeline.send(other, &sum)).collect();
    sent.into_iter().try_for_each(|pending| pending.wait(deadline))?;
    Ok(sum)
}
