//! `dsctl simulate`: steps of a job on a fabric, before there is either.

mod ask;
mod chakra;
mod recorded;
mod tell;
mod trace;
mod what_if;

use std::path::PathBuf;

use ds_forecast::estimate::{Term, Terms};
use ds_forecast::page::html;
use ds_forecast::recorded::Player;
use ds_forecast::simulate::{Base, Epoch, Options, PlannedStep, StepJob, Straggler, WhatIf};
use ds_plan::JobPlan;
use ds_topology::fabric::Fabric;
use ds_topology::routing::{FabricRoutes, Policy};

use crate::clock::now;
use crate::commands::fabric::read_fabric;
use crate::failure::Failure;
use crate::files::write_text;
use crate::machine::{calibrated, fabric_of, played_on};
use crate::output::{Exit, FormatArgs};
use crate::spec::SpecArgs;
use ask::{Asked, SkewAsked};
use what_if::{Beside, Case, Evaluated, evaluate, refused};

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
    /// Leave causes out: sends, contention, skew (the busiest rank by chance), copies
    #[arg(long, value_name = "CAUSE[,CAUSE]", value_delimiter = ',')]
    without: Vec<Term>,
    /// What befalls the fabric, `plane=3:down@t=2s`, `link=P2.h5.up:x0.5@t=1s`, `plane=3:up@t=4s`; several times
    #[arg(long, value_name = "EVENT")]
    what_if: Vec<WhatIf>,
    /// Another case beside --what-if, evaluated from the same base; its events joined by commas; several times
    #[arg(long, value_name = "EVENTS")]
    or_if: Vec<Case>,
    /// How switches route: static, ecmp, ecmp:SEED, adaptive, spray, valiant
    #[arg(long, value_name = "POLICY", default_value = "static")]
    routing: Policy,
    /// Play these Chakra execution traces, JSON or protobuf, in place of a job; one for each rank, in order
    #[arg(long, value_name = "TRACE", conflicts_with = "file")]
    chakra: Vec<PathBuf>,
    /// Play a step that ranks recorded while they ran, in place of what the plan expects
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["chakra", "what_if", "or_if", "steps", "skew", "jitter", "straggler", "without", "html", "no_reuse"])]
    recorded: Option<PathBuf>,
    /// Write what ranks would record of such a step, for --recorded on another fabric
    #[arg(long, value_name = "OUT.json", conflicts_with_all = ["chakra", "recorded"])]
    record: Option<PathBuf>,
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
            None => played_on(self.hardware.as_deref(), plan.spec(), &fabric)?,
        };
        let skew = self.skew.read()?;
        let step = PlannedStep::new(&plan, &hardware, &skew, fabric.n_gpus()).map_err(|error| refused(&error))?;
        if let Some(path) = &self.recorded {
            let player = Player::new(step, (&plan, &hardware), (fabric, self.routing));
            recorded::run(path, &player, self.trace.as_deref(), self.format.format)?;
            return Ok(Exit::Done);
        }
        let terms = self.without.iter().fold(Terms::ALL, |terms, &term| terms.without(term));
        let step = step.with_terms(terms).map_err(|term| {
            refused(&format!(
                "--without {term}: it follows from what is played; `dsctl plan --without {term}` leaves it out"
            ))
        })?;
        if let Some(path) = &self.record {
            recorded::write(path, &Player::new(step.clone(), (&plan, &hardware), (fabric.clone(), self.routing)))?;
        }
        let options = Options {
            steps: self.steps,
            jitter: self.jitter,
            seed: self.seed,
            stragglers: self.straggler.iter().map(|asked| asked.0).collect(),
            reuse: !self.no_reuse,
            record: self.trace.is_some() || self.html.is_some(),
        };
        let (base, cases) = step.with(|job| self.play(job, &fabric, &options))?;
        // What is asked first is what is told at length.
        let told = cases.first().filter(|_| !self.what_if.is_empty());
        let run = told.map_or(&base.run, |case| &case.evaluated.run);
        let name = |link: u32| fabric.network()[link as usize].name.clone();
        let summary = match told {
            Some(case) => run.summary(&name).blaming(run.blame(&base.run, &case.events, &name)),
            None => run.summary(&name),
        };
        if let Some(path) = &self.trace {
            trace::write(path, run, &fabric)?;
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
        tell::tell(&plan, &fabric, run, &summary, (&base, &cases), self.format.format)?;
        Ok(Exit::Done)
    }

    /// Plays the steps as they would be if nothing befell the fabric, and every case beside.
    fn play(&self, job: &StepJob<'_>, fabric: &Fabric, options: &Options) -> Result<(Evaluated, Vec<Beside>), Failure> {
        let began = now();
        let mut routes = FabricRoutes::new(fabric.clone(), self.routing);
        let mut first = Epoch { from: 0.0, routes: &mut routes, down: fabric.down().to_vec() };
        let base = Base::new(job, &mut first, options).map_err(|error| refused(&error))?;
        let run = base.then(&mut []).map_err(|error| refused(&error))?;
        let whole = Evaluated { run, seconds: began.elapsed().as_secs_f64() };
        let asked = (!self.what_if.is_empty()).then(|| Case(self.what_if.clone()));
        let cases = asked.iter().chain(&self.or_if).map(|case| evaluate(&base, fabric, self.routing, case));
        Ok((whole, cases.collect::<Result<_, _>>()?))
    }
}
