//! Reductions, always in the order of ranks, so that the result does not depend on who came first.

use tch::{Kind, TchError, Tensor};

use super::dtype::Dtype;
use super::payload::Payload;
use super::signature::ReduceOp;

/// Whether elements of this type can be reduced.
pub(super) fn can_reduce(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F64 | Dtype::Bf16 | Dtype::I64)
}

/// The reduction of all `contributions`, which are given in rank order and are of one length.
pub(super) fn reduce(op: ReduceOp, contributions: &[Payload]) -> Result<Tensor, TchError> {
    let (first, rest) = contributions.split_first().expect("a rank contributes to its own reduction");
    let kind = first.tensor().f_kind()?;
    match op {
        // In f32, and rounded once at the end.
        ReduceOp::Sum if kind == Kind::BFloat16 => {
            let mut sum = first.tensor().f_to_kind(Kind::Float)?;
            for one in rest {
                let _ = sum.f_add_(one.tensor())?;
            }
            sum.f_to_kind(kind)
        }
        ReduceOp::Sum => fold(first, rest, |a, b| a.f_add(b), |a, b| a.f_add_(b).map(drop)),
        ReduceOp::Max => {
            fold(first, rest, |a, b| a.f_maximum(b), |a, b| a.f_maximum_out(&a.shallow_clone(), b).map(drop))
        }
    }
}

/// The first two make new memory, into which the rest are folded.
fn fold(
    first: &Payload,
    rest: &[Payload],
    two: impl Fn(&Tensor, &Tensor) -> Result<Tensor, TchError>,
    into: impl Fn(&mut Tensor, &Tensor) -> Result<(), TchError>,
) -> Result<Tensor, TchError> {
    let Some((second, rest)) = rest.split_first() else {
        return Payload::copy_of(first.tensor()).map(Payload::into_fresh);
    };
    let mut all = two(first.tensor(), second.tensor())?;
    for one in rest {
        into(&mut all, one.tensor())?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32], kind: Kind) -> Payload {
        Payload::copy_of(&Tensor::from_slice(values).to_kind(kind)).unwrap()
    }

    #[test]
    fn sums_are_taken_in_rank_order() {
        // In any other order the small one survives.
        let ranks = [1.0, 1e8, -1e8].map(|v| of(&[v], Kind::Float));
        assert_eq!(reduce(ReduceOp::Sum, &ranks).unwrap().double_value(&[0]), 0.0);
    }

    #[test]
    fn a_maximum_keeps_what_is_not_a_number() {
        for order in [[f32::NAN, 1.0, 2.0], [1.0, f32::NAN, 2.0], [1.0, 2.0, f32::NAN]] {
            let ranks = order.map(|v| of(&[v], Kind::Float));
            assert!(reduce(ReduceOp::Max, &ranks).unwrap().double_value(&[0]).is_nan(), "{order:?}");
        }
    }

    #[test]
    fn bf16_is_rounded_once() {
        // 256 + 1 rounds back to 256 in bf16, so rounding after each addition would lose all of the ones.
        let ranks = [256.0, 1.0, 1.0, 1.0, 1.0].map(|v| of(&[v; 19], Kind::BFloat16));
        let sum = reduce(ReduceOp::Sum, &ranks).unwrap();
        assert_eq!(sum, Tensor::full([19], 260.0, (Kind::BFloat16, tch::Device::Cpu)));
    }

    #[test]
    fn a_reduction_never_writes_to_what_it_reads() {
        for op in [ReduceOp::Sum, ReduceOp::Max] {
            for n in 1..4 {
                let ranks: Vec<_> = (0..n).map(|i| of(&[i as f32], Kind::Float)).collect();
                let _ = reduce(op, &ranks).unwrap().fill_(9.0);
                assert!((0..n).all(|i| ranks[i].tensor().double_value(&[0]) == i as f64), "{op:?} {n}");
            }
        }
    }
}
