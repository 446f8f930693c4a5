//! `dsctl coordinator`: the coordinator alone, for a cluster; or in the background of this machine.

use std::net::SocketAddr;
use std::time::Duration;

use ds_coordinator::server::{Server, ServerConfig, start};
use nix::unistd::setsid;
use serde_json::json;
use tokio::time::sleep;

use crate::client::Client;
use crate::facts::has_ended;
use crate::failure::Failure;
use crate::home::{Home, HomeArgs};
use crate::interrupts::Interrupts;
use crate::local::Local;
use crate::node::Worker;
use crate::output::{self, Exit, Format, FormatArgs, log, talk};
use crate::place::run;

/// A coordinator in the background stays so long without a job, for the next one and for those who look.
const IDLE_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Run the coordinator of a cluster; nodes join it with `ds-worker node --join URL`
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    home: HomeArgs,
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7171")]
    listen: SocketAddr,
    #[command(flatten)]
    format: FormatArgs,
    /// With a node agent of this machine, until there is nothing more to do
    #[arg(long, hide = true)]
    embedded_node: bool,
    /// The only unfinished job that goes on
    #[arg(long, hide = true, value_name = "JOB")]
    wanted: Option<String>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        log(Some("info"));
        let home = self.home.find()?;
        home.make()?;
        if self.embedded_node {
            // Away from the terminal of whoever started it. It fails only where it is not needed.
            let _ = setsid();
            let worker = Worker::find()?;
            return run(background(&home, &worker, self.wanted.as_deref()));
        }
        run(self.alone(&home))
    }

    async fn alone(&self, home: &Home) -> Result<Exit, Failure> {
        let mut interrupts = Interrupts::new()?;
        let config = ServerConfig { home: home.path().to_owned(), listen: self.listen, embedded: false };
        let mut server = start(config).await?;
        let greeted = self.greet(home, &server);
        let result = match greeted {
            Err(failure) => Err(failure),
            Ok(()) => tokio::select! {
                () = interrupts.next() => Ok(Exit::Done),
                error = server.ended() => match error {
                    Some(error) => Err(Failure::Server(error)),
                    None => Ok(Exit::Failed),
                },
            },
        };
        server.shutdown().await;
        result
    }

    fn greet(&self, home: &Home, server: &Server) -> Result<(), Failure> {
        let url = format!("http://{}", server.address());
        let path = home.path().join("coordinator.json");
        talk(format_args!("the coordinator listens at {url}; its token is in {}", path.display()));
        talk(format_args!("nodes join with: DSCTL_TOKEN=... ds-worker node --join {url}"));
        if self.format.format == Format::Json {
            let home = home.path().display().to_string();
            output::json(&json!({ "address": url, "home": home, "pid": std::process::id() }))?;
        }
        Ok(())
    }
}

async fn background(home: &Home, worker: &Worker, wanted: Option<&str>) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::new()?;
    let mut local = Local::start(home, worker, wanted).await?;
    let client = local.client();
    let result = tokio::select! {
        result = local.during(until_idle(client)) => result,
        () = interrupts.next() => Ok(()),
    };
    local.end().await;
    result.map(|()| Exit::Done)
}

/// Until for a while there was no job to look after.
async fn until_idle(mut client: Client) -> Result<(), Failure> {
    let mut idle = Duration::ZERO;
    while idle < IDLE_MAX {
        sleep(LOOK_EVERY).await;
        let is_idle = client.list().await?.iter().all(has_ended);
        idle = if is_idle { idle + LOOK_EVERY } else { Duration::ZERO };
    }
    Ok(())
}
