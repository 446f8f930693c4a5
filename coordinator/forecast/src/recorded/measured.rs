//! What the exchanges of a run measured, which a plan can only expect.

use std::collections::HashMap;

use ds_arch::LayerId;
use ds_plan::schedule::{Microbatch, Piece, StageId};

use crate::Exchange;

/// An exchange of a rank: of which pass, after whose gate, which way.
type Which = (u32, Piece, LayerId, Exchange);

/// The exchanges of one step, of all ranks.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    sends: HashMap<Which, Vec<(u32, f64)>>,
    passed: HashMap<(u32, Piece), f64>,
    rows: HashMap<(u32, StageId, Microbatch, LayerId), f64>,
}

impl Measured {
    /// A rank sent so many bytes to those ranks in an exchange of a pass.
    pub fn sent(&mut self, rank: u32, piece: Piece, layer: LayerId, exchange: Exchange, to: Vec<(u32, f64)>) {
        self.sends.insert((rank, piece, layer, exchange), to);
    }

    /// A rank sent so many bytes to the next stage of a pass.
    pub fn passed_on(&mut self, rank: u32, piece: Piece, bytes: f64) {
        self.passed.insert((rank, piece), bytes);
    }

    /// The experts of a rank work on so many rows of a microbatch.
    pub fn works_on(&mut self, rank: u32, piece: Piece, layer: LayerId, rows: f64) {
        self.rows.insert((rank, piece.stage, piece.microbatch, layer), rows);
    }

    pub(crate) fn sends(&self, rank: u32, piece: Piece, layer: LayerId, exchange: Exchange) -> Option<&[(u32, f64)]> {
        self.sends.get(&(rank, piece, layer, exchange)).map(Vec::as_slice)
    }

    pub(crate) fn passed(&self, rank: u32, piece: Piece) -> Option<f64> {
        self.passed.get(&(rank, piece)).copied()
    }

    /// How many times the mean rows of its group a rank works on; none where a rank of the group says nothing.
    pub(crate) fn load(&self, rank: u32, group: &[u32], piece: Piece, layer: LayerId) -> Option<f64> {
        let rows = |rank: u32| self.rows.get(&(rank, piece.stage, piece.microbatch, layer)).copied();
        let all = group.iter().map(|&rank| rows(rank)).sum::<Option<f64>>()?;
        let mean = all / group.len().max(1) as f64;
        Some(if mean > 0.0 { rows(rank)? / mean } else { 1.0 })
    }
}
