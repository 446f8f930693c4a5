//! How fast two local ranks exchange: ours over TCP, and Open MPI over shared memory, in turns, beside one core's copy.
//! `all_to_all [--rounds N]`; each round prints the median of 12 exchanges of either, in milliseconds. Both have the
//! settings of the allocator that node agents give to ranks.
#![expect(clippy::print_stdout, reason = "a program that prints what it measured")]

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ds_plan::{GroupId, RankId};
use ds_worker::comm::{Group, Listener, Peer};
use ds_worker::node::allocator;
use mpi::collective::CommunicatorCollectives as _;
use mpi::datatype::{Partition, PartitionMut};
use tch::{Device, Kind, Tensor};

/// Bytes of the tensor of each rank; half of it goes to the other.
const SIZES: [usize; 2] = [64 << 20, 64 << 10];
const N_WARM: usize = 3;
const N_TIMED: usize = 12;
const MPI_RANK: &str = "mpi-rank";
const OURS: &str = "ours";
const COPY: &str = "copy";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let n_rounds = match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [MPI_RANK] => return as_mpi_rank(),
        [OURS] => return as_ours(),
        [COPY] => {
            println!("{}", median(|| copy(SIZES[0])));
            return Ok(());
        }
        ["--rounds", n] => n.parse()?,
        _ => 3,
    };
    let own = std::env::current_exe()?;
    println!("copy of 64 MiB by one core: {:.2} ms", timed(Command::new(&own).arg(COPY))?[0]);
    for round in 1..=n_rounds {
        let ours = timed(Command::new(&own).arg(OURS))?;
        let mut mpirun = Command::new("mpirun");
        mpirun.args(["--timeout", "300", "--allow-run-as-root", "--oversubscribe", "-np", "2"]).arg(&own).arg(MPI_RANK);
        let theirs = timed(&mut mpirun)?;
        for ((size, ours), theirs) in SIZES.iter().zip(ours).zip(theirs) {
            let ratio = theirs / ours;
            println!(
                "round {round}, {size} bytes: ours {ours:.3} ms, Open MPI {theirs:.3} ms, {ratio:.2} times as fast"
            );
        }
    }
    Ok(())
}

/// What a program prints: milliseconds.
fn timed(command: &mut Command) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let output = command.envs(allocator(1)).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark has a clock")]
fn now() -> Instant {
    Instant::now()
}

/// Of what `exchange` says that it took, in milliseconds.
fn median(mut exchange: impl FnMut() -> Duration) -> f64 {
    (0..N_WARM).for_each(|_| {
        exchange();
    });
    let mut times: Vec<Duration> = (0..N_TIMED).map(|_| exchange()).collect();
    times.sort();
    times[N_TIMED / 2].as_secs_f64() * 1e3
}

fn copy(n_bytes: usize) -> Duration {
    let from = Tensor::ones([n_bytes as i64 / 4], (Kind::Float, Device::Cpu));
    let mut to = from.zeros_like();
    tch::set_num_threads(1);
    let start = now();
    to.copy_(&from);
    start.elapsed()
}

/// Two ranks as threads, connected as processes are.
fn as_ours() -> Result<(), Box<dyn std::error::Error>> {
    // As ranks do.
    ds_kernels::reuse_blocks();
    let listeners: Vec<Listener> = (0..2).map(|_| Listener::bind(&[])).collect::<Result<_, _>>()?;
    let peer = |(rank, l): (u32, &Listener)| Peer::new(RankId(rank), l.addresses());
    let peers: &Vec<Peer> = &(0..).zip(&listeners).map(peer).collect();
    let deadline = now() + Duration::from_secs(60);
    thread::scope(|scope| {
        for (rank, listener) in (0..).zip(listeners) {
            scope.spawn(move || {
                tch::set_num_threads(1);
                let endpoint = listener.connect(RankId(rank), peers, "token", 1, deadline).expect("peers are there");
                let group = endpoint.group(GroupId(0), &[RankId(0), RankId(1)]);
                for size in SIZES {
                    let time = median(|| exchange(&group, size));
                    if rank == 0 {
                        println!("{time}");
                    }
                }
                endpoint.close();
            });
        }
    });
    Ok(())
}

fn exchange(group: &Group, n_bytes: usize) -> Duration {
    let n = n_bytes as i64 / 4;
    let (given, half) = (Tensor::ones([n], (Kind::Float, Device::Cpu)), [n / 2, n / 2]);
    let soon = now() + Duration::from_secs(60);
    group.barrier().wait(soon).expect("the other rank lives");
    let start = now();
    let got = group.all_to_all(&given, &half, &half).wait(soon).expect("the other rank lives");
    let time = start.elapsed();
    assert_eq!(got.size(), [n]);
    time
}

fn as_mpi_rank() -> Result<(), Box<dyn std::error::Error>> {
    use mpi::traits::Communicator as _;
    let universe = mpi::initialize().ok_or("MPI does not start")?;
    let world = universe.world();
    for size in SIZES {
        let n = size / 4;
        let (given, mut got) = (vec![1_f32; n], vec![0_f32; n]);
        let (counts, starts) = ([n as i32 / 2; 2], [0, n as i32 / 2]);
        let time = median(|| {
            world.barrier();
            let start = now();
            let from = Partition::new(&given[..], &counts[..], &starts[..]);
            let mut to = PartitionMut::new(&mut got[..], &counts[..], &starts[..]);
            world.all_to_all_varcount_into(&from, &mut to);
            start.elapsed()
        });
        if world.rank() == 0 {
            println!("{time}");
        }
    }
    Ok(())
}
