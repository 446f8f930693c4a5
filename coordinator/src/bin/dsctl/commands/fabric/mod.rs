//! `dsctl fabric`: networks, and what flows over them. One command a file.

mod check;
mod compare;
mod draw;
mod flows;
mod import;
mod show;
mod source;

use clap::Subcommand;
pub(crate) use source::read_fabric;

use crate::failure::Failure;
use crate::output::Exit;

/// Show, check, compare, draw and import networks, and simulate flows over them
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
  dsctl fabric compare                                topologies side by side
  dsctl fabric draw h800-mpft-2048 -o x.svg --load all-to-all
  nvidia-smi topo -m > node.txt; dsctl fabric import nvidia-smi node.txt > node.yaml";

#[derive(Subcommand)]
enum Command {
    Show(show::Args),
    Check(check::Args),
    Compare(compare::Args),
    Draw(draw::Args),
    Import(import::Args),
    Flows(flows::Args),
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Show(show) => show.run(),
            Command::Check(check) => check.run(),
            Command::Compare(compare) => compare.run(),
            Command::Draw(draw) => draw.run(),
            Command::Import(import) => import.run(),
            Command::Flows(flows) => flows.run(),
        }
    }
}
