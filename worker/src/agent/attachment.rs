//! One stream to the coordinator, kept: dials, attaches, passes orders on, and begins again when it breaks.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ds_proto::TokenInterceptor;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

/// Reports that wait for the network. Few, since what lies here is lost with the stream.
const REPORTS_MAX: usize = 4;
/// Until the coordinator says how long one may be silent.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Heartbeats per timeout: four may be lost or late.
const HEARTBEATS_PER_TIMEOUT: u32 = 5;
/// A connection takes no longer.
const DIAL_MAX: Duration = Duration::from_secs(3);
/// A connection without traffic is asked this often whether it lives.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// And must answer within; a process that only lacks a core for a while is not lost.
const PROBE_MAX: Duration = Duration::from_secs(15);
/// Between two tries: doubled from the first to the second.
const PAUSE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// What becomes of the stream.
pub(crate) enum Contact<R, O> {
    /// The coordinator was reached. The first thing that is sent must be the registration.
    Dialled(mpsc::Sender<R>),
    /// It has taken the stream.
    Attached,
    /// It said something.
    Order(O),
    /// The stream is gone; a new one is tried.
    Lost(String),
    /// It does not want us; nothing is tried any more.
    TurnedAway(String),
}

/// A service of the coordinator that one attaches to.
pub(crate) trait Service: Send + Sync + 'static {
    /// What we say.
    type Report: Send + 'static;
    /// What it says.
    type Order: Send + 'static;

    /// Opens the stream.
    fn attach(
        &self,
        channel: Channel,
        outbox: mpsc::Receiver<Self::Report>,
    ) -> impl Future<Output = Result<Orders<Self::Order>, Status>> + Send;
}

/// All that the coordinator says on one stream.
pub(crate) type Orders<O> = Pin<Box<dyn Stream<Item = Result<O, Status>> + Send>>;

/// What the queue holds, as the request of a stream.
pub(crate) fn reports<R: Send + 'static>(outbox: mpsc::Receiver<R>) -> ReceiverStream<R> {
    ReceiverStream::new(outbox)
}

/// The answers of a stream, as orders. One without content is damage, and ends the stream.
pub(crate) fn orders<M: Send + 'static, O: 'static>(
    stream: Streaming<M>,
    order: impl Fn(M) -> Option<O> + Send + 'static,
) -> Orders<O> {
    Box::pin(stream.map(move |message| order(message?).ok_or_else(|| Status::data_loss("it sent an empty order"))))
}

/// Shows the token with every call.
pub(crate) fn interceptor(token: &str) -> Result<TokenInterceptor, Status> {
    TokenInterceptor::new(token).map_err(|_| Status::unauthenticated("the token cannot stand in a header"))
}

/// Where the coordinator is. Silence of the network is noticed within seconds.
pub(crate) fn endpoint(join: &str) -> Result<Endpoint, String> {
    let url = if join.contains("://") { join.to_owned() } else { format!("http://{join}") };
    let endpoint = Endpoint::from_shared(url).map_err(|error| innermost(&error))?;
    if endpoint.uri().port_u16().is_none() {
        return Err("it names no port".to_owned());
    }
    Ok(endpoint
        .connect_timeout(DIAL_MAX)
        .http2_keep_alive_interval(PROBE_EVERY)
        .keep_alive_timeout(PROBE_MAX)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true))
}

/// Keeps attached until it is turned away or nobody listens to it any more.
pub(crate) async fn keep<S: Service>(
    service: S,
    coordinator: Endpoint,
    contacts: mpsc::Sender<Contact<S::Report, S::Order>>,
) {
    let [first, last] = PAUSE;
    let mut pause = first;
    while !contacts.is_closed() {
        let end = match coordinator.connect().await {
            Ok(channel) => {
                let end = hold(&service, channel, &contacts).await;
                if end.was_attached {
                    pause = first;
                }
                end.contact
            }
            Err(error) => Contact::Lost(innermost(&error)),
        };
        let is_final = matches!(end, Contact::TurnedAway(_));
        if contacts.send(end).await.is_err() || is_final {
            return;
        }
        sleep(pause).await;
        pause = last.min(2 * pause);
    }
}

/// Often enough for whoever may be silent for `timeout`.
pub(crate) fn heartbeats(timeout: Option<Duration>) -> Interval {
    let period = timeout.map_or(HEARTBEAT, |timeout| timeout / HEARTBEATS_PER_TIMEOUT);
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Room for one report, while there is a stream.
pub(crate) async fn reserve<T>(
    sender: Option<&mpsc::Sender<T>>,
) -> Result<mpsc::Permit<'_, T>, mpsc::error::SendError<()>> {
    match sender {
        Some(sender) => sender.reserve().await,
        None => std::future::pending().await,
    }
}

struct End<R, O> {
    was_attached: bool,
    contact: Contact<R, O>,
}

/// One stream from its beginning to its end.
async fn hold<S: Service>(
    service: &S,
    channel: Channel,
    contacts: &mpsc::Sender<Contact<S::Report, S::Order>>,
) -> End<S::Report, S::Order> {
    let (sender, reports) = mpsc::channel(REPORTS_MAX);
    // If nobody listens any more, `keep` finds out after this.
    let _ = contacts.send(Contact::Dialled(sender)).await;
    let mut orders = match service.attach(channel, reports).await {
        Ok(orders) => orders,
        Err(status) => return End { was_attached: false, contact: verdict(&status) },
    };
    let _ = contacts.send(Contact::Attached).await;
    loop {
        let contact = match orders.next().await {
            Some(Ok(order)) => match contacts.send(Contact::Order(order)).await {
                Ok(()) => continue,
                Err(_) => Contact::Lost("nobody listens to it".to_owned()),
            },
            Some(Err(status)) => verdict(&status),
            None => Contact::Lost("it closed the stream".to_owned()),
        };
        return End { was_attached: true, contact };
    }
}

/// Whether to try again.
fn verdict<R, O>(status: &Status) -> Contact<R, O> {
    match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::Unimplemented => Contact::TurnedAway(status.message().to_owned()),
        _ if status.message().is_empty() => Contact::Lost(status.code().description().to_owned()),
        _ => Contact::Lost(status.message().to_owned()),
    }
}

/// The transport's own words say only that there was a transport error.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
