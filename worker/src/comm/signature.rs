//! What ranks must agree on before data is used: operation, elements, shape.

use std::fmt;

use ds_plan::RankId;

use super::dtype::Dtype;

/// An operation of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Op {
    /// One message from one rank to another.
    Send = 1,
    /// Every rank gets the reduction of all.
    AllReduce,
    /// Every rank gets its rows of the reduction of all.
    ReduceScatter,
    /// Every rank gets the rows of all.
    AllGather,
    /// Every rank gets the bytes of all, of any length.
    AllGatherBytes,
    /// Every rank gives every rank some rows.
    AllToAll,
    /// Every rank gets the tensor of one.
    Broadcast,
    /// Every rank waits for all.
    Barrier,
}

impl Op {
    pub(super) const ALL: [Self; 8] = [
        Self::Send,
        Self::AllReduce,
        Self::ReduceScatter,
        Self::AllGather,
        Self::AllGatherBytes,
        Self::AllToAll,
        Self::Broadcast,
        Self::Barrier,
    ];
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send => "send",
            Self::AllReduce => "all-reduce",
            Self::ReduceScatter => "reduce-scatter",
            Self::AllGather => "all-gather",
            Self::AllGatherBytes => "all-gather of bytes",
            Self::AllToAll => "all-to-all",
            Self::Broadcast => "broadcast",
            Self::Barrier => "barrier",
        })
    }
}
/// How elements of several ranks become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Added in rank order; bf16 is added in f32 and rounded once.
    Sum,
    /// The greatest; not a number if any is.
    Max,
}

/// What an operation has beside a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detail {
    /// Nothing.
    None,
    /// How a reduction combines.
    Reduce(ReduceOp),
    /// Who a broadcast comes from.
    Root(RankId),
}

impl Detail {
    pub(super) fn encode(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Reduce(ReduceOp::Sum) => 1,
            Self::Reduce(ReduceOp::Max) => 2,
            Self::Root(RankId(rank)) => rank.saturating_add(16),
        }
    }

    pub(super) fn decode(code: u32) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Reduce(ReduceOp::Sum)),
            2 => Some(Self::Reduce(ReduceOp::Max)),
            3..16 => None,
            _ => Some(Self::Root(RankId(code - 16))),
        }
    }
}

/// The dims that all ranks must agree on. Equality is by hash, which also covers the members of the group; the first
/// four dims travel along so that a message can name them.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub(super) hash: u64,
    pub(super) n_dims: u8,
    pub(super) dims: [u32; 4],
}

impl Shape {
    pub(super) fn new(seed: u64, dims: &[i64]) -> Self {
        let mut shown = [0; 4];
        for (shown, &dim) in shown.iter_mut().zip(dims) {
            *shown = u32::try_from(dim).unwrap_or(u32::MAX);
        }
        let hash = dims.iter().fold(mix(seed, dims.len() as u64), |hash, &dim| mix(hash, dim as u64));
        Self { hash, n_dims: u8::try_from(dims.len()).unwrap_or(u8::MAX), dims: shown }
    }
}

impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Shape {}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = usize::from(self.n_dims).min(4);
        let mut list = f.debug_list();
        list.entries(&self.dims[..shown]);
        if usize::from(self.n_dims) > shown { list.finish_non_exhaustive() } else { list.finish() }
    }
}

/// One round of a mixer over 64 bits: any bit of either argument reaches all bits of the result.
pub(super) fn mix(hash: u64, value: u64) -> u64 {
    let mut x = hash.rotate_left(23) ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 29)
}

/// What ranks must agree on before data is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Which operation.
    pub op: Op,
    /// Of what elements.
    pub dtype: Dtype,
    /// How, or from whom.
    pub detail: Detail,
    /// Of what shape: rows (dim 0) do not count where they may differ.
    pub shape: Shape,
    /// Bytes of this message.
    pub n_bytes: u64,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.op)?;
        match self.detail {
            Detail::None => (),
            Detail::Reduce(ReduceOp::Sum) => f.write_str(" (sum)")?,
            Detail::Reduce(ReduceOp::Max) => f.write_str(" (max)")?,
            Detail::Root(root) => write!(f, " from rank {}", root.0)?,
        }
        match self.op {
            Op::Barrier => Ok(()),
            Op::AllToAll => {
                write!(
                    f,
                    " of {} rows of {}, shape hash {:x}, {} bytes",
                    self.dtype, self.shape, self.shape.hash, self.n_bytes
                )
            }
            _ => {
                write!(f, " of {} {}, shape hash {:x}, {} bytes", self.dtype, self.shape, self.shape.hash, self.n_bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_differ_by_any_dim_and_by_their_number() {
        let shapes: [&[i64]; 6] = [&[], &[1], &[1, 1], &[2, 3], &[3, 2], &[2, 3, 1]];
        for (i, a) in shapes.iter().enumerate() {
            for (j, b) in shapes.iter().enumerate() {
                assert_eq!(Shape::new(1, a) == Shape::new(1, b), i == j, "{a:?} {b:?}");
                assert_ne!(Shape::new(1, a), Shape::new(2, b), "another group");
            }
        }
        assert_eq!(Shape::new(0, &[4, 3]).to_string(), "[4, 3]");
    }
}
