//! What operations give.

use ds_plan::{GroupId, RankId};
use ds_worker::comm::ReduceOp;
use tch::{Device, Kind, Tensor};

use crate::world::{conforming, on_ranks, soon};

/// Values of a rank, which differ from those of any other, and whose sums depend on their order.
fn values(rank: usize, n: i64, kind: Kind) -> Tensor {
    let i = Tensor::arange(n, (Kind::Double, Device::Cpu));
    let scale = [1.0, 1e7, -1e7, 3.0, 0.1][rank % 5];
    ((i * 0.37 + rank as f64).sin() * scale).to_kind(kind)
}

fn sum_in_rank_order(n_ranks: usize, n: i64, kind: Kind) -> Tensor {
    let wide = if kind == Kind::BFloat16 { Kind::Float } else { kind };
    let mut sum = values(0, n, kind).to_kind(wide);
    for rank in 1..n_ranks {
        sum += values(rank, n, kind).to_kind(wide);
    }
    sum.to_kind(kind)
}

#[test]
pub(crate) fn an_all_reduce_adds_in_rank_order_whatever_its_size() {
    for backend in conforming() {
        for n_ranks in [1, 2, 3, 4] {
            // From 64 KiB on it takes two phases.
            for n in [0, 1, 7, 40_001] {
                for kind in [Kind::Float, Kind::Double, Kind::BFloat16] {
                    let sums = on_ranks(backend, n_ranks, |rank, endpoint| {
                        backend.world(endpoint).all_reduce(&values(rank, n, kind), ReduceOp::Sum).wait(soon()).unwrap()
                    });
                    let expected = sum_in_rank_order(n_ranks, n, kind);
                    for (_, sum) in sums {
                        assert_eq!(sum, expected, "{backend:?} {n_ranks} ranks, {n} of {kind:?}");
                    }
                }
            }
        }
    }
}

#[test]
pub(crate) fn an_all_reduce_keeps_the_shape_and_leaves_its_input_alone() {
    for backend in conforming() {
        on_ranks(backend, 3, |rank, endpoint| {
            let input = Tensor::full([2, 3], rank as i64, (Kind::Int64, Device::Cpu));
            let pending = backend.world(endpoint).all_reduce(&input, ReduceOp::Max);
            // It was copied when the operation started.
            let _ = input.shallow_clone().fill_(9);
            let max = pending.wait(soon()).unwrap();
            assert_eq!(max, Tensor::full([2, 3], 2, (Kind::Int64, Device::Cpu)));
            let _ = max.shallow_clone().fill_(5);
            assert_eq!(input.int64_value(&[0, 0]), 9);
        });
    }
}

#[test]
pub(crate) fn a_reduce_scatter_gives_each_its_rows() {
    for backend in conforming() {
        let parts = on_ranks(backend, 3, |rank, endpoint| {
            let whole = values(rank, 12, Kind::Float).view([6, 2]);
            backend.world(endpoint).reduce_scatter(&whole, ReduceOp::Sum, &[1, 0, 5]).wait(soon()).unwrap()
        });
        let expected = sum_in_rank_order(3, 12, Kind::Float).view([6, 2]);
        let expected = expected.split_with_sizes([1, 0, 5].as_slice(), 0);
        for (rank, part) in parts {
            assert_eq!((part.size()[0], part), ([1, 0, 5][rank], expected[rank].shallow_clone()), "{backend:?}");
        }
    }
}

#[test]
pub(crate) fn an_all_gather_joins_rows_of_any_number() {
    for backend in conforming() {
        let all = on_ranks(backend, 3, |rank, endpoint| {
            let own = values(rank, 4 * rank as i64, Kind::BFloat16).view([2 * rank as i64, 2]);
            backend.world(endpoint).all_gather(&own).wait(soon()).unwrap()
        });
        let expected = Tensor::cat(&[values(1, 4, Kind::BFloat16), values(2, 8, Kind::BFloat16)], 0).view([6, 2]);
        for (_, whole) in all {
            assert_eq!(whole, expected, "{backend:?}");
        }
    }
}

#[test]
pub(crate) fn bytes_are_gathered_as_they_are() {
    for backend in conforming() {
        let all = on_ranks(backend, 3, |rank, endpoint| {
            backend.world(endpoint).all_gather_bytes(&vec![rank as u8; 5 * rank]).wait(soon()).unwrap()
        });
        for (_, one) in all {
            assert_eq!(one, [vec![], vec![1; 5], vec![2; 10]]);
        }
    }
}

#[test]
pub(crate) fn an_all_to_all_moves_uneven_rows() {
    for backend in conforming() {
        for kind in [Kind::Float, Kind::BFloat16, Kind::Int64] {
            // From rank i to rank j: i + 2 j rows, of the value 10 i + j.
            let n = |from: usize, to: usize| (from + 2 * to) as i64;
            on_ranks(backend, 3, |rank, endpoint| {
                let to: Vec<i64> = (0..3).map(|j| n(rank, j)).collect();
                let from: Vec<i64> = (0..3).map(|i| n(i, rank)).collect();
                let rows = |i: usize, j: usize| Tensor::full([n(i, j), 2], (10 * i + j) as i64, (kind, Device::Cpu));
                let given = Tensor::cat(&(0..3).map(|j| rows(rank, j)).collect::<Vec<_>>(), 0);
                let expected = Tensor::cat(&(0..3).map(|i| rows(i, rank)).collect::<Vec<_>>(), 0);
                assert_eq!(backend.world(endpoint).all_to_all(&given, &to, &from).wait(soon()).unwrap(), expected);
            });
        }
    }
}

#[test]
pub(crate) fn a_broadcast_gives_all_the_tensor_of_one() {
    for backend in conforming() {
        on_ranks(backend, 3, |rank, endpoint| {
            let own = Tensor::from_slice(&[rank as f32, 1.0]);
            let got = backend.world(endpoint).broadcast(&own, 2).wait(soon()).unwrap();
            assert_eq!(got, Tensor::from_slice(&[2_f32, 1.0]));
        });
    }
}

#[test]
pub(crate) fn messages_between_two_keep_their_order_and_pairs_do_not_mix() {
    for backend in conforming() {
        on_ranks(backend, 3, |rank, endpoint| {
            let group = backend.world(endpoint);
            for i in 0..50_i64 {
                for to in (0..3).filter(|&to| to != rank) {
                    let _ = group.send(to, &Tensor::from_slice(&[rank as i64, i]));
                }
            }
            // The later ones are waited for first.
            let received: Vec<_> = (0..50_i64)
                .flat_map(|i| (0..3).filter(|&from| from != rank).map(move |from| (from, i)))
                .map(|(from, i)| (from, i, group.receive(from, &[2], Kind::Int64)))
                .collect();
            for (from, i, pending) in received.into_iter().rev() {
                assert_eq!(pending.wait(soon()).unwrap(), Tensor::from_slice(&[from as i64, i]));
            }
        });
    }
}

#[test]
pub(crate) fn many_operations_may_be_under_way_and_groups_do_not_mix() {
    for backend in conforming() {
        on_ranks(backend, 4, |rank, endpoint| {
            let all = backend.world(endpoint);
            let half: Vec<RankId> = [0, 2].map(|i| RankId((rank % 2 + i) as u32)).to_vec();
            let own = backend.group(endpoint, GroupId(1 + (rank % 2) as u32), &half);
            let of = |v: i64| Tensor::from_slice(&[v + rank as i64]);
            let pending: Vec<_> = (0..30)
                .map(|i| (all.all_reduce(&of(i), ReduceOp::Sum), own.all_reduce(&of(100 * i), ReduceOp::Sum)))
                .collect();
            for (i, (all, own)) in pending.into_iter().enumerate().rev() {
                assert_eq!(all.wait(soon()).unwrap().int64_value(&[0]), 4 * i as i64 + 6);
                assert_eq!(own.wait(soon()).unwrap().int64_value(&[0]), 200 * i as i64 + 2 + 2 * (rank as i64 % 2));
            }
        });
    }
}

#[test]
pub(crate) fn what_nobody_waits_for_still_reaches_its_peers() {
    for backend in conforming() {
        let started = backend.meeting(3);
        on_ranks(backend, 3, |rank, endpoint| {
            let group = backend.world(endpoint);
            let large = values(rank, 50_000, Kind::Float);
            let pending = group.all_reduce(&large, ReduceOp::Sum);
            // A rank that leaves waits a bounded time for peers to start what it owes them.
            started.wait();
            if rank == 0 {
                drop(pending);
            } else {
                assert_eq!(pending.wait(soon()).unwrap(), sum_in_rank_order(3, 50_000, Kind::Float));
            }
        });
    }
}

#[test]
pub(crate) fn large_messages_in_both_directions_do_not_wait_for_each_other() {
    for backend in conforming() {
        on_ranks(backend, 2, |rank, endpoint| {
            let group = backend.world(endpoint);
            let given = Tensor::full([8 << 20], rank as f64, (Kind::Float, Device::Cpu));
            let sent = group.send(1 - rank, &given);
            sent.wait(soon()).unwrap();
            let got = group.receive(1 - rank, &[8 << 20], Kind::Float).wait(soon()).unwrap();
            assert_eq!(got.double_value(&[(8 << 20) - 1]), (1 - rank) as f64);
        });
    }
}

#[test]
pub(crate) fn nobody_passes_a_barrier_before_the_last() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    for backend in conforming() {
        let here = AtomicUsize::new(0);
        on_ranks(backend, 4, |_, endpoint| {
            here.fetch_add(1, Ordering::SeqCst);
            backend.world(endpoint).barrier().wait(soon()).unwrap();
            assert_eq!(here.load(Ordering::SeqCst), 4);
        });
    }
}
