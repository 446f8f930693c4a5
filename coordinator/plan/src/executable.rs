//! What can be planned, simulated and priced, but that no worker executes yet: one list, which `dsctl launch`, the
//! coordinator and every worker ask before anything starts.

use std::fmt;

use crate::spec::{JobSpec, PlacementPolicy, Recompute};

/// One value that is planned only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOnly {
    /// The key path.
    pub field: &'static str,
    /// What the spec says.
    pub asked: String,
    /// What workers do.
    pub runs: String,
}

impl fmt::Display for PlannedOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} is planned, but workers run {} only", self.field, self.asked, self.runs)
    }
}

/// Everything in a spec that is planned only; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(PlannedOnly::to_string).collect::<Vec<_>>().join("; "))]
pub struct NotExecutable(pub Vec<PlannedOnly>);

/// Whether workers can execute a spec; what they cannot, if not.
///
/// # Errors
/// When something in it is planned only.
pub fn executable(spec: &JobSpec) -> Result<(), NotExecutable> {
    let planned_only = not_executable_yet(spec);
    if planned_only.is_empty() { Ok(()) } else { Err(NotExecutable(planned_only)) }
}

/// Everything in a spec that no worker executes yet.
pub fn not_executable_yet(spec: &JobSpec) -> Vec<PlannedOnly> {
    let parallel = &spec.parallel;
    let one = |is_planned_only: bool, field, asked: &dyn fmt::Display, runs: &str| {
        is_planned_only.then(|| PlannedOnly { field, asked: asked.to_string(), runs: runs.to_owned() })
    };
    let (moves, spares) = match spec.balance.placement {
        PlacementPolicy::Fixed => (false, 0),
        PlacementPolicy::Eplb { redundant, .. } => (true, redundant),
    };
    let rows = [
        one(parallel.tensor > 1, "parallel.tensor", &parallel.tensor, "1"),
        one(parallel.zero > 1, "parallel.zero", &parallel.zero, "0 and 1"),
        one(parallel.recompute == Recompute::Full, "parallel.recompute", &parallel.recompute, "none and norms"),
        one(spares > 0, "balance.redundant", &spares, "0"),
        one(moves && parallel.zero > 0, "balance.placement", &"eplb beside parallel.zero", "fixed"),
    ];
    rows.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobPlan;
    use crate::testing::spec;

    fn refused(change: impl Fn(&mut JobSpec), sentence: &str) {
        let mut job = spec("tiny", 2, 2, 2);
        change(&mut job);
        JobPlan::new(job.clone()).unwrap_or_else(|error| panic!("it can be planned all the same: {error}"));
        assert_eq!(executable(&job).unwrap_err().to_string(), sentence);
    }

    #[test]
    fn what_workers_run_is_executable() {
        assert_eq!(executable(&spec("tiny", 2, 2, 2)), Ok(()));
    }

    #[test]
    fn what_is_planned_only_is_named_with_what_workers_run() {
        refused(|job| job.parallel.tensor = 2, "parallel.tensor 2 is planned, but workers run 1 only");
        refused(|job| job.parallel.zero = 2, "parallel.zero 2 is planned, but workers run 0 and 1 only");
        refused(
            |job| job.parallel.recompute = Recompute::Full,
            "parallel.recompute full is planned, but workers run none and norms only",
        );
        let placed = |redundant| PlacementPolicy::Eplb { redundant, every: 100, above: 0.2, gain: 0.05 };
        refused(|job| job.balance.placement = placed(2), "balance.redundant 2 is planned, but workers run 0 only");
        refused(
            |job| (job.balance.placement, job.parallel.zero) = (placed(0), 1),
            "balance.placement eplb beside parallel.zero is planned, but workers run fixed only",
        );
    }

    #[test]
    fn everything_is_named_at_once() {
        refused(
            |job| (job.parallel.tensor, job.parallel.recompute) = (2, Recompute::Full),
            "parallel.tensor 2 is planned, but workers run 1 only; \
             parallel.recompute full is planned, but workers run none and norms only",
        );
    }
}
