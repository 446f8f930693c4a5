//! What a simulated network needs, and what it cannot play.

use super::Rule;
use crate::spec::problem::Wrong;
use crate::spec::{DeviceKind, JobSpec, NetworkKind};

fn is_simulated(spec: &JobSpec) -> bool {
    spec.cluster.network == NetworkKind::Simulated
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        needs: &["cluster.network", "cluster.fabric"],
        broken: |spec, _| {
            (is_simulated(spec) && spec.cluster.fabric.is_none()).then(|| {
                Wrong::new("needs cluster.fabric, on whose seats the ranks are laid")
                    .hint("name one of deploy/fabrics, or write your own")
            })
        },
    },
    Rule {
        needs: &["cluster.network", "cluster.device"],
        broken: |spec, _| {
            (is_simulated(spec) && spec.cluster.device == DeviceKind::Cuda).then(|| {
                Wrong::new("needs cluster.device cpu, since its ranks are threads of one process")
                    .hint("cluster.hardware names the machine whose times are played")
            })
        },
    },
    Rule {
        needs: &["cluster.network", "parallel.context"],
        broken: |spec, _| {
            let context = spec.parallel.context;
            (is_simulated(spec) && context > 1).then(|| {
                Wrong::new(format!(
                    "cannot play what ranks that share a sequence send, parallel.context is {context}, it must be 1"
                ))
            })
        },
    },
];
