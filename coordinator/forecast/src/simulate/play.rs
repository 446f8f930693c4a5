mod island;
mod meet;
mod strand;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use ds_topology::traffic::moe::Random;

use super::error::SimulateError;
use super::fluid::Fluid;
use super::interleave::Costs;
use super::islands::Afloat;
use super::job::{Options, StepJob};
use super::program::{Does, NO_ACTION, Op, Program};
use super::quotient::Quotient;
use super::run::{LinkLoad, Record, Run, Times};
use super::scene::Scene;
use super::slab::Slab;
use super::strands::Strands;

/// What is played, however often.
pub(super) struct Piece<'a> {
    pub(super) job: &'a StepJob<'a>,
    pub(super) scene: &'a Scene,
    pub(super) programs: &'a Arc<Vec<Program>>,
    pub(super) costs: &'a Costs,
    pub(super) options: &'a Options,
}

/// Plays through states of the fabric, each with the time from which it holds. None where what ends a step was taken
/// to be apart and met something else on a link.
pub(super) fn play(
    piece: &Piece<'_>,
    quotient: Quotient,
    epochs: &[Rc<Strands>],
    from: &[f64],
) -> Result<Option<Run>, SimulateError> {
    let mut player = Player::new(piece, &quotient, epochs);
    for (number, &from) in from.iter().enumerate().skip(1) {
        player.push(from, Event::Change(number as u32));
    }
    player.begin_step();
    player.run();
    if player.clash {
        return Ok(None);
    }
    player.all_done()?;
    let Player { fluid, times, n_played, records, .. } = player;
    let (link_colour, lanes) = lanes(&quotient.link_colour, epochs[0].capacity.len());
    let load = |lanes: &Vec<u32>| LinkLoad {
        bytes: lanes.iter().map(|&lane| fluid.carried[lane as usize]).sum(),
        capacity: quotient.states[0].capacity[lanes[0] as usize],
    };
    Ok(Some(Run {
        programs: piece.programs.clone(),
        per_pipeline: piece.job.per_pipeline,
        loads: lanes.iter().map(load).collect(),
        link_colour,
        lanes,
        templates: piece.costs.0.clone(),
        n_main: quotient.n_main,
        actor: quotient.actor,
        closer: quotient.closer,
        times,
        n_played,
        records,
    }))
}

/// Colours of links, and of what lanes each colour is, where links as they were played have `colours`.
fn lanes(colours: &[u32], n_links: usize) -> (Vec<u32>, Vec<Vec<u32>>) {
    let mut numbers: HashMap<(u32, Option<u32>), u32> = HashMap::new();
    let mut lanes: Vec<Vec<u32>> = Vec::new();
    let colour = |link: usize| {
        let (own, beside) = (colours[link], colours.get(n_links + link).copied());
        *numbers.entry((own, beside)).or_insert_with(|| {
            lanes.push(std::iter::once(own).chain(beside).collect());
            lanes.len() as u32 - 1
        })
    };
    ((0..n_links).map(colour).collect(), lanes)
}

/// What happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The fabric changes.
    Change(u32),
    /// A group is complete, or a sender ready.
    Open(u32),
    /// The first byte of a strand.
    Begin(u32),
    /// The first byte of an island, or ranks have all of it.
    Float(u32),
}

/// Messages that a group, or a sender, begins together.
#[derive(Clone, Debug)]
struct Meeting {
    step: u32,
    template: u32,
    /// The colour of the group, or the sender.
    owner: u32,
    /// The operation of those that wait, and the coordinate of their program.
    op: u32,
    arrived: u32,
    opens: f64,
    /// Actors and the strands that each still waits for.
    left: Vec<(u32, u32)>,
    /// Those that still wait.
    n_left: usize,
    /// The operation of the sender.
    send: Option<u32>,
}

impl Meeting {
    /// Where nobody is yet.
    fn new(step: u32, template: u32, owner: u32) -> Self {
        Self { step, template, owner, op: 0, arrived: 0, opens: 0.0, left: Vec::new(), n_left: 0, send: None }
    }
}

/// A strand on its way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    meeting: u32,
    state: u32,
    strand: u32,
    bytes: f64,
    /// The first byte.
    began: f64,
}

const NOBODY: u32 = u32::MAX;

struct Player<'a> {
    job: &'a StepJob<'a>,
    scene: &'a Scene,
    programs: &'a [Program],
    quotient: &'a Quotient,
    epochs: &'a [Rc<Strands>],
    options: &'a Options,
    slow: HashMap<u32, f64>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    n_events: u64,
    fluid: Fluid,
    state: usize,
    now: f64,
    /// Per actor: the first of its operations. What follows counts from there.
    first_op: Vec<usize>,
    /// Per step and actor.
    times: Vec<Vec<Times>>,
    pending: Vec<Vec<Vec<u32>>>,
    meetings: Slab<Meeting>,
    /// By colour of the group: step, operation (template, at the end of a step) and meeting for which not all are there.
    gathering: Vec<Vec<(u32, u32, u32)>>,
    flights: Slab<Flight>,
    afloat: Slab<Afloat<'a>>,
    /// Per link: the island that has it for itself, or `NOBODY`.
    holder: Vec<u32>,
    /// Where islands are played alone.
    scratch: Fluid,
    /// Operations that have ended: step, actor, operation, when.
    done: Vec<(u32, u32, u32, f64)>,
    /// Two were on one link that were taken to be apart.
    clash: bool,
    n_played: u64,
    records: Vec<Record>,
}

impl<'a> Player<'a> {
    fn new(piece: &'a Piece<'a>, quotient: &'a Quotient, epochs: &'a [Rc<Strands>]) -> Self {
        let &Piece { job, scene, programs, options, .. } = piece;
        let program = |actor: usize| &programs[(quotient.rank[actor] / job.per_pipeline) as usize];
        let is_apart = !quotient.closers.is_empty();
        let own = |actor: usize| match program(actor) {
            program if !is_apart => 0..program.ops.len(),
            program if actor < quotient.n_main => 0..program.closing,
            program => program.closing..program.ops.len(),
        };
        let waits = |op: &Op| op.deps.len() as u32 + u32::from(waits_outside(op));
        let counts: Vec<Vec<u32>> = programs.iter().map(|program| program.ops.iter().map(waits).collect()).collect();
        let actors = || 0..quotient.rank.len();
        let times = |actor: usize| {
            let n = own(actor).len();
            Times { ready: vec![0.0; n], opened: vec![0.0; n], end: vec![f64::NAN; n] }
        };
        let pending = |actor: usize| counts[program(actor).at as usize][own(actor)].to_vec();
        let steps = 0..options.steps;
        Self {
            job,
            scene,
            programs,
            quotient,
            epochs,
            options,
            slow: options.stragglers.iter().map(|straggler| (straggler.rank, straggler.factor)).collect(),
            events: BinaryHeap::new(),
            n_events: 0,
            fluid: Fluid::new(quotient.states[0].capacity.clone()),
            state: 0,
            now: 0.0,
            first_op: actors().map(|actor| own(actor).start).collect(),
            times: steps.clone().map(|_| actors().map(times).collect()).collect(),
            pending: steps.map(|_| actors().map(pending).collect()).collect(),
            meetings: Slab::default(),
            gathering: vec![Vec::new(); quotient.members.len()],
            flights: Slab::default(),
            afloat: Slab::default(),
            holder: vec![NOBODY; quotient.states[0].capacity.len()],
            scratch: Fluid::new(quotient.states[0].capacity.clone()),
            done: Vec::new(),
            clash: false,
            n_played: 0,
            records: Vec::new(),
        }
    }

    fn program(&self, actor: u32) -> &'a Program {
        &self.programs[(self.quotient.rank[actor as usize] / self.job.per_pipeline) as usize]
    }

    /// The place of an operation among those of its actor.
    fn place(&self, actor: u32, op: u32) -> usize {
        op as usize - self.first_op[actor as usize]
    }

    fn push(&mut self, time: f64, event: Event) {
        self.n_events += 1;
        self.events.push(Reverse((time.to_bits(), self.n_events, event)));
    }

    fn run(&mut self) {
        let mut ended = Vec::new();
        while !self.clash {
            self.settle();
            let event = self.events.peek().map(|Reverse((time, ..))| f64::from_bits(*time));
            // What begins now is shared out together with all else that begins now.
            if event.is_some_and(|time| time <= self.now) {
                self.happen();
                continue;
            }
            let end = self.fluid.next_end(self.now);
            match (event, end) {
                (None, None) => break,
                (Some(event), end) if end.is_none_or(|end| event < end) => {
                    self.now = event;
                    self.happen();
                }
                (_, end) => {
                    self.now = end.expect("an end comes first").max(self.now);
                    self.fluid.take_ended(self.now, &mut ended);
                    ended.drain(..).for_each(|flight| self.land(flight as u32));
                }
            }
        }
    }

    fn happen(&mut self) {
        let Some(Reverse((_, _, event))) = self.events.pop() else { return };
        match event {
            Event::Change(state) => self.change(state),
            Event::Open(meeting) => self.open(meeting),
            Event::Begin(flight) => self.begin(flight),
            Event::Float(afloat) => self.float(afloat),
        }
    }

    /// The first operations of the first step.
    fn begin_step(&mut self) {
        for actor in 0..self.quotient.n_main as u32 {
            self.begin_step_on(0, actor, 0.0);
        }
    }

    fn begin_step_on(&mut self, step: u32, actor: u32, time: f64) {
        let program = self.program(actor);
        let first = program.ops.iter().zip(0..).filter(|(op, _)| op.deps.is_empty() && !waits_outside(op));
        for (_, number) in first {
            for &actor in self.actors_of(actor, number) {
                self.ready(step, actor, number, time);
            }
        }
    }

    /// Who carries out an operation, of those that stand for the ranks of an actor.
    fn actors_of(&self, actor: u32, op: u32) -> &'a [u32] {
        let quotient = self.quotient;
        match quotient.closers.get(actor as usize) {
            Some(closers) if op as usize >= self.program(actor).closing => closers,
            _ => std::slice::from_ref(&quotient.numbers[actor as usize]),
        }
    }

    /// Lets operations follow from operations until all wait for messages.
    fn settle(&mut self) {
        while let Some((step, actor, op, time)) = self.done.pop() {
            let program = self.program(actor);
            let place = self.place(actor, op);
            self.times[step as usize][actor as usize].end[place] = time;
            if op as usize + 1 == program.ops.len() && step + 1 < self.options.steps {
                self.begin_step_on(step + 1, actor, time);
            }
            for &waiter in &program.waiters[op as usize] {
                for &actor in self.actors_of(actor, waiter) {
                    self.one_less(step, actor, waiter, time);
                }
            }
        }
    }

    /// One thing less that an operation waits for.
    fn one_less(&mut self, step: u32, actor: u32, op: u32, time: f64) {
        let place = self.place(actor, op);
        let ready = &mut self.times[step as usize][actor as usize].ready[place];
        *ready = ready.max(time);
        let time = *ready;
        let pending = &mut self.pending[step as usize][actor as usize][place];
        *pending -= 1;
        if *pending == 0 {
            self.ready(step, actor, op, time);
        }
    }

    /// A rank has come to an operation.
    fn ready(&mut self, step: u32, actor: u32, op: u32, time: f64) {
        let does = self.program(actor).ops[op as usize].does;
        let place = self.place(actor, op);
        let times = &mut self.times[step as usize][actor as usize];
        (times.ready[place], times.opened[place]) = (time, time);
        match does {
            Does::Compute { seconds, loads } => {
                let end = time + seconds * self.slowness(step, actor, op, loads);
                self.done.push((step, actor, op, end));
            }
            Does::Receive(_) | Does::Join => self.done.push((step, actor, op, time)),
            Does::Meet(template) => self.arrive(step, actor, op, template, time),
            Does::Send { template, key } => {
                let to = self.scene.messages[self.scene.templates[template as usize].messages.start as usize].to;
                let receiver = &self.programs[(to / self.job.per_pipeline) as usize];
                let Some(&receive) = receiver.receives.get(&key) else {
                    self.done.push((step, actor, op, time));
                    return;
                };
                let meeting = Meeting { op: receive, send: Some(op), ..Meeting::new(step, template, actor) };
                let meeting = self.meetings.keep(Meeting { opens: time, arrived: 1, ..meeting });
                self.push(time, Event::Open(meeting));
            }
        }
    }

    /// How much longer a computation takes than in the mean.
    fn slowness(&self, step: u32, actor: u32, op: u32, loads: Option<u32>) -> f64 {
        let rank = self.quotient.rank[actor as usize];
        let mut factor = self.slow.get(&rank).copied().unwrap_or(1.0);
        if let Some(loads) = loads {
            let place = self.job.expert_place(rank) as usize;
            factor *= self.scene.loads[loads as usize].get(place).copied().unwrap_or(1.0);
        }
        if self.options.jitter > 0.0 {
            let number = u64::from(step) << 32 | u64::from(op);
            let seed = self.options.seed ^ (u64::from(rank) << 40);
            let noise = Random::part(seed, number).normal();
            factor *= (1.0 + self.options.jitter * noise).max(0.0);
        }
        factor
    }

    /// Whether all that was to be done has ended.
    fn all_done(&mut self) -> Result<(), SimulateError> {
        let actors = self.quotient.rank.iter().zip(&self.first_op);
        for (times, (&rank, first)) in self.times.iter().flat_map(|times| times.iter().zip(actors.clone())) {
            let Some(place) = times.end.iter().position(|end| end.is_nan()) else { continue };
            let program = &self.programs[(rank / self.job.per_pipeline) as usize];
            let op = first + place;
            let action = program.ops[op].action;
            let why = match (self.fluid.stalled(), program.ops[op].does) {
                (Some(_), _) => "a link over which nothing passes holds up a message",
                (None, Does::Receive(_)) => "what it receives never comes",
                (None, _) => "others never come to it",
            };
            let action = if action == NO_ACTION { self.job.actions[program.at as usize].len() as u32 } else { action };
            return Err(SimulateError::Stuck { rank, action, why });
        }
        Ok(())
    }
}

/// Whether an operation waits for a message of another coordinate.
fn waits_outside(op: &Op) -> bool {
    matches!(op.does, Does::Receive(_))
}
