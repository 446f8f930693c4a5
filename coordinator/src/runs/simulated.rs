//! What the steps of a run came to on a simulated network.

use ds_proto::{PlaneLoad, SimulatedStep};
use serde::{Deserialize, Serialize};

/// Means over the steps of a run on the virtual clock of its fabric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SimulatedRun {
    /// That were played.
    pub steps: u64,
    /// Of a step; shares are of all time of all steps.
    pub step: SimulatedStep,
}

impl SimulatedRun {
    /// None where nothing was played. Links are those of the last step.
    pub fn of<'a>(steps: impl Iterator<Item = &'a SimulatedStep>) -> Option<Self> {
        let steps: Vec<&SimulatedStep> = steps.collect();
        let last = steps.last()?;
        let n = steps.len() as f64;
        let mean = |of: &dyn Fn(&SimulatedStep) -> f64| steps.iter().map(|step| of(step)).sum::<f64>() / n;
        let seconds = mean(&|step| step.seconds);
        // By time, so that shares of the mean step are shares of the run.
        let share = |of: &dyn Fn(&SimulatedStep) -> f64| match seconds {
            all if all > 0.0 => mean(&|step| of(step) * step.seconds) / all,
            _ => 0.0,
        };
        let plane = |(place, plane): (usize, &PlaneLoad)| {
            let of = |step: &SimulatedStep, get: fn(&PlaneLoad) -> f64| step.planes.get(place).map_or(0.0, get);
            PlaneLoad {
                plane: plane.plane,
                bytes: mean(&|step| of(step, |plane| plane.bytes)),
                utilization: share(&|step| of(step, |plane| plane.utilization)),
                busiest_link: share(&|step| of(step, |plane| plane.busiest_link)),
            }
        };
        let step = SimulatedStep {
            seconds,
            compute_share: share(&|step| step.compute_share),
            exposed_share: share(&|step| step.exposed_share),
            imbalance_share: share(&|step| step.imbalance_share),
            bubble_share: share(&|step| step.bubble_share),
            bytes_within_nodes: mean(&|step| step.bytes_within_nodes),
            planes: last.planes.iter().enumerate().map(plane).collect(),
            links: last.links.clone(),
        };
        Some(Self { steps: steps.len() as u64, step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_mean_step_are_shares_of_all_time() {
        let step = |seconds: f64, compute_share: f64, bytes: f64| SimulatedStep {
            seconds,
            compute_share,
            bubble_share: 1.0 - compute_share,
            planes: vec![PlaneLoad { plane: 0, bytes, utilization: 0.5, busiest_link: 0.75 }],
            ..SimulatedStep::default()
        };
        let steps = [step(1.0, 1.0, 10.0), step(3.0, 0.2, 30.0)];
        let run = SimulatedRun::of(steps.iter()).expect("two were played");
        assert_eq!((run.steps, run.step.seconds), (2, 2.0));
        assert!((run.step.compute_share - 0.4).abs() < 1e-12 && (run.step.bubble_share - 0.6).abs() < 1e-12);
        assert_eq!(run.step.planes[0], PlaneLoad { plane: 0, bytes: 20.0, utilization: 0.5, busiest_link: 0.75 });
        assert_eq!(SimulatedRun::of([].iter()), None);
    }
}
