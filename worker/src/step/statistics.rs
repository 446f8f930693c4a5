//! What a step was like, summed over all ranks in one message.

use std::collections::HashMap;
use std::time::Instant;

use ds_arch::LayerId;
use ds_model::StageForward;
use ds_proto::ExchangeBytes;
use tch::{Kind, Tensor};

use super::ledger::Cause;
use crate::comm::{CommError, Group, ReduceOp};

/// One rank's part, or the sum of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Sum of the main cross-entropies, in nats, and the number of their targets.
    pub loss: (f64, f64),
    /// Likewise of all MTP modules.
    pub mtp: (f64, f64),
    /// Sum of the sequence-wise balance terms, and of sequences and layers that they were taken over.
    pub balance: (f64, f64),
    /// Seconds by cause.
    pub seconds: [f64; Cause::ALL.len()],
    /// Ranks that were told to stop.
    pub n_stops: f64,
    /// Bytes of the exchange with experts.
    pub exchanged: ExchangeBytes,
    /// Tokens that each expert got, by MoE layer.
    pub loads: HashMap<LayerId, Vec<f64>>,
}

impl Statistics {
    /// Sums over all ranks of `world`; every rank gets the same.
    ///
    /// # Errors
    /// When a peer fails.
    pub fn sum(
        &self,
        layers: &[LayerId],
        n_experts: usize,
        world: &Group,
        deadline: Instant,
    ) -> Result<Self, CommError> {
        let sum = world.all_reduce(&Tensor::from_slice(&self.flat(layers, n_experts)), ReduceOp::Sum).wait(deadline)?;
        let sum = Vec::<f64>::try_from(sum.to_kind(Kind::Double)).expect("a vector of doubles");
        Ok(Self::from_flat(&sum, layers, n_experts))
    }

    /// Adds what a forward pass gave.
    pub fn add_forward(&mut self, forward: &StageForward) {
        let add = |sum: &mut (f64, f64), more: (f64, f64)| *sum = (sum.0 + more.0, sum.1 + more.1);
        add(&mut self.loss, forward.losses.loss);
        add(&mut self.mtp, forward.losses.mtp);
        add(&mut self.balance, forward.losses.balance);
        for (layer, tokens) in &forward.loads {
            self.add_load(*layer, tokens);
        }
    }

    /// Adds the load of a layer.
    pub fn add_load(&mut self, layer: LayerId, tokens: &[f64]) {
        let load = self.loads.entry(layer).or_insert_with(|| vec![0.0; tokens.len()]);
        for (sum, more) in load.iter_mut().zip(tokens) {
            *sum += more;
        }
    }

    fn flat(&self, layers: &[LayerId], n_experts: usize) -> Vec<f64> {
        let head = [self.loss, self.mtp, self.balance].into_iter().flat_map(|(sum, n)| [sum, n]);
        let ExchangeBytes { across, within, saved, routing } = self.exchanged;
        let bytes = [across, within, saved, routing].map(|bytes| bytes as f64);
        let mut flat: Vec<f64> = head.chain([self.n_stops]).chain(bytes).chain(self.seconds).collect();
        for layer in layers {
            match self.loads.get(layer) {
                Some(load) => flat.extend(load),
                None => flat.extend(std::iter::repeat_n(0.0, n_experts)),
            }
        }
        flat
    }

    fn from_flat(flat: &[f64], layers: &[LayerId], n_experts: usize) -> Self {
        let (head, rest) = flat.split_at(7);
        let (bytes, rest) = rest.split_at(4);
        let bytes = |i: usize| bytes[i] as u64;
        let (seconds, loads) = rest.split_at(Cause::ALL.len());
        Self {
            loss: (head[0], head[1]),
            mtp: (head[2], head[3]),
            balance: (head[4], head[5]),
            n_stops: head[6],
            exchanged: ExchangeBytes { across: bytes(0), within: bytes(1), saved: bytes(2), routing: bytes(3) },
            seconds: std::array::from_fn(|i| seconds[i]),
            loads: layers.iter().copied().zip(loads.chunks(n_experts.max(1)).map(<[f64]>::to_vec)).collect(),
        }
    }
}

/// (max load − mean load) / mean load, the mean over layers (arXiv 2408.15664, §4.1). 0 without loads.
pub fn maxvio<'a>(loads: impl Iterator<Item = &'a Vec<f64>>) -> f64 {
    let of_layer = |load: &Vec<f64>| {
        let mean = load.iter().sum::<f64>() / load.len() as f64;
        let max = load.iter().copied().fold(0.0, f64::max);
        if mean > 0.0 { (max - mean) / mean } else { 0.0 }
    };
    let all: Vec<f64> = loads.map(of_layer).collect();
    if all.is_empty() { 0.0 } else { all.iter().sum::<f64>() / all.len() as f64 }
}

/// The mean of a (sum, count) pair; 0 of none.
pub fn mean((sum, n): (f64, f64)) -> f64 {
    if n > 0.0 { sum / n } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maxvio_is_how_far_the_fullest_expert_stands_above_the_mean() {
        assert_eq!(maxvio([vec![4.0, 4.0]].iter()), 0.0);
        assert_eq!(maxvio([vec![8.0, 0.0], vec![4.0, 4.0]].iter()), 0.5);
        assert_eq!(maxvio(std::iter::empty()), 0.0);
    }

    #[test]
    fn what_travels_flat_comes_back_whole() {
        let layers = [LayerId(1), LayerId(2)];
        let mut part = Statistics { loss: (3.5, 2.0), n_stops: 1.0, ..Statistics::default() };
        part.seconds[Cause::Exchange as usize] = 0.25;
        part.exchanged = ExchangeBytes { across: 1 << 40, within: 2, saved: 3, routing: 4 };
        part.add_load(LayerId(2), &[1.0, 2.0]);
        part.add_load(LayerId(2), &[1.0, 0.0]);
        let back = Statistics::from_flat(&part.flat(&layers, 2), &layers, 2);
        assert_eq!(back.loss, part.loss);
        assert_eq!((back.seconds, back.exchanged), (part.seconds, part.exchanged));
        assert_eq!(back.loads[&LayerId(2)], [2.0, 2.0]);
        assert_eq!(back.loads[&LayerId(1)], [0.0, 0.0]);
    }
}
