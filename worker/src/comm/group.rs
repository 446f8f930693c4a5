//! Ranks that talk together: tensors in, tensors out.

use std::collections::BTreeMap;
use std::sync::Arc;

use ds_plan::{GroupId, RankId};
use tch::{Kind, TchError, Tensor};

use super::cards::CardGroup;
use super::dtype::Dtype;
use super::error::CommError;
use super::operation::{Await, Given, Lane, Phase, Start};
use super::payload::Payload;
use super::pending::Pending;
use super::phases::{done, dtype, row_shape};
use super::shared::Shared;
use super::signature::{Detail, Op, ReduceOp, Shape, Signature, mix};
use super::transport::PlaneTraffic;

/// Ranks that talk together, as one of them sees it. Clones count their operations together.
#[derive(Clone)]
pub struct Group {
    shared: Arc<Shared>,
    members: Arc<Members>,
    cards: Option<OnCards>,
}

/// Groups of two members of another are numbered beside those of the plan: this bit, then a number above so many bits.
pub(super) const PAIRS: u32 = 1 << 30;
pub(super) const PAIR_SHIFT: u32 = 16;

/// Where its tensors lie on cards.
#[derive(Clone)]
struct OnCards {
    all: Arc<CardGroup>,
    /// From one place to another.
    pairs: Arc<BTreeMap<(usize, usize), Arc<CardGroup>>>,
}

struct Members {
    id: GroupId,
    ranks: Vec<RankId>,
    index: usize,
    /// Of the shapes that members compare.
    seed: u64,
}

impl Group {
    pub(super) fn new(shared: &Arc<Shared>, id: GroupId, ranks: &[RankId]) -> Self {
        let own = shared.rank();
        let index = ranks.iter().position(|&rank| rank == own);
        let index = index.unwrap_or_else(|| panic!("rank {} is not in group {}", own.0, id.0));
        for (place, rank) in ranks.iter().enumerate() {
            assert!((rank.0 as usize) < shared.n_ranks(), "group {} names rank {}, which there is not", id.0, rank.0);
            assert!(!ranks[..place].contains(rank), "group {} names rank {} twice", id.0, rank.0);
        }
        shared.join(id, ranks);
        let seed = ranks.iter().fold(u64::from(id.0), |seed, rank| mix(seed, u64::from(rank.0)));
        let members = Members { id, ranks: ranks.to_vec(), index, seed };
        Self { shared: Arc::clone(shared), members: Arc::new(members), cards: None }
    }

    pub(super) fn with_cards(&self, all: Arc<CardGroup>, pairs: BTreeMap<(usize, usize), Arc<CardGroup>>) -> Self {
        Self { cards: Some(OnCards { all, pairs: Arc::new(pairs) }), ..self.clone() }
    }

    /// The same members under another number, by messages.
    pub(super) fn beside(&self, id: GroupId) -> Self {
        Self::new(&self.shared, id, self.ranks())
    }

    /// Some of the members under another number, by messages.
    pub(super) fn part(&self, id: GroupId, places: &[usize]) -> Result<Self, CommError> {
        let ranks = places.iter().map(|&place| self.member(place)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(&self.shared, id, &ranks))
    }

    /// Why no operation of the group ends any more, if that is so, as one of them reports it.
    pub(super) fn failure(&self, op: Op, sequence: u64) -> Option<CommError> {
        self.shared.failure((self.members.id, self.told_as()), op, sequence)
    }

    /// What an operation on cards reports.
    pub(super) fn on_card(&self, op: Op, sequence: u64, reason: String) -> CommError {
        CommError::OnCard { rank: self.shared.rank(), group: self.told_as(), op, sequence, reason }
    }

    /// The group of the plan that people know: of a pair, that of both.
    pub(super) fn told_as(&self) -> GroupId {
        let id = self.members.id.0;
        GroupId(if id & PAIRS == 0 { id } else { id & ((1 << PAIR_SHIFT) - 1) })
    }

    /// The cards, where a tensor lies on one.
    fn cards(&self, tensor: &Tensor) -> Option<&Arc<CardGroup>> {
        self.cards.as_ref().map(|cards| &cards.all).filter(|cards| cards.takes(tensor))
    }

    fn pair(&self, from: usize, to: usize) -> Option<&Arc<CardGroup>> {
        self.cards.as_ref()?.pairs.get(&(from, to))
    }

    /// The same on every member.
    pub fn id(&self) -> GroupId {
        self.members.id
    }

    /// The place of this rank.
    pub fn index(&self) -> usize {
        self.members.index
    }

    /// Members.
    pub fn size(&self) -> usize {
        self.members.ranks.len()
    }

    /// Members, in the order of their places.
    pub fn ranks(&self) -> &[RankId] {
        &self.members.ranks
    }

    /// What this rank's NIC has carried, of all groups, where every rank has one of its own.
    pub fn plane(&self) -> Option<PlaneTraffic> {
        self.shared.plane()
    }

    /// Gives a copy of `tensor` to the member at place `to`.
    pub fn send(&self, to: usize, tensor: &Tensor) -> Pending<()> {
        if let Some(pair) = self.pair(self.index(), to) {
            return pair.send(tensor).unwrap_or_else(Pending::failed);
        }
        let own = self.shared.rank();
        let rank = self.peer(to);
        let phase = rank.and_then(|to| {
            let payload = Payload::copy_of(tensor)?;
            let signature = self.signature(Op::Send, dtype(tensor)?, Detail::None, &tensor.size(), payload.n_bytes());
            Ok(Phase { gives: vec![Given { to, signature, payload }], awaits: vec![], then: done(|_| Ok(vec![])) })
        });
        let lane = Lane::Pair { from: own, to: self.members.ranks.get(to).copied().unwrap_or(own) };
        self.start(Op::Send, lane, phase, |_| Ok(()))
    }

    /// What the member at place `from` sends next: a tensor of `shape` and `kind`, in host memory, or on the card where the
    /// two are a pair on cards.
    pub fn receive(&self, from: usize, shape: &[i64], kind: Kind) -> Pending<Tensor> {
        if let Some(pair) = self.pair(from, self.index()) {
            return Pending::asked(Arc::clone(pair), pair.ask(shape, kind));
        }
        let own = self.shared.rank();
        let phase = self.peer(from).and_then(|from| {
            let dtype = Dtype::try_from(kind)?;
            let n_bytes = shape.iter().product::<i64>() as usize * dtype.n_bytes();
            let signature = self.signature(Op::Send, dtype, Detail::None, shape, n_bytes);
            let shape = shape.to_vec();
            let then = done(move |mut came: Vec<Payload>| Ok(vec![came.remove(0).into_tensor(&shape)?]));
            Ok(Phase { gives: vec![], awaits: vec![Await::exactly(from, signature)], then })
        });
        let lane = Lane::Pair { from: self.members.ranks.get(from).copied().unwrap_or(own), to: own };
        self.start(Op::Send, lane, phase, one)
    }

    /// The reduction of every member's `tensor`, all of one shape.
    pub fn all_reduce(&self, tensor: &Tensor, op: ReduceOp) -> Pending<Tensor> {
        if let Some(cards) = self.cards(tensor) {
            return started(cards.all_reduce(tensor, op));
        }
        let device = tensor.device();
        self.collective(Op::AllReduce, self.all_reduce_phase(tensor, op), move |t| Ok(one(t)?.f_to_device(device)?))
    }

    /// Of the reduction of every member's `tensor`, the rows (dim 0) of this one: `rows[i]` of them for place i.
    pub fn reduce_scatter(&self, tensor: &Tensor, op: ReduceOp, rows: &[i64]) -> Pending<Tensor> {
        if let Some(cards) = self.cards(tensor) {
            return started(cards.reduce_scatter(tensor, op, rows));
        }
        let device = tensor.device();
        let phase = self.reduce_scatter_phase(tensor, op, rows);
        self.collective(Op::ReduceScatter, phase, move |t| Ok(one(t)?.f_to_device(device)?))
    }

    /// The rows (dim 0) of every member's `tensor`, in the order of places. Members may have different numbers of them.
    pub fn all_gather(&self, tensor: &Tensor) -> Pending<Tensor> {
        if let Some(cards) = self.cards(tensor) {
            return started(cards.all_gather(tensor));
        }
        let device = tensor.device();
        let shape = row_shape(tensor);
        self.collective(Op::AllGather, self.gather_phase(Op::AllGather, tensor), move |parts| {
            let mut whole = vec![-1];
            whole.extend(&shape);
            let n_row = shape.iter().product::<i64>();
            let flat = Tensor::f_cat(&parts, 0)?;
            whole[0] = if n_row == 0 { 0 } else { flat.numel() as i64 / n_row };
            Ok(flat.f_view_(&whole)?.f_to_device(device)?)
        })
    }

    /// The bytes of every member, in the order of places.
    pub fn all_gather_bytes(&self, bytes: &[u8]) -> Pending<Vec<Vec<u8>>> {
        let tensor = Payload::copy_of_bytes(bytes).map(|payload| payload.into_fresh());
        let phase = tensor.map_err(CommError::from).and_then(|t| self.gather_phase(Op::AllGatherBytes, &t));
        self.collective(Op::AllGatherBytes, phase, |parts| {
            parts.into_iter().map(|part| Ok(Payload::of_fresh(part).bytes().to_vec())).collect()
        })
    }

    /// Gives `to[i]` of the rows (dim 0) of `tensor`, in order, to the member at place i, and gets `from[i]` of its.
    pub fn all_to_all(&self, tensor: &Tensor, to: &[i64], from: &[i64]) -> Pending<Tensor> {
        if let Some(cards) = self.cards(tensor) {
            return started(cards.all_to_all(tensor, to, from));
        }
        let device = tensor.device();
        self.collective(
            Op::AllToAll,
            self.all_to_all_phase(tensor, to, from),
            move |t| Ok(one(t)?.f_to_device(device)?),
        )
    }

    /// The `tensor` of the member at place `root`; that of the others says only what to expect.
    pub fn broadcast(&self, tensor: &Tensor, root: usize) -> Pending<Tensor> {
        if let Some(cards) = self.cards(tensor) {
            return started(cards.broadcast(tensor, root));
        }
        let device = tensor.device();
        self.collective(Op::Broadcast, self.broadcast_phase(tensor, root), move |t| Ok(one(t)?.f_to_device(device)?))
    }

    /// Ends when every member has started it.
    pub fn barrier(&self) -> Pending<()> {
        let signature = self.signature(Op::Barrier, Dtype::U8, Detail::None, &[], 0);
        let give = |(_, to)| Ok(Given { to, signature, payload: Payload::none()? });
        let gives: Result<Vec<Given>, CommError> = self.others().map(give).collect();
        let awaits = self.others().map(|(_, from)| Await::exactly(from, signature)).collect();
        let phase = gives.map(|gives| Phase { gives, awaits, then: done(|_| Ok(vec![])) });
        self.collective(Op::Barrier, phase, |_| Ok(()))
    }

    /// Fails every operation of the group, on all members, for this reason. From any thread.
    pub fn abort(&self, reason: impl Into<String>) {
        self.shared.abort(self.members.id, reason.into());
    }

    fn collective<T>(
        &self,
        op: Op,
        phase: Result<Phase, CommError>,
        finish: impl FnOnce(Vec<Tensor>) -> Result<T, CommError> + Send + 'static,
    ) -> Pending<T> {
        self.start(op, Lane::Collective, phase, finish)
    }

    fn start<T>(
        &self,
        op: Op,
        lane: Lane,
        phase: Result<Phase, CommError>,
        finish: impl FnOnce(Vec<Tensor>) -> Result<T, CommError> + Send + 'static,
    ) -> Pending<T> {
        let operation = self.shared.start(Start { group: self.members.id, op, lane, phase });
        Pending::new(&self.shared, operation, finish)
    }

    pub(super) fn others(&self) -> impl Iterator<Item = (usize, RankId)> {
        let index = self.index();
        self.members.ranks.iter().copied().enumerate().filter(move |(place, _)| *place != index)
    }

    pub(super) fn member(&self, place: usize) -> Result<RankId, CommError> {
        let refused = CommError::NotAPeer { place, n_members: self.size() };
        self.members.ranks.get(place).copied().ok_or(refused)
    }

    pub(super) fn peer(&self, place: usize) -> Result<RankId, CommError> {
        let refused = CommError::NotAPeer { place, n_members: self.size() };
        self.member(place).and_then(|rank| if place == self.index() { Err(refused) } else { Ok(rank) })
    }

    pub(super) fn check_rows(&self, counts: &[i64], n_rows: i64) -> Result<(), CommError> {
        let sum = counts.iter().sum();
        if counts.len() == self.size() && sum == n_rows && counts.iter().all(|&n| n >= 0) {
            return Ok(());
        }
        Err(CommError::Rows { n_counts: counts.len(), sum, n_members: self.size(), n_rows })
    }

    pub(super) fn signature(&self, op: Op, dtype: Dtype, detail: Detail, shape: &[i64], n_bytes: usize) -> Signature {
        Signature { op, dtype, detail, shape: Shape::new(self.members.seed, shape), n_bytes: n_bytes as u64 }
    }
}

fn one(tensors: Vec<Tensor>) -> Result<Tensor, CommError> {
    tensors.into_iter().next().ok_or_else(|| CommError::from(TchError::Torch("no tensor came".to_owned())))
}

fn started(started: Result<Pending<Tensor>, CommError>) -> Pending<Tensor> {
    started.unwrap_or_else(Pending::failed)
}
