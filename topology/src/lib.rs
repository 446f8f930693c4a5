//! The machine as data: what a node has, in the words of the field. Pure: nothing here reads a clock or a device.

pub mod draw;
pub mod fabric;
pub mod flow;
mod ids;
pub mod import;
mod node;
mod routes;
pub mod routing;
pub mod traffic;

pub use ids::{EndpointId, GpuId, NicId, PlaneId};
pub use node::{Device, Gpu, Nic, Node};
pub use routes::{NoRoute, Routes};
