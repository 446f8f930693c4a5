//! `ds-worker`: one rank of a job, or the node agent that starts ranks.

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
        Ok(Command::Rank(args)) => {
            telemetry::init(format!("rank {} attempt {}", args.rank, args.attempt));
            agent::run(args, session::run)
        }
        Err(error) => telemetry::usage(&error),
    }
}
