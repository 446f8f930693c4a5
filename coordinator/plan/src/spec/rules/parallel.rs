//! Axes of the grid that must fit each other and the model; what a plan refuses, found earlier and with its line.

use super::Rule;
use crate::refusal::{MOST_RANKS, fits_nodes};
use crate::spec::PlacementPolicy;
use crate::spec::problem::Wrong;

pub(super) const RULES: &[Rule] = &[
    Rule {
        needs: &["parallel", "parallel.pipeline", "parallel.data", "parallel.context", "parallel.tensor"],
        broken: |spec, _| {
            let p = &spec.parallel;
            let n: u64 = [p.pipeline, p.data, p.context, p.tensor].into_iter().map(u64::from).product();
            (n > u64::from(MOST_RANKS)).then(|| {
                let (pipeline, data, context, tensor) = (p.pipeline, p.data, p.context, p.tensor);
                Wrong::new(format!(
                    "pipeline {pipeline} x data {data} x context {context} x tensor {tensor} is more than {MOST_RANKS} ranks"
                ))
            })
        },
    },
    Rule {
        needs: &["parallel.pipeline", "model.n_layers"],
        broken: |spec, _| {
            let n_layers = spec.model.n_layers;
            (spec.parallel.pipeline > n_layers).then(|| {
                Wrong::new(format!("needs as many layers, model.n_layers is {n_layers}"))
                    .hint(format!("write at most {n_layers}"))
            })
        },
    },
    Rule {
        needs: &["parallel.expert", "model.moe.n_experts"],
        broken: |spec, _| {
            let n_experts = spec.model.moe.n_experts;
            (!n_experts.is_multiple_of(spec.parallel.expert)).then(|| {
                Wrong::new(format!("must divide model.moe.n_experts {n_experts}, since every rank holds as many"))
            })
        },
    },
    Rule {
        needs: &["cluster.gpus_per_node", "parallel.exchange", "parallel.expert", "parallel.tensor"],
        broken: |spec, _| {
            let (expert, tensor) = (spec.parallel.expert, spec.parallel.tensor);
            (!fits_nodes(spec)).then(|| {
                Wrong::new(format!(
                    "must be a multiple of parallel.expert {expert} x tensor {tensor}, or divide it and be a multiple of \
                     tensor, since every node has as many ranks of an expert group"
                ))
            })
        },
    },
    Rule {
        needs: &["balance.redundant", "balance.placement", "parallel.expert", "model.moe.n_experts"],
        broken: |spec, _| {
            let PlacementPolicy::Eplb { redundant, .. } = spec.balance.placement else { return None };
            let (expert, n_experts) = (spec.parallel.expert, spec.model.moe.n_experts);
            (!(u64::from(n_experts) + u64::from(redundant)).is_multiple_of(expert.into())).then(|| {
                let (below, above) = (redundant / expert * expert, redundant.div_ceil(expert) * expert);
                Wrong::new(format!(
                    "with model.moe.n_experts {n_experts} makes {} slots, which must be a multiple of parallel.expert \
                     {expert}, since every rank holds as many",
                    n_experts + redundant
                ))
                .hint(format!("write {below} or {above}"))
            })
        },
    },
    Rule {
        needs: &["parallel.expert", "parallel.data", "parallel.context"],
        broken: |spec, _| {
            let (data, context) = (spec.parallel.data, spec.parallel.context);
            (!(u64::from(data) * u64::from(context)).is_multiple_of(spec.parallel.expert.into())).then(|| {
                Wrong::new(format!("must divide data {data} x context {context}, since experts are spread over them"))
            })
        },
    },
];
