//! Which experts a token goes to (arXiv 2412.19437, equations 12 to 20), in FP32 at least.

use ds_arch::{GateScore, GroupLimit, MoeConfig};
use tch::{Kind, Tensor};

/// The gate of one layer, applied.
pub(crate) struct Chosen {
    /// `[n, k]`, best first; of equal scores the lower index.
    pub(crate) experts: Tensor,
    /// `[n, k]`, differentiable.
    pub(crate) weights: Tensor,
    /// Affinities of all experts, `[n, e]`, differentiable.
    pub(crate) scores: Tensor,
}

/// Chooses experts for `x`, `[n, d]`. The bias, `[e]`, takes part in the choice only.
pub(crate) fn choose(moe: &MoeConfig, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Chosen {
    let kind = bias.kind();
    let logits = x.to_kind(kind).matmul(&weight.to_kind(kind).tr());
    let scores = match moe.score {
        GateScore::Sigmoid => logits.sigmoid(),
        GateScore::Softmax => logits.softmax(-1, None::<Kind>),
    };
    let experts = best(moe, &(scores.detach() + bias));
    let mut weights = scores.gather(1, &experts, false);
    if moe.normalise {
        // The tiny term keeps scores that are all zero finite and changes no others.
        weights = &weights / (weights.sum_dim_intlist([-1_i64].as_slice(), true, None::<Kind>) + 1e-20);
    }
    Chosen { experts, weights: weights * moe.route_scale, scores }
}

/// The k best experts of the best groups, `[n, k]`.
fn best(moe: &MoeConfig, biased: &Tensor) -> Tensor {
    let allowed = match moe.groups {
        GroupLimit::AnyGroup => biased.shallow_clone(),
        GroupLimit::AtMost { n_groups, picked } => {
            let (n_groups, size) = (i64::from(n_groups), i64::from(moe.n_experts / n_groups));
            let grouped = biased.view([-1, n_groups, size]);
            let (top, _) = grouped.topk(size.min(2), -1, true, false);
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
pub(crate) fn unbiased_choices(moe: &MoeConfig, scores: &Tensor) -> Tensor {
    scores.detach().topk(moe.top_k.into(), -1, true, false).1
}

/// Sum over `b` sequences of Σ_i f_i P_i (equations 17 to 20, without α), differentiable through P. f counts `choices`,
/// `[n, k]`.
pub(crate) fn sequence_balance(moe: &MoeConfig, scores: &Tensor, choices: &Tensor, b: i64) -> Tensor {
    let (k, e) = (i64::from(moe.top_k), i64::from(moe.n_experts));
    let sequences = scores.view([b, -1, e]);
    let t = sequences.size()[1];
    let top = choices.view([b, t * k]);
    let ones = Tensor::ones_like(&top).to_kind(scores.kind());
    let counts = Tensor::zeros([b, e], (scores.kind(), scores.device())).scatter_add(1, &top, &ones);
    let shares = &sequences / sequences.sum_dim_intlist([-1_i64].as_slice(), true, None::<Kind>);
    let means = shares.mean_dim([1_i64].as_slice(), false, None::<Kind>);
    (counts * (e as f64 / (k * t) as f64) * means).sum(None::<Kind>)
}

/// Tokens that each expert got, `[e]` in f64; those whose target is not `counts` are left out. `counts` is `[n]`.
pub(crate) fn loads(moe: &MoeConfig, experts: &Tensor, counts: &Tensor) -> Tensor {
    let weights = counts.to_kind(Kind::Double).unsqueeze(1).expand_as(experts).reshape([-1]);
    experts.reshape([-1]).bincount(Some(weights), i64::from(moe.n_experts))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, env, fs, path::Path};

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
        let chosen = choose(&config, &logits, &Tensor::eye(4, (Kind::Double, Device::Cpu)), &bias);
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
            (sequence_balance(&config, &scores, &unbiased_choices(&config, &scores), 1).double_value(&[]) - 1.0).abs()
                < 1e-12
        );
        let one_expert = scores.get(0).expand([8, 4], false);
        assert!(
            (sequence_balance(&config, &one_expert, &unbiased_choices(&config, &one_expert), 1).double_value(&[])
                - 4.0)
                .abs()
                < 1e-12
        );
    }

    #[test]
    #[ignore = "needs the folder of golden data in DSCTL_GOLDEN"]
    fn choices_and_weights_are_those_of_the_released_gate() {
        let folder = env::var("DSCTL_GOLDEN").expect("DSCTL_GOLDEN");
        let folder = Path::new(&folder).join("gate");
        let cases: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(folder.join("gate.json")).unwrap()).unwrap();
        let tensors: HashMap<String, Tensor> =
            Tensor::read_safetensors(folder.join("gate.safetensors")).unwrap().into_iter().collect();
        let mut checked = 0;
        for (case, about) in cases.as_object().unwrap() {
            let (Some(bias), Some(experts)) =
                (tensors.get(&format!("{case}.bias")), tensors.get(&format!("{case}.indices")))
            else {
                continue;
            };
            if case == "ties_all_equal" {
                continue; // The released gate's order of equals is that of an unstable sort.
            }
            let number = |field: &str| about[field].as_u64().unwrap() as u32;
            let groups = match number("n_groups") {
                1 => GroupLimit::AnyGroup,
                n_groups => GroupLimit::AtMost { n_groups, picked: number("topk_groups") },
            };
            let softmax = about["score_func"] == "softmax";
            let config = MoeConfig {
                score: if softmax { GateScore::Softmax } else { GateScore::Sigmoid },
                normalise: !softmax,
                route_scale: about["route_scale"].as_f64().unwrap(),
                ..moe(number("n_experts"), number("topk"), groups)
            };
            let identity = Tensor::eye(i64::from(config.n_experts), (Kind::Float, Device::Cpu));
            let chosen = choose(&config, &tensors[&format!("{case}.logits")], &identity, bias);
            assert_eq!(&chosen.experts, experts, "{case}");
            assert!(chosen.weights.allclose(&tensors[&format!("{case}.weights")], 1e-6, 1e-7, false), "{case}");
            checked += 1;
        }
        assert!(checked >= 10, "{checked} cases");
    }

    #[test]
    #[ignore = "needs the folder of golden data in DSCTL_GOLDEN"]
    fn the_balance_term_and_its_gradient_are_the_golden_ones() {
        let folder = env::var("DSCTL_GOLDEN").expect("DSCTL_GOLDEN");
        let tensors: HashMap<String, Tensor> =
            Tensor::read_safetensors(Path::new(&folder).join("gate/gate.safetensors")).unwrap().into_iter().collect();
        let golden = |name: &str| tensors[&format!("seq_aux_v3.{name}")].shallow_clone();
        let logits = golden("logits").set_requires_grad(true);
        let (b, alpha) = (logits.size()[0], 1e-4);
        let scores = logits.sigmoid().view([-1, 16]);
        // The golden term counts the choices that were made, bias and all; ours those of equation 18.
        let choices = golden("indices_sorted_by_id").reshape([-1, 4]);
        let loss = sequence_balance(&moe(16, 4, GroupLimit::AnyGroup), &scores, &choices, b) * (alpha / b as f64);
        loss.backward();
        assert!(loss.allclose(&golden("loss").squeeze(), 1e-5, 1e-12, false));
        assert!(logits.grad().allclose(&golden("grad_logits"), 1e-4, 1e-10, false));
    }
}
