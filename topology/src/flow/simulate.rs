//! A simulation and what comes out of it.

use super::change::Change;
use super::check::check;
use super::error::FlowError;
use super::flow_set::FlowSet;
use super::problem::{Flow, Network, Weighting};
use super::run::Run;
use super::watch::{Watch, Watched};

/// What became of the flows.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// When each flow had ended, in seconds.
    pub finish: Vec<f64>,
    /// When all had.
    pub makespan: f64,
}

/// Flows over links, and what happens to them meanwhile. A flow begins at max(start, ends of deps) + delay + latency of
/// its path, and then takes its max-min fair share of every link that it crosses, but no more than its own limit.
#[derive(Clone, Copy, Debug)]
pub struct Simulation<'a> {
    network: &'a Network,
    flows: &'a FlowSet,
    weighting: Weighting,
    changes: &'a [Change],
}

impl<'a> Simulation<'a> {
    /// Of flows that all links are there for.
    pub fn new(network: &'a Network, flows: &'a FlowSet, weighting: Weighting) -> Self {
        Self { network, flows, weighting, changes: &[] }
    }

    /// In which this happens, in any order; of two changes at the same time, the first in the list comes first.
    pub fn with_changes(self, changes: &'a [Change]) -> Self {
        Self { changes, ..self }
    }

    /// Runs all flows to their ends.
    ///
    /// # Errors
    /// When a number makes no sense, a link or flow is not there, flows wait for each other, or a flow can never end
    /// because a link has failed for good.
    pub fn run(self) -> Result<Outcome, FlowError> {
        Ok(self.checked()?.into_outcome()?.0)
    }

    /// Likewise, and writes down what its links carry meanwhile.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn watch(self, watch: Watch) -> Result<(Outcome, Watched), FlowError> {
        let mut run = self.checked()?;
        run.watch(watch);
        let (outcome, watched) = run.into_outcome()?;
        Ok((outcome, watched.expect("a run that is watched")))
    }

    fn checked(self) -> Result<Run<'a>, FlowError> {
        check(self.network, self.flows, self.weighting, self.changes)?;
        Ok(Run::new(self.network, self.flows, self.weighting, self.changes))
    }
}

/// Runs all flows over the links to their ends, as [`Simulation`] does.
///
/// # Errors
/// When a number makes no sense, a link or flow is not there, or flows wait for each other.
pub fn simulate(network: &Network, flows: &[Flow], weighting: Weighting) -> Result<Outcome, FlowError> {
    Simulation::new(network, &flows.iter().collect(), weighting).run()
}
