//! What node agents and ranks have in common: they register first, as the same version.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Status, Streaming};

/// Who attaches says at once who it is.
const FIRST_WORDS_MAX: Duration = Duration::from_secs(10);
/// Orders that wait for one stream. A node is given at most so many ranks at once; one that takes no orders for so long
/// is cut off, and comes back.
pub(super) const ORDERS_MAX: usize = 1024;

/// The first report of a stream.
pub(super) async fn first_words<T>(reports: &mut Streaming<T>) -> Result<T, Status> {
    match timeout(FIRST_WORDS_MAX, reports.message()).await {
        Ok(Ok(Some(report))) => Ok(report),
        Ok(Ok(None)) => Err(Status::invalid_argument("the stream ended before anything was said")),
        Ok(Err(status)) => Err(status),
        Err(_) => {
            let seconds = FIRST_WORDS_MAX.as_secs();
            Err(Status::deadline_exceeded(format!("nothing was said within {seconds} s; the first report registers")))
        }
    }
}

/// Nobody is to find out halfway through a job that two programs do not understand each other.
pub(super) fn same_version(theirs: &str) -> Result<(), Status> {
    if theirs == ds_proto::VERSION {
        return Ok(());
    }
    let ours = ds_proto::VERSION;
    let text = format!(
        "it is version {theirs}, the coordinator is version {ours}\nhint: install the same version on all machines"
    );
    Err(Status::failed_precondition(text))
}

/// The first report was another one.
pub(super) fn unregistered() -> Status {
    Status::invalid_argument("the first report of a stream must register")
}
