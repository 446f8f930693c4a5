//! The slow twin: the whole step as one list of flows that wait for flows, for the flow simulator.

use std::sync::Arc;

use ds_topology::Routes;
use ds_topology::fabric::Fabric;
use ds_topology::flow::{Flow, FlowId, LinkId, Weighting, simulate as simulate_flows};
use ds_topology::routing::{FabricRoutes, Policy};

use super::super::event::Epoch;
use super::super::interleave::Costs;
use super::super::job::{Options, StepJob};
use super::super::program::{Does, Program};
use super::super::scene::Scene;
use super::super::strands::Strands;
use super::super::{Run, simulate};
use super::fabric::Planes;
use super::jobs::Owned;

/// When every operation of every rank ends, in the order of ranks and of their programs.
fn twin(job: &StepJob<'_>, epochs: &mut [Epoch<'_>], options: &Options) -> Vec<Vec<f64>> {
    let (scene, registry) = Scene::new(job, epochs[0].routes.endpoints_per_node());
    let strands = Strands::new(job, &scene, &mut epochs[0]).expect("paths");
    let costs = Costs::new(&scene, &strands);
    let programs: Vec<Program> =
        (0..job.actions.len()).map(|at| Program::new(job, at as u32, &registry, &costs)).collect();
    let per = job.per_pipeline;
    let mut first = vec![0_u32];
    for rank in 0..scene.n_ranks as u32 {
        first.push(first[rank as usize] + programs[(rank / per) as usize].ops.len() as u32);
    }
    // One flow for the end of every operation, then gates and messages.
    let node = |rank: u32, op: u32| FlowId(first[rank as usize] + op);
    let mut flows = vec![nothing(); first[scene.n_ranks] as usize];
    let slow = |rank: u32| options.stragglers.iter().find(|s| s.rank == rank).map_or(1.0, |s| s.factor);
    for (program, op) in programs.iter().flat_map(|p| p.ops.iter().zip(0..).map(move |(op, n)| (p, (op, n)))) {
        let (op, number) = op;
        let ranks = program.at * per..(program.at + 1) * per;
        for rank in ranks.clone() {
            flows[node(rank, number).0 as usize].deps.extend(op.deps.iter().map(|&dep| node(rank, dep)));
            if let Does::Compute { seconds, loads } = op.does {
                let load = loads.map_or(1.0, |l| scene.loads[l as usize][job.expert_place(rank) as usize]);
                flows[node(rank, number).0 as usize].delay = seconds * load * slow(rank);
            }
        }
        match op.does {
            Does::Meet(template) => {
                let template = &scene.templates[template as usize];
                for group in template.groups.clone() {
                    let members = &scene.groups[group as usize];
                    let deps = members.iter().flat_map(|&r| op.deps.iter().map(move |&dep| node(r, dep))).collect();
                    flows.push(Flow { deps, ..nothing() });
                    let gate = FlowId(flows.len() as u32 - 1);
                    for message in template.messages.clone() {
                        let m = scene.messages[message as usize];
                        if m.owner != group {
                            continue;
                        }
                        for flow in sent(&strands, &mut flows, message, &[gate]) {
                            flows[flow.0 as usize].delay = template.delay;
                            flows[node(m.from, number).0 as usize].deps.push(flow);
                            flows[node(m.to, number).0 as usize].deps.push(flow);
                        }
                    }
                    for &rank in members {
                        flows[node(rank, number).0 as usize].deps.push(gate);
                    }
                }
            }
            Does::Send { template, key } => {
                for message in scene.templates[template as usize].messages.clone() {
                    let m = scene.messages[message as usize];
                    let deps: Vec<FlowId> = op.deps.iter().map(|&dep| node(m.from, dep)).collect();
                    let receive = programs[(m.to / per) as usize].receives[&key];
                    for flow in sent(&strands, &mut flows, message, &deps) {
                        flows[node(m.to, receive).0 as usize].deps.push(flow);
                        flows[node(m.from, number).0 as usize].deps.push(flow);
                    }
                }
            }
            _ => (),
        }
    }
    let finish = simulate_flows(epochs[0].routes.network(), &flows, Weighting::Equal).expect("it runs").finish;
    (0..scene.n_ranks).map(|rank| finish[first[rank] as usize..first[rank + 1] as usize].to_vec()).collect()
}

/// The flows of a message.
fn sent(strands: &Strands, flows: &mut Vec<Flow>, message: u32, deps: &[FlowId]) -> Vec<FlowId> {
    let flow = |strand: usize| {
        let path = strands.path(strand).iter().map(|&link| LinkId(link)).collect();
        Flow { bytes: strands.bytes[strand], path, deps: deps.to_vec(), ..nothing() }
    };
    let first = flows.len() as u32;
    flows.extend(strands.of(message).map(flow));
    (first..flows.len() as u32).map(FlowId).collect()
}

fn nothing() -> Flow {
    Flow { bytes: 0.0, start: 0.0, delay: 0.0, deps: vec![], path: vec![] }
}

fn ends(run: &Run, rank: u32) -> Vec<f64> {
    (0..run.programs[run.pipeline(rank) as usize].ops.len()).map(|op| run.time(0, rank, op).2).collect()
}

/// With and without reuse, every operation of every rank ends when the flow simulator says.
fn agree<R: Routes>(job: &Owned, fabric: impl Fn() -> R, options: &Options) {
    job.with(|job| {
        let mut routes = fabric();
        let mut epochs = [Epoch { from: 0.0, routes: &mut routes, down: Vec::new() }];
        let expected = twin(job, &mut epochs, options);
        let mut played = Vec::new();
        for reuse in [true, false] {
            let run = simulate(job, &mut epochs, &Options { reuse, ..options.clone() }).expect("it runs");
            for rank in 0..run.n_ranks() {
                for (op, (found, expected)) in ends(&run, rank).iter().zip(&expected[rank as usize]).enumerate() {
                    let close = (found - expected).abs() <= 1e-10 * expected;
                    assert!(close, "rank {rank} op {op}: {found} is not {expected}, reuse {reuse}");
                }
            }
            played.push(run.n_ranks_played());
        }
        assert!(played[0] <= played[1]);
    });
}

#[test]
fn a_step_ends_when_the_flow_simulator_says() {
    let planes = || Planes::new(8, 4, 4, 2);
    agree(&Owned::new(2, 1, 16, 6), planes, &Options::default());
    agree(&Owned::new(2, 2, 8, 6), planes, &Options::default());
    agree(&Owned::new(4, 1, 8, 8).split(), planes, &Options::default());
}

#[test]
fn an_overlapped_step_ends_when_the_flow_simulator_says() {
    let planes = || Planes::new(8, 4, 4, 2);
    agree(&Owned::new(4, 1, 8, 8).overlapped(), planes, &Options::default());
    agree(&Owned::new(2, 2, 8, 6).overlapped(), planes, &Options::default());
}

#[test]
fn so_does_one_with_skewed_loads_a_straggler_and_a_slow_nic() {
    let options = Options { stragglers: vec![super::super::Straggler { rank: 5, factor: 1.3 }], ..Options::default() };
    agree(&Owned::new(2, 1, 16, 4).skewed(1.0), || Planes::new(8, 4, 4, 2), &Options::default());
    agree(&Owned::new(2, 2, 8, 4).overlapped(), || Planes::new(8, 4, 4, 2).slow_nic(9, 0.5), &options);
}

#[test]
fn so_does_one_that_is_sprayed_around_a_lost_nic() {
    let yaml = "{ version: 1, name: two leaves, nodes: 8, node: { gpus: 4, nics: 4,
        within: { kind: nvlink, bandwidth: 160GB/s, latency: 1us }, nic: { bandwidth: 400Gbps, latency: 1us } },
        network: { kind: multi_plane_fat_tree, planes: 4, radix: 8, link: { bandwidth: 400Gbps, latency: 400ns } },
        faults: [nic=node2/1] }";
    for policy in [Policy::Static, Policy::Spray] {
        let fabric = Arc::new(Fabric::parse(yaml).expect("a fabric"));
        let routes = || FabricRoutes::new(fabric.clone(), policy);
        agree(&Owned::new(2, 1, 16, 4), routes, &Options::default());
        agree(&Owned::new(2, 2, 8, 4).overlapped(), routes, &Options::default());
    }
}
