//! The service for people.

use ds_proto::v1;
use ds_proto::v1::jobs_server::Jobs;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::door::{Door, Message};
use super::{log_stream, watch_stream};

/// Events on their way to one watcher; the rest waits where it comes from.
const OUTBOX_MAX: usize = 16;

/// The service for people.
pub(super) struct JobService(pub(super) Door);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Jobs for JobService {
    type WatchStream = ReceiverStream<Result<v1::WatchEvent, Status>>;
    type LogsStream = ReceiverStream<Result<v1::LogChunk, Status>>;

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Answer<v1::SubmitResponse> {
        let v1::SubmitRequest { spec_yaml, priority } = request.into_inner();
        let job = self.0.ask(|reply| Message::Submit { spec_yaml, priority, reply }).await?;
        Ok(Response::new(v1::SubmitResponse { job }))
    }

    async fn list(&self, _: Request<v1::ListRequest>) -> Answer<v1::ListResponse> {
        let jobs = self.0.ask(|reply| Message::List { reply }).await?;
        Ok(Response::new(v1::ListResponse { jobs }))
    }

    async fn get(&self, request: Request<v1::JobRequest>) -> Answer<v1::Job> {
        let v1::JobRequest { job } = request.into_inner();
        self.0.ask(|reply| Message::Get { job, reply }).await.map(Response::new)
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        let v1::WatchRequest { job, from_step } = request.into_inner();
        let watched = self.0.ask(|reply| Message::Watch { job, reply }).await?;
        let (outbox, events) = mpsc::channel(OUTBOX_MAX);
        tokio::spawn(watch_stream::serve(self.0.clone(), watched, from_step, outbox));
        Ok(Response::new(ReceiverStream::new(events)))
    }

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Answer<Self::LogsStream> {
        let request = request.into_inner();
        let job = request.job.clone();
        let watched = self.0.ask(|reply| Message::Watch { job, reply }).await?;
        if let Some(rank) = request.rank.filter(|&rank| rank >= watched.job.n_ranks) {
            let n_ranks = watched.job.n_ranks;
            let text = format!("job {} has ranks 0 to {}, not {rank}", request.job, n_ranks.saturating_sub(1));
            return Err(Status::out_of_range(text));
        }
        let (outbox, chunks) = mpsc::channel(OUTBOX_MAX);
        tokio::spawn(log_stream::serve(self.0.clone(), watched, request, outbox));
        Ok(Response::new(ReceiverStream::new(chunks)))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Answer<v1::Job> {
        let v1::CancelRequest { job, at_once } = request.into_inner();
        self.0.ask(|reply| Message::Cancel { job, at_once, reply }).await.map(Response::new)
    }

    async fn resume(&self, request: Request<v1::JobRequest>) -> Answer<v1::Job> {
        let v1::JobRequest { job } = request.into_inner();
        self.0.ask(|reply| Message::Resume { job, reply }).await.map(Response::new)
    }

    async fn nodes(&self, _: Request<v1::NodesRequest>) -> Answer<v1::NodesResponse> {
        let nodes = self.0.ask(|reply| Message::Nodes { reply }).await?;
        Ok(Response::new(v1::NodesResponse { nodes }))
    }
}
