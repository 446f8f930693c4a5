//! dsctl: what people type.

mod background;
mod client;
mod clock;
mod commands;
mod crossing;
mod data;
mod facts;
mod failure;
mod files;
mod home;
mod interrupts;
mod link;
mod local;
mod machine;
mod memory;
mod network;
mod node;
mod output;
mod place;
mod rehearsal;
mod room;
mod sample;
mod show;
mod size;
mod spec;
mod start;
mod target;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{
    calibrate, cancel, check, ckpt, coordinator, data_command, export, fabric, generate, import, launch, limits, list,
    logs, nodes, plan, resume, schema, simulate, status, watch as watching,
};
use output::finish;

/// Trains DeepSeek-V3-style Mixture-of-Experts models: from one file to a trained model, on one machine or many.
#[derive(Parser)]
#[command(name = "dsctl", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  dsctl check job.yaml                 every mistake of a job at once, before anything starts
  dsctl plan job.yaml                  who holds what, how much memory, in which order
  dsctl simulate job.yaml --fabric F   how long a step takes on a fabric, and what if a part of it fails
  dsctl launch job.yaml                train on this machine and watch
  dsctl launch job.yaml --detach       train in the background
  dsctl watch last                     watch it
  dsctl resume last                    go on after a failure, from the newest whole checkpoint
  dsctl generate last --prompt ROMEO:  what its model writes
  dsctl import HF_DIR CKPT             a checkpoint of a Hugging Face folder of DeepSeek-V3
  dsctl export last HF_DIR             and the way back

Exit codes: 0 done, 1 the job or the command failed, 64 you must change something.
Everything is kept in DSCTL_HOME, or ~/.dsctl.";

#[derive(Subcommand)]
enum Command {
    Check(check::Args),
    Schema(schema::Args),
    Plan(plan::Args),
    Launch(launch::Args),
    Coordinator(coordinator::Args),
    List(list::Args),
    Status(status::Args),
    Nodes(nodes::Args),
    Logs(logs::Args),
    Watch(watching::Args),
    Cancel(cancel::Args),
    Resume(resume::Args),
    Data(data_command::Args),
    Ckpt(ckpt::Args),
    Generate(generate::Args),
    Import(import::Args),
    Export(export::Args),
    Fabric(fabric::Args),
    Calibrate(calibrate::Args),
    Simulate(simulate::Args),
    Limits(limits::Args),
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(usage) => return output::usage(&usage),
    };
    finish(match args.command {
        Command::Check(check) => check.run(),
        Command::Schema(schema) => schema.run(),
        Command::Plan(plan) => plan.run(),
        Command::Launch(launch) => launch.run(),
        Command::Coordinator(coordinator) => coordinator.run(),
        Command::List(list) => list.run(),
        Command::Status(status) => status.run(),
        Command::Nodes(nodes) => nodes.run(),
        Command::Logs(logs) => logs.run(),
        Command::Watch(watch) => watch.run(),
        Command::Cancel(cancel) => cancel.run(),
        Command::Resume(resume) => resume.run(),
        Command::Data(data) => data.run(),
        Command::Ckpt(ckpt) => ckpt.run(),
        Command::Generate(generate) => generate.run(),
        Command::Import(import) => import.run(),
        Command::Export(export) => export.run(),
        Command::Fabric(fabric) => fabric.run(),
        Command::Calibrate(calibrate) => calibrate.run(),
        Command::Simulate(simulate) => simulate.run(),
        Command::Limits(limits) => limits.run(),
    })
}
