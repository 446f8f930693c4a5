//! Why a node agent cannot work, and what to do about it.

use std::net::IpAddr;
use std::path::PathBuf;

/// Why a node agent cannot work.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No token anywhere.
    #[error(
        "no token: neither --token-file nor DSCTL_TOKEN is given
hint: coordinator.json in the coordinator's DSCTL_HOME (by default ~/.dsctl) holds it"
    )]
    NoToken,
    /// The token's file.
    #[error("--token-file {}: {source}", path.display())]
    TokenFile {
        /// As given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The address is none.
    #[error("--join {join}: {reason}\nhint: write it as http://host:port, as `dsctl coordinator` prints it")]
    Join {
        /// As given.
        join: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A plane is given to a card that is not there.
    #[error("--nic {name}=..: this machine has no such network interface that is up\nhint: it has {known}")]
    NoSuchNic {
        /// As given.
        name: String,
        /// Those that it has.
        known: String,
    },
    /// Ranks would not be able to listen there.
    #[error("--address {address}: no network interface of this machine has it\nhint: it has {known}")]
    NoSuchAddress {
        /// As given.
        address: IpAddr,
        /// Those that it has.
        known: String,
    },
    /// The folder for ranks.
    #[error("--work {}: {source}", path.display())]
    WorkFolder {
        /// As given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// This program's own place, or its signals.
    #[error("the system refuses {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// Nobody there, from the start.
    #[error(
        "no coordinator answers at {join} ({reason})
hint: `dsctl coordinator` starts one; its address is in coordinator.json in its DSCTL_HOME"
    )]
    Unreachable {
        /// Its address.
        join: String,
        /// The last attempt's end.
        reason: String,
    },
    /// It does not want this node.
    #[error("the coordinator at {join} turns this node away: {reason}")]
    TurnedAway {
        /// Its address.
        join: String,
        /// In its words.
        reason: String,
    },
    /// It was there and did not come back.
    #[error(
        "the coordinator at {join} is gone ({reason}); it was waited for {grace_seconds} s, and all ranks are ended"
    )]
    Gone {
        /// Its address.
        join: String,
        /// What the connection ended with.
        reason: String,
        /// As the coordinator allowed.
        grace_seconds: u64,
    },
}

impl NodeError {
    /// 64 where the user must change something, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoToken
            | Self::TokenFile { .. }
            | Self::Join { .. }
            | Self::NoSuchNic { .. }
            | Self::NoSuchAddress { .. }
            | Self::WorkFolder { .. }
            | Self::TurnedAway { .. } => 64,
            Self::System { .. } | Self::Unreachable { .. } | Self::Gone { .. } => 1,
        }
    }
}
