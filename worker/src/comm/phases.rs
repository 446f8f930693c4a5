//! What each collective operation gives and awaits, and what it makes of what came.

use ds_plan::RankId;
use tch::{Device, Tensor};

use super::dtype::Dtype;
use super::error::CommError;
use super::group::Group;
use super::operation::{Await, Given, Next, Phase, Then};
use super::payload::Payload;
use super::reduce::{can_reduce, reduce};
use super::signature::{Detail, Op, ReduceOp, Signature};

/// From this size on an all-reduce of more than two ranks is a reduce-scatter and an all-gather, which move less.
const TWO_PHASES_BYTES: usize = 64 << 10;

/// The result of an exchange, as far as it is there.
struct Joined {
    whole: Tensor,
    /// Where the parts of the other places go, in their order.
    others: Vec<Tensor>,
}

impl Group {
    pub(super) fn all_reduce_phase(&self, tensor: &Tensor, op: ReduceOp) -> Result<Phase, CommError> {
        let dtype = reducible(tensor)?;
        let (shape, n) = (tensor.size(), tensor.numel());
        if self.size() <= 2 || n * dtype.n_bytes() < TWO_PHASES_BYTES {
            let own = Payload::copy_of(tensor)?;
            let signature = self.signature(Op::AllReduce, dtype, Detail::Reduce(op), &shape, own.n_bytes());
            return self.to_all(own, signature, move |all| {
                let sum = reduce(op, &all)?.f_view_(&shape)?;
                Ok(vec![sum])
            });
        }
        let sizes = shares(n as i64, self.size());
        let parts = self.cut(Payload::copy_of(tensor)?, &sizes)?;
        let whole = self.signature(Op::AllReduce, dtype, Detail::Reduce(op), &shape, 0);
        let (group, index) = (self.clone(), self.index());
        let reduced = move |all: Vec<Payload>| {
            let own = Payload::of_fresh(reduce(op, &all)?);
            group.share_out(own, whole, &sizes, shape)
        };
        let own_bytes = parts[index].n_bytes() as u64;
        let expected = vec![own_bytes; self.size()];
        self.exchange(parts, whole, &expected, Box::new(move |all| or_failed(reduced(all))))
    }

    /// The second half of a large all-reduce: everybody's reduced part to everybody.
    fn share_out(&self, own: Payload, whole: Signature, sizes: &[i64], shape: Vec<i64>) -> Result<Next, CommError> {
        let mut own = own;
        let parts = (0..self.size()).map(|_| own.share()).collect();
        let expected: Vec<u64> = sizes.iter().map(|&n| n as u64 * whole.dtype.n_bytes() as u64).collect();
        let joined = move |all: Vec<Payload>| {
            let parts: Vec<&Tensor> = all.iter().map(Payload::tensor).collect();
            Ok(vec![Tensor::f_cat(&parts, 0)?.f_view_(&shape)?])
        };
        self.exchange(parts, whole, &expected, done(joined)).map(Next::Phase)
    }

    pub(super) fn reduce_scatter_phase(&self, tensor: &Tensor, op: ReduceOp, rows: &[i64]) -> Result<Phase, CommError> {
        let dtype = reducible(tensor)?;
        self.check_rows(rows, rows_of(tensor))?;
        let row = row_shape(tensor);
        let n_row: i64 = row.iter().product();
        let sizes: Vec<i64> = rows.iter().map(|n| n * n_row).collect();
        let whole = self.signature(Op::ReduceScatter, dtype, Detail::Reduce(op), &tensor.size(), 0);
        let parts = self.cut(Payload::copy_of(tensor)?, &sizes)?;
        let mut shape = vec![rows[self.index()]];
        shape.extend(&row);
        let expected = vec![parts[self.index()].n_bytes() as u64; self.size()];
        self.exchange(parts, whole, &expected, done(move |all| Ok(vec![reduce(op, &all)?.f_view_(&shape)?])))
    }

    pub(super) fn gather_phase(&self, op: Op, tensor: &Tensor) -> Result<Phase, CommError> {
        let own = Payload::copy_of(tensor)?;
        let shape = if op == Op::AllGather { row_shape(tensor) } else { vec![] };
        let n_row = shape.iter().product::<i64>().max(1) as usize;
        let signature = self.signature(op, dtype(tensor)?, Detail::None, &shape, own.n_bytes());
        let mut phase = self.to_all(own, signature, move |all| {
            all.into_iter().map(|part| part.into_flat_rows(n_row)).collect::<Result<Vec<_>, _>>()
        })?;
        phase.awaits.iter_mut().for_each(|a| a.any_length = true);
        Ok(phase)
    }

    pub(super) fn all_to_all_phase(&self, tensor: &Tensor, to: &[i64], from: &[i64]) -> Result<Phase, CommError> {
        self.check_rows(to, rows_of(tensor))?;
        self.check_rows(from, from.iter().sum())?;
        let row = row_shape(tensor);
        let n_row: i64 = row.iter().product();
        let dtype = dtype(tensor)?;
        let whole = self.signature(Op::AllToAll, dtype, Detail::None, &row, 0);
        let sizes: Vec<i64> = to.iter().map(|n| n * n_row).collect();
        let expected: Vec<u64> = from.iter().map(|n| (n * n_row) as u64 * dtype.n_bytes() as u64).collect();
        let index = self.index();
        let mut shape = vec![from.iter().sum()];
        shape.extend(&row);
        let (parts, joined) = self.parts_and_joined(tensor, &sizes, (from, n_row))?;
        let join = move |all: Vec<Payload>| {
            let others = all.iter().enumerate().filter(|(place, _)| *place != index);
            for (mut slot, (_, part)) in joined.others.into_iter().zip(others) {
                slot.f_copy_(part.tensor())?;
            }
            Ok(vec![joined.whole.f_view_(&shape)?])
        };
        self.exchange(parts, whole, &expected, done(join))
    }

    /// What goes to every place, and the result with this rank's own part in it already: what stays is copied once.
    fn parts_and_joined(
        &self,
        tensor: &Tensor,
        sizes: &[i64],
        (from, n_row): (&[i64], i64),
    ) -> Result<(Vec<Payload>, Joined), CommError> {
        let whole = Tensor::f_empty([from.iter().sum::<i64>() * n_row], (tensor.f_kind()?, Device::Cpu))?;
        let slots: Vec<i64> = from.iter().map(|n| n * n_row).collect();
        let mut others = whole.f_split_with_sizes(slots.as_slice(), 0)?;
        let mut own = others.remove(self.index());
        let flat = tensor.f_detach()?.f_contiguous()?.f_view([-1])?;
        let mut parts = Vec::with_capacity(sizes.len());
        for (place, part) in flat.f_split_with_sizes(sizes, 0)?.iter().enumerate() {
            if place == self.index() {
                self.check_own(sizes[place], slots[place])?;
                own.f_copy_(part)?;
                parts.push(Payload::none()?);
            } else {
                parts.push(Payload::copy_of(part)?);
            }
        }
        Ok((parts, Joined { whole, others }))
    }

    /// What a rank gives itself is what it gets from itself.
    fn check_own(&self, given: i64, expected: i64) -> Result<(), CommError> {
        if given == expected { Ok(()) } else { Err(CommError::Own { given, expected }) }
    }

    pub(super) fn broadcast_phase(&self, tensor: &Tensor, root: usize) -> Result<Phase, CommError> {
        let root = self.member(root)?;
        let shape = tensor.size();
        let dtype = dtype(tensor)?;
        let n_bytes = tensor.numel() * dtype.n_bytes();
        let signature = self.signature(Op::Broadcast, dtype, Detail::Root(root), &shape, n_bytes);
        // The others give nothing but a header, so that all learn of it when they mean different roots.
        let of_root = |rank: RankId| rank == root;
        let own = self.ranks()[self.index()];
        let mut given = if of_root(own) { Payload::copy_of(tensor)? } else { Payload::unwritten(dtype, 0)? };
        let parts = (0..self.size()).map(|_| given.share()).collect();
        let n_bytes = |&rank: &RankId| if of_root(rank) { n_bytes as u64 } else { 0 };
        let expected: Vec<u64> = self.ranks().iter().map(n_bytes).collect();
        let place = self.ranks().iter().position(|&rank| of_root(rank)).expect("it is a member");
        let then = move |mut all: Vec<Payload>| Ok(vec![all.swap_remove(place).into_tensor(&shape)?]);
        self.exchange(parts, signature, &expected, done(then))
    }

    /// The same to every other member; `then` gets what all gave, in the order of places.
    fn to_all(
        &self,
        own: Payload,
        signature: Signature,
        then: impl FnOnce(Vec<Payload>) -> Result<Vec<Tensor>, CommError> + Send + 'static,
    ) -> Result<Phase, CommError> {
        let mut own = own;
        let parts = (0..self.size()).map(|_| own.share()).collect();
        let expected = vec![own.n_bytes() as u64; self.size()];
        self.exchange(parts, signature, &expected, done(then))
    }

    /// `parts[i]` to place i, `expected[i]` bytes from it; `then` gets what all gave, in the order of places.
    fn exchange(
        &self,
        parts: Vec<Payload>,
        signature: Signature,
        expected: &[u64],
        then: Then,
    ) -> Result<Phase, CommError> {
        let index = self.index();
        let mut own = None;
        let mut gives = Vec::with_capacity(self.size());
        for (place, payload) in parts.into_iter().enumerate() {
            if place == index {
                own = Some(payload);
            } else {
                let signature = Signature { n_bytes: payload.n_bytes() as u64, ..signature };
                gives.push(Given { to: self.ranks()[place], signature, payload });
            }
        }
        let awaited = |(place, from)| Await::exactly(from, Signature { n_bytes: expected[place], ..signature });
        let awaits = self.others().map(awaited).collect();
        let own = own.expect("a member gives itself a part");
        let then = Box::new(move |mut came: Vec<Payload>| {
            came.insert(index, own);
            then(came)
        });
        Ok(Phase { gives, awaits, then })
    }

    /// Runs of elements, one for each place.
    fn cut(&self, mut whole: Payload, sizes: &[i64]) -> Result<Vec<Payload>, CommError> {
        let mut start = 0;
        let mut parts = Vec::with_capacity(sizes.len());
        for &size in sizes {
            parts.push(whole.part(start, size)?);
            start += size;
        }
        Ok(parts)
    }
}

pub(super) fn dtype(tensor: &Tensor) -> Result<Dtype, CommError> {
    Dtype::try_from(tensor.f_kind()?)
}

pub(super) fn reducible(tensor: &Tensor) -> Result<Dtype, CommError> {
    let dtype = dtype(tensor)?;
    if can_reduce(dtype) { Ok(dtype) } else { Err(CommError::CannotReduce { dtype }) }
}

pub(super) fn rows_of(tensor: &Tensor) -> i64 {
    tensor.size().first().copied().unwrap_or(1)
}

pub(super) fn row_shape(tensor: &Tensor) -> Vec<i64> {
    tensor.size().get(1..).unwrap_or_default().to_vec()
}

/// Nearly equal runs, the longer ones first.
fn shares(n: i64, n_parts: usize) -> Vec<i64> {
    let n_parts = n_parts as i64;
    (0..n_parts).map(|i| n / n_parts + i64::from(i < n % n_parts)).collect()
}

/// The last phase of an operation.
pub(super) fn done(then: impl FnOnce(Vec<Payload>) -> Result<Vec<Tensor>, CommError> + Send + 'static) -> Then {
    Box::new(move |came| Next::Done(then(came)))
}

fn or_failed(next: Result<Next, CommError>) -> Next {
    next.unwrap_or_else(|error| Next::Done(Err(error)))
}
