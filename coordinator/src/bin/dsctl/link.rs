//! The coordinator that a command talks to: the one that was named, the one that runs in the home, or nobody but what
//! earlier ones left there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ds_coordinator::home::Look;
use ds_coordinator::server::{Server, ServerConfig, start};
use ds_proto::v1;
use tokio::time::sleep;

use crate::client::{Client, url_of};
use crate::facts::has_ended;
use crate::failure::Failure;
use crate::home::{Home, HomeArgs};

/// Between two looks at a home whose coordinator comes or goes.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOKS_MAX: usize = 600;

/// Which coordinator, on every command that talks to one.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LinkArgs {
    #[command(flatten)]
    pub(crate) home: HomeArgs,
    /// A coordinator elsewhere; DSCTL_TOKEN holds its token [default: the one of the home]
    #[arg(long, value_name = "URL")]
    pub(crate) coordinator: Option<String>,
}

/// Who answers.
pub(crate) enum Link {
    /// A coordinator.
    Running(Client),
    /// What earlier coordinators left in the home.
    Left(Stored),
    /// A home without anything.
    Empty,
}

impl LinkArgs {
    /// The coordinator that was named or runs in the home; none if neither is so.
    pub(crate) async fn running(&self) -> Result<Option<Client>, Failure> {
        let home = self.home.find();
        if let Some(given) = &self.coordinator {
            let address = url_of(given)?;
            let token = token_for(&address, home.ok().as_ref())?;
            return Client::connect(&address, &token).await.map(Some);
        }
        let home = home?;
        let Some(running) = home.running() else { return Ok(None) };
        if running.version != ds_proto::VERSION {
            let theirs = running.version;
            return Err(Failure::Version { home: home.path().to_owned(), theirs, ours: ds_proto::VERSION });
        }
        Client::connect(&running.address, &running.token).await.map(Some)
    }

    /// Whoever can say what there is.
    pub(crate) async fn open(&self) -> Result<Link, Failure> {
        for _ in 0..LOOKS_MAX {
            if let Some(client) = self.running().await? {
                return Ok(Link::Running(client));
            }
            let home = self.home.find()?;
            if !home.state().is_file() {
                return Ok(Link::Empty);
            }
            match Look::take(home.path()) {
                Some(look) => return Stored::open(home, look).await.map(Link::Left),
                // A coordinator comes or goes.
                None => sleep(LOOK_EVERY).await,
            }
        }
        let source = io::Error::new(io::ErrorKind::TimedOut, "a coordinator has it that does not say where it listens");
        Err(Failure::Home { path: self.home.find()?.path().to_owned(), source })
    }
}

impl Link {
    /// Every job, oldest first.
    pub(crate) async fn list(&mut self) -> Result<Vec<v1::Job>, Failure> {
        match self {
            Self::Running(client) => client.list().await,
            Self::Left(stored) => stored.list().await,
            Self::Empty => Ok(Vec::new()),
        }
    }

    /// Every node.
    pub(crate) async fn nodes(&mut self) -> Result<Vec<v1::NodeView>, Failure> {
        match self {
            Self::Running(client) => client.nodes().await,
            Self::Left(stored) => stored.client.nodes().await,
            Self::Empty => Ok(Vec::new()),
        }
    }

    /// The job that is meant.
    pub(crate) async fn find(&mut self, given: &str) -> Result<v1::Job, Failure> {
        pick(given, self.list().await?)
    }

    /// Ends what was started for the answers.
    pub(crate) async fn close(self) {
        if let Self::Left(stored) = self {
            stored.close().await;
        }
    }
}

/// The job that is meant: an id, the beginning of only one, or `last`.
pub(crate) fn pick(given: &str, mut jobs: Vec<v1::Job>) -> Result<v1::Job, Failure> {
    if given == "last" {
        return jobs.into_iter().max_by_key(|job| job.submitted_unix_ms).ok_or(Failure::NoJobs);
    }
    if let Some(place) = jobs.iter().position(|job| job.id == given) {
        return Ok(jobs.swap_remove(place));
    }
    let known: Vec<String> = jobs.iter().map(|job| job.id.clone()).collect();
    let mut found: Vec<v1::Job> =
        jobs.into_iter().filter(|job| !given.is_empty() && job.id.starts_with(given)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(job), true) => Ok(job),
        (None, _) => Err(Failure::NoSuchJob { given: given.to_owned(), known }),
        (Some(last), false) => {
            let found = found.into_iter().chain([last]).map(|job| job.id).collect();
            Err(Failure::AmbiguousJob { given: given.to_owned(), found })
        }
    }
}

/// What earlier coordinators left in a home, told by one that works on a copy of it: looking changes nothing, and does
/// not keep others from the home.
pub(crate) struct Stored {
    home: Home,
    copy: Folder,
    server: Server,
    client: Client,
}

impl Stored {
    async fn open(home: Home, look: Look) -> Result<Self, Failure> {
        let copy = Folder(home.path().join(format!(".look-{}", std::process::id())));
        copy.take(&home.state()).map_err(|source| Failure::Home { path: home.path().to_owned(), source })?;
        drop(look);
        let config = ServerConfig { home: copy.0.clone(), listen: ([127, 0, 0, 1], 0).into(), embedded: true };
        let server = start(config).await?;
        let client = Client::connect(&server.address().to_string(), server.token()).await;
        match client {
            Ok(client) => Ok(Self { home, copy, server, client }),
            Err(failure) => {
                server.shutdown().await;
                Err(failure)
            }
        }
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    async fn list(&mut self) -> Result<Vec<v1::Job>, Failure> {
        let mut jobs = self.client.list().await?;
        for job in &mut jobs {
            // What it knows is the copy.
            job.folder = self.home.run(&job.id).display().to_string();
        }
        Ok(jobs)
    }

    /// To replay what happened to a job that has ended; others wait for a coordinator.
    pub(crate) fn replay(&self, job: &v1::Job) -> Result<Client, Failure> {
        if has_ended(job) {
            return Ok(self.client.clone());
        }
        Err(Failure::Unattended { job: job.id.clone(), home: self.home.path().to_owned() })
    }

    async fn close(self) {
        let Self { copy, server, client, .. } = self;
        drop(client);
        server.shutdown().await;
        drop(copy);
    }
}

/// A folder that is removed with its contents.
struct Folder(PathBuf);

impl Folder {
    /// Takes a database over, with what was not yet written into its file.
    fn take(&self, state: &Path) -> io::Result<()> {
        let _ = fs::remove_dir_all(&self.0);
        fs::create_dir(&self.0)?;
        for suffix in ["", "-wal"] {
            let mut from = state.as_os_str().to_owned();
            from.push(suffix);
            let from = PathBuf::from(from);
            if let Some(name) = from.file_name().filter(|_| from.is_file()) {
                fs::copy(&from, self.0.join(name))?;
            }
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `DSCTL_TOKEN`, or the token of the coordinator in the home if that is the one that is meant.
fn token_for(address: &str, home: Option<&Home>) -> Result<String, Failure> {
    let set = std::env::var("DSCTL_TOKEN").unwrap_or_default();
    if !set.trim().is_empty() {
        return Ok(set.trim().to_owned());
    }
    let announced = home.and_then(Home::announced).filter(|announced| is_same(&announced.address, address));
    announced.map(|announced| announced.token).ok_or_else(|| Failure::NoToken { address: address.to_owned() })
}

/// One machine has several names for itself; another machine must not be told the token.
fn is_same(announced: &str, address: &str) -> bool {
    let split = |url: &str| {
        let rest = url.strip_prefix("http://").unwrap_or(url);
        rest.rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned()))
    };
    let is_here = |host: &str| ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "[::]"].contains(&host);
    match (split(announced), split(address)) {
        (Some((host_a, port_a)), Some((host_b, port_b))) => {
            port_a == port_b && (host_a == host_b || is_here(&host_a) && is_here(&host_b))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(ids: &[&str]) -> Vec<v1::Job> {
        let job = |(i, id): (usize, &&str)| v1::Job {
            id: (*id).to_owned(),
            submitted_unix_ms: i as i64,
            ..v1::Job::default()
        };
        ids.iter().enumerate().map(job).collect()
    }

    #[test]
    fn a_job_is_named_by_id_by_beginning_or_as_the_last() {
        let found = |given: &str| pick(given, jobs(&["tiny-1", "tiny-12", "bard-2"])).map(|job| job.id);
        assert_eq!(found("tiny-1").unwrap(), "tiny-1");
        assert_eq!(found("bard").unwrap(), "bard-2");
        assert_eq!(found("last").unwrap(), "bard-2");
        assert!(matches!(found("tiny"), Err(Failure::AmbiguousJob { found, .. }) if found.len() == 2));
        assert!(matches!(found("x"), Err(Failure::NoSuchJob { known, .. }) if known.len() == 3));
        assert!(matches!(found(""), Err(Failure::NoSuchJob { .. })));
        assert!(matches!(pick("last", Vec::new()), Err(Failure::NoJobs)));
    }

    #[test]
    fn the_token_is_for_the_coordinator_of_the_home_only() {
        assert!(is_same("http://127.0.0.1:7", "http://localhost:7"));
        assert!(is_same("http://10.0.0.1:7", "http://10.0.0.1:7"));
        assert!(!is_same("http://127.0.0.1:7", "http://127.0.0.1:8"));
        assert!(!is_same("http://127.0.0.1:7", "http://10.0.0.1:7"));
    }
}
