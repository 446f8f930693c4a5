//! One rank's part in every round.

use std::io;
use std::ops::Range;

use ds_model::{Cache, ExpertExchange, OneRank, Place, StageModel, Step};
use ds_plan::RankPlan;
use ds_plan::generation::GenerationPlan;
use tch::{Kind, Tensor};

use super::chance::{Chance, Draw};
use super::drafter::{Draft, Drafter, law, values};
use super::sequence::{Ended, Limits, Sequence};
use super::speculative::judge;
use super::verdict::{Verdict, from_bytes, to_bytes};
use crate::error::RankError;
use crate::exchange::{CommExchange, Formats};
use crate::step::Ledger;
use crate::trainer::Groups;

/// Who hears of every token as it is written: the prompt's place, the tokens, and why it ends if it does.
pub type Tell<'a> = &'a mut (dyn FnMut(u64, &[u32], Option<Ended>) -> io::Result<()> + Send);

/// A rank with its part of the model.
pub(super) struct Rank<'a> {
    pub(super) plan: &'a GenerationPlan,
    pub(super) rank: RankPlan,
    pub(super) model: StageModel,
    pub(super) groups: Groups,
    /// Of the stream between stages.
    pub(super) kind: Kind,
    /// Tokens that can come are below it.
    pub(super) n_ids: i64,
    pub(super) limits: Limits,
}

/// What a batch cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Passes through the main model.
    pub(super) rounds: u64,
    /// Of this rank's cache, for a token of one sequence.
    pub(super) cache_bytes_per_token: u64,
}

/// What the last stage keeps between rounds.
struct Head<'a> {
    drafter: Drafter<'a>,
    /// Of every row, with their laws.
    drafts: Vec<Vec<Draft>>,
}

/// What a round decodes: of every row some tokens from a position on, padded at the end.
struct Inputs {
    ids_bt: Tensor,
    starts: Vec<i64>,
    /// The column of each row's newest token that is no draft.
    newest: Vec<i64>,
}

impl Rank<'_> {
    /// Writes until every sequence has ended. All ranks call it with the same sequences, as many as every rank of a stage
    /// has equal shares of.
    pub(super) fn write(&self, sequences: &mut [Sequence], mut tell: Option<Tell<'_>>) -> Result<Cost, RankError> {
        let (job, ledger) = (self.plan.job(), Ledger::open());
        let n_experts = job.spec().model.moe.n_experts;
        let spread = CommExchange::new(self.groups.expert.clone(), n_experts, Formats::COMPUTE, self.groups.timeout);
        let spread = spread.booked(&ledger);
        let exchange: &dyn ExpertExchange = if self.groups.expert.size() > 1 { &spread } else { &OneRank };
        let mine = self.share(sequences.len(), self.rank.sampler.0);
        let mut cache = self.cache(sequences, mine.len());
        let n_modules = self.n_modules(sequences);
        let mut head = self.rank.stages[0].scores.then(|| Head {
            drafter: Drafter::new(&self.model, exchange, (self.plan.sampling(), self.n_ids), (n_modules, mine.len())),
            drafts: vec![Vec::new(); mine.len()],
        });
        let mut cost = Cost { cache_bytes_per_token: bytes_per_token(&cache, mine.len()), rounds: 0 };
        while sequences.iter().any(|sequence| sequence.ended.is_none()) {
            let is_first = cost.rounds == 0;
            let inputs = Inputs::new(&sequences[mine.clone()], is_first);
            let place = if is_first { Place::First } else { Place::From(&inputs.starts) };
            let stream = self.through_the_stage(&mut cache, &inputs, place, exchange)?;
            let verdicts = match (&mut head, stream) {
                (Some(head), Some(stream)) => {
                    self.judge(head, &mut cache, &stream, &inputs, &sequences[mine.clone()], is_first)?
                }
                _ => Vec::new(),
            };
            let said = self.groups.world.all_gather_bytes(&to_bytes(&verdicts)).wait(self.groups.deadline())?;
            for (&rank, bytes) in self.groups.world.ranks().iter().zip(&said).filter(|(_, bytes)| !bytes.is_empty()) {
                let share = self.share(sequences.len(), job.grid().sampler(rank));
                for (sequence, verdict) in sequences[share].iter_mut().zip(from_bytes(bytes)) {
                    self.apply(sequence, verdict, &mut tell)?;
                }
            }
            cost.rounds += 1;
        }
        Ok(cost)
    }

    /// The sequences of one of the ranks that continue different ones.
    fn share(&self, n_sequences: usize, sampler: u32) -> Range<usize> {
        let each = n_sequences / self.rank.sampler.1 as usize;
        sampler as usize * each..(sampler as usize + 1) * each
    }

    /// Room for the longest prompt, all that may be written, and drafts and padding behind it.
    fn cache(&self, sequences: &[Sequence], n_rows: usize) -> Cache {
        let longest = sequences.iter().map(|sequence| sequence.tokens.len()).max().unwrap_or(0);
        let n_slots = longest + self.limits.max_tokens + self.plan.n_drafts() as usize + 1;
        self.model.cache(n_rows as i64, n_slots as i64)
    }

    /// A module that reads k tokens ahead needs a sequence of so many; the same on every rank.
    fn n_modules(&self, sequences: &[Sequence]) -> usize {
        let shortest = sequences.iter().filter(|s| s.ended.is_none()).map(|s| s.tokens.len()).min().unwrap_or(0);
        (self.plan.n_drafts() as usize).min(shortest + 1)
    }

    /// The stream behind this stage's layers, if no other stage reads it.
    fn through_the_stage(
        &self,
        cache: &mut Cache,
        inputs: &Inputs,
        place: Place<'_>,
        exchange: &dyn ExpertExchange,
    ) -> Result<Option<Tensor>, RankError> {
        let pipeline = &self.groups.pipeline;
        let device = self.model.parameters()[0].tensor.device();
        let stream = match pipeline.index() {
            0 => self.model.decode_stage(cache, Step::Tokens(&inputs.ids_bt.to_device(device)), place, exchange)?,
            index => {
                let (b, t) = inputs.ids_bt.size2().expect("sequences × tokens");
                let shape = [b, t, i64::from(self.plan.job().spec().model.hidden_size)];
                let came = pipeline.receive(index - 1, &shape, self.kind).wait(self.groups.deadline())?;
                self.model.decode_stage(cache, Step::Stream(&came.to_device(device)), place, exchange)?
            }
        };
        if self.rank.stages[0].scores {
            return Ok(Some(stream));
        }
        pipeline.send(pipeline.index() + 1, &stream).wait(self.groups.deadline())?;
        Ok(None)
    }

    /// Draws what follows every sequence of this rank, and drafts behind it.
    fn judge(
        &self,
        head: &mut Head<'_>,
        cache: &mut Cache,
        stream: &Tensor,
        inputs: &Inputs,
        sequences: &[Sequence],
        is_first: bool,
    ) -> Result<Vec<Verdict>, RankError> {
        let decoded = self.model.scored(stream)?;
        // Of a prompt only its last token says something new.
        let (n_columns, logits) = if is_first {
            (1, self.model.logits(&decoded.column(&inputs.newest))?)
        } else {
            (inputs.ids_bt.size()[1] as usize, self.model.logits(&decoded)?)
        };
        let (logits, width) = (values(&logits, self.n_ids)?, self.n_ids as usize);
        let (sampling, chance) = (self.plan.sampling(), Chance::new(self.plan.sampling().seed));
        let follows = |(row, sequence): (usize, &Sequence)| -> Result<Vec<u32>, RankError> {
            if sequence.ended.is_some() {
                return Ok(Vec::new());
            }
            let position = |i: usize| (sequence.tokens.len() + i) as u64;
            let model = |i: usize| {
                let start = (row * n_columns + i) * width;
                law(&logits[start..start + width], sampling, sequence.number, position(i))
            };
            let number = |draw: Draw| move |i: usize| chance.at(sequence.number, position(i), draw);
            judge(&head.drafts[row], model, number(Draw::Accept), number(Draw::Token))
        };
        let follows: Vec<Vec<u32>> = sequences.iter().enumerate().map(follows).collect::<Result<_, _>>()?;
        head.drafts = head.drafter.draft(cache, &decoded.stream, sequences, &follows)?;
        let drafts = head.drafts.iter().map(|drafts| drafts.iter().map(|(token, _)| *token).collect());
        Ok(follows.into_iter().zip(drafts).map(|(follows, drafts)| Verdict { follows, drafts }).collect())
    }

    fn apply(&self, sequence: &mut Sequence, verdict: Verdict, tell: &mut Option<Tell<'_>>) -> Result<(), RankError> {
        if sequence.ended.is_some() {
            return Ok(());
        }
        let number = sequence.number;
        let taken = sequence.take(&verdict.follows, verdict.drafts, self.limits).to_vec();
        match tell {
            Some(tell) => tell(number, &taken, sequence.ended).map_err(RankError::Tell),
            None => Ok(()),
        }
    }
}

impl Inputs {
    /// Of a first round the prompts, of any other the newest tokens with the drafts behind them.
    fn new(sequences: &[Sequence], is_first: bool) -> Self {
        let start = |sequence: &Sequence| if is_first { 0 } else { sequence.tokens.len() - 1 };
        let rows: Vec<Vec<u32>> =
            sequences.iter().map(|sequence| [&sequence.tokens[start(sequence)..], &sequence.drafts].concat()).collect();
        let t = rows.iter().map(Vec::len).max().unwrap_or(0);
        let padded = rows.iter().flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0, t - row.len())));
        let ids: Vec<i64> = padded.map(i64::from).collect();
        Self {
            ids_bt: Tensor::from_slice(&ids).view([rows.len() as i64, t as i64]),
            starts: sequences.iter().map(|sequence| start(sequence) as i64).collect(),
            newest: sequences.iter().map(|s| (s.tokens.len() - 1 - start(s)) as i64).collect(),
        }
    }
}

fn bytes_per_token(cache: &Cache, n_rows: usize) -> u64 {
    (cache.n_bytes() / (n_rows * cache.n_slots() as usize)) as u64
}
