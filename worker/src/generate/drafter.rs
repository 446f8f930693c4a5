//! Drafts by the MTP modules: the module of depth k proposes the k-th token behind the newest one.
//!
//! With n tokens in a sequence, the k-th module stands at position n − 2, the last that the main model has decoded, and
//! reads there the token k places later; the first k − 1 drafts are among what it reads. So its last k − 1 positions have
//! read drafts that may be refused. They are decoded again in the next round: the module goes on from position n − k,
//! with the stream that the module before it had there.

use ds_model::{Cache, ExpertExchange, Place, StageModel, column};
use ds_plan::generation::Sampling;
use tch::{Kind, Tensor};

use super::chance::{Chance, Draw};
use super::law::Law;
use super::sequence::Sequence;
use crate::error::RankError;

/// Draws drafts for the sequences of one rank.
pub(super) struct Drafter<'a> {
    pub(super) model: &'a StageModel,
    pub(super) exchange: &'a dyn ExpertExchange,
    pub(super) sampling: Sampling,
    /// Tokens that can come are below it.
    pub(super) n_ids: i64,
    modules: Vec<Module>,
    is_new: bool,
}

/// Where a module stands.
struct Module {
    /// The first position that it must decode, of every row.
    starts: Vec<i64>,
    /// What it reads there, `[b, 1, d]`, where that was computed in an earlier round.
    carried: Option<Tensor>,
}

/// A draft and the law that it was drawn by.
pub(super) type Draft = (u32, Law);

impl<'a> Drafter<'a> {
    /// With so many modules, for so many rows.
    pub(super) fn new(
        model: &'a StageModel,
        exchange: &'a dyn ExpertExchange,
        (sampling, n_ids): (Sampling, i64),
        (n_modules, n_rows): (usize, usize),
    ) -> Self {
        let modules = (0..n_modules).map(|_| Module { starts: vec![0; n_rows], carried: None }).collect();
        Self { model, exchange, sampling, n_ids, modules, is_new: true }
    }

    /// What may follow each sequence and what was just drawn behind it. `stream_btd` is what the main model gave for the
    /// columns of this round; a sequence that has ended gets no drafts.
    pub(super) fn draft(
        &mut self,
        cache: &mut Cache,
        stream_btd: &Tensor,
        sequences: &[Sequence],
        follows: &[Vec<u32>],
    ) -> Result<Vec<Vec<Draft>>, RankError> {
        let mut known: Vec<Vec<u32>> =
            sequences.iter().zip(follows).map(|(s, f)| [&s.tokens[..], f].concat()).collect();
        let ends: Vec<i64> = known.iter().map(|tokens| tokens.len() as i64).collect();
        let mut drafts: Vec<Vec<Draft>> = vec![Vec::new(); sequences.len()];
        let mut stream = stream_btd.shallow_clone();
        for depth in 1..=self.modules.len() {
            let starts = std::mem::take(&mut self.modules[depth - 1].starts);
            let ids_bt = ids(&known, &starts, depth, stream.size()[1]).to_device(stream.device());
            let place = if self.is_new { Place::First } else { Place::From(&starts) };
            let decoded = self.model.decode_mtp(cache, depth, (&stream, &ids_bt), place, self.exchange)?;
            // Rows that have ended stand still; what is computed for them is not read.
            let columns = |back: i64| -> Vec<i64> {
                ends.iter().zip(&starts).map(|(end, start)| (end - back - start).max(0)).collect()
            };
            let logits = self.model.logits(&decoded.column(&columns(2)))?;
            self.draw(&logits, sequences, depth, &mut known, &mut drafts)?;
            self.modules[depth - 1].starts = ends.iter().map(|end| (end - depth as i64).max(0)).collect();
            if let Some(next) = self.modules.get_mut(depth) {
                let carried = next.carried.replace(column(&decoded.stream, &columns(depth as i64 + 1)));
                stream = match carried.filter(|_| !self.is_new) {
                    Some(carried) => Tensor::cat(&[carried, decoded.stream], 1),
                    None => decoded.stream,
                };
            }
        }
        self.is_new = false;
        Ok(drafts)
    }

    /// One draft a row that goes on, of `logits`, `[b, 1, vocabulary]`.
    fn draw(
        &self,
        logits: &Tensor,
        sequences: &[Sequence],
        depth: usize,
        known: &mut [Vec<u32>],
        drafts: &mut [Vec<Draft>],
    ) -> Result<(), RankError> {
        let chance = Chance::new(self.sampling.seed);
        let logits = values(logits, self.n_ids)?;
        for (row, sequence) in sequences.iter().enumerate().filter(|(_, sequence)| sequence.ended.is_none()) {
            let position = known[row].len() as u64;
            let logits = &logits[row * self.n_ids as usize..(row + 1) * self.n_ids as usize];
            let law = law(logits, self.sampling, sequence.number, position)?;
            let draft = law.draw(chance.at(sequence.number, position, Draw::Draft));
            debug_assert_eq!(drafts[row].len() + 1, depth, "a draft a module");
            known[row].push(draft);
            drafts[row].push((draft, law));
        }
        Ok(())
    }
}

/// The logits of tokens below `n_ids`, one after another.
pub(super) fn values(logits: &Tensor, n_ids: i64) -> Result<Vec<f64>, RankError> {
    let kept = logits.narrow(-1, 0, n_ids).to_kind(Kind::Double).reshape([-1]);
    Ok(Vec::<f64>::try_from(kept).map_err(ds_model::ModelError::from)?)
}

/// The law of the token at `position` of a sequence.
pub(super) fn law(logits: &[f64], sampling: Sampling, sequence: u64, position: u64) -> Result<Law, RankError> {
    Law::new(logits, sampling).map_err(|reason| RankError::Logits { sequence, position, reason })
}

/// What a module of that depth reads, `[b, t]`: at each position from `starts` the token `depth` places later, and
/// anything where none is known.
fn ids(known: &[Vec<u32>], starts: &[i64], depth: usize, t: i64) -> Tensor {
    let rows = known.iter().zip(starts);
    let ids: Vec<i64> = rows
        .flat_map(|(tokens, &start)| {
            let first = start as usize + depth;
            (first..first + t as usize).map(|i| tokens.get(i).map_or(0, |&token| i64::from(token)))
        })
        .collect();
    Tensor::from_slice(&ids).view([known.len() as i64, t])
}
