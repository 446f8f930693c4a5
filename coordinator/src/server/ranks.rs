//! The service for ranks.

use ds_proto::v1;
use ds_proto::v1::rank_report::Report;
use ds_proto::v1::ranks_server::Ranks;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::attach::{ORDERS_MAX, first_words, same_version, unregistered};
use super::door::{Door, Message, StreamId};
use crate::cluster::RankRun;

/// The service for ranks.
pub(super) struct RankService(pub(super) Door);

#[tonic::async_trait]
impl Ranks for RankService {
    type AttachStream = ReceiverStream<Result<v1::RankOrder, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::RankReport>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut reports = request.into_inner();
        let Some(Report::Register(register)) = first_words(&mut reports).await?.report else {
            return Err(unregistered());
        };
        same_version(&register.version)?;
        let (orders, outbox) = mpsc::channel(ORDERS_MAX);
        let rank = RankRun { job: register.job.clone(), attempt: register.attempt, rank: register.rank };
        let stream = self.0.stream();
        self.0.ask(|reply| Message::RankAttached { register, stream, orders, reply }).await?;
        tokio::spawn(listen(self.0.clone(), rank, stream, reports));
        Ok(Response::new(ReceiverStream::new(outbox)))
    }
}

/// Until the stream ends.
async fn listen(mut door: Door, rank: RankRun, stream: StreamId, mut reports: Streaming<v1::RankReport>) {
    let closing = door.clone();
    tokio::select! {
        () = door.closed() => {}
        () = pass_on(&closing, &rank, stream, &mut reports) => {}
    }
    let _ = closing.tell(Message::RankLeft { rank, stream }).await;
}

async fn pass_on(door: &Door, rank: &RankRun, stream: StreamId, reports: &mut Streaming<v1::RankReport>) {
    while let Ok(Some(v1::RankReport { report: Some(report) })) = reports.message().await {
        if door.tell(Message::RankSays { rank: rank.clone(), stream, report }).await.is_err() {
            return;
        }
    }
}
