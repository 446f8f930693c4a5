//! The pictures of a plan: memory, the parts of a step, its schedule.

use ds_plan::JobPlan;
use ds_plan::schedule::{Action, Pass, Piece, timeline};

use super::outlook::Outlook;
use crate::estimate::{stage_times, stage_work};
use crate::hardware::Hardware;
use crate::picture::{Bars, Picture, Row, Unit, bars, schedule, schedule_rows};
use crate::workload::{Layout, Network};

/// What each pipeline coordinate needs of a GPU's memory, term by term.
pub fn memory_picture(outlook: &Outlook) -> Picture {
    let memory = &outlook.memory;
    let terms = memory.terms.terms();
    let row = |(pipeline, of): (usize, &ds_plan::MemoryEstimate)| Row {
        name: pipeline.to_string(),
        values: of.terms().iter().map(|&(_, bytes)| bytes as f64).collect(),
    };
    bars(&Bars {
        title: "Memory of a rank".to_owned(),
        rows_are: "pipeline".to_owned(),
        parts: terms.iter().map(|&(name, _)| name.to_owned()).collect(),
        rows: memory.by_pipeline.iter().enumerate().map(row).collect(),
        limit: Some((memory.have_bytes as f64, format!("one {} has", outlook.hardware))),
        unit: Unit::Bytes,
    })
}

/// Where the time of a step goes.
pub fn parts_picture(outlook: &Outlook) -> Picture {
    let step = &outlook.step;
    bars(&Bars {
        title: "Where a step's time goes".to_owned(),
        rows_are: String::new(),
        parts: step.parts.iter().map(|part| part.name.to_owned()).collect(),
        rows: vec![Row { name: "a step".to_owned(), values: step.parts.iter().map(|part| part.seconds).collect() }],
        limit: None,
        unit: Unit::Seconds,
    })
}

/// The schedule played with the estimated time of every pass; none when it cannot be played.
pub fn schedule_picture(plan: &JobPlan, hardware: &Hardware) -> Option<Picture> {
    let passes = pass_nanoseconds(plan, hardware);
    let cost = |action: Action| {
        let of = |piece: Piece| {
            let [forward, input, weight] = passes[piece.stage.0 as usize];
            match piece.pass {
                Pass::Forward => forward,
                Pass::Backward => input + weight,
                Pass::BackwardInput => input,
                Pass::BackwardWeight => weight,
            }
        };
        action.pieces().map(of).sum::<f64>().round() as u64
    };
    let played = timeline(&plan.schedule().actions, plan.placement(), cost).ok()?;
    let title = format!("Schedule {}, {} microbatches", plan.spec().parallel.schedule, plan.n_microbatches());
    Some(schedule(&title, &schedule_rows(&played, 1e-9), Unit::Seconds))
}

/// Forward, input gradients and weight gradients of one microbatch on each stage: its computation, and its share of what
/// ranks wait for besides, a third of it forward.
fn pass_nanoseconds(plan: &JobPlan, hardware: &Hardware) -> Vec<[f64; 3]> {
    let n_stages = plan.stages().len();
    let stages = stage_times(hardware, &Network::from(&plan.spec().model), &Layout::of(plan), n_stages);
    let waited: f64 = stages.iter().map(|stage| stage.time.total() - stage.time.compute()).sum();
    let each = waited / n_stages.max(1) as f64;
    let of_stage = |work: &crate::StageWork| {
        let [forward, input, weight] =
            [&work.forward, &work.backward_input, &work.backward_weight].map(crate::PassWork::compute_seconds);
        [forward + each / 3.0, input + each * 2.0 / 3.0, weight].map(|seconds| seconds * 1e9)
    };
    stage_work(plan, hardware).iter().map(of_stage).collect()
}
