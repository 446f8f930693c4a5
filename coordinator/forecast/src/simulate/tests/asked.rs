use ds_plan::JobPlan;
use ds_plan::spec::read;
use ds_topology::fabric::Fabric;
use ds_topology::flow::LinkId;

use super::super::event::Epoch;
use super::super::{Change, Options, PlannedStep, Skew, WhatIf, simulate, states};
use crate::hardware::hardware;
use ds_topology::routing::{FabricRoutes, Policy};

const FABRIC: &str = "{ version: 1, name: two nodes, nodes: 2, node: { gpus: 4, nics: 4,
    within: { kind: nvlink, bandwidth: 160GB/s, latency: 1us }, nic: { bandwidth: 400Gbps, latency: 1us } },
    network: { kind: multi_plane_fat_tree, planes: 4, radix: 8, link: { bandwidth: 400Gbps, latency: 400ns } } }";

const JOB: &str = "
version: 1
kind: train
name: tiny
seed: 7
model: { preset: tiny }
data: { train: train.txt, tokenizer: bytes }
parallel: { pipeline: 2, expert: 4 }
train:
  - { steps: 20, sequence: 32, batch: 32, microbatch: 1, learning_rate: { peak: 1.0e-3, warmup: 5 } }
cluster: { device: cuda }
";

fn plan(sets: &[(&str, &str)]) -> JobPlan {
    let sets: Vec<(String, String)> = sets.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    JobPlan::new(read(JOB, "job.yaml", &sets).expect("it reads").spec).expect("a plan")
}

#[test]
fn what_is_asked_reads_as_it_is_written() {
    for text in ["plane=3:down@t=2s", "link=P2.h5.up:x0.5@t=1s", "nic=node1/2:down@t=0.5s", "plane=3:up@t=4s"] {
        let what_if: WhatIf = text.parse().expect("it reads");
        assert_eq!(what_if.to_string(), text);
    }
    let soon: WhatIf = "plane=3:down@t=250ms".parse().expect("it reads");
    assert_eq!(soon.at, 0.25);
    let first: WhatIf = "plane=3:down".parse().expect("it reads");
    assert_eq!(first.at, 0.0);
    for text in ["plane=3:down@2", "plane=3:down@t=-1s", "plane=3:down@t=soon", "plane:down@t=1s"] {
        assert!(text.parse::<WhatIf>().is_err(), "{text}");
    }
}

#[test]
fn a_fabric_goes_from_state_to_state() {
    let fabric = Fabric::parse(FABRIC).expect("a fabric");
    let asked = ["plane=1:down@t=1s", "plane=1:up@t=3s", "link=P2.h0.up:x0.5@t=2s"];
    let events: Vec<WhatIf> = asked.iter().map(|text| text.parse().expect("it reads")).collect();
    let states = states(&fabric, &events).expect("states");
    let up = |fabric: &Fabric| fabric.all_up();
    let froms: Vec<(f64, bool)> = states.iter().map(|(from, fabric)| (*from, up(fabric))).collect();
    assert_eq!(froms, [(0.0, true), (1.0, false), (2.0, false), (3.0, true)]);
    let slow = fabric.network().iter().position(|link| link.name == "P2.h0.up").expect("a link");
    let capacity = |state: usize| states[state].1.network()[slow].capacity;
    assert_eq!(capacity(1), 2.0 * capacity(2));
    assert_eq!(capacity(2), capacity(3));
    assert!(!states[0].1.is_down(LinkId(slow as u32)));
    let whole = WhatIf { at: 1.0, change: Change::IsRepaired("plane=2".to_owned()) };
    assert!(super::super::states(&fabric, &[whole]).is_err());
}

#[test]
fn every_schedule_of_a_plan_can_be_played() {
    let hardware = hardware("h800").expect("a machine");
    for schedule in ["1f1b", "gpipe", "zb_h1", "zb_v", "dualpipe", "dualpipe_v"] {
        let plan = plan(&[("parallel.schedule", schedule)]);
        let mut routes = FabricRoutes::new(Fabric::parse(FABRIC).expect("a fabric"), Policy::Static);
        let step = PlannedStep::new(&plan, &hardware, &Skew::Uniform, 8).expect("a step");
        let mut epochs = [Epoch { from: 0.0, routes: &mut routes, down: Vec::new() }];
        let run = step.with(|job| simulate(job, &mut epochs, &Options::default())).expect("it runs");
        let summary = run.summary(&|link| link.to_string());
        let sum: f64 = summary.phases.iter().map(|phase| phase.seconds).sum();
        assert!((sum - run.seconds()).abs() < 1e-9 * sum, "{schedule}: {summary:?}");
        for phase in &summary.phases {
            assert!(phase.bound_seconds <= phase.seconds * (1.0 + 1e-9), "{schedule}: {phase:?}");
        }
    }
}

#[test]
fn loads_of_another_model_are_refused() {
    let (plan, hardware) = (plan(&[]), hardware("h800").expect("a machine"));
    let refused = |loads: Vec<(u32, Vec<u64>)>| {
        PlannedStep::new(&plan, &hardware, &Skew::Recorded(loads), 8).expect_err("refused").to_string()
    };
    assert!(refused(vec![(0, vec![1; 8])]).starts_with("loads of layer 0: it is not a layer with experts"));
    assert!(refused(vec![(1, vec![1, 2])]).starts_with("loads of layer 1: 2 experts, the model has"));
}

#[test]
fn experts_that_have_moved_to_where_their_loads_ask_for_make_a_skewed_step_shorter() {
    let hardware = hardware("h800").expect("a machine");
    let seconds = |sets: &[(&str, &str)], skew: &Skew| {
        let plan = plan(sets);
        let mut routes = FabricRoutes::new(Fabric::parse(FABRIC).expect("a fabric"), Policy::Static);
        let step = PlannedStep::new(&plan, &hardware, skew, 8).expect("a step");
        let mut epochs = [Epoch { from: 0.0, routes: &mut routes, down: Vec::new() }];
        step.with(|job| simulate(job, &mut epochs, &Options::default())).expect("it runs").seconds()
    };
    let by_load = [("balance.placement", "eplb")];
    let spare = [("balance.placement", "eplb"), ("balance.redundant", "4")];
    let skew = Skew::Zipf(1.0);
    let (fixed, moved, replicated) = (seconds(&[], &skew), seconds(&by_load, &skew), seconds(&spare, &skew));
    assert!(moved < 0.99 * fixed && replicated <= moved * 1.01, "{fixed} {moved} {replicated}");
    assert_eq!(seconds(&[], &Skew::Uniform), seconds(&by_load, &Skew::Uniform));
}
