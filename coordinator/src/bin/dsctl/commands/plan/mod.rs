//! `dsctl plan`: who holds what and in which order; does it fit, how long will it take, what binds, and which layout
//! would be better.

mod loads;
mod machine;
mod quantity;
mod rows;
mod schedules;
mod searching;

use std::fs;
use std::path::{Path, PathBuf};

use ds_forecast::estimate::{OnFabricError, Term, dispatch_loads, slowdown};
use ds_forecast::picture::Picture;
use ds_forecast::report::{
    load_picture, memory_picture, outlook, page, parts_picture, schedule_picture, search_json, search_picture,
    search_text,
};
use ds_forecast::search::{Judge as _, Machine};
use ds_plan::{JobPlan, report};
use ds_topology::fabric::Fabric;

use crate::failure::Failure;
use crate::files::write_text;
use crate::output::{Exit, Format, FormatArgs, data, json, talk};
use crate::spec::SpecArgs;
use machine::{Chosen, MachineArgs};
use quantity::Quantity;

/// Show who holds what, whether it fits, how long a step takes and what it costs, before anything starts
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: Option<SpecArgs>,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    format: FormatArgs,
    /// Tokens of the whole training, such as 14.8T; the job's steps when absent
    #[arg(long, value_name = "N")]
    tokens: Option<Quantity>,
    /// Leave causes out of the step's time: fill, imbalance, sends, first_dispatch, contention, skew, copies
    #[arg(long, value_name = "CAUSE[,CAUSE]", value_delimiter = ',')]
    without: Vec<Term>,
    /// Try every layout on the fabric's GPUs (the job's ranks without a fabric), and rank those that fit
    #[arg(long)]
    search: bool,
    /// Instead of one plan: every schedule on the job's grid beside the others, drawn
    #[arg(long, conflicts_with_all = ["search", "html", "tokens"])]
    schedules: bool,
    /// Instead of a plan: what balance.placement: eplb would have done with the loads in a run's metrics.jsonl
    #[arg(long, value_name = "METRICS.jsonl", conflicts_with_all = ["search", "schedules", "html", "svg", "pictures", "tokens", "without"])]
    loads: Option<PathBuf>,
    /// Write a page with pictures; it needs no network
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Write the schedule as a picture
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    /// Write every picture into a folder: step, memory, schedule, links, search
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// Instead of a job: predict the runs of a table, and compare with what was published of them
    #[arg(long, value_name = "FILE.csv", conflicts_with_all = ["file", "sets", "search", "schedules", "loads", "html", "svg", "pictures", "tokens", "without"])]
    rows: Option<PathBuf>,
    /// A drawing that is wider is cut
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u16).range(20..))]
    columns: u16,
}

const AFTER_HELP: &str = "\
Examples:
  dsctl plan job.yaml                                          the job as it is
  dsctl plan job.yaml --fabric h800-mpft-2048 --tokens 14.8T   on that cluster, for a whole training
  dsctl plan job.yaml --fabric h800-mpft-2048 --search         the best layouts, and why the others are out
  dsctl plan job.yaml --schedules                              which schedule, and what each costs
  dsctl plan job.yaml --html plan.html                         with pictures
  dsctl plan job.yaml --without imbalance,skew                 as if stages and loads were even
  dsctl plan job.yaml --set balance.placement=eplb --loads metrics.jsonl
                                                               when experts would have moved in that run
  dsctl plan --rows published.csv                              predicted against published runs";

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match &self.rows {
            Some(rows) => rows::run(rows, &self.machine, self.format.format),
            None => self.plan(),
        }
    }

    fn plan(&self) -> Result<Exit, Failure> {
        let spec = self.spec.as_ref().ok_or(Failure::NoJob)?.read()?.spec;
        let plan = JobPlan::new(spec.clone())?;
        if let Some(path) = &self.loads {
            return loads::run(&plan, path, self.format.format);
        }
        let Chosen { hardware, fabric, mut assumptions } = self.machine.choose(&spec)?;
        if let Some(fabric) = &fabric {
            machine::large_enough(fabric, plan.grid().n_ranks())?;
        }
        let mut machine = Machine::new(hardware, fabric.as_ref());
        if let Some(fabric) = fabric.as_ref().filter(|fabric| !fabric.faults().is_empty()) {
            let cost = slowdown(&plan, &machine.hardware, fabric).map_err(off_fabric)?;
            let faults: Vec<String> = fabric.faults().iter().map(ToString::to_string).collect();
            assumptions.push(format!(
                "Faults of the fabric ({}): the busiest link of a dispatch takes {:.3} times as long between nodes and {:.3} times \
                 as long within them, and so does everything there.",
                faults.join(", "), cost.network, cost.inside
            ));
            machine = machine.slowed(cost);
        }
        machine.terms = self.without.iter().fold(machine.terms, |terms, &term| terms.without(term));
        if self.schedules {
            let out = schedules::Out { svg: self.svg.as_deref(), pictures: self.pictures.as_deref() };
            return schedules::run(&plan, &machine, self.format.format, usize::from(self.columns), out);
        }
        let refused = |reason| Failure::NoForecast { reason };
        let estimate = machine.forecast(&plan).map_err(refused)?;
        let name = fabric.as_ref().map(ds_topology::fabric::Fabric::name);
        let tokens = self.tokens.map(|tokens| tokens.0);
        let outlook = outlook(&plan, &machine, name, &estimate, tokens, assumptions);
        let found = self.search.then(|| searching::search(&spec, &plan, &machine, fabric.as_ref()));

        if let Some(path) = &self.html {
            let load = fabric.as_ref().map(|fabric| load(&plan, &machine, fabric)).transpose()?;
            let page = page(&plan, &machine.hardware, &outlook, load, found.as_ref());
            write(path, &ds_forecast::page::html(&page))?;
        }
        let schedule = || {
            schedule_picture(&plan, &machine.hardware)
                .ok_or_else(|| Failure::NoForecast { reason: NO_TIMELINE.to_owned() })
        };
        if let Some(path) = &self.svg {
            write(path, &schedule()?.svg())?;
        }
        if let Some(folder) = &self.pictures {
            fs::create_dir_all(folder).map_err(|source| Failure::Write { path: folder.clone(), source })?;
            write(&folder.join("step.svg"), &parts_picture(&outlook).svg())?;
            write(&folder.join("memory.svg"), &memory_picture(&outlook).svg())?;
            write(&folder.join("schedule.svg"), &schedule()?.svg())?;
            if let Some(fabric) = &fabric {
                write(&folder.join("links.svg"), &load(&plan, &machine, fabric)?.svg())?;
            }
            if let Some(found) = &found {
                write(&folder.join("search.svg"), &search_picture(found).svg())?;
            }
        }
        let report = report(&plan, usize::from(self.columns));
        match self.format.format {
            Format::Text => {
                let found = found.as_ref().map(|found| format!("\n{}", search_text(found))).unwrap_or_default();
                data(format_args!("{report}\n{outlook}{found}"))?;
            }
            Format::Json => {
                let mut facts = serde_json::json!(report);
                facts["forecast"] = serde_json::json!(outlook);
                if let Some(found) = &found {
                    facts["search"] = search_json(found);
                }
                json(&facts)?;
            }
        }
        Ok(Exit::Done)
    }
}

fn load(plan: &JobPlan, machine: &Machine, fabric: &Fabric) -> Result<Picture, Failure> {
    let loads = dispatch_loads(plan, &machine.hardware, fabric).map_err(off_fabric)?;
    Ok(load_picture(fabric, &loads))
}

fn off_fabric(error: OnFabricError) -> Failure {
    Failure::NoForecast { reason: error.to_string() }
}

const NO_TIMELINE: &str = "the schedule cannot be played";

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    write_text(path, text)?;
    talk(format_args!("wrote {}", path.display()));
    Ok(())
}
