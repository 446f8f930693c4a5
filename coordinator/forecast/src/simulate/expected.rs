//! A planned step as a record: what every rank would write down, with what exchanges were measured to send where that is
//! known.

use ds_plan::schedule::Piece;

use super::error::SimulateError;
use super::event::Epoch;
use super::interleave::Costs;
use super::job::{Options, StepJob};
use super::planned::PlannedStep;
use super::program::{self, NO_ACTION, Op, Program};
use super::scene::{Scene, Template};
use super::strands::Strands;
use crate::recorded::{Does, Event, Measured, Meeting, StepRecord};
use crate::{Exchange, Part};

impl PlannedStep {
    /// The record of a step of the plan. Where exchanges were measured, they send what they sent, stages pass on what they
    /// did, and experts work on the rows that they had; else all this is what is expected. All else follows from the plan.
    ///
    /// # Errors
    /// When parts of the job do not fit together, no route is left, or an exchange of the plan was not measured.
    pub fn record(&self, epoch: &mut Epoch<'_>, measured: Option<&Measured>) -> Result<StepRecord, SimulateError> {
        self.with(|job| record(job, epoch, measured))
    }
}

pub(super) fn record(
    job: &StepJob<'_>,
    epoch: &mut Epoch<'_>,
    measured: Option<&Measured>,
) -> Result<StepRecord, SimulateError> {
    job.check(std::slice::from_mut(epoch), &Options::default())?;
    let (scene, registry) = Scene::new(job, epoch.routes.endpoints_per_node());
    let costs = Costs::new(&scene, &Strands::new(job, &scene, epoch)?);
    let programs: Vec<Program> =
        (0..job.actions.len() as u32).map(|at| Program::new(job, at, &registry, &costs)).collect();
    program::check_pairs(&programs)?;
    let writer = Writer { job, scene: &scene, programs: &programs, measured };
    let ranks = (0..job.n_ranks() as u32).map(|rank| writer.rank(rank)).collect::<Result<_, _>>()?;
    Ok(StepRecord { groups: scene.groups.clone(), ranks })
}

struct Writer<'a> {
    job: &'a StepJob<'a>,
    scene: &'a Scene,
    programs: &'a [Program],
    measured: Option<&'a Measured>,
}

impl Writer<'_> {
    fn rank(&self, rank: u32) -> Result<Vec<Event>, SimulateError> {
        let program = &self.programs[(rank / self.job.per_pipeline) as usize];
        // Of every operation: the events after which it is over.
        let mut over: Vec<Vec<u32>> = Vec::new();
        let mut events: Vec<Event> = Vec::new();
        for (number, op) in (0..).zip(&program.ops) {
            let mut after: Vec<u32> = op.deps.iter().flat_map(|&dep| over[dep as usize].iter().copied()).collect();
            after.sort_unstable();
            after.dedup();
            let Some(does) = self.does(rank, number, op)? else {
                over.push(after);
                continue;
            };
            over.push(vec![events.len() as u32]);
            let action = Some(op.action).filter(|&action| action != NO_ACTION);
            events.push(Event { action, piece: op.piece, after, does });
        }
        Ok(events)
    }

    fn does(&self, rank: u32, number: u32, op: &Op) -> Result<Option<Does>, SimulateError> {
        Ok(Some(match op.does {
            program::Does::Compute { loads, .. } => {
                Does::Compute { part: op.part.unwrap_or(0), load: self.load(rank, op, loads)? }
            }
            program::Does::Meet(template) => {
                let of = &self.scene.templates[template as usize];
                let is_own = |group: &u32| self.scene.groups[*group as usize].contains(&rank);
                let group = of.groups.clone().find(is_own).expect("a rank meets groups of its own");
                let (what, sends) = self.sends(rank, op, of)?;
                // What several coordinates do together has different numbers there.
                let number = if op.action == NO_ACTION { CLOSING | u64::from(template) } else { number.into() };
                Does::Meet { group, number, what, sends }
            }
            program::Does::Send { template, .. } => {
                let (to, planned) = self.planned(rank, &self.scene.templates[template as usize])[0];
                let passed = self.measured.zip(op.piece).and_then(|(measured, piece)| measured.passed(rank, piece));
                let bytes = passed.unwrap_or(planned);
                Does::Send { to, number: number.into(), bytes }
            }
            program::Does::Receive(key) => {
                let sends = |op: &Op| matches!(op.does, program::Does::Send { key: of, .. } if of == key);
                let place = |program: &Program| Some((program.at, program.ops.iter().position(sends)?));
                let (at, number) = self.programs.iter().find_map(place).expect("what is received is sent");
                Does::Receive { from: at * self.job.per_pipeline + rank % self.job.per_pipeline, number: number as u64 }
            }
            program::Does::Join => return Ok(None),
        }))
    }

    /// Which part of which pass an operation is.
    fn part(&self, op: &Op) -> Option<(Piece, &Part)> {
        let piece = op.piece?;
        Some((piece, self.job.stages.get(piece.stage.0 as usize)?.part(piece.pass, op.part?)?))
    }

    fn planned(&self, rank: u32, template: &Template) -> Vec<(u32, f64)> {
        let messages = &self.scene.messages[template.messages.start as usize..template.messages.end as usize];
        messages.iter().filter(|message| message.from == rank).map(|message| (message.to, message.bytes)).collect()
    }

    fn sends(&self, rank: u32, op: &Op, template: &Template) -> Result<(Meeting, Vec<(u32, f64)>), SimulateError> {
        let Some((piece, &Part::Exchange { layer, exchange, .. })) = self.part(op) else {
            let what = if op.label == "gather" { Meeting::Gather } else { Meeting::Reduce };
            return Ok((what, self.planned(rank, template)));
        };
        let what = match exchange {
            Exchange::Dispatch => Meeting::Dispatch,
            Exchange::Combine => Meeting::Combine,
        };
        let sends = match self.measured {
            None => self.planned(rank, template),
            Some(measured) => {
                let not_measured = SimulateError::NotMeasured { rank, action: op.action, layer: layer.0 };
                measured.sends(rank, piece, layer, exchange).ok_or(not_measured)?.to_vec()
            }
        };
        Ok((what, sends))
    }

    /// How many times the mean rows the experts of a rank work on.
    fn load(&self, rank: u32, op: &Op, loads: Option<u32>) -> Result<f64, SimulateError> {
        let Some((piece, &Part::Compute { experts_of: Some(layer), .. })) = self.part(op) else { return Ok(1.0) };
        let Some(measured) = self.measured else {
            let place = self.job.expert_place(rank) as usize;
            return Ok(loads.and_then(|loads| self.scene.loads[loads as usize].get(place).copied()).unwrap_or(1.0));
        };
        let groups = self.job.expert_groups(rank / self.job.per_pipeline);
        let group = groups.iter().find(|group| group.contains(&rank)).expect("a rank is in an expert group");
        let not_measured = SimulateError::NotMeasured { rank, action: op.action, layer: layer.0 };
        measured.load(rank, group, piece, layer).ok_or(not_measured)
    }
}

/// Numbers of what ends a step, apart from those of exchanges.
const CLOSING: u64 = 1 << 32;
