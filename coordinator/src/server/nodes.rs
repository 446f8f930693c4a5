//! The service for node agents.

use ds_proto::v1;
use ds_proto::v1::node_agents_server::NodeAgents;
use ds_proto::v1::node_report::Report;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::attach::{ORDERS_MAX, first_words, same_version, unregistered};
use super::door::{Door, Message, StreamId};
use crate::runs::is_id;

/// The service for node agents.
pub(super) struct NodeService(pub(super) Door);

#[tonic::async_trait]
impl NodeAgents for NodeService {
    type AttachStream = ReceiverStream<Result<v1::NodeOrder, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::NodeReport>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut reports = request.into_inner();
        let Some(Report::Register(register)) = first_words(&mut reports).await?.report else {
            return Err(unregistered());
        };
        same_version(&register.version)?;
        let (orders, outbox) = mpsc::channel(ORDERS_MAX);
        let (node, stream) = (register.name.clone(), self.0.stream());
        self.0.ask(|reply| Message::NodeAttached { register, stream, orders, reply }).await?;
        tokio::spawn(listen(self.0.clone(), node, stream, reports));
        Ok(Response::new(ReceiverStream::new(outbox)))
    }
}

/// Until the stream ends.
async fn listen(mut door: Door, node: String, stream: StreamId, mut reports: Streaming<v1::NodeReport>) {
    let closing = door.clone();
    tokio::select! {
        () = door.closed() => {}
        () = pass_on(&closing, &node, stream, &mut reports) => {}
    }
    let _ = closing.tell(Message::NodeLeft { node, stream }).await;
}

async fn pass_on(door: &Door, node: &str, stream: StreamId, reports: &mut Streaming<v1::NodeReport>) {
    while let Ok(Some(v1::NodeReport { report: Some(report) })) = reports.message().await {
        match report {
            // Lines change nothing and are many, so they do not pass the owner.
            Report::Lines(lines) => keep(door, lines).await,
            report => {
                let message = Message::NodeSays { node: node.to_owned(), stream, report };
                if door.tell(message).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn keep(door: &Door, lines: v1::RankLines) {
    let v1::RankLines { job, attempt, rank, lines } = lines;
    if is_id(&job) && door.runs.folder(&job).is_dir() {
        door.logs.write(job, attempt, rank, lines).await;
    }
}
