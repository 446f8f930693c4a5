//! `dsctl simulate`: steps of a job on a fabric, before there is either.

mod ask;
mod chakra;
mod fabric;
mod tell;
mod trace;

use std::path::PathBuf;

use ds_forecast::page::html;
use ds_forecast::simulate::{Epoch, Options, PlannedStep, Straggler, WhatIf, simulate, states};
use ds_plan::JobPlan;
use ds_topology::routing::{FabricRoutes, Policy};

use crate::commands::fabric::read_fabric;
use crate::failure::Failure;
use crate::files::write_text;
use crate::machine::{calibrated, fabric_of};
use crate::output::{Exit, FormatArgs};
use crate::spec::SpecArgs;
use ask::{Asked, SkewAsked};

/// Play steps of a job on a fabric: how long they take, what binds them, and what if something fails
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: Option<SpecArgs>,
    /// The network: a YAML file, or the name of one that comes with the program; the job's cluster.fabric when absent
    #[arg(long, value_name = "FABRIC")]
    fabric: Option<String>,
    /// The machine, such as h800; that of the job or of the fabric when absent
    #[arg(long, value_name = "NAME")]
    hardware: Option<String>,
    /// What `dsctl calibrate` wrote, in place of a preset
    #[arg(long, value_name = "FILE", conflicts_with = "hardware")]
    calibration: Option<PathBuf>,
    /// How many steps in a row
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: u32,
    /// How popular experts are: `uniform`, `zipf:EXPONENT`, or `recorded:FILE` with the metrics.jsonl of a run
    #[arg(long, value_name = "SKEW", default_value = "uniform")]
    skew: SkewAsked,
    /// Standard deviation of the time of a computation, as a share of it
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    jitter: f64,
    /// Of the jitter
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// A rank that computes more slowly, `rank=5:x1.3`; may be given several times
    #[arg(long, value_name = "RANK")]
    straggler: Vec<Asked<Straggler>>,
    /// What befalls the fabric, `plane=3:down@t=2s`, `link=P2.h5.up:x0.5@t=1s`, `plane=3:up@t=4s`; several times
    #[arg(long, value_name = "EVENT")]
    what_if: Vec<WhatIf>,
    /// How switches route: static, ecmp, ecmp:SEED, adaptive, spray, valiant
    #[arg(long, value_name = "POLICY", default_value = "static")]
    routing: Policy,
    /// Play these Chakra execution traces, JSON or protobuf, in place of a job; one for each rank, in order
    #[arg(long, value_name = "TRACE", conflicts_with = "file")]
    chakra: Vec<PathBuf>,
    /// Write a trace for ui.perfetto.dev
    #[arg(long, value_name = "OUT.json")]
    trace: Option<PathBuf>,
    /// Write a page with pictures
    #[arg(long, value_name = "OUT.html")]
    html: Option<PathBuf>,
    /// Play every rank and message by itself, though others fare alike
    #[arg(long)]
    no_reuse: bool,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if !self.chakra.is_empty() {
            let fabric = read_fabric(self.fabric.as_ref().ok_or(Failure::FabricUnnamed)?)?;
            chakra::run(&self.chakra, &fabric, self.routing, self.format.format)?;
            return Ok(Exit::Done);
        }
        let spec = self.spec.as_ref().ok_or(Failure::NoJob)?;
        let plan = JobPlan::new(spec.read()?.spec)?;
        let fabric = fabric_of(self.fabric.as_deref(), plan.spec())?.ok_or(Failure::FabricUnnamed)?;
        let hardware = match &self.calibration {
            Some(path) => calibrated(path)?,
            None => fabric::hardware(self.hardware.as_deref(), &plan, &fabric)?,
        };
        let refused = |error: &dyn std::fmt::Display| Failure::Simulation { reason: error.to_string() };
        let states = states(&fabric, &self.what_if).map_err(|error| refused(&error))?;
        let skew = self.skew.read()?;
        let step = PlannedStep::new(&plan, &hardware, &skew, fabric.n_gpus()).map_err(|error| refused(&error))?;
        let down: Vec<Vec<bool>> = states.iter().map(|(_, fabric)| fabric::down(fabric)).collect();
        let mut routes: Vec<(f64, FabricRoutes)> =
            states.into_iter().map(|(from, fabric)| (from, FabricRoutes::new(fabric, self.routing))).collect();
        let mut epochs: Vec<Epoch<'_>> =
            routes.iter_mut().zip(down).map(|((from, routes), down)| Epoch { from: *from, routes, down }).collect();
        let options = Options {
            steps: self.steps,
            jitter: self.jitter,
            seed: self.seed,
            stragglers: self.straggler.iter().map(|asked| asked.0).collect(),
            reuse: !self.no_reuse,
            record: self.trace.is_some() || self.html.is_some(),
        };
        let run = step.with(|job| simulate(job, &mut epochs, &options)).map_err(|error| refused(&error))?;
        let summary = run.summary(&|link| fabric.network()[link as usize].name.clone());
        if let Some(path) = &self.trace {
            trace::write(path, &run, &fabric)?;
        }
        if let Some(path) = &self.html {
            let what_if = self.what_if.iter().map(ToString::to_string);
            let page = run.page(
                &plan.spec().name,
                fabric.name(),
                &what_if.collect::<Vec<_>>(),
                &summary,
                &trace::planes(&fabric),
            );
            write_text(path, &html(&page))?;
        }
        tell::tell(&plan, &fabric, &run, &summary, self.format.format)?;
        Ok(Exit::Done)
    }
}
