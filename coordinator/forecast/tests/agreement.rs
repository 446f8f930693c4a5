//! The two ways to say how long a step takes agree on every schedule: the formula, and the simulator on a fabric.

use ds_forecast::hardware::hardware;
use ds_forecast::search::{Judge as _, Machine};
use ds_forecast::simulate::{Epoch, Options, PlannedStep, Skew, simulate};
use ds_plan::JobPlan;
use ds_plan::spec::{ScheduleKind, read};
use ds_topology::fabric::{Fabric, built_in};
use ds_topology::routing::{FabricRoutes, Policy};

/// DeepSeek-V3 on 512 GPUs, eight pipeline ranks of eight nodes each.
const JOB: &str = "version: 1\nkind: train\nname: test\nmodel: { preset: deepseek-v3 }\n\
    data: { train: /data/train, tokenizer: bytes }\n\
    parallel: { pipeline: 8, data: 64, expert: 64, zero: 1, recompute: norms }\n\
    train:\n  - { steps: 10, sequence: 4096, batch: 2048, microbatch: 1, learning_rate: { peak: 1.0e-3, warmup: 5 } }\n\
    precision: { compute: fp8, moments: bf16 }\ncluster: { device: cuda }\n";

#[test]
fn formula_and_simulator_agree_on_every_schedule() {
    let fabric = Fabric::parse(built_in("h800-mpft-2048").unwrap()).unwrap();
    let machine = Machine::new(hardware("H800").unwrap(), Some(&fabric));
    for kind in ScheduleKind::ALL {
        let mut sets = vec![("parallel.schedule".to_owned(), kind.to_string())];
        if kind.is_looped() {
            sets.push(("parallel.virtual_stages".to_owned(), "2".to_owned()));
        }
        let plan = JobPlan::new(read(JOB, "job.yaml", &sets).unwrap_or_else(|error| panic!("{error}")).spec).unwrap();
        let formula = machine.forecast(&plan).unwrap().seconds();
        let mut routes = FabricRoutes::new(fabric.clone(), Policy::Static);
        let step = PlannedStep::new(&plan, &machine.hardware, &Skew::Uniform, fabric.n_gpus()).unwrap();
        let mut epochs = [Epoch { from: 0.0, routes: &mut routes, down: Vec::new() }];
        let played = step.with(|job| simulate(job, &mut epochs, &Options::default())).unwrap().seconds();
        assert!((formula / played - 1.0).abs() < 0.08, "{kind}: {formula} s by formula, {played} s played");
    }
}
