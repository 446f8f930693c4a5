//! `dsctl fabric`: networks, and what flows over them. One command a file.

mod check;
mod compare;
mod flows;
mod show;
mod source;

use clap::Subcommand;

pub(crate) use source::read_fabric;

use crate::failure::Failure;
use crate::output::Exit;

/// Show, check and compare networks, and simulate flows over them
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
FABRIC is a YAML file, or the name of a fabric that comes with the program, such as h800-mpft-2048.

Examples:
  dsctl fabric show h800-mpft-2048                    counts, bisection, diameter, cost
  dsctl fabric show h800-mpft-2048 --fault plane=3    the same with a plane lost
  dsctl fabric check my-cluster.yaml                  every mistake at once
  dsctl fabric compare                                topologies side by side";

#[derive(Subcommand)]
enum Command {
    Show(show::Args),
    Check(check::Args),
    Compare(compare::Args),
    Flows(flows::Args),
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Show(show) => show.run(),
            Command::Check(check) => check.run(),
            Command::Compare(compare) => compare.run(),
            Command::Flows(flows) => flows.run(),
        }
    }
}
