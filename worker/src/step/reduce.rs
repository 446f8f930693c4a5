//! Gradients of the whole batch: copies of a shared parameter are summed over their stages, dense gradients over all
//! data ranks, expert gradients over the replicas of the expert. Sums run in rank order, so they are deterministic.

use std::collections::VecDeque;
use std::time::Instant;

use tch::{Tensor, no_grad};

use crate::comm::{CommError, Group, Pending, ReduceOp};

/// Elements that travel as one message: 32 MiB in FP32, large enough to hide latency, small enough to bound the copy. A
/// larger tensor travels alone.
const BUCKET_ELEMENTS: usize = 8 << 20;
/// Buckets on their way: one is summed while the next is sent.
const BUCKETS_ON_THEIR_WAY: usize = 2;

/// Sums `gradients` over `group`, in place.
///
/// # Errors
/// When a peer fails.
pub fn sum_over(group: &Group, gradients: &[Tensor], deadline: Instant) -> Result<(), CommError> {
    if group.size() == 1 {
        return Ok(());
    }
    let mut started: VecDeque<(&[Tensor], Pending<Tensor>)> = VecDeque::new();
    let finish = |(bucket, pending): (&[Tensor], Pending<Tensor>)| -> Result<(), CommError> {
        unflatten(&pending.wait(deadline)?, bucket);
        Ok(())
    };
    for bucket in buckets(gradients) {
        if started.len() == BUCKETS_ON_THEIR_WAY {
            started.pop_front().map_or(Ok(()), finish)?;
        }
        started.push_back((bucket, group.all_reduce(&flat(bucket), ReduceOp::Sum)));
    }
    started.into_iter().try_for_each(finish)
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

fn buckets(gradients: &[Tensor]) -> Vec<&[Tensor]> {
    let mut cuts = Vec::new();
    let (mut start, mut elements) = (0, 0);
    for (i, gradient) in gradients.iter().enumerate() {
        if start < i && elements + gradient.numel() > BUCKET_ELEMENTS {
            cuts.push(&gradients[start..i]);
            (start, elements) = (i, 0);
        }
        elements += gradient.numel();
    }
    if start < gradients.len() {
        cuts.push(&gradients[start..]);
    }
    cuts
}

fn flat(bucket: &[Tensor]) -> Tensor {
    Tensor::cat(&bucket.iter().map(|t| t.reshape([-1])).collect::<Vec<_>>(), 0)
}

fn unflatten(flat: &Tensor, bucket: &[Tensor]) {
    no_grad(|| {
        let mut start = 0;
        for gradient in bucket {
            let n = gradient.numel() as i64;
            gradient.shallow_clone().copy_(&flat.narrow(0, start, n).view_as(gradient));
            start += n;
        }
    });
}
