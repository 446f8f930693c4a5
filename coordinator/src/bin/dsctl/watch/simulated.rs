//! What the steps of a run came to on a simulated network, for people.

use ds_forecast::picture::Unit;
use ds_proto::SimulatedStep;
use serde::Deserialize;

use crate::show::numbers::bytes;

/// As `summary.json` has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct SimulatedRun {
    pub(crate) steps: u64,
    pub(crate) step: SimulatedStep,
}

/// Links that are named.
const N_LINKS: usize = 3;

/// Line by line, the time of a step first.
pub(crate) fn lines(SimulatedRun { steps, step }: &SimulatedRun) -> Vec<String> {
    let share = |share: f64| Unit::Share.text(share);
    let SimulatedStep { compute_share, exposed_share, imbalance_share, bubble_share, .. } = *step;
    let mut lines = vec![
        format!("a step {}, the mean of {steps}, on the virtual clock of its fabric", Unit::Seconds.text(step.seconds)),
        format!(
            "computes {}, communication that nothing hides {}, waits for the rest of a group {}, else idle {}",
            share(compute_share),
            share(exposed_share),
            share(imbalance_share),
            share(bubble_share)
        ),
        format!("{} within nodes", bytes(step.bytes_within_nodes as u64)),
    ];
    lines.extend(step.planes.iter().map(|plane| {
        format!(
            "plane {}  {}, {} of the rate of the NICs that send, busiest link {}",
            plane.plane,
            bytes(plane.bytes as u64),
            share(plane.utilization),
            share(plane.busiest_link)
        )
    }));
    lines.extend(step.links.iter().take(N_LINKS).map(|link| {
        let others = if link.count > 1 { format!(" and {} more like it", link.count - 1) } else { String::new() };
        format!("link {}{others}  {}, {}", link.name, bytes(link.bytes as u64), share(link.utilization))
    }));
    lines
}
