//! How long the step simulator takes for steps of DeepSeek-V3's shape: EP64 × PP16, DualPipe, 120 microbatches a
//! pipeline, on a multi-plane fabric. `cargo run --release -p ds-forecast --example scale -- FABRIC.yaml [zipf|jitter|plane|nic|link]...`
//! What-ifs such as `nic=node5/2:down@t=2s` are each evaluated again from the same base, and timed.
//!
//! Compute times are those of one MoE layer in DeepSeek's published trace (deepseek-ai/profile-data, train.json).

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use ds_arch::LayerId;
use ds_forecast::simulate::{Base, Closing, Epoch, Moe, Options, Run, StepJob, WhatIf, states};
use ds_forecast::{Exchange, Part, PassWork, StageWork};
use ds_plan::schedule::Schedule;
use ds_plan::spec::ScheduleKind;
use ds_topology::EndpointId;
use ds_topology::fabric::Fabric;
use ds_topology::routing::{FabricRoutes, Policy};
use ds_topology::traffic::moe::{Forwarding, Gate, Mode, Popularity, RowFormat};

const LAYERS_PER_STAGE: u32 = 4;
const WIDTH: u32 = 7168;
const TOKENS: f64 = 4096.0;

fn compute(label: &'static str, milliseconds: f64) -> Part {
    Part::Compute { label, seconds: milliseconds * 1e-3, experts_of: None }
}

fn experts(layer: LayerId, milliseconds: f64) -> Part {
    Part::Compute { label: "experts", seconds: milliseconds * 1e-3, experts_of: Some(layer) }
}

fn stage(number: u32) -> StageWork {
    let layers = || (number * LAYERS_PER_STAGE..(number + 1) * LAYERS_PER_STAGE).map(LayerId);
    let (fp8, bf16) = (RowFormat::Fp8.row_bytes(WIDTH), RowFormat::Bf16.row_bytes(WIDTH));
    let dispatch = |layer| Part::Exchange { layer, exchange: Exchange::Dispatch, row_bytes: fp8 };
    let combine = |layer| Part::Exchange { layer, exchange: Exchange::Combine, row_bytes: bf16 };
    let forward = layers().flat_map(|l| [compute("attention", 4.36), dispatch(l), experts(l, 4.60), combine(l)]);
    let input = layers().rev().flat_map(|l| [dispatch(l), experts(l, 5.31), combine(l), compute("attention", 9.34)]);
    let weight = layers().rev().flat_map(|l| [experts(l, 3.54), compute("attention", 2.39)]);
    StageWork {
        forward: PassWork { parts: forward.collect() },
        backward_input: PassWork { parts: input.collect() },
        backward_weight: PassWork { parts: weight.collect() },
        boundary_bytes: TOKENS * f64::from(WIDTH) * 2.0,
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(said) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stdout().lock(), "{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr().lock(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, Box<dyn std::error::Error>> {
    let (path, asked) = arguments.split_first().ok_or("which fabric?")?;
    let asks = |what: &str| asked.iter().any(|asked| asked == what);
    let mut fabric = Fabric::parse(&std::fs::read_to_string(path)?)?;
    for (what, fault) in [("plane", "plane=3"), ("nic", "nic=node5/2"), ("link", "link=P2.l0s1.up")] {
        if asks(what) {
            fabric = fabric.with_faults(&[fault.parse()?])?;
        }
    }
    let what_ifs = asked.iter().filter(|asked| asked.contains('=')).map(|asked| asked.parse());
    let what_ifs: Vec<WhatIf> = what_ifs.collect::<Result<_, _>>()?;
    let mut routes = FabricRoutes::new(Arc::new(fabric.clone()), Policy::Static);
    let (pipeline, microbatches, expert) = (16, 120, 64);
    let n_ranks = routes.fabric().n_gpus();
    let schedule = Schedule::new(ScheduleKind::DualPipe, pipeline, 1, microbatches)?;
    let stages: Vec<StageWork> = (0..pipeline).map(stage).collect();
    let layers = u64::from(pipeline * LAYERS_PER_STAGE);
    let popularity =
        if asks("zipf") { (0..layers).map(|layer| Popularity::zipf(256, 0.5, layer)).collect() } else { Vec::new() };
    let closing = Closing {
        dense_gradient_bytes: 3e9,
        expert_gradient_bytes: 11e9,
        dense_weight_bytes: 1.5e9,
        expert_weight_bytes: 5.5e9,
        optimizer_seconds: 0.01,
    };
    let job = StepJob {
        actions: &schedule.actions,
        placement: schedule.placement,
        stages: &stages,
        per_pipeline: n_ranks / pipeline,
        tensor: 1,
        expert_ranks: expert,
        seats: &(0..n_ranks).map(EndpointId).collect::<Vec<_>>(),
        moe: Some(Moe {
            gate: Gate::new(256, 8, 8, 4)?,
            mode: Mode::Deduplicated(Forwarding::CutThrough),
            tokens: TOKENS,
            overhead_seconds: 0.0,
            busiest: 1.0,
            popularity,
            placements: Vec::new(),
            seed: 1,
        }),
        left_beside_exchange: 1.0,
        stretch_beside_compute: 1.0,
        closing: &vec![closing; pipeline as usize],
        copies: &[],
    };
    let down = fabric.down().to_vec();
    let jitter = if asks("jitter") { 0.02 } else { 0.0 };
    let options = Options { jitter, reuse: !asks("each"), ..Options::default() };
    let began = now();
    let base = Base::new(&job, &mut Epoch { from: 0.0, routes: &mut routes, down }, &options)?;
    let ready = began.elapsed().as_secs_f64();
    let run = base.then(&mut [])?;
    let whole = began.elapsed().as_secs_f64();
    let mut lines = vec![told(&run), format!("evaluated in {whole:.4} s, {ready:.4} s of them to get ready")];
    for what_if in what_ifs {
        let began = now();
        let mut later: Vec<(f64, FabricRoutes)> = states(&fabric, std::slice::from_ref(&what_if))?
            .into_iter()
            .skip_while(|(from, _)| *from < what_if.at)
            .map(|(from, fabric)| (from, FabricRoutes::new(fabric, Policy::Static)))
            .collect();
        let down: Vec<Vec<bool>> = later.iter().map(|(_, routes)| routes.fabric().down().to_vec()).collect();
        let mut later: Vec<Epoch<'_>> =
            later.iter_mut().zip(down).map(|((from, routes), down)| Epoch { from: *from, routes, down }).collect();
        let run = base.then(&mut later)?;
        let seconds = began.elapsed().as_secs_f64();
        lines.push(format!("{what_if}: {}", told(&run)));
        lines.push(format!("evaluated in {seconds:.4} s, {:.0}% of the base", 100.0 * seconds / whole));
    }
    Ok(lines.join("\n"))
}

#[expect(clippy::disallowed_methods, reason = "how long it takes is what is asked")]
fn now() -> Instant {
    Instant::now()
}

fn told(run: &Run) -> String {
    format!(
        "{} ranks, {} played: {:.3} s a step, {} strands played",
        run.n_ranks(),
        run.n_ranks_played(),
        run.seconds(),
        run.n_played
    )
}
