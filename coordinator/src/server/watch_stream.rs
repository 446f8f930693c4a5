//! One watcher of one job: the job, what it has told so far, then what it tells, and at the end the job as it ended.

use ds_proto::v1;
use ds_proto::v1::watch_event::Event;
use ds_proto::{Evaluation, StepMetrics};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tonic::Status;

use super::door::{Door, Watched};
use super::wire;
use crate::store::{Kind, Reader, Row, StoreError};

/// Rows that are read at once: some hundred kilobytes.
const PAGE: u32 = 256;

type Outbox = mpsc::Sender<Result<v1::WatchEvent, Status>>;

/// Nobody reads any more.
struct Left;

/// Until the job has ended or the watcher has left.
pub(super) async fn serve(door: Door, watched: Watched, from_step: u64, outbox: Outbox) {
    let _ = tell(door, watched, from_step, &outbox).await;
}

async fn tell(door: Door, watched: Watched, from_step: u64, outbox: &Outbox) -> Result<(), Left> {
    let Watched { job, mut news, up_to } = watched;
    say(outbox, Event::Job(job.clone())).await?;
    replay(&door, &job.id, from_step, up_to, outbox).await?;
    if wire::has_ended(&job) {
        return say(outbox, Event::Job(job)).await;
    }
    loop {
        let event = tokio::select! {
            event = news.recv() => event,
            () = outbox.closed() => return Err(Left),
        };
        match event {
            Ok(v1::WatchEvent { event: Some(event) }) => {
                let is_last = matches!(&event, Event::Job(job) if wire::has_ended(job));
                say(outbox, event).await?;
                if is_last {
                    return Ok(());
                }
            }
            Ok(v1::WatchEvent { event: None }) => {}
            Err(RecvError::Lagged(n)) => {
                say(outbox, Event::Note(format!("{n} events are left out here, since this watcher is too slow")))
                    .await?;
            }
            Err(RecvError::Closed) => {
                let _ = outbox.send(Err(Status::unavailable("the coordinator is ending"))).await;
                return Err(Left);
            }
        }
    }
}

async fn replay(door: &Door, job: &str, from_step: u64, up_to: i64, outbox: &Outbox) -> Result<(), Left> {
    let mut after = 0;
    loop {
        let (state, id) = (door.state.clone(), job.to_owned());
        let read =
            move || -> Result<Vec<Row>, StoreError> { Reader::open(&state)?.page(&id, from_step, after, up_to, PAGE) };
        let page = match tokio::task::spawn_blocking(read).await {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => {
                let _ = outbox.send(Err(Status::internal(error.to_string()))).await;
                return Err(Left);
            }
            Err(_) => return Err(Left),
        };
        let Some(last) = page.last() else { return Ok(()) };
        after = last.row;
        for event in page.iter().filter_map(event) {
            say(outbox, event).await?;
        }
    }
}

async fn say(outbox: &Outbox, event: Event) -> Result<(), Left> {
    outbox.send(Ok(v1::WatchEvent { event: Some(event) })).await.map_err(|_| Left)
}

/// A row, as watchers are told. A checkpoint is told by the note beside it.
pub(super) fn event(row: &Row) -> Option<Event> {
    let json = &row.metric.json;
    match row.metric.kind {
        Kind::Step => Some(Event::Step(serde_json::from_str::<StepMetrics>(json).ok()?.into())),
        Kind::Evaluation => Some(Event::Evaluation(serde_json::from_str::<Evaluation>(json).ok()?.into())),
        Kind::Checkpoint => None,
        Kind::Note => {
            let note: serde_json::Value = serde_json::from_str(json).ok()?;
            Some(Event::Note(note.get("text")?.as_str()?.to_owned()))
        }
    }
}
