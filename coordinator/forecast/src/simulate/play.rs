//! From event to event: a group is complete, a message begins or ends, the fabric changes. What ranks do between
//! these follows at once, for computations touch nobody else.

mod island;
mod meet;
mod strand;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::rc::Rc;

use ds_topology::traffic::moe::Random;

use super::error::SimulateError;
use super::event::Epoch;
use super::fluid::Fluid;
use super::interleave::Costs;
use super::islands::{Afloat, Islands};
use super::job::{Options, StepJob};
use super::program::{Does, NO_ACTION, Op, Program};
use super::quotient::Quotient;
use super::run::{LinkLoad, Record, Run, Times};
use super::scene::Scene;

pub(super) fn play(
    job: &StepJob<'_>,
    scene: &Scene,
    programs: Vec<Program>,
    quotient: Quotient,
    epochs: &[Epoch<'_>],
    options: &Options,
) -> Result<Run, SimulateError> {
    let mut player = Player::new(job, scene, &programs, &quotient, options);
    for (number, epoch) in epochs.iter().enumerate().skip(1) {
        player.push(epoch.from, Event::Change(number as u32));
    }
    player.begin_step(0, 0.0);
    player.run();
    player.all_done()?;
    let Player { fluid, times, n_played, records, .. } = player;
    let loads = fluid
        .carried
        .iter()
        .zip(&quotient.states[0].capacity)
        .map(|(&bytes, &capacity)| LinkLoad { bytes, capacity })
        .collect();
    let costs = Costs::new(scene);
    let alone = scene.templates.iter().zip(costs.0).map(|(t, (seconds, link))| (t.label.clone(), seconds, link));
    let templates = alone.collect();
    let Quotient { rank_colour, link_colour, .. } = quotient;
    let per_pipeline = job.per_pipeline;
    Ok(Run { programs, per_pipeline, rank_colour, times, link_colour, loads, templates, n_played, records })
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
    /// The colour of the group or of the sender.
    owner: u32,
    /// The operation of those that wait, and the coordinate of their program.
    op: u32,
    arrived: u32,
    opens: f64,
    /// Ranks and the strands that each still waits for.
    left: Vec<(u32, u32)>,
    /// Ranks that still wait.
    n_left: usize,
    /// The operation of the sender.
    send: Option<u32>,
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
    options: &'a Options,
    slow: HashMap<u32, f64>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    n_events: u64,
    fluid: Fluid,
    state: usize,
    now: f64,
    /// Per step and rank colour.
    times: Vec<Vec<Times>>,
    pending: Vec<Vec<Vec<u32>>>,
    meetings: Vec<Meeting>,
    vacant_meetings: Vec<u32>,
    gathering: HashMap<(u32, u32, u32), u32>,
    flights: Vec<Flight>,
    vacant_flights: Vec<u32>,
    /// By state, template and colour of the group.
    islands: HashMap<(u32, u32, u32), Rc<Islands>>,
    afloat: Vec<Afloat>,
    vacant_afloat: Vec<u32>,
    /// Per link: the island that has it for itself, or `NOBODY`.
    holder: Vec<u32>,
    /// Where islands are played alone.
    scratch: Fluid,
    /// Operations that have ended: step, rank colour, operation, when.
    done: Vec<(u32, u32, u32, f64)>,
    n_played: u64,
    records: Vec<Record>,
}

impl<'a> Player<'a> {
    fn new(
        job: &'a StepJob<'a>,
        scene: &'a Scene,
        programs: &'a [Program],
        quotient: &'a Quotient,
        options: &'a Options,
    ) -> Self {
        let steps = 0..options.steps;
        let program = |rank: u32| &programs[(rank / job.per_pipeline) as usize];
        let times = |&rank: &u32| {
            let n = program(rank).ops.len();
            Times { ready: vec![0.0; n], opened: vec![0.0; n], end: vec![f64::NAN; n] }
        };
        let pending = |&rank: &u32| {
            program(rank).ops.iter().map(|op| op.deps.len() as u32 + u32::from(waits_outside(op))).collect()
        };
        Self {
            job,
            scene,
            programs,
            quotient,
            options,
            slow: options.stragglers.iter().map(|straggler| (straggler.rank, straggler.factor)).collect(),
            events: BinaryHeap::new(),
            n_events: 0,
            fluid: Fluid::new(quotient.states[0].capacity.clone()),
            state: 0,
            now: 0.0,
            times: steps.clone().map(|_| quotient.rank.iter().map(times).collect()).collect(),
            pending: steps.map(|_| quotient.rank.iter().map(pending).collect()).collect(),
            meetings: Vec::new(),
            vacant_meetings: Vec::new(),
            gathering: HashMap::new(),
            flights: Vec::new(),
            vacant_flights: Vec::new(),
            islands: HashMap::new(),
            afloat: Vec::new(),
            vacant_afloat: Vec::new(),
            holder: vec![NOBODY; quotient.states[0].capacity.len()],
            scratch: Fluid::new(quotient.states[0].capacity.clone()),
            done: Vec::new(),
            n_played: 0,
            records: Vec::new(),
        }
    }

    fn program(&self, colour: u32) -> &'a Program {
        &self.programs[(self.quotient.rank[colour as usize] / self.job.per_pipeline) as usize]
    }

    fn push(&mut self, time: f64, event: Event) {
        self.n_events += 1;
        self.events.push(Reverse((time.to_bits(), self.n_events, event)));
    }

    fn run(&mut self) {
        let mut ended = Vec::new();
        loop {
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

    /// The first operations of a step on all ranks, or, later, on one.
    fn begin_step(&mut self, step: u32, time: f64) {
        for colour in 0..self.quotient.rank.len() as u32 {
            self.begin_step_on(step, colour, time);
        }
    }

    fn begin_step_on(&mut self, step: u32, colour: u32, time: f64) {
        let program = self.program(colour);
        let first = program.ops.iter().zip(0..).filter(|(op, _)| op.deps.is_empty() && !waits_outside(op));
        for (_, number) in first {
            self.ready(step, colour, number, time);
        }
    }

    /// Lets operations follow from operations until all wait for messages.
    fn settle(&mut self) {
        while let Some((step, colour, op, time)) = self.done.pop() {
            let program = self.program(colour);
            self.times[step as usize][colour as usize].end[op as usize] = time;
            if op as usize + 1 == program.ops.len() && step + 1 < self.options.steps {
                self.begin_step_on(step + 1, colour, time);
            }
            for &waiter in &program.waiters[op as usize] {
                self.one_less(step, colour, waiter, time);
            }
        }
    }

    /// One thing less that an operation waits for.
    fn one_less(&mut self, step: u32, colour: u32, op: u32, time: f64) {
        let ready = &mut self.times[step as usize][colour as usize].ready[op as usize];
        *ready = ready.max(time);
        let time = *ready;
        let pending = &mut self.pending[step as usize][colour as usize][op as usize];
        *pending -= 1;
        if *pending == 0 {
            self.ready(step, colour, op, time);
        }
    }

    /// A rank has come to an operation.
    fn ready(&mut self, step: u32, colour: u32, op: u32, time: f64) {
        let does = self.program(colour).ops[op as usize].does;
        let times = &mut self.times[step as usize][colour as usize];
        (times.ready[op as usize], times.opened[op as usize]) = (time, time);
        match does {
            Does::Compute { seconds, loads } => {
                let end = time + seconds * self.slowness(step, colour, op, loads);
                self.done.push((step, colour, op, end));
            }
            Does::Receive(_) | Does::Join => self.done.push((step, colour, op, time)),
            Does::Meet(template) => self.arrive(step, colour, op, template, time),
            Does::Send { template, key } => {
                let to = self.scene.messages[self.scene.templates[template as usize].messages.start as usize].to;
                let receiver = &self.programs[(to / self.job.per_pipeline) as usize];
                let Some(&receive) = receiver.receives.get(&key) else {
                    self.done.push((step, colour, op, time));
                    return;
                };
                let meeting = Meeting {
                    step,
                    template,
                    owner: colour,
                    op: receive,
                    arrived: 1,
                    opens: time,
                    left: Vec::new(),
                    n_left: 0,
                    send: Some(op),
                };
                let meeting = self.keep(meeting);
                self.push(time, Event::Open(meeting));
            }
        }
    }

    /// How much longer a computation takes than in the mean.
    fn slowness(&self, step: u32, colour: u32, op: u32, loads: Option<u32>) -> f64 {
        let rank = self.quotient.rank[colour as usize];
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
        for (ranks, &rank) in self.times.iter().flat_map(|ranks| ranks.iter().zip(&self.quotient.rank)) {
            let Some(op) = ranks.end.iter().position(|end| end.is_nan()) else { continue };
            let program = &self.programs[(rank / self.job.per_pipeline) as usize];
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
