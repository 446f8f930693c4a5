//! How popular experts are: all alike, by Zipf's law, or as a run recorded.

use super::random::Random;

/// How popular the experts of a layer are.
#[derive(Clone, Debug, PartialEq)]
pub struct Popularity {
    /// Logarithms; none where all are alike.
    log_weights: Vec<f64>,
}

/// Loads that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SkewError {
    /// Not as many as there are experts.
    #[error("loads of layer {layer}: {found} experts, the model has {expected}")]
    Count {
        /// Of the model.
        layer: u32,
        /// In the file.
        found: usize,
        /// In the model.
        expected: u32,
    },
    /// Nobody got anything.
    #[error("loads of layer {layer}: no expert got a token")]
    Empty {
        /// Of the model.
        layer: u32,
    },
    /// No line of the file has any.
    #[error("no line has loads: metrics.jsonl of a run has lines with `loads`, tokens of every expert by layer")]
    Missing,
    /// A line that is no JSON.
    #[error("line {line}: {reason}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

impl Popularity {
    /// All alike.
    pub fn uniform() -> Self {
        Self { log_weights: Vec::new() }
    }

    /// The i-th most popular of `n` experts has a weight of i to the power of -`exponent`; a seed says who is the i-th.
    pub fn zipf(n: u32, exponent: f64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut order: Vec<u32> = (0..n).collect();
        for last in (1..n as usize).rev() {
            order.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
        }
        let mut log_weights = vec![0.0; n as usize];
        for (place, expert) in order.into_iter().enumerate() {
            log_weights[expert as usize] = -exponent * ((place + 1) as f64).ln();
        }
        Self { log_weights }
    }

    /// Weights in proportion to the tokens that experts got; those without any count as half a token.
    ///
    /// # Errors
    /// When there are not as many as experts, or nobody got anything.
    pub fn recorded(layer: u32, n_experts: u32, tokens: &[u64]) -> Result<Self, SkewError> {
        if tokens.len() != n_experts as usize {
            return Err(SkewError::Count { layer, found: tokens.len(), expected: n_experts });
        }
        if tokens.iter().all(|&n| n == 0) {
            return Err(SkewError::Empty { layer });
        }
        Ok(Self { log_weights: tokens.iter().map(|&n| (n as f64).max(0.5).ln()).collect() })
    }

    /// Whether all are alike.
    pub fn is_uniform(&self) -> bool {
        self.log_weights.is_empty()
    }

    pub(super) fn log_weight(&self, expert: u32) -> f64 {
        self.log_weights.get(expert as usize).copied().unwrap_or(0.0)
    }
}

/// The loads of the last line of a run's `metrics.jsonl` that has any: layer, and the tokens of each of its experts.
///
/// # Errors
/// When a line is no JSON, or none has loads.
pub fn recorded_loads(text: &str) -> Result<Vec<(u32, Vec<u64>)>, SkewError> {
    #[derive(serde::Deserialize)]
    struct Line {
        #[serde(default)]
        loads: Vec<(u32, Vec<u64>)>,
    }
    let mut last = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let reason = |error: serde_json::Error| SkewError::Line { line: number + 1, reason: error.to_string() };
        let line: Line = serde_json::from_str(line).map_err(reason)?;
        if !line.loads.is_empty() {
            last = line.loads;
        }
    }
    if last.is_empty() { Err(SkewError::Missing) } else { Ok(last) }
}
