//! The gate: affinities, choice and weights of every token.

use tch::{Kind, Tensor};

use super::launch::{Argument, Launch};
use crate::{Differentiable, Forward, NodeError, TorchError, apply};

/// Warps of a block in `gate.cu`, each with a token.
const WARPS: i64 = 4;

/// What affinities are made of logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// Each for itself.
    Sigmoid,
    /// Over all experts.
    Softmax,
}

/// How the bias takes part in the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BiasUse {
    /// affinity + bias.
    Added,
    /// affinity · (1 + bias).
    Factor,
}

/// How a gate chooses and weighs (arXiv 2412.19437, equations 12 to 20).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateRule {
    /// Of affinities.
    pub score: Score,
    /// Of the bias.
    pub bias_use: BiasUse,
    /// Groups of neighbours, of which only some may be chosen from; one is no limit.
    pub n_groups: i64,
    /// How many.
    pub picked: i64,
    /// A group is worth the sum of so many of its best, 1 or 2.
    pub best_of_group: i64,
    /// Experts of a token.
    pub top_k: i64,
    /// Whether weights of a token sum to one before they are scaled.
    pub normalise: bool,
    /// Of all weights.
    pub scale: f64,
}

/// The choice for t tokens.
#[derive(Debug)]
pub struct Gated {
    /// Affinities, `[t, e]`, differentiable.
    pub scores: Tensor,
    /// `[t, k]`, best first; of equals the lower index.
    pub experts: Tensor,
    /// `[t, k]`, differentiable.
    pub weights: Tensor,
}

/// Applies a gate to `logits`, `[t, e]` in FP32, with a bias, `[e]`, that takes part in the choice alone.
///
/// # Errors
/// When sizes do not belong together, e experts for four tokens do not fit a block's shared memory, or CUDA refuses.
pub fn gate(logits: &Tensor, bias: &Tensor, rule: &GateRule) -> Result<Gated, TorchError> {
    let outputs = apply(Gate { rule: *rule }, &[logits, bias])?;
    let [scores, weights, experts] =
        <[Tensor; 3]>::try_from(outputs).map_err(|_| TorchError::Refused { op: "gate", reason: "no three".into() })?;
    Ok(Gated { scores, experts, weights })
}

struct Gate {
    rule: GateRule,
}

impl Differentiable for Gate {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        let [logits, bias] = inputs else { return Err("a gate has logits and a bias".into()) };
        let [scores, experts, weights] = forward(&logits.contiguous(), &bias.contiguous(), &self.rule)?;
        let saved = vec![scores.shallow_clone(), experts.shallow_clone()];
        Ok(Forward { outputs: vec![scores, weights, experts], saved })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let [scores, experts] = saved else { return Err("a gate keeps scores and choices".into()) };
        let [dscores, dweights, ..] = gradients else { return Err("a gate has three outputs".into()) };
        let or_zeros = |gradient: &Option<Tensor>, like: &Tensor| {
            gradient.as_ref().map_or_else(|| like.zeros_like(), Tensor::contiguous).to_kind(Kind::Float)
        };
        let (dscores, dweights) = (or_zeros(dscores, scores), or_zeros(dweights, experts));
        Ok(vec![Some(backward(scores, experts, &dscores, &dweights, &self.rule)?), None])
    }
}

fn forward(logits: &Tensor, bias: &Tensor, rule: &GateRule) -> Result<[Tensor; 3], TorchError> {
    let (t, e) = logits.size2()?;
    check(logits, bias, rule, e)?;
    let options = (Kind::Float, logits.device());
    let (scores, weights) = (logits.empty_like(), Tensor::empty([t, rule.top_k], options));
    let experts = Tensor::empty([t, rule.top_k], (Kind::Int64, logits.device()));
    let int = |x: i64| Argument::Int(x as i32);
    let launch = Launch {
        kernel: "gate",
        blocks: (t + WARPS - 1) / WARPS,
        threads: 32 * WARPS as u32,
        shared_bytes: WARPS * (2 * e + rule.n_groups) * 4,
        arguments: &[
            Argument::Tensor(logits),
            Argument::Tensor(bias),
            Argument::Tensor(&scores),
            Argument::Tensor(&experts),
            Argument::Tensor(&weights),
            Argument::Long(t),
            int(e),
            int(rule.top_k),
            int(rule.score as i64),
            int(rule.bias_use as i64),
            int(rule.n_groups),
            int(rule.picked),
            int(rule.best_of_group),
            int(rule.normalise.into()),
            Argument::Float(rule.scale as f32),
        ],
    };
    launch.on(logits.device())?;
    Ok([scores, experts, weights])
}

fn backward(
    scores: &Tensor,
    experts: &Tensor,
    dscores: &Tensor,
    dweights: &Tensor,
    rule: &GateRule,
) -> Result<Tensor, TorchError> {
    let (t, e) = scores.size2()?;
    let dlogits = scores.empty_like();
    let int = |x: i64| Argument::Int(x as i32);
    let launch = Launch {
        kernel: "gate_back",
        blocks: (t + WARPS - 1) / WARPS,
        threads: 32 * WARPS as u32,
        shared_bytes: WARPS * e * 4,
        arguments: &[
            Argument::Tensor(scores),
            Argument::Tensor(experts),
            Argument::Tensor(dscores),
            Argument::Tensor(dweights),
            Argument::Tensor(&dlogits),
            Argument::Long(t),
            int(e),
            int(rule.top_k),
            int(rule.score as i64),
            int(rule.normalise.into()),
            Argument::Float(rule.scale as f32),
        ],
    };
    launch.on(scores.device())?;
    Ok(dlogits)
}

fn check(logits: &Tensor, bias: &Tensor, rule: &GateRule, e: i64) -> Result<(), TorchError> {
    let groups_fit = rule.n_groups >= 1 && e % rule.n_groups == 0 && (1..=rule.n_groups).contains(&rule.picked);
    let is_wide = logits.kind() == Kind::Float && bias.kind() == Kind::Float;
    if groups_fit && is_wide && bias.size() == [e] && (1..=e).contains(&rule.top_k) {
        return Ok(());
    }
    let reason = format!(
        "logits {:?} of {:?}, bias {:?} of {:?}, {rule:?}: FP32, equal groups, at most {e} of {e} experts",
        logits.size(),
        logits.kind(),
        bias.size(),
        bias.kind()
    );
    Err(TorchError::Refused { op: "gate", reason })
}
