//! A machine's constants from a run that was measured on it: each is scaled until the prediction of the run's own job
//! takes as long as was measured, cause by cause.

use ds_plan::JobPlan;
use ds_plan::spec::ScheduleKind;

use super::step::estimate;
use crate::hardware::Hardware;
use crate::workload::{Layout, Network};

/// Seconds of a step by cause, mean over ranks, as the worker books them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// The whole step.
    pub step: f64,
    /// Forward and backward.
    pub compute: f64,
    /// Dispatch and combine.
    pub exchange: f64,
    /// Sums of gradients, norms and statistics.
    pub reduce: f64,
    /// The optimizer.
    pub optimizer: f64,
}

/// The machine as the run found it. What the job does not do (no exchange, one rank) leaves its constants as they are.
pub fn calibrated(base: &Hardware, plan: &JobPlan, measured: Measured) -> Hardware {
    let mut hardware = Hardware { step_seconds: 0.0, ..base.clone() };
    let (network, layout) = (Network::from(&plan.spec().model), Layout::of(plan));
    // Schedules that overlap are booked otherwise; their causes are predicted as if they did not.
    let layout = Layout { schedule: ScheduleKind::OneFOneB, ..layout };
    let predicted = |hardware: &Hardware, names: &[&str]| -> f64 {
        let step = estimate(hardware, &network, &layout);
        names.iter().map(|name| step.part(name)).sum()
    };
    let slower = |measured: f64, predicted: f64| (predicted > 0.0 && measured > 0.0).then(|| measured / predicted);
    if let Some(factor) = slower(measured.compute, predicted(&hardware, &["compute", "recompute", "launch"])) {
        for share in [
            &mut hardware.matmul_efficiency,
            &mut hardware.matmul_efficiency_fp8,
            &mut hardware.weight_gradient_efficiency_fp8,
            &mut hardware.grouped_efficiency,
            &mut hardware.grouped_efficiency_fp8,
            &mut hardware.attention_efficiency,
            &mut hardware.attention_backward_efficiency,
            &mut hardware.memory_efficiency,
        ] {
            *share /= factor;
        }
        for seconds in [
            &mut hardware.kernel_seconds,
            &mut hardware.launch_seconds,
            &mut hardware.backward_launch_seconds,
            &mut hardware.collective_launch_seconds,
        ] {
            *seconds *= factor;
        }
    }
    if let Some(factor) = slower(measured.exchange, predicted(&hardware, &["exchange"])) {
        hardware.exchange_efficiency /= factor;
        hardware.nvlink_exchange_efficiency /= factor;
        hardware.exchange_seconds *= factor;
    }
    if let Some(factor) = slower(measured.reduce, predicted(&hardware, &["data"])) {
        hardware.nvlink_efficiency /= factor;
        hardware.nic_efficiency /= factor;
        hardware.nvlink_seconds *= factor;
        hardware.nic_seconds *= factor;
    }
    // What is left of the step has no cause of its own.
    let rest = measured.step - estimate(&hardware, &network, &layout).seconds();
    hardware.step_seconds = rest.max(0.0);
    hardware
}
