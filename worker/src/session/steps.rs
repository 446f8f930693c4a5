//! From the first update to the last, whoever started the ranks and hears of them.

use ds_plan::JobPlan;

use crate::agent::Report;
use crate::error::RankError;
use crate::step::now;
use crate::trainer::Trainer;

/// Who hears of a run, and may end it.
pub(super) trait Witness {
    /// Whether this rank was told to stop.
    fn wants_stop(&self) -> bool;

    /// What rank 0 has to say of the whole job.
    fn hear(&self, report: Report);

    /// Called after every step; whoever must not go on fails here.
    fn go_on(&self) -> Result<(), RankError>;
}

/// Trains to the end. True when it was stopped before its last step; `step` always holds the updates done.
pub(super) fn all_steps(
    trainer: &mut Trainer,
    plan: &JobPlan,
    witness: &dyn Witness,
    step: &mut u64,
) -> Result<bool, RankError> {
    let (phase, every) = (&plan.spec().train[0], plan.spec().checkpoint.every);
    let mut stop = false;
    while *step < phase.steps && !stop {
        let done = trainer.step(witness.wants_stop())?;
        *step = trainer.n_updates();
        stop = done.stop;
        witness.hear(Report::Step(done.metrics));
        let last = *step == phase.steps;
        if (last || due(*step, phase.evaluate_every))
            && let Some(evaluation) = trainer.evaluate()?
        {
            witness.hear(Report::Evaluation(evaluation));
        }
        if last || stop || due(*step, every) {
            witness.hear(save(trainer)?);
        }
        witness.go_on()?;
    }
    trainer.leave()?;
    Ok(*step < phase.steps)
}

fn save(trainer: &Trainer) -> Result<Report, RankError> {
    let start = now();
    let folder = trainer.save()?.to_string_lossy().into_owned();
    Ok(Report::Checkpoint { step: trainer.n_updates(), folder, seconds: start.elapsed().as_secs_f64() })
}

fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
