//! The samples of a step. Which sample a rank sees is a function of (seed, step, its place among the samplers) alone,
//! so the whole batch is the same on every grid.
//!
//! Shapes: b sequences, t tokens of a sequence.

use ds_data::{Order, TokenFolder};
use ds_model::{IGNORED, Microbatch, SequenceShare};
use ds_plan::spec::PhaseSpec;
use tch::{Device, Kind, Tensor};

/// The training samples of one rank.
pub struct Batches {
    tokens: TokenFolder,
    order: Order,
    cut: Cut,
    batch: u64,
    microbatch: u64,
    n_microbatches: u64,
    sampler: u64,
}

impl Batches {
    /// Of the sampler-th of those that see different sequences.
    pub fn new(tokens: TokenFolder, phase: &PhaseSpec, cut: Cut, seed: u64, sampler: u32, n_microbatches: u32) -> Self {
        let order = Order::new(tokens.n_windows(phase.sequence, cut.extra()), seed);
        Self {
            tokens,
            order,
            cut,
            batch: u64::from(phase.batch),
            microbatch: u64::from(phase.microbatch),
            n_microbatches: u64::from(n_microbatches),
            sampler: u64::from(sampler),
        }
    }

    /// This rank's microbatches of a step, in order; b sequences each.
    pub fn step(&self, step: u64) -> Vec<Microbatch> {
        let first = step * self.batch + self.sampler * self.n_microbatches * self.microbatch;
        (0..self.n_microbatches).map(|m| self.microbatch(first + m * self.microbatch)).collect()
    }

    fn microbatch(&self, first_sample: u64) -> Microbatch {
        let windows: Vec<Vec<u32>> = (first_sample..first_sample + self.microbatch)
            .map(|sample| self.tokens.window(self.order.at(sample), self.cut.sequence, self.cut.extra()))
            .collect();
        self.cut.microbatch(&windows)
    }
}

/// How windows of tokens become inputs and targets.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Tokens of a sequence.
    pub sequence: u32,
    /// Further tokens that MTP predicts.
    pub mtp_depth: u32,
    /// Where the tensors lie.
    pub device: Device,
    /// Which positions of every sequence this rank has.
    pub share: SequenceShare,
}

impl Cut {
    /// Tokens that a window has beyond its sequence: the last targets.
    pub fn extra(&self) -> u32 {
        1 + self.mtp_depth
    }

    /// Inputs and targets of `windows` at this rank's positions; a window that the text's end cut short is filled up with ignored targets.
    pub fn microbatch(&self, windows: &[Vec<u32>]) -> Microbatch {
        let shifted = |by: usize, pad: i64| self.tensor(windows, by, pad);
        Microbatch {
            ids_bt: shifted(0, 0),
            targets_bt: shifted(1, IGNORED),
            mtp: (1..=self.mtp_depth as usize).map(|k| (shifted(k, 0), shifted(k + 1, IGNORED))).collect(),
        }
    }

    fn tensor(&self, windows: &[Vec<u32>], by: usize, pad: i64) -> Tensor {
        let t = self.sequence as usize;
        let values: Vec<i64> = windows
            .iter()
            .flat_map(|window| (by..by + t).map(|i| window.get(i).map_or(pad, |&token| i64::from(token))))
            .collect();
        let whole = Tensor::from_slice(&values).view([windows.len() as i64, t as i64]).to_device(self.device);
        if self.share == SequenceShare::WHOLE {
            return whole;
        }
        whole.index_select(1, &self.share.positions(t as i64, self.device))
    }
}

/// Targets that count, of the main loss and of all MTP losses.
pub fn n_targets(microbatch: &Microbatch) -> (i64, i64) {
    let counted = |targets: &Tensor| i64::try_from(targets.ne(IGNORED).sum(Kind::Int64)).expect("a sum is one number");
    (counted(&microbatch.targets_bt), microbatch.mtp.iter().map(|(_, targets)| counted(targets)).sum())
}
