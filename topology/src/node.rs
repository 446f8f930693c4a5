//! What one machine brings to a cluster.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{GpuId, NicId, PlaneId};

/// One machine, as its node agent registers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Unique in the cluster.
    pub name: String,
    /// Logical cores that ranks may use.
    pub n_cores: u32,
    /// Bytes of main memory.
    pub memory_bytes: u64,
    /// In the order of their ids.
    pub gpus: Vec<Gpu>,
    /// In the order of their ids.
    pub nics: Vec<Nic>,
}

/// One accelerator of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Counted from zero on its node.
    pub id: GpuId,
    /// As the driver names it, for example `NVIDIA H800`.
    pub name: String,
    /// Bytes of device memory.
    pub memory_bytes: u64,
}

/// One network card of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Counted from zero on its node.
    pub id: NicId,
    /// As the system names it, for example `eth0`.
    pub name: String,
    /// The address that ranks bind to.
    pub address: IpAddr,
    /// The network that it is on.
    pub plane: PlaneId,
}

/// What a rank computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// A share of the node's cores; the number tells seats of one node apart.
    Cpu(u16),
    /// One GPU, alone.
    Cuda(GpuId),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(_) => write!(f, "cpu"),
            Self::Cuda(gpu) => write!(f, "cuda:{}", gpu.0),
        }
    }
}
