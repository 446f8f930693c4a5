//! A recorded step as programs: every rank has one of its own, whose operations wait for what they waited for.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use ds_plan::schedule::{Action, Placement};
use ds_topology::EndpointId;

use super::classes::colours;
use super::error::SimulateError;
use super::event::Epoch;
use super::interleave::Costs;
use super::job::{Options, StepJob};
use super::play::{self, Piece};
use super::program::{Does, Key, NO_ACTION, Op, Program};
use super::quotient::Quotient;
use super::run::Run;
use super::scene::{Kind, Message, Scene, Template};
use super::strands::Strands;
use crate::recorded::{self, Event, Meeting, StepRecord};

/// Where and how fast a recorded step is played.
pub(crate) struct Stage<'a> {
    /// Where each rank computes.
    pub(crate) seats: &'a [EndpointId],
    /// Seconds of a computation of a rank.
    pub(crate) seconds: &'a dyn Fn(u32, &Event) -> f64,
    /// Seconds of an exchange before its first byte: ranks tell each other the counts.
    pub(crate) overhead_seconds: f64,
}

/// Plays a recorded step: all of its messages contend for the fabric's links, on a virtual clock. Equal records give equal
/// runs.
///
/// # Errors
/// When the record does not fit together, the fabric is too small, no route is left, or the step can never end.
pub(crate) fn replay(record: &StepRecord, stage: &Stage<'_>, epochs: &mut [Epoch<'_>]) -> Result<Run, SimulateError> {
    recorded::check(record)?;
    let n_ranks = record.ranks.len();
    // Every rank is a coordinate of its own; what it does is in its program.
    let actions: Vec<Vec<Action>> = vec![Vec::new(); n_ranks];
    let job = StepJob {
        actions: &actions,
        placement: Placement::Straight { n_pipeline: n_ranks as u32 },
        stages: &[],
        per_pipeline: 1,
        tensor: 1,
        expert_ranks: 1,
        seats: stage.seats,
        moe: None,
        left_beside_exchange: 1.0,
        stretch_beside_compute: 1.0,
        closing: &vec![super::Closing::default(); n_ranks],
        copies: &[],
    };
    let options = Options { reuse: false, record: true, ..Options::default() };
    job.check(epochs, &options)?;
    let mut writer = Writer::new(record, stage);
    let programs: Vec<Program> = (0..).zip(&record.ranks).map(|(rank, own)| writer.program(rank, own)).collect();
    let (scene, programs) = (writer.scene, Arc::new(programs));
    let (mut states, mut from) = (Vec::new(), Vec::new());
    for epoch in epochs {
        states.push(Rc::new(Strands::new(&job, &scene, epoch)?));
        from.push(epoch.from);
    }
    let costs = Costs::new(&scene, &states[0]);
    let piece = Piece { job: &job, scene: &scene, programs: &programs, costs: &costs, options: &options };
    let quotient = Quotient::new(&scene, &states, colours(&job, &scene, &states, &options, false));
    Ok(play::play(&piece, quotient, &states, &from)?.expect("nothing was taken to be apart"))
}

struct Writer<'a> {
    stage: &'a Stage<'a>,
    scene: Scene,
    /// Templates by group and operation, and by sender, receiver and number.
    meetings: BTreeMap<(u32, u64), u32>,
    sends: HashMap<(u32, u32, u64), u32>,
}

impl<'a> Writer<'a> {
    /// All messages of a record.
    fn new(record: &StepRecord, stage: &'a Stage<'a>) -> Self {
        let scene = Scene { n_ranks: record.ranks.len(), groups: record.groups.clone(), ..Scene::default() };
        let mut writer = Self { stage, scene, meetings: BTreeMap::new(), sends: HashMap::new() };
        let mut sent: BTreeMap<(u32, u64), (Meeting, Vec<Message>)> = BTreeMap::new();
        for (rank, event) in (0..).zip(&record.ranks).flat_map(|(rank, own)| own.iter().map(move |e| (rank, e))) {
            match &event.does {
                recorded::Does::Meet { group, number, what, sends } => {
                    let messages = &mut sent.entry((*group, *number)).or_insert((*what, Vec::new())).1;
                    messages.extend(sends.iter().map(|&(to, bytes)| Message { bytes, owner: *group, from: rank, to }));
                }
                recorded::Does::Send { to, number, bytes } => {
                    let message = Message { bytes: *bytes, owner: rank, from: rank, to: *to };
                    let template = writer.add(Kind::Send, 0..0, 0.0, vec![message]);
                    writer.sends.insert((rank, *to, *number), template);
                }
                recorded::Does::Compute { .. } | recorded::Does::Receive { .. } => {}
            }
        }
        for ((group, number), (what, messages)) in sent {
            let is_exchange = matches!(what, Meeting::Dispatch | Meeting::Combine);
            let delay = if is_exchange { stage.overhead_seconds } else { 0.0 };
            let template = writer.add(Kind::Recorded, group..group + 1, delay, messages);
            writer.meetings.insert((group, number), template);
        }
        let (messages, groups) = (writer.scene.messages.len() as u32, writer.scene.groups.len() as u32);
        writer.scene.closing_from = (messages, groups);
        writer
    }

    fn add(&mut self, kind: Kind, groups: std::ops::Range<u32>, delay: f64, messages: Vec<Message>) -> u32 {
        let first = self.scene.messages.len() as u32;
        self.scene.messages.extend(messages);
        let messages = first..self.scene.messages.len() as u32;
        self.scene.templates.push(Template { kind, messages, groups, delay });
        self.scene.templates.len() as u32 - 1
    }

    /// What a rank does. It computes one thing at a time, and meets a group in the order of its operations.
    fn program(&mut self, rank: u32, events: &[Event]) -> Program {
        let mut program = Program { at: rank, ..Program::default() };
        let mut last_compute = None;
        let mut last_meeting: HashMap<u32, u32> = HashMap::new();
        for (number, event) in (0..).zip(events) {
            let mut deps = event.after.clone();
            let (does, label) = match &event.does {
                recorded::Does::Compute { .. } => {
                    deps.extend(last_compute.replace(number));
                    let label = if event.piece.is_some() { "compute" } else { "optimizer" };
                    (Does::Compute { seconds: (self.stage.seconds)(rank, event), loads: None }, label)
                }
                recorded::Does::Meet { group, number: operation, what, .. } => {
                    deps.extend(last_meeting.insert(*group, number));
                    (Does::Meet(self.meetings[&(*group, *operation)]), what.name())
                }
                recorded::Does::Send { to, number: message, .. } => {
                    let key = Key::Recorded { from: rank, to: *to, number: *message };
                    (Does::Send { template: self.sends[&(rank, *to, *message)], key }, "send")
                }
                recorded::Does::Receive { from, number: message } => {
                    let key = Key::Recorded { from: *from, to: rank, number: *message };
                    program.receives.insert(key, number);
                    (Does::Receive(key), "receive")
                }
            };
            deps.sort_unstable();
            deps.dedup();
            let action = event.action.unwrap_or(NO_ACTION);
            program.ops.push(Op { does, label, action, piece: event.piece, part: None, deps });
        }
        // The step of a rank is over when all that it did is.
        let deps = (0..program.ops.len() as u32).collect();
        program.ops.push(Op {
            does: Does::Join,
            label: "end of step",
            action: NO_ACTION,
            piece: None,
            part: None,
            deps,
        });
        program.link();
        program
    }
}
