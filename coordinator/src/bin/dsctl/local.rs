//! A coordinator within this process and one node agent beside it: a job without anything else running.

use ds_coordinator::home::HomeError;
use ds_coordinator::server::{Server, ServerConfig, ServerError, start};

use crate::client::Client;
use crate::clock::unix_ms;
use crate::facts::has_ended;
use crate::failure::Failure;
use crate::home::Home;
use crate::node::{Node, Worker};
use crate::output::talk;

/// A coordinator within this process and one node agent beside it.
pub(crate) struct Local {
    server: Server,
    node: Node,
    client: Client,
}

impl Local {
    /// Starts both. Of the jobs that an earlier coordinator left unfinished only `wanted` goes on.
    pub(crate) async fn start(home: &Home, worker: &Worker, wanted: Option<&str>) -> Result<Self, Failure> {
        let before = unix_ms();
        let server = serve(home).await?;
        let client = match ready(&server, before, wanted).await {
            Ok(client) => client,
            Err(failure) => {
                server.shutdown().await;
                return Err(failure);
            }
        };
        let url = client.address().to_owned();
        match Node::start(worker, home, &url, server.token()) {
            Ok(node) => Ok(Self { server, node, client }),
            Err(failure) => {
                drop(client);
                server.shutdown().await;
                Err(failure)
            }
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Does something that needs both; their end is its end.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            result = work => result,
            failure = self.node.ended() => Err(failure),
            error = self.server.ended() => Err(error.map_or_else(stopped, Failure::Server)),
        }
    }

    /// Ends ranks, coordinator and node agent, in this order.
    pub(crate) async fn end(self) {
        let Self { server, node, client } = self;
        drop(client);
        server.shutdown().await;
        node.end().await;
    }
}

/// A coordinator in the home, on loopback.
pub(crate) async fn serve(home: &Home) -> Result<Server, Failure> {
    let config = ServerConfig { home: home.path().to_owned(), listen: ([127, 0, 0, 1], 0).into(), embedded: true };
    start(config).await.map_err(|error| match error {
        ServerError::Home(HomeError::Taken { path, running: Some(running) }) => {
            Failure::HomeTaken { home: path, address: running.address }
        }
        error => Failure::Server(error),
    })
}

/// Lets nothing run that nobody asked for now.
async fn ready(server: &Server, before: i64, wanted: Option<&str>) -> Result<Client, Failure> {
    let mut client = Client::connect(&server.address().to_string(), server.token()).await?;
    for job in client.list().await? {
        let is_old = job.submitted_unix_ms <= before && Some(job.id.as_str()) != wanted;
        if is_old && !has_ended(&job) {
            client.cancel(&job.id, true).await?;
            talk(format_args!(
                "{} was left unfinished and stays so; `dsctl resume {}` goes on with it",
                job.id, job.id
            ));
        }
    }
    Ok(client)
}

fn stopped() -> Failure {
    Failure::Internal { reason: "it stopped without a reason".to_owned() }
}
