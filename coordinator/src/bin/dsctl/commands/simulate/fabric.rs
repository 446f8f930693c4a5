//! The fabric that a job is played on.

use std::fs;
use std::path::Path;

use ds_forecast::simulate::Rates;
use ds_plan::JobPlan;
use ds_plan::spec::DeviceKind;
use ds_topology::fabric::Fabric;
use ds_topology::flow::LinkId;

use crate::failure::Failure;

pub(super) fn read(path: &Path) -> Result<Fabric, Failure> {
    let failed = |source| Failure::Read { path: path.to_owned(), source };
    let text = fs::read(path).map_err(failed)?;
    let text = String::from_utf8(text).map_err(|_| Failure::NoText { path: path.to_owned() })?;
    Fabric::parse(&text).map_err(|error| Failure::Fabric { path: path.to_owned(), reason: error.to_string() })
}

/// Links over which nothing passes.
pub(super) fn down(fabric: &Fabric) -> Vec<bool> {
    (0..fabric.network().len() as u32).map(|link| fabric.is_down(LinkId(link))).collect()
}

/// Rates of the devices that a job asks for.
pub(super) fn rates(plan: &JobPlan) -> Rates {
    match plan.spec().cluster.device {
        // A server core: about 50 GFLOP/s and 10 GB/s.
        DeviceKind::Cpu => {
            Rates { matmul: 50e9, grouped: 50e9, attention: 25e9, elementwise: 5e9, memory: 10e9, overhead: 5e-6 }
        }
        // An H800 (989 TFLOP/s and 3.35 TB/s by its data sheet) at what large products usually reach of it.
        DeviceKind::Cuda => Rates {
            matmul: 600e12,
            grouped: 500e12,
            attention: 350e12,
            elementwise: 30e12,
            memory: 2.7e12,
            overhead: 4e-6,
        },
    }
}
