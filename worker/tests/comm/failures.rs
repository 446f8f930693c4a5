//! What happens when a rank fails: its peers learn which one, why and in what, and nobody hangs.

use std::thread;
use std::time::Duration;

use ds_plan::{GroupId, RankId};
use ds_worker::comm::{CommError, Endpoint, Group, Op, Reason, ReduceOp};
use tch::{Device, Kind, Tensor};

use crate::world::{Backend, backends, on_ranks, soon, with_endpoints, within, world};

fn one() -> Tensor {
    Tensor::ones([3], (Kind::Float, Device::Cpu))
}

/// The errors of all ranks but `fallen`, which does `fall` with its endpoint instead of a second operation.
fn errors_when_one_falls(backend: Backend, fallen: usize, fall: impl Fn(Endpoint) + Sync) -> Vec<CommError> {
    // A rank that falls fails what others have not finished, so nobody falls before all are through with the first.
    let through = backend.meeting(3);
    let errors = with_endpoints(backend, 3, |rank, endpoint| {
        let group = world(&endpoint);
        let first = group.all_reduce(&one(), ReduceOp::Sum).wait(soon());
        through.wait();
        let _ = first.unwrap();
        if rank == fallen {
            fall(endpoint);
            return None;
        }
        Some(group.all_reduce(&one(), ReduceOp::Sum).wait(soon()).unwrap_err())
    });
    errors.into_iter().filter_map(|(_, error)| error).collect()
}

#[test]
pub(crate) fn a_rank_that_leaves_without_a_word_is_named_by_all() {
    for backend in backends() {
        for error in errors_when_one_falls(backend, 1, drop) {
            let CommError::PeerFailed { rank, op, sequence, reason, .. } = &error else { panic!("{error}") };
            assert_eq!((*rank, *op, *sequence), (RankId(1), Op::AllReduce, 1), "{backend:?}");
            assert!(matches!(reason, Reason::Dropped | Reason::Lost(_)), "{reason}");
            assert_eq!(error.culprit(), Some(RankId(1)));
        }
    }
}

#[test]
pub(crate) fn a_rank_that_panics_is_named_by_all() {
    for backend in backends() {
        let errors = errors_when_one_falls(backend, 2, |endpoint| {
            let fallen = thread::spawn(move || {
                let _endpoint = endpoint;
                panic!("this rank falls on purpose");
            });
            assert!(fallen.join().is_err());
        });
        for error in errors {
            let CommError::PeerFailed { rank, reason, .. } = &error else { panic!("{error}") };
            assert_eq!((*rank, reason), (RankId(2), &Reason::Panicked), "{backend:?}");
        }
    }
}

#[test]
pub(crate) fn a_rank_that_has_finished_is_named_by_those_who_still_need_it() {
    for backend in backends() {
        for error in errors_when_one_falls(backend, 0, Endpoint::close) {
            let CommError::PeerFailed { rank, reason, .. } = &error else { panic!("{error}") };
            assert_eq!((*rank, reason), (RankId(0), &Reason::Closed), "{backend:?}");
        }
    }
}

#[test]
pub(crate) fn an_abort_from_another_thread_ends_every_wait_with_its_reason() {
    for backend in backends() {
        let errors = on_ranks(backend, 3, |rank, endpoint| {
            let group = world(endpoint);
            if rank == 2 {
                let other = group.clone();
                thread::spawn(move || other.abort("the disk is full")).join().unwrap();
            }
            let waited = group.barrier().wait(soon()).unwrap_err();
            assert!(group.barrier().wait(soon()).is_err(), "a group that failed stays so");
            waited
        });
        for (rank, error) in errors {
            match error {
                CommError::Aborted { reason, .. } if rank == 2 => assert_eq!(reason, "the disk is full"),
                CommError::PeerFailed { rank: RankId(2), reason: Reason::Aborted(reason), .. } if rank != 2 => {
                    assert_eq!(reason, "the disk is full");
                }
                error => panic!("{backend:?} rank {rank}: {error}"),
            }
        }
    }
}

#[test]
pub(crate) fn ranks_that_mean_different_things_learn_of_it() {
    type Act = fn(usize, &Endpoint) -> Result<Tensor, CommError>;
    let acts: [(&str, Act); 5] = [
        ("operation", |rank, e| match rank {
            0 => world(e).barrier().wait(soon()).map(|()| one()),
            _ => world(e).all_reduce(&one(), ReduceOp::Sum).wait(soon()),
        }),
        ("dtype", |rank, e| {
            let kind = if rank == 0 { Kind::Double } else { Kind::Float };
            world(e).all_reduce(&one().to_kind(kind), ReduceOp::Sum).wait(soon())
        }),
        ("shape", |rank, e| {
            let shape = if rank == 0 { [3, 1] } else { [1, 3] };
            world(e).all_reduce(&one().view(shape), ReduceOp::Sum).wait(soon())
        }),
        ("root", |rank, e| world(e).broadcast(&one(), usize::from(rank == 0)).wait(soon())),
        ("counts", |rank, e| {
            // Rank 0 believes to get one row from the other, but gets two.
            let from = if rank == 0 { [1, 1] } else { [2, 1] };
            world(e).all_to_all(&one(), if rank == 0 { &[1, 2] } else { &[2, 1] }, &from).wait(soon())
        }),
    ];
    for backend in backends() {
        for (what, act) in acts {
            let results = on_ranks(backend, 2, |rank, endpoint| {
                let first = act(rank, endpoint);
                // Whoever got through learns of it with the next operation.
                first.and_then(|t| world(endpoint).barrier().wait(soon()).map(|()| t))
            });
            for (_, result) in results {
                assert!(matches!(result, Err(CommError::Mismatch(_))), "{backend:?} {what}: {result:?}");
            }
        }
    }
}

#[test]
pub(crate) fn a_deadline_that_passes_names_who_is_missing_and_fails_only_the_wait() {
    for backend in backends() {
        let gate = backend.meeting(2);
        on_ranks(backend, 2, |rank, endpoint| {
            let group = world(endpoint);
            if rank == 1 {
                gate.wait();
                group.barrier().wait(soon()).unwrap();
                return;
            }
            let error = group.barrier().wait(within(Duration::from_millis(100))).unwrap_err();
            assert!(matches!(&error, CommError::Timeout { missing, .. } if missing[..] == [RankId(1)]), "{error}");
            gate.wait();
        });
    }
}

#[test]
pub(crate) fn what_cannot_be_started_fails_the_group_instead_of_hanging_it() {
    for backend in backends() {
        let errors = on_ranks(backend, 2, |rank, endpoint| {
            let group = world(endpoint);
            let counts: &[i64] = if rank == 0 { &[1, 1] } else { &[1, 2] };
            let from: &[i64] = if rank == 0 { &[1, 1] } else { &[1, 2] };
            group.all_to_all(&one(), counts, from).wait(soon()).unwrap_err()
        });
        for (rank, error) in errors {
            match &error {
                CommError::NotStarted { rank: RankId(0), sequence: 0, reason, .. } if rank == 0 => {
                    assert!(matches!(**reason, CommError::Rows { sum: 2, n_rows: 3, .. }), "{reason}");
                }
                error => assert_eq!((rank, error.culprit()), (1, Some(RankId(0))), "{error}"),
            }
        }
    }
}

/// Rank 1 spoils the second operation of group 7.
#[test]
pub(crate) fn every_failure_names_rank_group_operation_and_number() {
    type Act = fn(usize, &Group) -> Result<(), CommError>;
    let second: [(&str, Act); 6] = [
        ("wrong counts", |rank, group| {
            let counts: &[i64] = if rank == 1 { &[1, 1, 5] } else { &[1, 1, 1] };
            group.all_to_all(&one(), counts, &[1, 1, 1]).wait(soon()).map(drop)
        }),
        ("other counts of what it gives itself", |rank, group| {
            let from: &[i64] = if rank == 1 { &[1, 2, 1] } else { &[1, 1, 1] };
            group.all_to_all(&one(), &[1, 1, 1], from).wait(soon()).map(drop)
        }),
        ("another shape", |rank, group| {
            let rows = one().view([3, 1]).repeat([1, if rank == 1 { 2 } else { 1 }]);
            group.all_to_all(&rows, &[1, 1, 1], &[1, 1, 1]).wait(soon()).map(drop)
        }),
        ("another order", |rank, group| match rank {
            1 => group.all_reduce(&one(), ReduceOp::Sum).wait(soon()).map(drop),
            _ => group.all_to_all(&one(), &[1, 1, 1], &[1, 1, 1]).wait(soon()).map(drop),
        }),
        ("a peer that aborts", |rank, group| {
            if rank == 1 {
                group.abort("out of memory");
            }
            group.all_to_all(&one(), &[1, 1, 1], &[1, 1, 1]).wait(soon()).map(drop)
        }),
        ("a peer that never comes", |rank, group| match rank {
            1 => Err(group.all_to_all(&one(), &[9], &[9]).wait(soon()).unwrap_err()),
            _ => group.all_to_all(&one(), &[1, 1, 1], &[1, 1, 1]).wait(soon()).map(drop),
        }),
    ];
    for backend in backends() {
        for (what, act) in second {
            // A failure ends what others have not finished, so nobody goes on before all are through with the first.
            let through = backend.meeting(3);
            let errors = on_ranks(backend, 3, |rank, endpoint| {
                let ranks: Vec<RankId> = (0..3).map(RankId).collect();
                let group = endpoint.group(GroupId(7), &ranks);
                group.barrier().wait(soon()).unwrap();
                through.wait();
                let error = act(rank, &group).and_then(|()| group.barrier().wait(soon())).unwrap_err();
                // Nor does anybody leave before all know.
                through.wait();
                error
            });
            for error in errors.iter().map(|(_, error)| error.to_string()) {
                for part in ["rank 1", "group 7", "all-to-all"] {
                    assert!(error.contains(part), "{backend:?}, {what}: {part:?} is not in {error:?}");
                }
                assert!(error.contains("number 1") || error.contains("operation 1"), "{backend:?}, {what}: {error}");
            }
        }
    }
}

#[test]
pub(crate) fn what_a_rank_gave_before_it_fell_comes_whole_or_not_at_all() {
    for backend in backends() {
        for _ in 0..10 {
            let results = with_endpoints(backend, 2, |rank, endpoint| {
                let group = world(&endpoint);
                if rank == 1 {
                    let _ = group.send(0, &Tensor::full([4 << 20], 7.0, (Kind::Float, Device::Cpu)));
                    drop(endpoint);
                    // What frees memory of that size now must not be read for it.
                    let _ = Tensor::full([4 << 20], 9.0, (Kind::Float, Device::Cpu));
                    return None;
                }
                Some(group.receive(1, &[4 << 20], Kind::Float).wait(soon()))
            });
            match results.into_iter().find_map(|(_, result)| result) {
                Some(Ok(got)) => assert_eq!((got.min(), got.max()), (Tensor::from(7_f32), Tensor::from(7_f32))),
                Some(Err(error)) => assert_eq!(error.culprit(), Some(RankId(1)), "{backend:?}: {error}"),
                None => (),
            }
        }
    }
}
