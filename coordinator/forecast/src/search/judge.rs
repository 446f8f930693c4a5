//! Who says how long a step takes: a kind of GPU in nodes and a network, by formula.

use ds_plan::JobPlan;
use ds_topology::fabric::Fabric;

use crate::estimate::{Slowdown, StepEstimate, Terms, estimate_with};
use crate::hardware::Hardware;
use crate::workload::{Layout, Network};

/// Somebody who says how long a step of a plan takes.
pub trait Judge {
    /// The step and its parts.
    ///
    /// # Errors
    /// A sentence, when nothing can be said about such a plan.
    fn forecast(&self, plan: &JobPlan) -> Result<StepEstimate, String>;
}

/// GPUs in nodes that a network joins.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// With the sizes and speeds of the fabric, where there is one.
    pub hardware: Hardware,
    /// What is taken into account.
    pub terms: Terms,
}

impl Machine {
    /// GPUs as their preset has them, or in the nodes and on the network of a fabric. What share of a bandwidth is
    /// reached stays that of the preset.
    pub fn new(mut hardware: Hardware, fabric: Option<&Fabric>) -> Self {
        if let Some(spec) = fabric.map(Fabric::spec) {
            hardware.nvlink_gpus = spec.node.gpus;
            if let Some(within) = &spec.node.within {
                hardware.nvlink_bandwidth = within.bandwidth.0;
            }
            if let (Some(nic), Some(network)) = (&spec.node.nic, &spec.network) {
                let of_node = f64::from(spec.node.nics) * f64::from(nic.ports) * nic.bandwidth.0;
                // What leaves a leaf switch is shared by all that is below it.
                let upwards = network.oversubscription.unwrap_or(1.0);
                hardware.nic_bandwidth = of_node / f64::from(spec.node.gpus.max(1)) / upwards;
            }
        }
        Self { hardware, terms: Terms::ALL }
    }
}

impl Machine {
    /// With what a fabric's faults leave of its bandwidths to a plan.
    #[must_use]
    pub fn slowed(mut self, slowdown: Slowdown) -> Self {
        self.hardware.nic_bandwidth /= slowdown.network;
        self.hardware.nvlink_bandwidth /= slowdown.inside;
        self
    }
}

impl Judge for Machine {
    fn forecast(&self, plan: &JobPlan) -> Result<StepEstimate, String> {
        Ok(estimate_with(&self.hardware, &Network::from(&plan.spec().model), &Layout::of(plan), self.terms))
    }
}
