//! Tensors that travel, or are widened, several at a time: large enough together to hide latency, small enough to bound
//! the copy.

use std::collections::VecDeque;

use tch::{Tensor, no_grad};

use crate::comm::{CommError, Pending};

/// Elements of a bucket: 32 MiB in FP32.
pub(super) const BUCKET_ELEMENTS: usize = 8 << 20;
/// Buckets on their way: one is taken up while the next travels.
const BUCKETS_ON_THEIR_WAY: usize = 2;

/// Runs of `items` of at most [`BUCKET_ELEMENTS`]; a larger item stands alone.
pub(super) fn cut<T>(items: &[T], n_elements: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut room = items.first().map_or(0, &n_elements);
    let fits = |_: &T, next: &T| {
        let n = n_elements(next);
        let fits = room + n <= BUCKET_ELEMENTS;
        room = if fits { room + n } else { n };
        fits
    };
    items.chunk_by(fits).collect()
}

/// Starts what is done with every bucket, a few at a time, and has what comes of it taken up in order.
pub(super) fn in_turn<T>(
    buckets: impl IntoIterator<Item = T>,
    start: impl Fn(&T) -> Pending<Tensor>,
    take_up: impl Fn(&T, Tensor),
    deadline: std::time::Instant,
) -> Result<(), CommError> {
    let mut underway: VecDeque<(T, Pending<Tensor>)> = VecDeque::new();
    let finish = |(bucket, pending): (T, Pending<Tensor>)| -> Result<(), CommError> {
        take_up(&bucket, pending.wait(deadline)?);
        Ok(())
    };
    for bucket in buckets {
        if underway.len() == BUCKETS_ON_THEIR_WAY {
            underway.pop_front().map_or(Ok(()), finish)?;
        }
        let pending = start(&bucket);
        underway.push_back((bucket, pending));
    }
    underway.into_iter().try_for_each(finish)
}

/// All elements in a row.
pub(super) fn flat(tensors: impl Iterator<Item = Tensor>) -> Tensor {
    Tensor::cat(&tensors.map(|t| t.reshape([-1])).collect::<Vec<_>>(), 0)
}

/// Copies runs of a flat tensor to `targets`, one after the other.
pub(super) fn spread(flat: &Tensor, targets: impl Iterator<Item = Tensor>) {
    no_grad(|| {
        let mut start = 0;
        for mut target in targets {
            let n = target.numel() as i64;
            target.copy_(&flat.narrow(0, start, n).view_as(&target));
            start += n;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_full_and_never_more_unless_one_item_is() {
        let half = BUCKET_ELEMENTS / 2;
        let lengths = |items: &[usize]| -> Vec<usize> { cut(items, |&n| n).iter().map(|run| run.len()).collect() };
        assert_eq!(lengths(&[half, half, 1, half]), [2, 2]);
        assert_eq!(lengths(&[half + 1, half, 1]), [1, 2]);
        assert_eq!(lengths(&[1, 3 * half, 1]), [1, 1, 1]);
        assert_eq!(lengths(&[]), [0; 0]);
    }
}
