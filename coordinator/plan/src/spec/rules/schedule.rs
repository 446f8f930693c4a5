//! Sizes that a pipeline schedule is made for; what a plan refuses, found earlier and with its line.

use super::Rule;
use crate::schedule::{fits_microbatches, fits_pipeline, fits_virtual};
use crate::spec::problem::Wrong;
use crate::spec::{JobSpec, ScheduleKind};

/// Stages of the model.
fn n_stages(spec: &JobSpec) -> u32 {
    let parallel = &spec.parallel;
    match parallel.schedule {
        kind if kind.is_looped() => parallel.pipeline * parallel.virtual_stages,
        ScheduleKind::ZbV | ScheduleKind::DualPipeV => 2 * parallel.pipeline,
        _ => parallel.pipeline,
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        needs: &["parallel.schedule", "parallel.virtual_stages"],
        broken: |spec, _| {
            let wrong = fits_virtual(spec.parallel.schedule, spec.parallel.virtual_stages).err()?;
            let hint = if spec.parallel.schedule.is_looped() {
                "write parallel.virtual_stages: 2, or more"
            } else {
                "leave parallel.virtual_stages out"
            };
            Some(Wrong::new(format!("does not fit: {wrong}")).hint(hint))
        },
    },
    Rule {
        needs: &["parallel.schedule", "parallel.pipeline"],
        broken: |spec, _| {
            let pipeline = spec.parallel.pipeline;
            let wrong = fits_pipeline(spec.parallel.schedule, pipeline).err()?;
            let hint = format!("write parallel.pipeline: {}, or schedule: dualpipe_v", pipeline + 1);
            Some(Wrong::new(format!("does not fit: {wrong}")).hint(hint))
        },
    },
    Rule {
        needs: &["parallel.schedule", "parallel.pipeline", "parallel.virtual_stages", "model.n_layers"],
        broken: |spec, _| {
            let (n_stages, n_layers) = (n_stages(spec), spec.model.n_layers);
            // Without more stages than pipeline ranks it is another rule's matter.
            (n_stages > n_layers && n_stages > spec.parallel.pipeline).then(|| {
                Wrong::new(format!(
                    "does not fit: it cuts the model into {n_stages} stages, each of a layer or more, \
                     model.n_layers is {n_layers}"
                ))
            })
        },
    },
    Rule {
        needs: &["parallel.schedule", "parallel.pipeline", "parallel.data", "train[].batch", "train[].microbatch"],
        broken: |spec, at| {
            let phase = &spec.train[at.phase];
            let n_microbatches = phase.batch / (spec.parallel.data * phase.microbatch);
            let wrong = fits_microbatches(spec.parallel.schedule, spec.parallel.pipeline, n_microbatches).err()?;
            let (batch, data, microbatch) = (phase.batch, spec.parallel.data, phase.microbatch);
            let hint =
                format!("a step has train[].batch {batch} / parallel.data {data} / microbatch {microbatch} of them");
            Some(Wrong::new(format!("does not fit: {wrong}")).hint(hint))
        },
    },
];
