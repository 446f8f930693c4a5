//! What a rank of a pipeline coordinate does in a step, as operations that wait for operations.

use std::collections::HashMap;

use ds_plan::schedule::{Action, Microbatch, Pass, Payload, Piece, StageId, transfers};

use super::error::SimulateError;
use super::interleave::Costs;
use super::job::StepJob;
use super::order;
use super::scene::Registry;
use crate::Part;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Does {
    /// The rank computes.
    Compute {
        /// With nothing beside it, on a rank with the mean load.
        seconds: f64,
        /// By whose loads it takes longer.
        loads: Option<u32>,
    },
    /// It meets its group and exchanges.
    Meet(u32),
    /// It sends.
    Send { template: u32, key: Key },
    /// It waits for what another coordinate sends.
    Receive(Key),
    /// Nothing: it only joins what it waits for.
    Join,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// From this stage to a neighbour, of a microbatch of a step; forward, or a gradient.
    Planned { stage: StageId, microbatch: Microbatch, forward: bool },
    /// Of several messages from a rank to the one that takes it.
    Recorded { from: u32, to: u32, number: u64 },
}

/// An operation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Op {
    pub(super) does: Does,
    pub(super) label: &'static str,
    /// Of which action; `NO_ACTION` for what ends the step.
    pub(super) action: u32,
    /// The microbatch and stage that it is about.
    pub(super) piece: Option<Piece>,
    /// Which part of the pass it is, as the workload lists them.
    pub(super) part: Option<u32>,
    pub(super) deps: Vec<u32>,
}

/// What ends a step belongs to no action.
pub(super) const NO_ACTION: u32 = u32::MAX;

/// One step of a rank of a coordinate: operations, each after all that it waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) at: u32,
    pub(super) ops: Vec<Op>,
    /// Per operation, those that wait for it.
    pub(super) waiters: Vec<Vec<u32>>,
    pub(super) receives: HashMap<Key, u32>,
    /// The first operation of what ends the step.
    pub(super) closing: usize,
    /// By template: the operation with which it meets others for what not all ranks of its coordinate do alike.
    pub(super) meetings: HashMap<u32, u32>,
}

/// Where the result of a piece goes, and how many bytes; none at the ends of the model.
pub(super) fn send_of(job: &StepJob<'_>, piece: Piece) -> Option<(u32, f64)> {
    let to = transfers(piece, job.placement).send?;
    // What passes a boundary is as wide forward as its gradient is.
    let before = piece.stage.min(to.stage);
    Some((to.pipeline, job.stages[before.0 as usize].boundary_bytes))
}

fn receives(job: &StepJob<'_>, piece: Piece) -> Option<(u32, Key)> {
    let from = transfers(piece, job.placement).receive?;
    let forward = from.payload == Payload::Activation;
    Some((from.pipeline, Key::Planned { stage: from.stage, microbatch: piece.microbatch, forward }))
}

impl Program {
    /// The operation with which it meets others to end a step, or once only.
    pub(super) fn meets(&self, template: u32) -> Option<u32> {
        self.meetings.get(&template).copied()
    }

    /// Notes who waits for what, once all operations are there.
    pub(super) fn link(&mut self) {
        self.waiters = vec![Vec::new(); self.ops.len()];
        for (number, op) in (0..).zip(&self.ops) {
            op.deps.iter().for_each(|&dep| self.waiters[dep as usize].push(number));
            if let Does::Meet(template) = op.does
                && number as usize >= self.closing
            {
                self.meetings.insert(template, number);
            }
        }
    }

    pub(super) fn new(job: &StepJob<'_>, at: u32, registry: &Registry, costs: &Costs) -> Self {
        let mut writer = Writer {
            job,
            registry,
            costs,
            program: Self { at, ..Self::default() },
            made: HashMap::new(),
            last: [None; 2],
            gate: Vec::new(),
        };
        for (number, &action) in (0..).zip(&job.actions[at as usize]) {
            writer.action(number, action);
        }
        writer.program.closing = writer.program.ops.len();
        writer.close();
        let mut program = writer.program;
        program.link();
        program
    }
}

/// Everything that somebody waits for is sent by somebody.
pub(super) fn check_pairs(programs: &[Program]) -> Result<(), SimulateError> {
    let sent: std::collections::HashSet<Key> = programs
        .iter()
        .flat_map(|program| &program.ops)
        .filter_map(|op| if let Does::Send { key, .. } = op.does { Some(key) } else { None })
        .collect();
    for program in programs {
        if let Some(&Key::Planned { stage, microbatch, .. }) = program.receives.keys().find(|key| !sent.contains(key)) {
            let (microbatch, stage) = (microbatch.0, stage.0);
            return Err(SimulateError::NobodySends { pipeline: program.at, microbatch, stage });
        }
    }
    Ok(())
}

struct Writer<'a> {
    job: &'a StepJob<'a>,
    registry: &'a Registry,
    costs: &'a Costs,
    program: Program,
    /// The operation after which the result of a piece of this coordinate is there.
    made: HashMap<Key, u32>,
    /// The last operation of the exchange stream and of the compute stream.
    last: [Option<u32>; 2],
    /// What the next action waits for.
    gate: Vec<u32>,
}

impl Writer<'_> {
    fn push(&mut self, does: Does, label: &'static str, action: u32, piece: Option<Piece>, mut deps: Vec<u32>) -> u32 {
        let number = self.program.ops.len() as u32;
        let stream = match does {
            Does::Compute { .. } => Some(1),
            Does::Meet(_) => Some(0),
            _ => None,
        };
        if let Some(stream) = stream {
            deps.extend(self.last[stream].replace(number));
        }
        deps.sort_unstable();
        deps.dedup();
        self.program.ops.push(Op { does, label, action, piece, part: None, deps });
        number
    }

    fn action(&mut self, number: u32, action: Action) {
        let mut begin = self.gate.clone();
        for piece in action.pieces() {
            let Some((from, key)) = receives(self.job, piece) else { continue };
            if from != self.program.at {
                let op = self.push(Does::Receive(key), "receive", number, Some(piece), Vec::new());
                self.program.receives.insert(key, op);
                begin.push(op);
            } else if let Some(&op) = self.made.get(&key) {
                begin.push(op);
            }
        }
        let ends = self.parts(number, action, &begin);
        let end = match ends.as_slice() {
            &[end] => end,
            _ => self.push(Does::Join, "join", number, None, ends),
        };
        self.gate = vec![end];
        for piece in action.pieces() {
            let Some((to, bytes)) = send_of(self.job, piece) else { continue };
            let forward = piece.pass == Pass::Forward;
            let key = Key::Planned { stage: piece.stage, microbatch: piece.microbatch, forward };
            self.made.insert(key, end);
            if let Some(template) = self.registry.send(self.program.at, to, bytes).filter(|_| to != self.program.at) {
                self.push(Does::Send { template, key }, "send", number, Some(piece), vec![end]);
            }
        }
    }

    /// The parts of an action in the order of its streams; gives the last one of every thread.
    fn parts(&mut self, number: u32, action: Action, begin: &[u32]) -> Vec<u32> {
        let threads = order::threads(self.job, action);
        let mut ops: Vec<Vec<u32>> = vec![Vec::new(); threads.len()];
        let template = |part: &Part| match *part {
            Part::Exchange { layer, exchange, row_bytes } => {
                self.registry.exchange(self.program.at, layer.0, exchange, row_bytes)
            }
            Part::Compute { .. } => None,
        };
        let slower = order::slower(self.job.left_beside_exchange, action, &threads, &|part| {
            template(part).map_or(0.0, |template| self.costs.of(template) * self.job.stretch_beside_compute)
        });
        let sequence = order::order(&threads, &|part| template(part).map_or(0.0, |template| self.costs.of(template)));
        for (thread, part) in sequence {
            let order::Thread { piece, parts, .. } = &threads[thread];
            let before = ops[thread].last().copied();
            let mut deps: Vec<u32> = if before.is_some() { before.into_iter().collect() } else { begin.to_vec() };
            if let Some((other, opened)) = order::opens(&threads, thread, part) {
                deps.push(ops[other][opened]);
            }
            let (does, label) = match parts[part] {
                Part::Compute { label, seconds, experts_of } => {
                    let loads = experts_of.map(|layer| self.registry.skew(layer.0));
                    (Does::Compute { seconds: seconds * slower, loads }, label)
                }
                Part::Exchange { layer, exchange, row_bytes } => {
                    let found = self.registry.exchange(self.program.at, layer.0, exchange, row_bytes);
                    (found.map_or(Does::Join, Does::Meet), super::scene::name(exchange))
                }
            };
            let op = self.push(does, label, number, Some(*piece), deps);
            self.program.ops[op as usize].part = Some((threads[thread].first_part + part) as u32);
            ops[thread].push(op);
        }
        let ends: Vec<u32> = ops.iter().filter_map(|ops| ops.last().copied()).collect();
        if ends.is_empty() { vec![self.push(Does::Join, "join", number, None, begin.to_vec())] } else { ends }
    }

    /// Reductions, the optimizer, and gathering.
    fn close(&mut self) {
        let at = self.program.at as usize;
        for (label, templates) in [("reduce", &self.registry.reduces[at]), ("sum of copies", &self.registry.copies[at])]
        {
            for &template in templates {
                let deps = self.gate.clone();
                self.gate = vec![self.push(Does::Meet(template), label, NO_ACTION, None, deps)];
            }
        }
        let seconds = self.job.closing[at].optimizer_seconds;
        if seconds > 0.0 {
            let deps = self.gate.clone();
            self.gate = vec![self.push(Does::Compute { seconds, loads: None }, "optimizer", NO_ACTION, None, deps)];
        }
        for &template in &self.registry.gathers[at] {
            let deps = self.gate.clone();
            self.gate = vec![self.push(Does::Meet(template), "gather", NO_ACTION, None, deps)];
        }
        let deps = self.gate.clone();
        self.push(Does::Join, "end of step", NO_ACTION, None, deps);
    }
}
