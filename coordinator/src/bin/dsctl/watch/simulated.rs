//! What the steps of a run came to on a simulated network, for people, in the words of a replay.

use ds_coordinator::runs::SimulatedRun;
use ds_forecast::picture::Unit;
use ds_forecast::recorded::{PlaneLoad, Shares};
use ds_forecast::simulate::BusyLink;

use crate::show::numbers::bytes;

/// Links that are named.
const N_LINKS: usize = 3;

/// Line by line, the time of a step first.
pub(crate) fn lines(SimulatedRun { steps, step }: &SimulatedRun) -> Vec<String> {
    let shares = Shares {
        compute: step.compute_share,
        exposed_communication: step.exposed_share,
        imbalance: step.imbalance_share,
        bubble: step.bubble_share,
    };
    let mut lines = vec![
        format!("a step {}, the mean of {steps}, on the virtual clock of its fabric", Unit::Seconds.text(step.seconds)),
        shares.text(),
        format!("{} within nodes", bytes(step.bytes_within_nodes as u64)),
    ];
    lines.extend(step.planes.iter().map(|&ds_proto::PlaneLoad { plane, bytes, utilization, busiest_link }| {
        PlaneLoad { plane, bytes, utilization, busiest_link }.text()
    }));
    lines.extend(step.links.iter().take(N_LINKS).cloned().map(
        |ds_proto::LinkLoad { name, count, bytes, utilization }| {
            BusyLink { name, count: count as usize, bytes, utilization }.text()
        },
    ));
    lines
}
