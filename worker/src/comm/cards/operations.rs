//! The operations of a group as moves between cards. Each copies its input first, as those by messages do: what the caller
//! changes later changes nothing here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ds_plan::GroupId;
use tch::{Kind, Tensor};

use super::super::clock::now;
use super::super::dtype::Dtype;
use super::super::error::CommError;
use super::super::group::{Group, PAIR_SHIFT, PAIRS};
use super::super::pending::Pending;
use super::super::phases::{dtype, reducible, row_shape, rows_of};
use super::super::signature::{Detail, Op, ReduceOp};
use super::card_group::{CardGroup, Flight};
use super::watch::watch;
use super::{Cards, Move};

/// What an operation gives: memory that fills, then its shape.
type Started = Result<Pending<Tensor>, CommError>;

impl Group {
    /// The same group with its tensors on cards; every member calls it. What lies on the host goes by messages as before.
    /// `pairs` of places, from and to, send each other tensors on cards; each has a stream of its own, so that nobody waits
    /// for a message in the other direction.
    ///
    /// # Errors
    /// When the library refuses on any member, or a peer fails.
    pub fn on_cards(
        &self,
        cards: &dyn Cards,
        pairs: &BTreeSet<(usize, usize)>,
        longest: Duration,
    ) -> Result<Self, CommError> {
        let joined = self.joined(cards, longest)?;
        let mut ways = BTreeMap::new();
        // In one order on all members, so that nobody waits in a circle.
        for (&(from, to), number) in pairs.iter().zip(1..) {
            if from == to || ![from, to].contains(&self.index()) {
                continue;
            }
            let id = GroupId(self.id().0 | PAIRS | number << PAIR_SHIFT);
            ensure_fits(self, number)?;
            let pair = self.part(id, &[from, to])?;
            ways.insert((from, to), pair.joined(cards, longest)?);
        }
        Ok(self.with_cards(joined, ways))
    }

    fn joined(&self, cards: &dyn Cards, longest: Duration) -> Result<Arc<CardGroup>, CommError> {
        let joined = Arc::new(CardGroup::join(self, cards, longest)?);
        watch(&joined).map_err(|error| self.on_card(Op::Barrier, 0, error.to_string()))?;
        Ok(joined)
    }
}

impl CardGroup {
    /// Whether it is for the cards.
    pub(in super::super) fn takes(&self, tensor: &Tensor) -> bool {
        tensor.device() == self.device()
    }

    /// Starts an operation whose members agree on a shape. `keeps` must live until it has ended, and so must the output.
    fn begin(
        self: &Arc<Self>,
        (op, detail, shape): (Op, Detail, &[i64]),
        moves: &[Move],
        output: Tensor,
        mut keeps: Vec<Tensor>,
    ) -> Started {
        let signature = self.group.signature(op, dtype(&output)?, detail, shape, 0);
        keeps.push(output.shallow_clone());
        let flight = self.start(signature, moves, keeps)?;
        Ok(Pending::on_card(Arc::clone(self), flight, output))
    }

    pub(in super::super) fn all_reduce(self: &Arc<Self>, tensor: &Tensor, op: ReduceOp) -> Started {
        reducible(tensor)?;
        let output = copied(tensor)?;
        let moves = [Move::AllReduce { tensor: output.shallow_clone(), op }];
        self.begin((Op::AllReduce, Detail::Reduce(op), &tensor.size()), &moves, output, vec![])
    }

    pub(in super::super) fn reduce_scatter(self: &Arc<Self>, tensor: &Tensor, op: ReduceOp, rows: &[i64]) -> Started {
        reducible(tensor)?;
        self.group.check_rows(rows, rows_of(tensor))?;
        let from = copied(tensor)?;
        let shape = tensor.size();
        let of = (Op::ReduceScatter, Detail::Reduce(op), shape.as_slice());
        if rows.iter().all(|&n| n == rows[0]) {
            let output = Tensor::f_empty(shaped(rows[0], tensor), (tensor.kind(), tensor.device()))?;
            let moves = [Move::ReduceScatter { from: from.shallow_clone(), to: output.shallow_clone(), op }];
            return self.begin(of, &moves, output, vec![from]);
        }
        let parts = from.f_split_with_sizes(rows, 0)?;
        let reduce = |(root, part): (usize, &Tensor)| Move::Reduce { tensor: part.shallow_clone(), root, op };
        let moves: Vec<Move> = parts.iter().enumerate().filter(|(_, part)| part.numel() > 0).map(reduce).collect();
        let output = parts[self.group.index()].shallow_clone();
        self.begin(of, &moves, output, vec![from])
    }

    /// Members may give different numbers of rows, so they tell each other first, by messages.
    pub(in super::super) fn all_gather(self: &Arc<Self>, tensor: &Tensor) -> Started {
        let told = self.group.all_gather_bytes(&rows_of(tensor).to_le_bytes()).wait(now() + self.longest)?;
        let number = |bytes: &Vec<u8>| <[u8; 8]>::try_from(bytes.as_slice()).map(i64::from_le_bytes).ok();
        let rows: Option<Vec<i64>> = told.iter().map(number).collect();
        let garbled = || self.group.on_card(Op::AllGather, 0, "a member gave no number of rows".to_owned());
        let rows = rows.ok_or_else(garbled)?;
        let output = Tensor::f_empty(shaped(rows.iter().sum(), tensor), (tensor.kind(), tensor.device()))?;
        let from = copied(tensor)?;
        if rows.iter().all(|&n| n == rows[0]) {
            let moves = [Move::AllGather { from: from.shallow_clone(), to: output.shallow_clone() }];
            return self.begin((Op::AllGather, Detail::None, &row_shape(tensor)), &moves, output, vec![from]);
        }
        let parts = output.f_split_with_sizes(rows.as_slice(), 0)?;
        parts[self.group.index()].shallow_clone().f_copy_(&from)?;
        let broadcast = |(root, part): (usize, &Tensor)| Move::Broadcast { tensor: part.shallow_clone(), root };
        let moves: Vec<Move> = parts.iter().enumerate().filter(|(_, part)| part.numel() > 0).map(broadcast).collect();
        self.begin((Op::AllGather, Detail::None, &row_shape(tensor)), &moves, output, vec![])
    }

    pub(in super::super) fn all_to_all(self: &Arc<Self>, tensor: &Tensor, to: &[i64], from: &[i64]) -> Started {
        let (index, n_from) = (self.group.index(), from.iter().sum());
        self.group.check_rows(to, rows_of(tensor))?;
        self.group.check_rows(from, n_from)?;
        if to[index] != from[index] {
            return Err(CommError::Own { given: to[index], expected: from[index] });
        }
        let output = Tensor::f_empty(shaped(n_from, tensor), (tensor.kind(), tensor.device()))?;
        let sent = copied(tensor)?;
        let (gives, gets) = (sent.f_split_with_sizes(to, 0)?, output.f_split_with_sizes(from, 0)?);
        gets[index].shallow_clone().f_copy_(&gives[index])?;
        let mut moves = Vec::new();
        for place in (0..self.group.size()).filter(|&place| place != index) {
            if gives[place].numel() > 0 {
                moves.push(Move::Send { tensor: gives[place].shallow_clone(), to: place });
            }
            if gets[place].numel() > 0 {
                moves.push(Move::Receive { tensor: gets[place].shallow_clone(), from: place });
            }
        }
        self.begin((Op::AllToAll, Detail::None, &row_shape(tensor)), &moves, output, vec![sent])
    }

    pub(in super::super) fn broadcast(self: &Arc<Self>, tensor: &Tensor, root: usize) -> Started {
        let rank = self.group.member(root)?;
        let output = copied(tensor)?;
        let moves = [Move::Broadcast { tensor: output.shallow_clone(), root }];
        self.begin((Op::Broadcast, Detail::Root(rank), &tensor.size()), &moves, output, vec![])
    }

    /// To the other of two.
    pub(in super::super) fn send(self: &Arc<Self>, tensor: &Tensor) -> Result<Pending<()>, CommError> {
        let sent = copied(&tensor.f_to_device(self.device())?)?;
        let signature = self.group.signature(Op::Send, dtype(&sent)?, Detail::None, &sent.size(), bytes_of(&sent));
        let moves = [Move::Send { tensor: sent.shallow_clone(), to: 1 - self.group.index() }];
        self.start(signature, &moves, vec![sent])?;
        Ok(Pending::sent(Arc::clone(self)))
    }

    /// From the other of two.
    pub(super) fn receive(&self, shape: &[i64], kind: Kind) -> Result<(Arc<Flight>, Tensor), CommError> {
        let output = Tensor::f_empty(shape, (kind, self.device()))?;
        let signature = self.group.signature(Op::Send, Dtype::try_from(kind)?, Detail::None, shape, bytes_of(&output));
        let moves = [Move::Receive { tensor: output.shallow_clone(), from: 1 - self.group.index() }];
        Ok((self.start(signature, &moves, vec![output.shallow_clone()])?, output))
    }
}

/// Numbers of pairs stand beside those of groups, each in its own bits.
fn ensure_fits(group: &Group, number: u32) -> Result<(), CommError> {
    if group.id().0 >> PAIR_SHIFT == 0 && number << PAIR_SHIFT < PAIRS {
        return Ok(());
    }
    let reason =
        format!("pair {number} of group {} has no number: more than 65536 groups or 16383 pairs", group.id().0);
    Err(group.on_card(Op::Barrier, 0, reason))
}

/// Contiguous memory of its own.
fn copied(tensor: &Tensor) -> Result<Tensor, CommError> {
    let tensor = tensor.f_detach()?;
    let contiguous = tensor.f_contiguous()?;
    if contiguous.data_ptr() != tensor.data_ptr() {
        return Ok(contiguous);
    }
    let mut copy = Tensor::f_empty(tensor.size(), (tensor.f_kind()?, tensor.device()))?;
    copy.f_copy_(&contiguous)?;
    Ok(copy)
}

/// So many rows of a tensor's kind.
fn shaped(n_rows: i64, like: &Tensor) -> Vec<i64> {
    let mut shape = vec![n_rows];
    shape.extend(row_shape(like));
    shape
}

fn bytes_of(tensor: &Tensor) -> usize {
    tensor.numel() * tensor.kind().elt_size_in_bytes()
}
