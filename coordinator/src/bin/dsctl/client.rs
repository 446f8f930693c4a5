//! A connection to a coordinator: calls in our words, refusals as failures.

use std::time::Duration;

use ds_proto::TokenInterceptor;
use ds_proto::v1;
use ds_proto::v1::jobs_client::JobsClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::failure::Failure;

/// Whoever does not answer for so long is not there.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// A silent connection is asked this often whether the other side lives.
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBE_MAX: Duration = Duration::from_secs(10);
/// A step's loads of all experts of a large model are some hundred kilobytes.
const MESSAGE_MAX: usize = 64 << 20;

/// A connection to a coordinator.
#[derive(Clone)]
pub(crate) struct Client {
    address: String,
    jobs: JobsClient<InterceptedService<Channel, TokenInterceptor>>,
}

impl Client {
    /// Connects; whether the token is right shows with the first call.
    pub(crate) async fn connect(url: &str, token: &str) -> Result<Self, Failure> {
        let address = url_of(url)?;
        let wrong = |reason: String| Failure::Address { given: url.to_owned(), reason };
        let endpoint = Endpoint::from_shared(address.clone()).map_err(|error| wrong(innermost(&error)))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PROBE_EVERY)
            .keep_alive_timeout(PROBE_MAX);
        let unreachable = |error| Failure::Unreachable { address: address.clone(), reason: innermost(&error) };
        let channel = endpoint.connect().await.map_err(unreachable)?;
        let token = TokenInterceptor::new(token).map_err(|_| Failure::WrongToken {
            address: address.clone(),
            reason: "it cannot stand in a header".to_owned(),
        })?;
        let jobs = JobsClient::with_interceptor(channel, token).max_decoding_message_size(MESSAGE_MAX);
        Ok(Self { address, jobs })
    }

    /// A URL.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Hands a job in; returns its id.
    pub(crate) async fn submit(&mut self, spec_yaml: String, priority: Option<i32>) -> Result<String, Failure> {
        let response = self.jobs.submit(v1::SubmitRequest { spec_yaml, priority }).await;
        Ok(response.map_err(|status| self.failure(&status))?.into_inner().job)
    }

    /// Every job, oldest first.
    pub(crate) async fn list(&mut self) -> Result<Vec<v1::Job>, Failure> {
        let response = self.jobs.list(v1::ListRequest {}).await.map_err(|status| self.failure(&status))?;
        let mut jobs = response.into_inner().jobs;
        jobs.sort_by(|a, b| (a.submitted_unix_ms, &a.id).cmp(&(b.submitted_unix_ms, &b.id)));
        Ok(jobs)
    }

    /// One job, by its id.
    pub(crate) async fn get(&mut self, job: &str) -> Result<v1::Job, Failure> {
        let response = self.jobs.get(v1::JobRequest { job: job.to_owned() }).await;
        Ok(response.map_err(|status| self.failure(&status))?.into_inner())
    }

    /// Every node.
    pub(crate) async fn nodes(&mut self) -> Result<Vec<v1::NodeView>, Failure> {
        let response = self.jobs.nodes(v1::NodesRequest {}).await.map_err(|status| self.failure(&status))?;
        Ok(response.into_inner().nodes)
    }

    /// Stops a job.
    pub(crate) async fn cancel(&mut self, job: &str, at_once: bool) -> Result<v1::Job, Failure> {
        let response = self.jobs.cancel(v1::CancelRequest { job: job.to_owned(), at_once }).await;
        Ok(response.map_err(|status| self.failure(&status))?.into_inner())
    }

    /// Puts a job back into the queue.
    pub(crate) async fn resume(&mut self, job: &str) -> Result<v1::Job, Failure> {
        let response = self.jobs.resume(v1::JobRequest { job: job.to_owned() }).await;
        Ok(response.map_err(|status| self.failure(&status))?.into_inner())
    }

    /// What happens to a job, until it has ended.
    pub(crate) async fn watch(&mut self, job: &str, from_step: u64) -> Result<Streaming<v1::WatchEvent>, Failure> {
        let response = self.jobs.watch(v1::WatchRequest { job: job.to_owned(), from_step }).await;
        Ok(response.map_err(|status| self.failure(&status))?.into_inner())
    }

    /// What a job's ranks print.
    pub(crate) async fn logs(&mut self, request: v1::LogsRequest) -> Result<Streaming<v1::LogChunk>, Failure> {
        let response = self.jobs.logs(request).await;
        Ok(response.map_err(|status| self.failure(&status))?.into_inner())
    }

    /// A refusal, as whoever typed the command must see it.
    pub(crate) fn failure(&self, status: &Status) -> Failure {
        let address = self.address.clone();
        let reason = status.message().to_owned();
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => {
                let reason = reason.split("\nhint:").next().unwrap_or_default().to_owned();
                Failure::WrongToken { address, reason }
            }
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange => Failure::Refused { reason },
            Code::Unimplemented => Failure::Refused { reason: format!("{address} is no dsctl coordinator: {reason}") },
            Code::Unavailable | Code::Cancelled => Failure::Gone { address, reason },
            // A connection that breaks within an answer has no code of its own.
            Code::Unknown if reason.contains("transport") || reason.contains("h2 ") => {
                Failure::Gone { address, reason: "the connection broke".to_owned() }
            }
            _ => Failure::Internal { reason },
        }
    }
}

/// `HOST:PORT` is enough.
pub(crate) fn url_of(given: &str) -> Result<String, Failure> {
    let wrong = |reason: &str| Failure::Address { given: given.to_owned(), reason: reason.to_owned() };
    let rest = match given.split_once("://") {
        None => given,
        Some(("http", rest)) => rest,
        Some(("https", _)) => {
            return Err(wrong("coordinators speak http; put a tunnel before it for a network that you do not trust"));
        }
        Some((scheme, _)) => return Err(wrong(&format!("coordinators speak http, not {scheme}"))),
    };
    let rest = rest.trim_end_matches('/');
    let port = rest.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) if !rest.contains('/') => Ok(format!("http://{rest}")),
        Some(Ok(_)) => Err(wrong("there is a path in it")),
        Some(Err(_)) => Err(wrong("its port is no number from 0 to 65535")),
        None => Err(wrong("it has no port")),
    }
}

/// The last cause of an error says what happened, the first ones only where.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_short() {
        for given in ["http://127.0.0.1:7171", "127.0.0.1:7171", "http://127.0.0.1:7171/"] {
            assert_eq!(url_of(given).unwrap(), "http://127.0.0.1:7171", "{given}");
        }
        assert_eq!(url_of("[::1]:7171").unwrap(), "http://[::1]:7171");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for given in ["", "127.0.0.1", "https://a:1", "ftp://a:1", "a:b", "a:70000", "a:1/b:2"] {
            assert!(matches!(url_of(given), Err(Failure::Address { .. })), "{given}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_a_sentence() {
        let refused = Client::connect("127.0.0.1:1", "t").await.err().unwrap();
        assert!(
            refused.to_string().starts_with("the coordinator at http://127.0.0.1:1 cannot be reached: "),
            "{refused}"
        );
    }
}
