//! What all runs of a job share, whatever befalls the fabric meanwhile: messages, their paths in the first state, and
//! programs.

use std::rc::Rc;
use std::sync::Arc;

use super::classes::colours;
use super::error::SimulateError;
use super::event::Epoch;
use super::interleave::Costs;
use super::job::{Options, StepJob};
use super::play::{self, Piece};
use super::program::{self, Program};
use super::quotient::Quotient;
use super::run::Run;
use super::scene::{Registry, Scene};
use super::strands::Strands;

/// A job that is ready to be played, again and again, through one state of the fabric after another.
pub struct Base<'a> {
    job: &'a StepJob<'a>,
    options: Options,
    scene: Scene,
    registry: Registry,
    first: First,
}

/// What follows from the state of the fabric at the beginning.
struct First {
    strands: Rc<Strands>,
    costs: Costs,
    programs: Arc<Vec<Program>>,
}

impl<'a> Base<'a> {
    /// Gets a job ready. `first` is the state of the fabric at the beginning.
    ///
    /// # Errors
    /// When parts of the job do not fit together, or no route is left.
    pub fn new(job: &'a StepJob<'a>, first: &mut Epoch<'_>, options: &Options) -> Result<Self, SimulateError> {
        job.check(std::slice::from_ref(first), options)?;
        let (scene, registry) = Scene::new(job, first.routes.endpoints_per_node());
        let strands = Rc::new(Strands::new(job, &scene, first)?);
        let costs = Costs::new(&scene, &strands);
        let programs = programs(job, &registry, &costs)?;
        Ok(Self { job, options: options.clone(), scene, registry, first: First { strands, costs, programs } })
    }

    /// Plays the steps; `later` are the states that the fabric comes to, in order.
    ///
    /// # Errors
    /// When no route is left, or the step can never end.
    pub fn then(&self, later: &mut [Epoch<'_>]) -> Result<Run, SimulateError> {
        self.play(&self.first, later)
    }

    /// Plays the steps where the fabric is in another state from the beginning, and comes to those that are `later`.
    ///
    /// # Errors
    /// When no route is left, or the step can never end.
    pub fn instead(&self, first: &mut Epoch<'_>, later: &mut [Epoch<'_>]) -> Result<Run, SimulateError> {
        let strands = Rc::new(Strands::new(self.job, &self.scene, first)?);
        let costs = Costs::new(&self.scene, &strands);
        // The order of parts on a rank's streams follows from how long exchanges take.
        let programs = match costs == self.first.costs {
            true => self.first.programs.clone(),
            false => programs(self.job, &self.registry, &costs)?,
        };
        self.play(&First { strands, costs, programs }, later)
    }

    fn play(&self, first: &First, later: &mut [Epoch<'_>]) -> Result<Run, SimulateError> {
        let (mut epochs, mut from) = (vec![first.strands.clone()], vec![0.0]);
        for epoch in later {
            epochs.push(Rc::new(Strands::new(self.job, &self.scene, epoch)?));
            from.push(epoch.from);
        }
        let Self { job, scene, options, .. } = self;
        let piece = Piece { job, scene, programs: &first.programs, costs: &first.costs, options };
        let quotient = |apart| Quotient::new(scene, &epochs, colours(job, scene, &epochs, options, apart));
        // Where steps follow each other, what ends one meets what begins the next.
        if options.reuse
            && options.steps == 1
            && let Some(run) = play::play(&piece, quotient(true), &epochs, &from)?
        {
            return Ok(run);
        }
        Ok(play::play(&piece, quotient(false), &epochs, &from)?.expect("nothing was taken to be apart"))
    }
}

fn programs(job: &StepJob<'_>, registry: &Registry, costs: &Costs) -> Result<Arc<Vec<Program>>, SimulateError> {
    let all = 0..job.actions.len() as u32;
    let programs: Vec<Program> = all.map(|at| Program::new(job, at, registry, costs)).collect();
    program::check_pairs(&programs)?;
    Ok(Arc::new(programs))
}
