//! `dsctl logs`: what ranks print.

use ds_coordinator::runs::{LogReader, Runs};
use ds_proto::v1;
use serde_json::json;

use crate::client::Client;
use crate::failure::Failure;
use crate::home::Home;
use crate::link::{Link, LinkArgs};
use crate::output::{Exit, Format, FormatArgs, data};
use crate::place::run;

/// Show what a job's ranks print
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A job's id, the beginning of one, or `last`
    #[arg(value_name = "JOB")]
    job: String,
    /// Only of this rank
    #[arg(long, value_name = "N")]
    rank: Option<u32>,
    /// Go on until the job ends
    #[arg(long, short)]
    follow: bool,
    /// Only the newest lines of each rank
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tail: Option<u32>,
    #[command(flatten)]
    link: LinkArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        run(async {
            let mut link = self.link.open().await?;
            let result = self.show(&mut link).await;
            link.close().await;
            result
        })
    }

    async fn show(&self, link: &mut Link) -> Result<Exit, Failure> {
        let job = link.find(&self.job).await?;
        match link {
            Link::Running(client) => self.of_coordinator(client, job.id).await,
            Link::Left(stored) => self.of_files(stored.home(), &job),
            Link::Empty => Err(Failure::NoJobs),
        }
    }

    async fn of_coordinator(&self, client: &mut Client, job: String) -> Result<Exit, Failure> {
        let request =
            v1::LogsRequest { job, rank: self.rank, follow: self.follow, tail: self.tail.unwrap_or_default() };
        let mut chunks = client.logs(request).await?;
        while let Some(chunk) = chunks.message().await.map_err(|status| client.failure(&status))? {
            let lines: Vec<(u32, &str)> = chunk.lines.iter().map(|line| (chunk.attempt, line.as_str())).collect();
            self.print(chunk.rank, &lines)?;
        }
        Ok(Exit::Done)
    }

    fn of_files(&self, home: &Home, job: &v1::Job) -> Result<Exit, Failure> {
        if let Some(rank) = self.rank.filter(|&rank| rank >= job.n_ranks) {
            let reason = format!("job {} has ranks 0 to {}, not {rank}", job.id, job.n_ranks.saturating_sub(1));
            return Err(Failure::Refused { reason });
        }
        let runs = Runs::new(home.runs());
        let ranks = self.rank.map_or_else(|| LogReader::ranks(&runs, &job.id), |rank| vec![rank]);
        for rank in ranks {
            let failed = |source| Failure::Read { path: home.run(&job.id).join("logs"), source };
            let mut reader = LogReader::new(&runs, &job.id, rank);
            let mut lines = match self.tail {
                Some(tail) => reader.tail(tail as usize).map_err(failed)?,
                None => reader.more().map_err(failed)?,
            };
            while !lines.is_empty() {
                self.print(rank, &lines.iter().map(|line| (line.attempt, line.text.as_str())).collect::<Vec<_>>())?;
                lines = reader.more().map_err(failed)?;
            }
        }
        Ok(Exit::Done)
    }

    fn print(&self, rank: u32, lines: &[(u32, &str)]) -> Result<(), Failure> {
        let line = |&(attempt, text): &(u32, &str)| match (self.format.format, self.rank) {
            (Format::Json, _) => json!({ "rank": rank, "attempt": attempt, "line": text }).to_string(),
            (Format::Text, Some(_)) => text.to_owned(),
            (Format::Text, None) => format!("{rank} | {text}"),
        };
        if lines.is_empty() { Ok(()) } else { data(lines.iter().map(line).collect::<Vec<_>>().join("\n")) }
    }
}
