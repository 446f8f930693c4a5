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

/// Sums one parameter's gradient over the stages that hold a copy; `holders` are indices in the pipeline group. The
/// first holder adds in order and sends the sum back.
///
/// # Errors
/// When a peer fails.
pub fn sum_over_holders(
    pipeline: &Group,
    holders: &[usize],
    gradient: &Tensor,
    deadline: Instant,
) -> Result<(), CommError> {
    let (&owner, others) = holders.split_first().expect("a shared parameter is held somewhere");
    let (shape, kind) = (gradient.size(), gradient.kind());
    let mut target = gradient.shallow_clone();
    if pipeline.index() == owner {
        for &other in others {
            let copy = pipeline.receive(other, &shape, kind).wait(deadline)?;
            let _ = no_grad(|| target.g_add_(&copy.to_device(gradient.device())));
        }
        let sent: Vec<_> = others.iter().map(|&other| pipeline.send(other, gradient)).collect();
        sent.into_iter().try_for_each(|pending| pending.wait(deadline))
    } else {
        pipeline.send(owner, gradient).wait(deadline)?;
        let sum = pipeline.receive(owner, &shape, kind).wait(deadline)?;
        no_grad(|| target.copy_(&sum));
        Ok(())
    }
}
