//! Which experts a token goes to (arXiv 2412.19437, equations 12 to 20), in FP32 at least.

use ds_arch::{BiasUse, GateScore, GroupLimit, GroupScore, MoeConfig};
use ds_kernels::cuda::{self, GateRule, Score};
use tch::{Kind, Tensor};

use crate::{ModelError, SequenceExchange};

/// The gate of one layer, applied to n tokens.
#[derive(Debug)]
pub struct Chosen {
    /// `[n, e]`, differentiable.
    pub logits: Tensor,
    /// Affinities, `[n, e]`, differentiable.
    pub scores: Tensor,
    /// `[n, k]`, best first; of equal scores the lower index.
    pub experts: Tensor,
    /// `[n, k]`, differentiable.
    pub weights: Tensor,
}

/// Who chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The gate.
    Gate,
    /// Nobody: experts take turns, k neighbours a token, so that all get the same load. For benchmarks.
    Turns,
}

/// Chooses experts for `x`, `[n, d]`, by a gate of weight `[e, d]`. The bias, `[e]`, takes part in the choice only; the
/// gate computes in its format.
///
/// # Panics
/// When LibTorch or CUDA refuses.
pub fn choose(moe: &MoeConfig, x: &Tensor, weight: &Tensor, bias: &Tensor, choice: Choice) -> Chosen {
    let kind = bias.kind();
    let logits = x.to_kind(kind).matmul(&weight.to_kind(kind).tr());
    if choice == Choice::Gate && cuda::takes(&logits) {
        return on_card(moe, logits, bias);
    }
    let scores = match moe.score {
        GateScore::Sigmoid => logits.sigmoid(),
        GateScore::Softmax => logits.softmax(-1, None::<Kind>),
    };
    let experts = match (choice, moe.bias) {
        (Choice::Turns, _) => turns(moe, &scores),
        (Choice::Gate, BiasUse::Added) => best(moe, &(scores.detach() + bias)),
        (Choice::Gate, BiasUse::Factor) => best(moe, &(scores.detach() * (bias + 1.0))),
    };
    let mut weights = scores.gather(1, &experts, false);
    if moe.normalise {
        // The tiny term keeps scores that are all zero finite and changes no others.
        weights = &weights / (weights.sum_dim_intlist([-1_i64].as_slice(), true, None::<Kind>) + 1e-20);
    }
    Chosen { weights: weights * moe.route_scale, logits, scores, experts }
}

/// The same by one kernel each way.
fn on_card(moe: &MoeConfig, logits: Tensor, bias: &Tensor) -> Chosen {
    let (n_groups, picked) = match moe.groups {
        GroupLimit::AnyGroup => (1, 1),
        GroupLimit::AtMost { n_groups, picked } => (n_groups, picked),
    };
    let rule = GateRule {
        score: match moe.score {
            GateScore::Sigmoid => Score::Sigmoid,
            GateScore::Softmax => Score::Softmax,
        },
        bias_use: match moe.bias {
            BiasUse::Added => cuda::BiasUse::Added,
            BiasUse::Factor => cuda::BiasUse::Factor,
        },
        n_groups: n_groups.into(),
        picked: picked.into(),
        best_of_group: match moe.group_score {
            GroupScore::TwoBest => 2,
            GroupScore::Best => 1,
        },
        top_k: moe.top_k.into(),
        normalise: moe.normalise,
        scale: moe.route_scale,
    };
    let gated = cuda::gate(&logits, bias, &rule).unwrap_or_else(|error| panic!("{error}"));
    Chosen { logits, scores: gated.scores, experts: gated.experts, weights: gated.weights }
}

/// Experts in turn, `[n, k]`.
fn turns(moe: &MoeConfig, scores: &Tensor) -> Tensor {
    let (n, k) = (scores.size()[0], i64::from(moe.top_k));
    let turn = Tensor::arange(n * k, (Kind::Int64, scores.device()));
    turn.remainder(i64::from(moe.n_experts)).view([n, k])
}

/// The k best experts of the best groups, `[n, k]`.
fn best(moe: &MoeConfig, biased: &Tensor) -> Tensor {
    let allowed = match moe.groups {
        GroupLimit::AnyGroup => biased.shallow_clone(),
        GroupLimit::AtMost { n_groups, picked } => {
            let (n_groups, size) = (i64::from(n_groups), i64::from(moe.n_experts / n_groups));
            let grouped = biased.view([-1, n_groups, size]);
            let n_best = match moe.group_score {
                GroupScore::TwoBest => size.min(2),
                GroupScore::Best => 1,
            };
            let (top, _) = grouped.topk(n_best, -1, true, false);
            let groups = first(&top.sum_dim_intlist([-1_i64].as_slice(), false, None::<Kind>), picked);
            let all = Tensor::ones([biased.size()[0], n_groups], (Kind::Bool, biased.device()));
            let barred = all.scatter_value(1, &groups, 0);
            grouped.masked_fill(&barred.unsqueeze(-1), f64::NEG_INFINITY).view_as(biased)
        }
    };
    first(&allowed, moe.top_k)
}

/// Indices of the `n` greatest of each row, greatest first; of equals the lower index.
fn first(values: &Tensor, n: u32) -> Tensor {
    let (_, order) = values.sort_stable(true, -1, true);
    order.narrow(-1, 0, n.into())
}

/// The k best of the scores as they are, without bias and groups: what equation 18 counts, `[n, k]`.
pub fn unbiased_choices(moe: &MoeConfig, scores: &Tensor) -> Tensor {
    scores.detach().topk(moe.top_k.into(), -1, true, false).1
}

/// Sum over `b` sequences of Σ_i f_i P_i (equations 17 to 20, without α), differentiable through P. f counts `choices`,
/// `[n, k]`. All tokens as one sequence give the balance of a whole batch (arXiv 2405.04434, the released gate's other
/// way).
pub fn balance(moe: &MoeConfig, scores: &Tensor, choices: &Tensor, b: i64) -> Tensor {
    balance_of_share(moe, scores, choices, b, None).expect("nobody else is asked")
}

/// This rank's part of [`balance`], whose sum over the ranks that share the sequences is the whole: f counts the tokens of
/// all, P those here.
pub(crate) fn balance_of_share(
    moe: &MoeConfig,
    scores: &Tensor,
    choices: &Tensor,
    b: i64,
    sequences: Option<&dyn SequenceExchange>,
) -> Result<Tensor, ModelError> {
    let (k, e) = (i64::from(moe.top_k), i64::from(moe.n_experts));
    let by_sequence = scores.reshape([b, -1, e]);
    let here = by_sequence.size()[1];
    let top = choices.reshape([b, here * k]);
    let ones = Tensor::ones_like(&top).to_kind(scores.kind());
    let mut counts = Tensor::zeros([b, e], (scores.kind(), scores.device())).scatter_add(1, &top, &ones);
    let mut t = here;
    if let Some(sequences) = sequences {
        counts = sequences.sum(&counts)?;
        t *= sequences.share().n as i64;
    }
    let shares = &by_sequence / by_sequence.sum_dim_intlist([-1_i64].as_slice(), true, None::<Kind>);
    let means = shares.mean_dim([1_i64].as_slice(), false, None::<Kind>) * (here as f64 / t as f64);
    Ok((counts * (e as f64 / (k * t) as f64) * means).sum(None::<Kind>))
}

/// Tokens that each expert got, `[e]` in f64; those whose target is not `counts` are left out. `counts` is `[n]`.
pub(crate) fn loads(moe: &MoeConfig, experts: &Tensor, counts: &Tensor) -> Tensor {
    let weights = counts.to_kind(Kind::Double).unsqueeze(1).expand_as(experts).reshape([-1]);
    experts.reshape([-1]).bincount(Some(weights), i64::from(moe.n_experts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn moe(n_experts: u32, top_k: u32, groups: GroupLimit) -> MoeConfig {
        let mut moe = ds_arch::preset("tiny").unwrap().moe;
        (moe.n_experts, moe.top_k, moe.groups) = (n_experts, top_k, groups);
        moe
    }

    fn picked(moe: &MoeConfig, biased: &[f64]) -> Vec<i64> {
        Vec::try_from(best(moe, &Tensor::from_slice(biased).unsqueeze(0)).squeeze_dim(0)).unwrap()
    }

    #[test]
    fn groups_compete_by_the_sum_of_their_two_best() {
        // The best expert stands in a group whose second best is poor.
        let biased = [0.9, 0.0, 0.0, 0.6, 0.5, 0.1, 0.4, 0.3, 0.2];
        assert_eq!(picked(&moe(9, 3, GroupLimit::AnyGroup), &biased), [0, 3, 4]);
        assert_eq!(picked(&moe(9, 3, GroupLimit::AtMost { n_groups: 3, picked: 1 }), &biased), [3, 4, 5]);
        assert_eq!(picked(&moe(9, 3, GroupLimit::AtMost { n_groups: 3, picked: 2 }), &biased), [0, 3, 4]);
    }

    #[test]
    fn of_equal_experts_and_groups_the_lower_wins() {
        let equal = [0.5; 8];
        assert_eq!(picked(&moe(8, 3, GroupLimit::AnyGroup), &equal), [0, 1, 2]);
        assert_eq!(picked(&moe(8, 3, GroupLimit::AtMost { n_groups: 4, picked: 2 }), &equal), [0, 1, 2]);
    }

    #[test]
    fn groups_of_negative_scores_still_beat_barred_ones() {
        let biased = [-0.9, -0.8, -0.1, -0.2];
        assert_eq!(picked(&moe(4, 2, GroupLimit::AtMost { n_groups: 2, picked: 1 }), &biased), [2, 3]);
    }

    #[test]
    fn the_bias_chooses_but_does_not_weigh() {
        let config = MoeConfig { route_scale: 2.0, normalise: true, ..moe(4, 2, GroupLimit::AnyGroup) };
        let logits = Tensor::from_slice(&[2.0, 1.0, 0.0, -1.0]).unsqueeze(0);
        let bias = Tensor::from_slice(&[0.0, 0.0, 0.0, 5.0]);
        let chosen = choose(&config, &logits, &Tensor::eye(4, (Kind::Double, Device::Cpu)), &bias, Choice::Gate);
        assert_eq!(Vec::<i64>::try_from(chosen.experts.get(0)).unwrap(), [3, 0]);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let sum = sigmoid(2.0) + sigmoid(-1.0);
        let weights = Vec::<f64>::try_from(chosen.weights.get(0)).unwrap();
        assert!((weights[0] - 2.0 * sigmoid(-1.0) / sum).abs() < 1e-12);
        assert!((weights[1] - 2.0 * sigmoid(2.0) / sum).abs() < 1e-12);
    }

    #[test]
    fn even_choices_give_a_balance_term_of_one() {
        let config = moe(4, 1, GroupLimit::AnyGroup);
        let scores = Tensor::eye(4, (Kind::Double, Device::Cpu)).repeat([2, 1]);
        assert!(
            (balance(&config, &scores, &unbiased_choices(&config, &scores), 1).double_value(&[]) - 1.0).abs() < 1e-12
        );
        let one_expert = scores.get(0).expand([8, 4], false);
        assert!(
            (balance(&config, &one_expert, &unbiased_choices(&config, &one_expert), 1).double_value(&[]) - 4.0).abs()
                < 1e-12
        );
    }

    #[test]
    fn a_group_may_be_worth_its_best_expert_alone() {
        let biased = [0.9, 0.0, 0.0, 0.6, 0.5, 0.1, 0.4, 0.3, 0.2];
        let limit = GroupLimit::AtMost { n_groups: 3, picked: 1 };
        let config = MoeConfig { group_score: GroupScore::Best, ..moe(9, 3, limit) };
        assert_eq!(picked(&config, &biased), [0, 1, 2]);
    }

    #[test]
    fn a_factor_of_zero_bias_changes_nothing_and_minus_one_bars() {
        let config = MoeConfig { bias: BiasUse::Factor, ..moe(4, 2, GroupLimit::AnyGroup) };
        let logits = Tensor::from_slice(&[2.0, 1.0, 0.0, -1.0]).unsqueeze(0);
        let eye = Tensor::eye(4, (Kind::Double, Device::Cpu));
        let experts = |bias: [f64; 4]| {
            let chosen = choose(&config, &logits, &eye, &Tensor::from_slice(&bias), Choice::Gate);
            Vec::<i64>::try_from(chosen.experts.get(0)).unwrap()
        };
        assert_eq!(experts([0.0; 4]), [0, 1]);
        assert_eq!(experts([-1.0, 0.0, 0.0, 0.0]), [1, 2]);
    }

    #[test]
    fn turns_load_all_experts_alike() {
        let config = moe(8, 2, GroupLimit::AtMost { n_groups: 4, picked: 2 });
        let logits = Tensor::zeros([12, 8], (Kind::Double, Device::Cpu));
        let eye = Tensor::eye(8, (Kind::Double, Device::Cpu));
        let chosen = choose(&config, &logits, &eye, &Tensor::zeros([8], (Kind::Double, Device::Cpu)), Choice::Turns);
        let load = loads(&config, &chosen.experts, &Tensor::ones([12], (Kind::Bool, Device::Cpu)));
        assert_eq!(Vec::<f64>::try_from(load).unwrap(), [3.0; 8]);
    }
}
