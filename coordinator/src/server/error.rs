//! Why a coordinator does not run.

use std::io;
use std::net::SocketAddr;

use crate::home::HomeError;
use crate::runs::RunError;
use crate::store::StoreError;

/// Why a coordinator does not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its folder cannot be used.
    #[error("{0}")]
    Home(#[from] HomeError),
    /// Its state cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Runs cannot be kept.
    #[error("{0}")]
    Run(#[from] RunError),
    /// What was kept cannot be understood.
    #[error("state.sqlite holds a {what} that this version cannot read: {source}")]
    State {
        /// Part of the state.
        what: &'static str,
        /// Where reading ended.
        source: serde_json::Error,
    },
    /// Another program listens there.
    #[error("{address} is taken by another program\nhint: choose another port, or port 0 for any that is free")]
    Taken {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The system does not let it listen there.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system refuses a thread.
    #[error("the system gives no thread: {0}")]
    Thread(io::Error),
    /// The services cannot describe themselves.
    #[error("the description of the services is damaged: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}
