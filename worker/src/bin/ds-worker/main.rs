//! `ds-worker`: one rank of a job, the node agent that starts ranks, or a model that writes.

mod generate;
#[cfg(feature = "mpi")]
mod mpi;
mod page;
mod telemetry;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ds_worker::{agent, node, session};

/// Runs ranks of jobs that a dsctl coordinator gives to this machine.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Offer this machine to a coordinator, and run the ranks that it seats here.
    Node(node::NodeArgs),
    /// Let the model of a checkpoint write; `dsctl generate` starts it.
    Generate(generate::GenerateArgs),
    /// Be one rank of a job that mpirun started, without a coordinator.
    #[cfg(feature = "mpi")]
    Mpi(mpi::MpiArgs),
    /// Run one rank; node agents start it.
    #[command(hide = true)]
    Rank(agent::RankArgs),
}

fn main() -> ExitCode {
    match Args::try_parse().map(|args| args.command) {
        Ok(Command::Node(args)) => {
            telemetry::init("node".to_owned());
            node::run(args)
        }
        Ok(Command::Generate(args)) => {
            telemetry::init("generate".to_owned());
            args.run()
        }
        #[cfg(feature = "mpi")]
        Ok(Command::Mpi(args)) => args.run(),
        Ok(Command::Rank(args)) => {
            telemetry::init(match args.ranks_in_process {
                0 | 1 => format!("rank {} attempt {}", args.rank, args.attempt),
                n => format!("{n} ranks attempt {}", args.attempt),
            });
            agent::run(args, session::run)
        }
        Err(error) => telemetry::usage(&error),
    }
}
