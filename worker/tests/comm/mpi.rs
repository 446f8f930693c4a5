//! The same laws with a process a rank, under `mpirun`.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use ds_worker::comm::{Endpoint, Mpi};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, Destination as _, Source as _};

use crate::{conformance, failures};

const N_RANKS: usize = 4;
/// Beyond those of endpoints.
const MEET: i32 = 32_000;

/// All but what counts ranks in shared memory, and what is about addresses.
const LAWS: &[(&str, fn())] = &[
    ("all-reduce", conformance::an_all_reduce_adds_in_rank_order_whatever_its_size),
    ("shape", conformance::an_all_reduce_keeps_the_shape_and_leaves_its_input_alone),
    ("reduce-scatter", conformance::a_reduce_scatter_gives_each_its_rows),
    ("all-gather", conformance::an_all_gather_joins_rows_of_any_number),
    ("bytes", conformance::bytes_are_gathered_as_they_are),
    ("all-to-all", conformance::an_all_to_all_moves_uneven_rows),
    ("broadcast", conformance::a_broadcast_gives_all_the_tensor_of_one),
    ("order", conformance::messages_between_two_keep_their_order_and_pairs_do_not_mix),
    ("groups", conformance::many_operations_may_be_under_way_and_groups_do_not_mix),
    ("nobody waits", conformance::what_nobody_waits_for_still_reaches_its_peers),
    ("both directions", conformance::large_messages_in_both_directions_do_not_wait_for_each_other),
    ("leaving", failures::a_rank_that_leaves_without_a_word_is_named_by_all),
    ("panic", failures::a_rank_that_panics_is_named_by_all),
    ("finished", failures::a_rank_that_has_finished_is_named_by_those_who_still_need_it),
    ("abort", failures::an_abort_from_another_thread_ends_every_wait_with_its_reason),
    ("mismatch", failures::ranks_that_mean_different_things_learn_of_it),
    ("deadline", failures::a_deadline_that_passes_names_who_is_missing_and_fails_only_the_wait),
    ("not started", failures::what_cannot_be_started_fails_the_group_instead_of_hanging_it),
    ("whole", failures::what_a_rank_gave_before_it_fell_comes_whole_or_not_at_all),
    ("names", failures::every_failure_names_rank_group_operation_and_number),
];

static MPI: Mutex<Option<Mpi>> = Mutex::new(None);

pub(crate) fn is_under_mpirun() -> bool {
    std::env::var_os("OMPI_COMM_WORLD_SIZE").is_some()
}

/// That of this process, if it is one of the first `n_ranks`.
pub(crate) fn endpoint(n_ranks: usize) -> Option<Endpoint> {
    let mpi = MPI.lock().unwrap_or_else(PoisonError::into_inner);
    mpi.as_ref().expect("it was started").endpoint(n_ranks).unwrap()
}

/// Waits for the first `n_ranks` processes.
pub(crate) fn meet(n_ranks: usize) {
    let world = SimpleCommunicator::world();
    let (own, others) = (world.rank(), 1..n_ranks as i32);
    let token = [0_u8];
    let send = |to: i32| world.process_at_rank(to).send_with_tag(&token[..], MEET);
    let receive = |from: i32| {
        world.process_at_rank(from).receive_into_with_tag(&mut [0_u8][..], MEET);
    };
    if own == 0 {
        others.clone().for_each(receive);
        others.for_each(send);
    } else {
        send(0);
        receive(0);
    }
}

#[test]
fn every_law_holds_under_mpirun() {
    if is_under_mpirun() {
        return as_a_rank();
    }
    let name = "mpi::every_law_holds_under_mpirun";
    let mut command = Command::new("mpirun");
    // Nothing here takes long; a hang is a failure.
    command.args(["--timeout", "300", "--allow-run-as-root", "--oversubscribe", "-np", &N_RANKS.to_string()]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]);
    let output = command.output().expect("mpirun of Open MPI is there");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
    assert!(text.contains(&all_hold()), "{text}");
}

fn all_hold() -> String {
    format!("{} laws hold on {N_RANKS} ranks", LAWS.len())
}

fn as_a_rank() {
    *MPI.lock().unwrap_or_else(PoisonError::into_inner) = Some(Mpi::start().unwrap());
    for (law, test) in LAWS {
        if std::panic::catch_unwind(test).is_err() {
            eprintln!("does not hold: {law}");
            // Other ranks would wait for this one.
            SimpleCommunicator::world().abort(1);
        }
    }
    meet(N_RANKS);
    if SimpleCommunicator::world().rank() == 0 {
        eprintln!("{}", all_hold());
    }
    drop(MPI.lock().unwrap_or_else(PoisonError::into_inner).take());
}
