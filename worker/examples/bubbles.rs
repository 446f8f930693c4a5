//! Measured idle time of pipelines beside what the plan says, on stages of equal cost: what a piece computes is a sleep, all
//! else (actions, sends, receives) is what training runs.
//! `bubbles [--pipeline 4] [--microbatches 16] [--unit-ms 4] [--rounds 3]`; a forward pass of a whole rank's layers takes a
//! unit, either half of backward another.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that prints what it measured; its work is sleep"
)]

use std::collections::HashMap;
use std::error::Error;
use std::thread;
use std::time::Duration;

use ds_plan::schedule::{Action, Pass, Piece, Schedule, timeline};
use ds_plan::spec::ScheduleKind;
use ds_plan::{GroupId, RankId};
use ds_worker::comm::{self, Endpoint};
use ds_worker::error::RankError;
use ds_worker::step::{Executor, Ledger, Pipeline, Worker, now};
use tch::{Device, Kind, Tensor};

const STREAM: [i64; 3] = [1, 8, 16];

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let given: HashMap<&str, &str> = words.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let of = |key: &str, otherwise: u32| given.get(key).map_or(Ok(otherwise), |word| word.parse());
    let (pipeline, microbatches) = (of("--pipeline", 4)?, of("--microbatches", 16)?);
    let (unit_ms, rounds) = (of("--unit-ms", 4)?, of("--rounds", 3)?);
    println!(
        "| schedule, {pipeline} ranks, {microbatches} microbatches | idle, plan | idle, measured | apart, points | executor |"
    );
    println!("|---|---|---|---|---|");
    for kind in ScheduleKind::ALL {
        let n_virtual = if kind.is_looped() { 2 } else { 1 };
        let schedule = Schedule::new(kind, pipeline, n_virtual, microbatches)?;
        // Microseconds of a unit on one stage.
        let unit = u64::from(unit_ms * 1000 * pipeline / schedule.placement.n_stages());
        let cost = |action: Action| action.pieces().map(|piece| units(piece) * unit).sum();
        let planned = timeline(&schedule.actions, schedule.placement, cost)?.bubble_share();
        let mut runs: Vec<Measured> = (0..rounds).map(|_| step(&schedule, unit)).collect::<Result<_, _>>()?;
        runs.sort_by(|a, b| a.idle.total_cmp(&b.idle));
        let Measured { idle, executor } = runs[runs.len() / 2];
        let percent = |share: f64| 100.0 * share;
        println!(
            "| {kind} | {:.1}% | {:.1}% | {:+.1} | {:.2}% |",
            percent(planned),
            percent(idle),
            percent(idle - planned),
            percent(executor)
        );
    }
    Ok(())
}

fn units(piece: Piece) -> u64 {
    match piece.pass {
        Pass::Forward | Pass::BackwardInput | Pass::BackwardWeight => 1,
        Pass::Backward => 2,
    }
}

/// Shares of a step.
#[derive(Clone, Copy)]
struct Measured {
    /// Of all ranks' time until the last has ended.
    idle: f64,
    /// What ranks spent neither on pieces nor on waiting.
    executor: f64,
}

fn step(schedule: &Schedule, unit_us: u64) -> Result<Measured, RankError> {
    let endpoints = comm::threads(schedule.actions.len());
    let of_ranks: Vec<Result<[f64; 3], RankError>> = thread::scope(|scope| {
        let ranks: Vec<_> =
            endpoints.into_iter().map(|endpoint| scope.spawn(move || rank(schedule, unit_us, endpoint))).collect();
        ranks.into_iter().map(|rank| rank.join().expect("no rank panics")).collect()
    });
    let of_ranks: Vec<[f64; 3]> = of_ranks.into_iter().collect::<Result<_, _>>()?;
    let all = of_ranks.iter().map(|[whole, ..]| whole).copied().fold(0.0, f64::max) * of_ranks.len() as f64;
    let sum = |of: fn(&[f64; 3]) -> f64| of_ranks.iter().map(of).sum::<f64>();
    Ok(Measured { idle: 1.0 - sum(|r| r[1]) / all, executor: sum(|r| r[0] - r[1] - r[2]) / all })
}

/// Seconds of a rank: all, in pieces, waiting for neighbours.
fn rank(schedule: &Schedule, unit_us: u64, endpoint: Endpoint) -> Result<[f64; 3], RankError> {
    let ranks: Vec<RankId> = (0..schedule.actions.len() as u32).map(RankId).collect();
    let group = endpoint.group(GroupId(0), &ranks);
    let deadline = now() + Duration::from_secs(60);
    group.barrier().wait(deadline)?;
    let ledger = Ledger::open();
    let pipeline = Pipeline {
        group: &group,
        placement: schedule.placement,
        actions: &|pipeline| &schedule.actions[pipeline as usize],
    };
    let executor = Executor { pipeline, ledger: &ledger, stream: (STREAM, Kind::Float, Device::Cpu), deadline };
    let mut sleeper = Sleeper { unit_us, slept: 0.0 };
    executor.run(&mut sleeper)?;
    let waited = ledger.by_cause()[ds_worker::step::Cause::Pipeline as usize];
    let measured = [ledger.seconds(), sleeper.slept, waited];
    group.barrier().wait(deadline)?;
    endpoint.close();
    Ok(measured)
}

/// Does pieces by sleeping as long as they would take.
struct Sleeper {
    unit_us: u64,
    slept: f64,
}

impl Worker for Sleeper {
    fn piece(&mut self, piece: Piece, received: Option<Tensor>) -> Result<Option<Tensor>, RankError> {
        let start = now();
        thread::sleep(Duration::from_micros(units(piece) * self.unit_us));
        let output = received.unwrap_or_else(|| Tensor::zeros(STREAM, (Kind::Float, Device::Cpu)));
        self.slept += start.elapsed().as_secs_f64();
        Ok(Some(output))
    }

    fn overlapped(
        &mut self,
        [forward, backward]: [Piece; 2],
        [stream, gradient]: [Option<Tensor>; 2],
    ) -> Result<[Option<Tensor>; 2], RankError> {
        Ok([self.piece(forward, stream)?, self.piece(backward, gradient)?])
    }
}
