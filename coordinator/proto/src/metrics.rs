//! What a run measures of itself, as it is kept in metrics files and in the store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::planes::PlaneBytes;
use crate::simulated::SimulatedStep;
use crate::v1;

/// One optimizer update, over the whole job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Updates done, this one included.
    pub step: u64,
    /// The attempt that did it.
    pub attempt: u32,
    /// Nats per token, without MTP and balance terms.
    pub loss: f64,
    /// Nats per token, unweighted.
    pub mtp_loss: f64,
    /// Sum over layers, weighted.
    pub balance_loss: f64,
    /// Before clipping.
    pub grad_norm: f64,
    /// Of this update.
    pub learning_rate: f64,
    /// That the loss counts.
    pub tokens: u64,
    /// Wall time of the step.
    pub seconds: f64,
    /// Over the step.
    pub tokens_per_second: f64,
    /// (max load − mean load) / mean load, mean over MoE layers.
    pub maxvio: f64,
    /// Share of the step that ranks wait for a neighbour stage, mean over ranks.
    pub bubble_share: f64,
    /// Mean over ranks.
    pub seconds_by_cause: BTreeMap<String, f64>,
    /// Layer, and the tokens that each of its experts got in this step.
    pub loads: Vec<(u32, Vec<u64>)>,
    /// Sum over ranks.
    #[serde(default)]
    pub exchange: ExchangeBytes,
    /// On a simulated network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulated: Option<Box<SimulatedStep>>,
    /// Where every rank has a NIC of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planes: Vec<PlaneBytes>,
}

/// Bytes of the exchange with experts that went from rank to rank. Nodes are those of `cluster.gpus_per_node`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeBytes {
    /// Rows of tokens and of gradients, from node to node.
    pub across: u64,
    /// Likewise within nodes.
    pub within: u64,
    /// What a row for every choice would have sent across beside that.
    pub saved: u64,
    /// Choices and weights, which go ahead of rows, and the gradients of weights.
    pub routing: u64,
}

impl std::ops::AddAssign for ExchangeBytes {
    fn add_assign(&mut self, other: Self) {
        self.across += other.across;
        self.within += other.within;
        self.saved += other.saved;
        self.routing += other.routing;
    }
}

/// A pass over the held-out data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Updates that the weights have seen.
    pub step: u64,
    /// Nats per token.
    pub loss: f64,
    /// Nats per byte of text.
    pub nats_per_byte: f64,
    /// Over all of the held-out data, mean over MoE layers.
    pub maxvio: f64,
    /// That were predicted.
    pub tokens: u64,
    /// Wall time.
    pub seconds: f64,
}

impl From<StepMetrics> for v1::StepMetrics {
    fn from(m: StepMetrics) -> Self {
        let loads = m.loads.into_iter().map(|(layer, tokens)| v1::ExpertLoads { layer, tokens }).collect();
        Self {
            step: m.step,
            attempt: m.attempt,
            loss: m.loss,
            mtp_loss: m.mtp_loss,
            balance_loss: m.balance_loss,
            grad_norm: m.grad_norm,
            learning_rate: m.learning_rate,
            tokens: m.tokens,
            seconds: m.seconds,
            tokens_per_second: m.tokens_per_second,
            maxvio: m.maxvio,
            bubble_share: m.bubble_share,
            seconds_by_cause: m.seconds_by_cause,
            loads,
            exchange: Some(m.exchange.into()),
            simulated: m.simulated.map(|step| (*step).into()),
            planes: m.planes.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::StepMetrics> for StepMetrics {
    fn from(m: v1::StepMetrics) -> Self {
        Self {
            step: m.step,
            attempt: m.attempt,
            loss: m.loss,
            mtp_loss: m.mtp_loss,
            balance_loss: m.balance_loss,
            grad_norm: m.grad_norm,
            learning_rate: m.learning_rate,
            tokens: m.tokens,
            seconds: m.seconds,
            tokens_per_second: m.tokens_per_second,
            maxvio: m.maxvio,
            bubble_share: m.bubble_share,
            seconds_by_cause: m.seconds_by_cause,
            loads: m.loads.into_iter().map(|loads| (loads.layer, loads.tokens)).collect(),
            exchange: m.exchange.map(Into::into).unwrap_or_default(),
            simulated: m.simulated.map(|step| Box::new(step.into())),
            planes: m.planes.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<ExchangeBytes> for v1::ExchangeBytes {
    fn from(e: ExchangeBytes) -> Self {
        let ExchangeBytes { across, within, saved, routing } = e;
        Self { across, within, saved, routing }
    }
}

impl From<v1::ExchangeBytes> for ExchangeBytes {
    fn from(e: v1::ExchangeBytes) -> Self {
        let v1::ExchangeBytes { across, within, saved, routing } = e;
        Self { across, within, saved, routing }
    }
}

impl From<Evaluation> for v1::Evaluation {
    fn from(e: Evaluation) -> Self {
        let Evaluation { step, loss, nats_per_byte, maxvio, tokens, seconds } = e;
        Self { step, loss, nats_per_byte, maxvio, tokens, seconds }
    }
}

impl From<v1::Evaluation> for Evaluation {
    fn from(e: v1::Evaluation) -> Self {
        let v1::Evaluation { step, loss, nats_per_byte, maxvio, tokens, seconds } = e;
        Self { step, loss, nats_per_byte, maxvio, tokens, seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::{LinkLoad, PlaneLoad};

    #[test]
    fn nothing_is_lost_on_the_wire() {
        let metrics = StepMetrics {
            step: 3,
            loss: 1.5,
            seconds_by_cause: BTreeMap::from([("compute".to_owned(), 0.25)]),
            loads: vec![(1, vec![4, 0, 2])],
            exchange: ExchangeBytes { across: 1, within: 2, saved: 3, routing: 4 },
            planes: vec![PlaneBytes { plane: 1, bytes: 1 << 40, n_lost: 2 }],
            simulated: Some(Box::new(SimulatedStep {
                seconds: 0.5,
                compute_share: 0.25,
                exposed_share: 0.125,
                imbalance_share: 0.375,
                bubble_share: 0.25,
                bytes_within_nodes: 9.0,
                planes: vec![PlaneLoad { plane: 1, bytes: 8.0, utilization: 0.5, busiest_link: 0.75 }],
                links: vec![LinkLoad { name: "P1.h0.up".to_owned(), count: 2, bytes: 4.0, utilization: 0.75 }],
            })),
            ..StepMetrics::default()
        };
        assert_eq!(StepMetrics::from(v1::StepMetrics::from(metrics.clone())), metrics);
        let evaluation = Evaluation { step: 9, nats_per_byte: 1.75, tokens: 7, ..Evaluation::default() };
        assert_eq!(Evaluation::from(v1::Evaluation::from(evaluation.clone())), evaluation);
    }
}
