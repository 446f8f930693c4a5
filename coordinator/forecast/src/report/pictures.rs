//! The pictures of a plan: memory, the parts of a step, its schedule.

use ds_plan::JobPlan;
use ds_plan::schedule::{Action, Pass, Piece, timeline};
use ds_topology::fabric::Fabric;
use ds_topology::flow::LinkId;

use super::outlook::Outlook;
use crate::estimate::{RankTime, played_timeline, stage_times};
use crate::hardware::Hardware;
use crate::picture::{Bars, Heat, Picture, Row, Unit, bars, heat, schedule, schedule_rows};
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

/// How long each link is busy in a dispatch of all expert groups at once, against the busiest: within nodes, and on each
/// plane.
pub fn load_picture(fabric: &Fabric, loads: &[f64]) -> Picture {
    let seconds: Vec<f64> = fabric.network().iter().zip(loads).map(|(link, bytes)| bytes / link.capacity).collect();
    let most = seconds.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut rows: Vec<(String, Vec<Option<f64>>)> = Vec::new();
    for (number, busy) in (0..).zip(seconds) {
        let link = LinkId(number);
        let name = fabric.plane_of(link).map_or("within nodes".to_owned(), |plane| format!("plane {}", plane.0));
        let cell = (!fabric.is_down(link)).then_some(busy / most);
        match rows.last_mut() {
            Some((last, cells)) if *last == name => cells.push(cell),
            _ => rows.push((name, vec![cell])),
        }
    }
    let title = "Link load of one dispatch, against the busiest link".to_owned();
    heat(&Heat { title, rows_are: String::new(), cells_are: "link".to_owned(), rows })
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
    let (network, layout) = (Network::from(&plan.spec().model), Layout::of(plan));
    let played = match played_timeline(hardware, &network, &layout) {
        Some(played) => played,
        None => {
            let stages = stage_times(hardware, &network, &layout, plan.stages().len());
            timeline(&plan.schedule().actions, plan.placement(), |action| nanoseconds(action, &stages)).ok()?
        }
    };
    let title = format!("Schedule {}, {} microbatches", plan.spec().parallel.schedule, plan.n_microbatches());
    Some(schedule(&title, &schedule_rows(&played, 1e-9), Unit::Seconds))
}

/// What an action takes: its kernels, and half each way of what a stage waits for.
fn nanoseconds(action: Action, stages: &[RankTime]) -> u64 {
    let of = |piece: Piece| {
        let time = &stages[piece.stage.0 as usize].time;
        let waits = (time.total() - time.compute()) / 2.0;
        let (forward, input) = (time.forward + waits, time.input + time.again + waits);
        match piece.pass {
            Pass::Forward => forward,
            Pass::Backward => input + time.weight,
            Pass::BackwardInput => input,
            Pass::BackwardWeight => time.weight,
        }
    };
    (action.pieces().map(of).sum::<f64>() * 1e9).round() as u64
}
