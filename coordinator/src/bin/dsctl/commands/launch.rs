//! `dsctl launch`: train.

use ds_plan::spec::{Resolved, to_yaml};
use ds_plan::{JobPlan, executable};

use crate::client::Client;
use crate::data::{find_data, prepare_data};
use crate::failure::Failure;
use crate::link::LinkArgs;
use crate::node::Worker;
use crate::output::{Exit, FormatArgs};
use crate::place::{Wish, hand_in, here, in_background, run, there};
use crate::rehearsal::rehearse;
use crate::room::fits_here;
use crate::spec::SpecArgs;
use crate::start::find_start;

/// Train: on this machine, or where a coordinator seats it
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    link: LinkArgs,
    /// Return as soon as the job is accepted; without --coordinator one is left in the background for it
    #[arg(long)]
    detach: bool,
    /// When it is done, let its model continue this text
    #[arg(long, value_name = "TEXT", conflicts_with = "detach", allow_hyphen_values = true)]
    sample: Option<String>,
    /// Higher goes first in the queue [default: cluster.priority of the job]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let resolved = self.spec.read()?;
        let plan = JobPlan::new(resolved.spec.clone())?;
        executable(plan.spec())?;
        let (spec_yaml, sample) = (to_yaml(plan.spec()), self.sample.clone());
        let wish = Wish::New { spec_yaml, priority: self.priority, sample };
        if self.link.coordinator.is_some() {
            self.elsewhere(&resolved, &wish)
        } else {
            self.on_this_machine(&resolved, &plan, &wish)
        }
    }

    fn elsewhere(&self, resolved: &Resolved, wish: &Wish) -> Result<Exit, Failure> {
        let format = self.format.format;
        run(async {
            let home = || self.link.home.find();
            let client = self.link.running().await?;
            let client = client.ok_or_else(|| no_coordinator(home()))?;
            if is_on_this_machine(&client) {
                find_data(&resolved.spec)?;
                find_start(resolved)?;
            }
            if self.detach { hand_in(client, wish, format).await } else { there(client, wish, format).await }
        })
    }

    fn on_this_machine(&self, resolved: &Resolved, plan: &JobPlan, wish: &Wish) -> Result<Exit, Failure> {
        let format = self.format.format;
        let home = self.link.home.find()?;
        find_data(plan.spec())?;
        find_start(resolved)?;
        fits_here(plan)?;
        rehearse(plan)?;
        let worker = Worker::find()?;
        if let Some(running) = home.running() {
            return Err(Failure::HomeTaken { home: home.path().to_owned(), address: running.address });
        }
        home.make()?;
        prepare_data(plan.spec(), &home)?;
        run(async {
            if self.detach {
                in_background(&home, wish, format).await
            } else {
                here(&home, &worker, wish, format).await
            }
        })
    }
}

fn no_coordinator(home: Result<crate::home::Home, Failure>) -> Failure {
    match home {
        Ok(home) => Failure::NoCoordinator { home: home.path().to_owned() },
        Err(failure) => failure,
    }
}

fn is_on_this_machine(client: &Client) -> bool {
    let host = client.address().trim_start_matches("http://");
    ["127.", "localhost:", "[::1]:"].iter().any(|loopback| host.starts_with(loopback))
}
