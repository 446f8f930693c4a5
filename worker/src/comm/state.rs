//! What every operation of a rank awaits, as a machine that reads no clock and sends nothing.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use ds_plan::{GroupId, RankId};
use tch::Tensor;

use super::error::{CommError, Failure, Mismatch, Reason};
use super::mailbox::{Key, Mailbox};
use super::operation::{Await, Lane, Next, Phase, Start, Then};
use super::payload::Payload;
use super::signature::{Op, Signature};
use super::transport::Message;
use super::wire::{Cause, Header, Notice};

/// What is to be done without the lock.
pub(super) enum Effect {
    Send { to: RankId, message: Message },
    Notify { to: RankId, notice: Notice },
    Run { operation: OperationId, then: Then, payloads: Vec<Payload> },
}

pub(super) type Effects = VecDeque<Effect>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OperationId(u64);

/// Signatures of operations that have ended are kept for so many, to judge messages that come too late.
const ENDED_KEPT: usize = 64;

pub(super) struct State {
    rank: RankId,
    groups: HashMap<GroupId, GroupState>,
    operations: BTreeMap<OperationId, Operation>,
    mailbox: Mailbox,
    next_operation: u64,
    /// Peers that are gone, and how.
    gone: HashMap<RankId, Cause>,
    /// Groups that failed before this rank joined them.
    failed_early: HashMap<GroupId, Cause>,
    /// What befell this rank first; others who ask why it left are told this.
    first_failure: Option<Cause>,
    left: bool,
    effects_under_way: u32,
}

#[derive(Default)]
struct GroupState {
    ranks: Vec<RankId>,
    next: HashMap<Lane, u64>,
    failed: Option<Cause>,
    ended: VecDeque<(u64, Signature)>,
}

struct Operation {
    group: GroupId,
    op: Op,
    lane: Lane,
    sequence: u64,
    phase: u8,
    awaits: Vec<Await>,
    came: Vec<Option<Payload>>,
    n_missing: usize,
    then: Option<Then>,
    /// What it gave or awaited first; for messages that do not belong to it.
    signature: Option<Signature>,
    result: Option<Result<Vec<Tensor>, CommError>>,
    is_abandoned: bool,
}

impl Operation {
    fn is_under_way(&self) -> bool {
        self.result.is_none()
    }

    fn key(&self, from: RankId) -> Key {
        Key { group: self.group, from, lane: self.lane, sequence: self.sequence, phase: self.phase }
    }
}

impl State {
    pub(super) fn new(rank: RankId) -> Self {
        Self {
            rank,
            groups: HashMap::new(),
            operations: BTreeMap::new(),
            mailbox: Mailbox::default(),
            next_operation: 0,
            gone: HashMap::new(),
            failed_early: HashMap::new(),
            first_failure: None,
            left: false,
            effects_under_way: 0,
        }
    }

    /// # Panics
    /// When the id stands for other ranks.
    pub(super) fn join(&mut self, group: GroupId, ranks: &[RankId]) {
        if let Some(known) = self.groups.get(&group) {
            assert_eq!(known.ranks, ranks, "group {} stands for other ranks", group.0);
            return;
        }
        let gone = ranks.iter().find_map(|rank| self.gone.get(rank).filter(|cause| !is_goodbye(cause))).cloned();
        let failed = self.failed_early.remove(&group).or(gone);
        self.groups.insert(group, GroupState { ranks: ranks.to_vec(), failed, ..GroupState::default() });
    }

    pub(super) fn start(&mut self, start: Start, effects: &mut Effects) -> OperationId {
        let Start { group, op, lane, phase } = start;
        let id = OperationId(self.next_operation);
        self.next_operation += 1;
        let known = self.groups.get_mut(&group).expect("operations are started through a group");
        let next = known.next.entry(lane).or_default();
        let sequence = *next;
        *next += 1;
        let failed = known.failed.as_ref().map(|cause| cause.error(self.rank, group, op, sequence));
        let failed = self.left.then_some(CommError::Left { group, op, sequence }).or(failed);
        let mut operation = Operation {
            group,
            op,
            lane,
            sequence,
            phase: 0,
            awaits: Vec::new(),
            came: Vec::new(),
            n_missing: 0,
            then: None,
            signature: None,
            result: failed.map(Err),
            is_abandoned: false,
        };
        match (phase, operation.is_under_way()) {
            (Ok(phase), true) => {
                let given = phase.gives.first().map(|given| given.signature);
                operation.signature = given.or_else(|| phase.awaits.first().map(|a| a.signature));
                self.operations.insert(id, operation);
                self.begin(id, phase, effects);
                self.judge_early(id, effects);
            }
            (Ok(_), false) => drop(self.operations.insert(id, operation)),
            (Err(error), _) => {
                let reason = Reason::Aborted(error.to_string());
                let rank = self.rank;
                operation.result =
                    Some(Err(CommError::NotStarted { rank, group, op, sequence, reason: Box::new(error) }));
                self.operations.insert(id, operation);
                self.fail_group(group, Cause::Failed(Failure { rank: self.rank, reason }), true, effects);
            }
        }
        id
    }

    /// Sends what a phase gives and takes what lies here for it.
    fn begin(&mut self, id: OperationId, phase: Phase, effects: &mut Effects) {
        let Phase { gives, awaits, then } = phase;
        let operation = self.operations.get_mut(&id).expect("an operation that goes on is known");
        for given in gives {
            let header = Header {
                group: operation.group,
                source: self.rank,
                sequence: operation.sequence,
                phase: operation.phase,
                signature: given.signature,
            };
            effects.push_back(Effect::Send { to: given.to, message: Message { header, payload: given.payload } });
        }
        operation.came = awaits.iter().map(|_| None).collect();
        operation.n_missing = awaits.len();
        operation.awaits = awaits;
        operation.then = Some(then);
        if operation.n_missing == 0 {
            return run(id, operation, effects);
        }
        let keys: Vec<Key> = operation.awaits.iter().map(|a| operation.key(a.from)).collect();
        for (place, key) in keys.into_iter().enumerate() {
            if let Some(message) = self.mailbox.take(&key) {
                self.deliver(id, place, message, effects);
            } else if let Some(cause) = self.gone.get(&key.from).cloned() {
                self.fail_group(key.group, cause, true, effects);
            }
            if !self.operations.get(&id).is_some_and(Operation::is_under_way) {
                return;
            }
        }
    }

    /// What came for this number of its group before it started, but not from a rank that it awaits.
    fn judge_early(&mut self, id: OperationId, effects: &mut Effects) {
        let Some(operation) = self.operations.get(&id) else { return };
        let (Lane::Collective, true, Some(mine)) = (operation.lane, operation.is_under_way(), operation.signature)
        else {
            return;
        };
        let awaited: HashSet<RankId> = operation.awaits.iter().map(|a| a.from).collect();
        let (group, sequence) = (operation.group, operation.sequence);
        let stray = self.mailbox.of_collective(group, sequence, 0).find(|header| !awaited.contains(&header.source));
        if let Some(header) = stray.copied() {
            self.mismatch(&header, mine, effects);
        }
    }

    fn deliver(&mut self, id: OperationId, place: usize, message: Message, effects: &mut Effects) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let awaited = &operation.awaits[place];
        if !awaited.is_met_by(&message.header.signature) {
            let mine = awaited.signature;
            return self.mismatch(&message.header, mine, effects);
        }
        if operation.came[place].replace(message.payload).is_none() {
            operation.n_missing -= 1;
        }
        if operation.n_missing == 0 {
            run(id, operation, effects);
        }
    }

    /// A message came.
    pub(super) fn on_message(&mut self, message: Message, effects: &mut Effects) {
        let header = message.header;
        let lane = Lane::of(header.signature.op, header.source, self.rank);
        let Some(group) = self.groups.get(&header.group) else { return self.keep(lane, message, effects) };
        if self.left || group.failed.is_some() {
            return;
        }
        if !group.ranks.contains(&header.source) {
            let cause = Cause::Failed(Failure { rank: header.source, reason: Reason::Garbled });
            return self.fail_peer(header.source, cause, true, effects);
        }
        let started = group.next.get(&lane).is_some_and(|&next| header.sequence < next);
        if !started {
            return self.keep(lane, message, effects);
        }
        let ended = group.ended.iter().find(|(sequence, _)| *sequence == header.sequence).map(|(_, s)| *s);
        let found = self
            .operations
            .iter()
            .find(|(_, o)| o.group == header.group && o.lane == lane && o.sequence == header.sequence);
        match found {
            Some((&id, operation)) if operation.is_under_way() && operation.phase == header.phase => {
                match operation.awaits.iter().position(|a| a.from == header.source) {
                    Some(place) => self.deliver(id, place, message, effects),
                    None => match operation.signature {
                        Some(mine) => self.mismatch(&header, mine, effects),
                        None => self.keep(lane, message, effects),
                    },
                }
            }
            Some((_, operation)) if operation.is_under_way() && operation.phase < header.phase => {
                self.keep(lane, message, effects);
            }
            _ => {
                if let (Lane::Collective, Some(mine)) = (lane, ended) {
                    self.mismatch(&header, mine, effects);
                }
            }
        }
    }

    fn keep(&mut self, lane: Lane, message: Message, effects: &mut Effects) {
        let from = message.header.source;
        if let Err(n_bytes) = self.mailbox.put(lane, message) {
            let cause = Cause::Failed(Failure { rank: from, reason: Reason::Flooded { n_bytes } });
            self.fail_peer(from, cause, true, effects);
        }
    }

    fn mismatch(&mut self, found: &Header, mine: Signature, effects: &mut Effects) {
        let mismatch = Mismatch {
            group: found.group,
            sequence: found.sequence,
            rank: self.rank,
            signature: mine,
            other: found.source,
            other_signature: found.signature,
        };
        self.fail_group(found.group, Cause::Mismatch(Box::new(mismatch)), true, effects);
    }

    /// What an operation came to.
    pub(super) fn resume(&mut self, id: OperationId, next: Next, effects: &mut Effects) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        if !operation.is_under_way() {
            return self.forget_abandoned(id);
        }
        match next {
            Next::Phase(phase) => {
                operation.phase += 1;
                self.begin(id, phase, effects);
            }
            Next::Done(result) => {
                let (group, sequence) = (operation.group, operation.sequence);
                let reason = result.as_ref().err().map(|error| Reason::Aborted(error.to_string()));
                operation.result = Some(result);
                operation.awaits.clear();
                if let (Lane::Collective, Some(signature)) = (operation.lane, operation.signature) {
                    let ended = &mut self.groups.get_mut(&group).expect("it was joined").ended;
                    ended.push_back((sequence, signature));
                    if ended.len() > ENDED_KEPT {
                        ended.pop_front();
                    }
                }
                self.forget_abandoned(id);
                if let Some(reason) = reason {
                    self.fail_group(group, Cause::Failed(Failure { rank: self.rank, reason }), true, effects);
                }
            }
        }
    }

    /// A peer told of a failure.
    pub(super) fn on_notice(&mut self, from: RankId, notice: Notice, effects: &mut Effects) {
        match notice.group {
            Some(group) => self.fail_group(group, notice.cause, false, effects),
            None => self.fail_peer(from, notice.cause, false, effects),
        }
    }

    /// A peer left in order: what still needs it fails.
    pub(super) fn on_goodbye(&mut self, from: RankId, effects: &mut Effects) {
        let cause = Cause::Failed(Failure { rank: from, reason: Reason::Closed });
        self.gone.entry(from).or_insert_with(|| cause.clone());
        let needs = |o: &Operation| {
            let waits = |(a, came): (&Await, &Option<Payload>)| a.from == from && came.is_none();
            o.is_under_way() && o.awaits.iter().zip(&o.came).any(waits)
        };
        let groups: HashSet<GroupId> = self.operations.values().filter(|o| needs(o)).map(|o| o.group).collect();
        for group in groups {
            self.fail_group(group, cause.clone(), true, effects);
        }
    }

    /// A peer is gone: all groups that it is in fail. `tell`: peers may not know yet.
    pub(super) fn fail_peer(&mut self, rank: RankId, cause: Cause, tell: bool, effects: &mut Effects) {
        if self.left || self.gone.contains_key(&rank) {
            return;
        }
        self.gone.insert(rank, cause.clone());
        let of_rank = self.groups.iter().filter(|(_, group)| group.ranks.contains(&rank));
        let mut groups: Vec<GroupId> = of_rank.map(|(&id, _)| id).collect();
        groups.sort_unstable();
        for group in groups {
            self.fail_group(group, cause.clone(), tell, effects);
        }
    }

    /// The first failure of a group is its last.
    pub(super) fn fail_group(&mut self, group: GroupId, cause: Cause, tell: bool, effects: &mut Effects) {
        let Some(known) = self.groups.get_mut(&group) else {
            self.failed_early.entry(group).or_insert(cause);
            return;
        };
        if self.left || known.failed.is_some() {
            return;
        }
        known.failed = Some(cause.clone());
        self.first_failure.get_or_insert_with(|| cause.clone());
        self.mailbox.clear(group);
        for operation in self.operations.values_mut().filter(|o| o.group == group && o.is_under_way()) {
            operation.result = Some(Err(cause.error(self.rank, group, operation.op, operation.sequence)));
            operation.then = None;
            operation.came.clear();
        }
        self.operations.retain(|_, o| o.is_under_way() || !o.is_abandoned);
        if tell {
            for &to in known.ranks.iter().filter(|&&to| to != self.rank && !self.gone.contains_key(&to)) {
                let notice = Notice { group: Some(group), cause: cause.clone() };
                effects.push_back(Effect::Notify { to, notice });
            }
        }
    }

    pub(super) fn take_result(&mut self, id: OperationId) -> Option<Result<Vec<Tensor>, CommError>> {
        let result = self.operations.get_mut(&id)?.result.take()?;
        self.operations.remove(&id);
        Some(result)
    }

    pub(super) fn is_done(&self, id: OperationId) -> bool {
        self.operations.get(&id).is_none_or(|operation| !operation.is_under_way())
    }

    /// Nobody will ask for its result; it goes on until peers have what they need.
    pub(super) fn abandon(&mut self, id: OperationId) {
        if let Some(operation) = self.operations.get_mut(&id) {
            operation.is_abandoned = true;
        }
        self.forget_abandoned(id);
    }

    fn forget_abandoned(&mut self, id: OperationId) {
        if self.operations.get(&id).is_some_and(|o| o.is_abandoned && !o.is_under_way()) {
            self.operations.remove(&id);
        }
    }

    /// What a wait that took too long waits for.
    pub(super) fn timeout(&self, id: OperationId) -> CommError {
        let operation = &self.operations[&id];
        let waits = operation.awaits.iter().zip(&operation.came).filter(|(_, came)| came.is_none());
        let missing = waits.map(|(a, _)| a.from).collect();
        CommError::Timeout { group: operation.group, op: operation.op, sequence: operation.sequence, missing }
    }

    pub(super) fn failure(&self, (group, told_as): (GroupId, GroupId), op: Op, sequence: u64) -> Option<CommError> {
        let known = self.groups.get(&group)?;
        Some(known.failed.as_ref()?.error(self.rank, told_as, op, sequence))
    }

    pub(super) fn is_gone(&self, rank: RankId) -> bool {
        self.gone.contains_key(&rank)
    }

    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    /// Whether peers may still need something of what was started here.
    pub(super) fn owes(&self) -> bool {
        self.effects_under_way > 0 || self.operations.values().any(Operation::is_under_way)
    }

    pub(super) fn begin_effects(&mut self) {
        self.effects_under_way += 1;
    }

    pub(super) fn end_effects(&mut self) {
        self.effects_under_way -= 1;
    }

    /// From now on nothing starts and nothing is listened to.
    pub(super) fn leave(&mut self) {
        self.left = true;
        for operation in self.operations.values_mut().filter(|o| o.is_under_way()) {
            let Operation { group, op, sequence, .. } = *operation;
            operation.result = Some(Err(CommError::Left { group, op, sequence }));
            operation.then = None;
            operation.came.clear();
        }
        self.mailbox = Mailbox::default();
    }

    /// Leaves, and tells all peers in groups with this rank why: that it failed, or what had failed before it. False
    /// when it has left before.
    pub(super) fn desert(&mut self, reason: Reason, effects: &mut Effects) -> bool {
        if self.left {
            return false;
        }
        self.leave();
        let own = Cause::Failed(Failure { rank: self.rank, reason });
        let cause = self.first_failure.take().unwrap_or(own);
        let mut peers: Vec<RankId> = self.groups.values().flat_map(|group| group.ranks.iter().copied()).collect();
        peers.sort_unstable();
        peers.dedup();
        for to in peers.into_iter().filter(|to| *to != self.rank) {
            let notice = Notice { group: None, cause: cause.clone() };
            effects.push_back(Effect::Notify { to, notice });
        }
        true
    }
}

fn run(id: OperationId, operation: &mut Operation, effects: &mut Effects) {
    let Some(then) = operation.then.take() else { return };
    let payloads = operation.came.drain(..).flatten().collect();
    operation.awaits.clear();
    effects.push_back(Effect::Run { operation: id, then, payloads });
}

fn is_goodbye(cause: &Cause) -> bool {
    matches!(cause, Cause::Failed(Failure { reason: Reason::Closed, .. }))
}
