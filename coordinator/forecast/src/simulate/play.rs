//! From event to event: a group is complete, a message begins or ends, the fabric changes. What ranks do between
//! these follows at once, for computations touch nobody else.

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
use super::quotient::{Quotient, Start};
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

    fn keep(&mut self, meeting: Meeting) -> u32 {
        match self.vacant_meetings.pop() {
            Some(number) => {
                self.meetings[number as usize] = meeting;
                number
            }
            None => {
                self.meetings.push(meeting);
                self.meetings.len() as u32 - 1
            }
        }
    }

    fn arrive(&mut self, step: u32, colour: u32, op: u32, template: u32, time: f64) {
        let groups = &self.scene.templates[template as usize].groups;
        let group = self.quotient.groups_of[colour as usize].iter().find(|group| groups.contains(group));
        let group = self.quotient.group_colour[*group.expect("a rank meets groups of its own") as usize];
        let number = match self.gathering.get(&(step, group, op)) {
            Some(&number) => number,
            None => {
                let meeting = Meeting {
                    step,
                    template,
                    owner: group,
                    op,
                    arrived: 0,
                    opens: 0.0,
                    left: Vec::new(),
                    n_left: 0,
                    send: None,
                };
                let number = self.keep(meeting);
                self.gathering.insert((step, group, op), number);
                number
            }
        };
        let meeting = &mut self.meetings[number as usize];
        meeting.arrived += 1;
        meeting.opens = meeting.opens.max(time);
        if meeting.arrived as usize == self.quotient.members[group as usize].len() {
            let opens = meeting.opens;
            self.gathering.remove(&(step, group, op));
            self.push(opens, Event::Open(number));
        }
    }

    fn open(&mut self, number: u32) {
        let meeting = &self.meetings[number as usize];
        let (step, template, owner, op, send) =
            (meeting.step, meeting.template, meeting.owner, meeting.op, meeting.send);
        let none = Start::default();
        let start = self.quotient.states[self.state].starts.get(&(template, owner)).unwrap_or(&none);
        let delay = self.scene.templates[template as usize].delay;
        if send.is_some() {
            for &(rank, _) in start.arrivals.iter().filter(|(_, n)| *n == 0) {
                self.one_less(step, rank, op, self.now);
            }
            let left: Vec<(u32, u32)> = start.arrivals.iter().copied().filter(|(_, n)| *n > 0).collect();
            self.meetings[number as usize].left = left;
        } else {
            for &rank in &self.quotient.members[owner as usize] {
                self.times[step as usize][rank as usize].opened[op as usize] = self.now;
                if start.waits.binary_search_by_key(&rank, |&(rank, _)| rank).is_err() {
                    self.done.push((step, rank, op, self.now));
                }
            }
            self.meetings[number as usize].left.clone_from(&start.waits);
        }
        let meeting = &mut self.meetings[number as usize];
        meeting.n_left = meeting.left.len();
        if meeting.n_left == 0 {
            self.close(number);
            return;
        }
        let begins = self.now + delay;
        // What is sent contends with exchanges by its nature; what a group sends mostly with itself.
        if send.is_some() || !self.options.reuse {
            self.take_off_all(number, &start.strands, begins);
            return;
        }
        let (state, quotient) = (self.state as u32, self.quotient);
        let islands = self
            .islands
            .entry((state, template, owner))
            .or_insert_with(|| Rc::new(Islands::new(&quotient.states[state as usize], &start.strands)));
        let islands = islands.clone();
        for island in &islands.islands {
            let began = begins + island.latency;
            let afloat = Afloat { island: island.clone(), meeting: number, state, began, landed: 0, holds: false };
            let place = match self.vacant_afloat.pop() {
                Some(place) => {
                    self.afloat[place as usize] = afloat;
                    place
                }
                None => {
                    self.afloat.push(afloat);
                    self.afloat.len() as u32 - 1
                }
            };
            self.push(began, Event::Float(place));
        }
        self.take_off_all(number, &islands.others, begins);
    }

    fn take_off_all(&mut self, meeting: u32, strands: &[u32], begins: f64) {
        for &strand in strands {
            let class = &self.quotient.states[self.state].strands[strand as usize];
            let flight = Flight { meeting, state: self.state as u32, strand, bytes: class.bytes, began: 0.0 };
            self.take_off(flight, begins + class.latency);
        }
    }

    fn take_off(&mut self, flight: Flight, begins: f64) {
        let number = self.keep_flight(flight);
        self.push(begins, Event::Begin(number));
    }

    fn keep_flight(&mut self, flight: Flight) -> u32 {
        match self.vacant_flights.pop() {
            Some(number) => {
                self.flights[number as usize] = flight;
                number
            }
            None => {
                self.flights.push(flight);
                self.flights.len() as u32 - 1
            }
        }
    }

    fn begin(&mut self, number: u32) {
        let flight = self.flights[number as usize];
        if flight.state as usize != self.state {
            self.vacant_flights.push(number);
            self.go_another_way(flight, flight.bytes);
            return;
        }
        let class = &self.quotient.states[self.state].strands[flight.strand as usize];
        self.n_played += 1;
        self.flights[number as usize].began = self.now;
        if flight.bytes == 0.0 || class.path.is_empty() {
            self.land(number);
        } else {
            for &(link, _) in class.path.iter() {
                self.sink(self.holder[link as usize]);
            }
            self.fluid.begin(u64::from(number), flight.bytes, class.path.clone(), self.now);
        }
    }

    /// The last byte of a strand.
    fn land(&mut self, number: u32) {
        let flight = self.flights[number as usize];
        self.vacant_flights.push(number);
        let class = &self.quotient.states[flight.state as usize].strands[flight.strand as usize];
        if self.options.record {
            let (bytes, began, ended) = (flight.bytes, flight.began, self.now);
            self.records.push(Record { path: class.path.clone(), bytes, began, ended });
        }
        let waiting =
            if self.meetings[flight.meeting as usize].send.is_some() { &class.reaches } else { &class.touches };
        for &rank in waiting {
            self.count_down(flight.meeting, rank, 1);
        }
        self.close_if_over(flight.meeting);
    }

    /// A rank has `n` strands more of a meeting.
    fn count_down(&mut self, number: u32, rank: u32, n: u32) {
        let meeting = &mut self.meetings[number as usize];
        let place = meeting.left.binary_search_by_key(&rank, |&(rank, _)| rank).expect("it waits for this");
        meeting.left[place].1 -= n;
        if meeting.left[place].1 > 0 {
            return;
        }
        meeting.n_left -= 1;
        let (step, op) = (meeting.step, meeting.op);
        if meeting.send.is_some() {
            self.one_less(step, rank, op, self.now);
        } else {
            self.done.push((step, rank, op, self.now));
        }
    }

    fn close_if_over(&mut self, number: u32) {
        if self.meetings[number as usize].n_left == 0 {
            self.close(number);
        }
    }

    /// An island begins, or ranks have all of it.
    fn float(&mut self, number: u32) {
        let afloat = self.afloat[number as usize].clone();
        let quotient = self.quotient;
        let states = &quotient.states;
        if !afloat.holds && afloat.landed == 0 {
            let links = &afloat.island.links;
            let is_free = |&link: &u32| self.holder[link as usize] == NOBODY && self.fluid.is_idle(link);
            if afloat.state as usize != self.state || !links.iter().all(is_free) {
                self.vacant_afloat.push(number);
                self.begin_all(&afloat);
                return;
            }
            links.iter().for_each(|&link| self.holder[link as usize] = number);
            let alone = afloat.island.alone(&states[self.state], &mut self.scratch, &mut self.n_played);
            let first = alone.landings[0].0;
            self.afloat[number as usize].holds = true;
            self.push(afloat.began + first, Event::Float(number));
            return;
        }
        if !afloat.holds {
            // It went on as flows like all others.
            self.vacant_afloat.push(number);
            return;
        }
        let alone = afloat.island.alone(&states[afloat.state as usize], &mut self.scratch, &mut self.n_played);
        let mut landed = afloat.landed;
        while let Some(&(_, rank, n)) = alone.landings.get(landed).filter(|l| afloat.began + l.0 <= self.now) {
            self.count_down(afloat.meeting, rank, n);
            landed += 1;
        }
        self.afloat[number as usize].landed = landed;
        if let Some(&(next, ..)) = alone.landings.get(landed) {
            self.push(afloat.began + next, Event::Float(number));
            return;
        }
        afloat.island.links.iter().for_each(|&link| self.holder[link as usize] = NOBODY);
        for &(link, bytes) in &alone.carried {
            self.fluid.carried[link as usize] += bytes;
        }
        if self.options.record {
            for (&strand, &end) in afloat.island.strands.iter().zip(&alone.ends) {
                let class = &states[afloat.state as usize].strands[strand as usize];
                let (bytes, began) = (class.bytes, afloat.began);
                self.records.push(Record { path: class.path.clone(), bytes, began, ended: began + end });
            }
        }
        self.vacant_afloat.push(number);
        self.close_if_over(afloat.meeting);
    }

    /// An island that cannot have its links for itself.
    fn begin_all(&mut self, afloat: &Afloat) {
        for &strand in &afloat.island.strands {
            let bytes = self.quotient.states[afloat.state as usize].strands[strand as usize].bytes;
            let Afloat { meeting, state, .. } = *afloat;
            self.take_off(Flight { meeting, state, strand, bytes, began: 0.0 }, self.now);
        }
    }

    /// Turns an island into flows like all others.
    fn sink(&mut self, number: u32) {
        if number == NOBODY {
            return;
        }
        // Its slot is free again when its next event comes.
        self.afloat[number as usize].holds = false;
        let afloat = self.afloat[number as usize].clone();
        self.afloat[number as usize].landed = usize::MAX;
        let quotient = self.quotient;
        let state = &quotient.states[afloat.state as usize];
        for &link in &afloat.island.links {
            self.holder[link as usize] = NOBODY;
        }
        let left = afloat.island.left(state, &mut self.scratch, self.now - afloat.began);
        let alone = afloat.island.alone(state, &mut self.scratch, &mut self.n_played);
        let mut left_of = vec![None; afloat.island.strands.len()];
        left.into_iter().for_each(|(place, bytes)| left_of[place] = Some(bytes));
        let has_all: Vec<u32> = alone.landings[..afloat.landed].iter().map(|&(_, rank, _)| rank).collect();
        for (&strand, left) in afloat.island.strands.iter().zip(left_of) {
            let class = &state.strands[strand as usize];
            for &(link, times) in class.path.iter() {
                self.fluid.carried[link as usize] += times * (class.bytes - left.unwrap_or(0.0));
            }
            match left {
                Some(bytes) => {
                    let Afloat { meeting, state, began, .. } = afloat;
                    let flight = self.keep_flight(Flight { meeting, state, strand, bytes, began });
                    self.n_played += 1;
                    self.fluid.begin(u64::from(flight), bytes, class.path.clone(), self.now);
                }
                None => {
                    for &rank in class.touches.iter().filter(|rank| !has_all.contains(rank)) {
                        self.count_down(afloat.meeting, rank, 1);
                    }
                }
            }
        }
        self.close_if_over(afloat.meeting);
    }

    fn close(&mut self, number: u32) {
        let meeting = &self.meetings[number as usize];
        if let Some(send) = meeting.send {
            self.done.push((meeting.step, meeting.owner, send, self.now));
        }
        self.vacant_meetings.push(number);
    }

    /// The fabric changes: what was under way where nothing passes any more goes another way.
    fn change(&mut self, state: u32) {
        let mut held = self.holder.clone();
        held.sort_unstable();
        held.dedup();
        held.into_iter().for_each(|number| self.sink(number));
        self.state = state as usize;
        self.scratch.change(&self.quotient.states[self.state].capacity, 0.0);
        let cut = self.fluid.change(&self.quotient.states[self.state].capacity, self.now);
        for (number, left) in cut {
            let flight = self.flights[number as usize];
            self.vacant_flights.push(number as u32);
            self.go_another_way(flight, left);
        }
    }

    /// What is left of a strand goes over the paths that its message has now.
    fn go_another_way(&mut self, flight: Flight, left: f64) {
        let old = &self.quotient.states[flight.state as usize].strands[flight.strand as usize];
        let strands = self.scene.epochs[self.state].of(old.message);
        let all: f64 = strands.clone().map(|strand| self.scene.epochs[self.state].bytes[strand]).sum();
        let mut ways: Vec<(u32, f64)> = Vec::new();
        for strand in strands {
            let colour = self.quotient.strand_colour[self.state][strand];
            let share = if all > 0.0 { self.scene.epochs[self.state].bytes[strand] / all } else { 1.0 };
            if ways.iter().all(|&(other, _)| other != colour) {
                ways.push((colour, share));
            }
        }
        let meeting = &mut self.meetings[flight.meeting as usize];
        let waiting = if meeting.send.is_some() { &old.reaches } else { &old.touches };
        for (rank, n) in &mut meeting.left {
            if waiting.contains(rank) {
                *n = *n + ways.len() as u32 - 1;
            }
        }
        for (strand, share) in ways {
            let begins = self.now + self.quotient.states[self.state].strands[strand as usize].latency;
            let state = self.state as u32;
            self.take_off(Flight { state, strand, bytes: left * share, ..flight }, begins);
        }
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
