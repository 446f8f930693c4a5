//! What coordinator, node agents, ranks and people's tools say to each other, and the token that every call carries.

mod metrics;
mod planes;
mod simulated;
mod token;

/// The messages and services of `dsctl/v1/dsctl.proto`; their documentation is there.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("dsctl.v1");
}

pub use metrics::{Evaluation, ExchangeBytes, StepMetrics};
pub use planes::PlaneBytes;
pub use simulated::{LinkLoad, PlaneLoad, SimulatedStep};
pub use token::{AUTHORIZATION, TokenInterceptor, bearer};

/// Node agents and ranks must be of the coordinator's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The contract, for the reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dsctl.v1.bin"));
