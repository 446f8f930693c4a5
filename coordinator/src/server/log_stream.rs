//! What ranks print, for one reader.

use std::collections::BTreeMap;
use std::io;

use ds_proto::v1;
use ds_proto::v1::watch_event::Event;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tonic::Status;

use super::door::{Door, Message, Watched};
use super::wire;
use crate::runs::{LogLine, LogReader, Runs};

type Outbox = mpsc::Sender<Result<v1::LogChunk, Status>>;

/// Nobody reads any more.
struct Left;

/// Until the newest line, or for a follower until the job has ended.
pub(super) async fn serve(door: Door, watched: Watched, request: v1::LogsRequest, outbox: Outbox) {
    let _ = tell(&door, watched, request, &outbox).await;
}

async fn tell(door: &Door, mut watched: Watched, request: v1::LogsRequest, outbox: &Outbox) -> Result<(), Left> {
    let mut written = door.logs.written();
    let mut is_over = !request.follow || wire::has_ended(&watched.job);
    let mut readers = Readers { runs: door.runs.clone(), request, open: BTreeMap::new() };
    loop {
        written.mark_unchanged();
        if is_over {
            door.logs.flush().await;
        }
        readers = readers.pass_on(outbox).await?;
        if is_over {
            return Ok(());
        }
        is_over = tokio::select! {
            () = outbox.closed() => return Err(Left),
            changed = written.changed() => changed.is_err(),
            news = watched.news.recv() => match news {
                Ok(v1::WatchEvent { event: Some(Event::Job(job)) }) => wire::has_ended(&job),
                Ok(_) => false,
                Err(RecvError::Lagged(_)) => ended(door, &watched.job.id).await,
                Err(RecvError::Closed) => true,
            },
        };
    }
}

async fn ended(door: &Door, job: &str) -> bool {
    let job = job.to_owned();
    door.ask(|reply| Message::Get { job, reply }).await.is_ok_and(|job| wire::has_ended(&job))
}

/// The files, each with where reading stands.
struct Readers {
    runs: Runs,
    request: v1::LogsRequest,
    open: BTreeMap<u32, LogReader>,
}

impl Readers {
    /// All that is new, of one rank after another.
    async fn pass_on(mut self, outbox: &Outbox) -> Result<Self, Left> {
        let ranks = match self.request.rank {
            Some(rank) => vec![rank],
            None => LogReader::ranks(&self.runs, &self.request.job),
        };
        for rank in ranks {
            loop {
                let read = move || {
                    let lines = self.read(rank);
                    (self, lines)
                };
                let (back, lines) = tokio::task::spawn_blocking(read).await.map_err(|_| Left)?;
                self = back;
                match lines {
                    Ok(lines) if lines.is_empty() => break,
                    Ok(lines) => say(outbox, rank, lines).await?,
                    Err(error) => {
                        let text = format!("the log of rank {rank} cannot be read: {error}");
                        let _ = outbox.send(Err(Status::internal(text))).await;
                        return Err(Left);
                    }
                }
            }
        }
        Ok(self)
    }

    fn read(&mut self, rank: u32) -> io::Result<Vec<LogLine>> {
        if let Some(reader) = self.open.get_mut(&rank) {
            return reader.more();
        }
        let mut reader = LogReader::new(&self.runs, &self.request.job, rank);
        let lines = match self.request.tail {
            0 => reader.more(),
            tail => reader.tail(tail as usize),
        };
        self.open.insert(rank, reader);
        lines
    }
}

/// A chunk an attempt.
async fn say(outbox: &Outbox, rank: u32, lines: Vec<LogLine>) -> Result<(), Left> {
    for lines in lines.chunk_by(|a, b| a.attempt == b.attempt) {
        let attempt = lines[0].attempt;
        let lines = lines.iter().map(|line| line.text.clone()).collect();
        outbox.send(Ok(v1::LogChunk { rank, attempt, lines })).await.map_err(|_| Left)?;
    }
    Ok(())
}
