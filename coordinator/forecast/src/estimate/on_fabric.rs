//! One dispatch of a plan on a fabric: what every link carries, and how much longer faults make it.

use ds_arch::GroupLimit;
use ds_plan::{GroupKind, JobPlan};
use ds_topology::fabric::{Fabric, FabricError, FabricSpec};
use ds_topology::flow::LinkId;
use ds_topology::routing::{FabricRoutes, Policy, all_to_all};
use ds_topology::traffic::moe::{Demand, ExpertGroup, Forwarding, Gate, GateError, Mode, dispatch};
use ds_topology::traffic::{Frontier, Traffic, Way};
use ds_topology::{EndpointId, NoRoute, Routes as _};

use super::exchange_alone;
use crate::hardware::Hardware;
use crate::workload::{Layout, Network};

/// A plan whose traffic cannot be laid on a fabric.
#[derive(Debug, thiserror::Error)]
pub enum OnFabricError {
    /// So much has failed that some are cut off.
    #[error(transparent)]
    NoRoute(#[from] NoRoute),
    /// The gate makes no sense.
    #[error("model.moe: {0}")]
    Gate(#[from] GateError),
    /// The fabric cannot be built without its faults.
    #[error(transparent)]
    Fabric(#[from] FabricError),
}

/// Bytes over each link when every expert group dispatches a microbatch at once, at even load; without expert groups,
/// when every GPU sends as much to all others. Ranks sit on GPUs in order, and routes are static.
///
/// # Errors
/// When two ranks cannot reach each other.
pub fn dispatch_loads(plan: &JobPlan, hardware: &Hardware, fabric: &Fabric) -> Result<Vec<f64>, OnFabricError> {
    let mut routes = FabricRoutes::new(fabric.clone(), Policy::Static);
    let spec = plan.spec();
    let (network, layout) = (Network::from(&spec.model), Layout::of(plan));
    let alone = exchange_alone(hardware, &network, &layout).filter(|_| layout.expert > 1);
    if alone.is_none() || fabric.n_gpus() < plan.grid().n_ranks() {
        return Ok(all_to_all(&mut routes, 1.0)?);
    }
    let (n_groups, picked) = match spec.model.moe.groups {
        GroupLimit::AnyGroup => (1, 1),
        GroupLimit::AtMost { n_groups, picked } => (n_groups, picked),
    };
    let gate = Gate::new(spec.model.moe.n_experts, spec.model.moe.top_k, n_groups, picked)?;
    let [row_bytes, _] = layout.wire.rows(network.hidden);
    let mut loads = vec![0.0; fabric.network().len()];
    for ranks in plan.grid().groups().into_iter().filter(|group| group.kind == GroupKind::Expert) {
        let endpoints: Vec<EndpointId> = ranks.ranks.iter().map(|rank| EndpointId(rank.0)).collect();
        let group = ExpertGroup::new(&endpoints, fabric.gpus_per_node());
        let demand = Demand::expected(&gate, &group, layout.tokens() / layout.between());
        let mut traffic = Traffic::new();
        let start = Frontier::start(group.len());
        dispatch(&mut traffic, &group, &demand, Mode::Deduplicated(Forwarding::CutThrough), row_bytes, &start);
        for message in traffic.messages() {
            let Way::Routed { from, to } = message.way else { continue };
            if from != to {
                let key = u64::from(from.0) << 32 | u64::from(to.0);
                routes.paths(from, to, key, &mut |share, path| {
                    path.iter().for_each(|link| loads[link.0 as usize] += share * message.bytes);
                })?;
            }
        }
    }
    Ok(loads)
}

/// By how much the busiest link between nodes, and the busiest one within a node, are busy longer in a dispatch than
/// they would be without the fabric's faults; at least 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowdown {
    /// Over the network.
    pub network: f64,
    /// Within nodes, where what cannot take its own plane goes to another GPU's card.
    pub inside: f64,
}

/// What the faults of a fabric cost; nothing where there are none.
///
/// # Errors
/// When two ranks cannot reach each other.
pub fn slowdown(plan: &JobPlan, hardware: &Hardware, fabric: &Fabric) -> Result<Slowdown, OnFabricError> {
    if fabric.faults().is_empty() {
        return Ok(Slowdown { network: 1.0, inside: 1.0 });
    }
    let whole = Fabric::new(&FabricSpec { faults: Vec::new(), ..fabric.spec().clone() })?;
    let [now, before] = [
        busiest(fabric, &dispatch_loads(plan, hardware, fabric)?),
        busiest(&whole, &dispatch_loads(plan, hardware, &whole)?),
    ];
    let longer = |now: f64, before: f64| if before > 0.0 { (now / before).max(1.0) } else { 1.0 };
    Ok(Slowdown { network: longer(now.0, before.0), inside: longer(now.1, before.1) })
}

/// Seconds of the busiest link between nodes, and of the busiest within one.
fn busiest(fabric: &Fabric, loads: &[f64]) -> (f64, f64) {
    let mut most = (0.0_f64, 0.0_f64);
    for ((number, link), bytes) in (0..).zip(fabric.network().iter()).zip(loads) {
        let seconds = bytes / link.capacity;
        let side = if fabric.plane_of(LinkId(number)).is_some() { &mut most.0 } else { &mut most.1 };
        *side = side.max(seconds);
    }
    most
}
