//! Which layout is best: every legal way to lay a job on so many GPUs is enumerated, those that fit are ranked by their
//! predicted step time, and each of the others is told what binds it.

mod judge;
mod layout;
mod reject;
mod space;

pub use judge::{Judge, Machine};
pub use layout::Layout;
pub use reject::{Reason, Rejected};
pub use space::{Space, space};

use std::collections::BTreeMap;

use ds_plan::spec::JobSpec;
use ds_plan::{JobPlan, MemoryEstimate, executable};

use crate::estimate::StepEstimate;
use crate::memory::largest_rank;
use reject::too_large_at_once;

/// A layout that fits, and how it fares.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Which.
    pub layout: Layout,
    /// How long a step takes.
    pub forecast: StepEstimate,
    /// What its largest rank needs.
    pub memory: MemoryEstimate,
    /// The pipeline coordinate of that rank.
    pub largest_at: u32,
    /// Whether workers execute it today, or it can be planned only.
    pub runs_today: bool,
}

/// What came of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Layouts that were looked at: as many as are ranked and rejected together.
    pub n_enumerated: usize,
    /// The fastest first; of equally fast ones, the one that needs the least memory.
    pub ranked: Vec<Ranked>,
    /// By the kind of reason, the most frequent first.
    pub rejected: Vec<Rejected>,
    /// The place of the job's own layout among the ranked, or why it is not among them; none when it does not take all
    /// of the GPUs.
    pub own: Option<Result<usize, Reason>>,
}

/// Tries every layout of a space. `progress` is told how many of all have been tried, now and then.
pub fn search(base: &JobSpec, space: &Space, machine: &dyn Judge, progress: &mut dyn FnMut(usize, usize)) -> Found {
    let layouts = space.layouts();
    let own = Layout::of(base);
    let mut ranked = Vec::new();
    let mut rejected: BTreeMap<&'static str, Rejected> = BTreeMap::new();
    let mut own_reason = None;
    let mut drawn: Option<(Layout, JobPlan)> = None;
    for (done, &layout) in layouts.iter().enumerate() {
        if done % 256 == 0 {
            progress(done, layouts.len());
        }
        match try_one(base, layout, space, machine, &mut drawn) {
            Ok(one) => ranked.push(one),
            Err(reason) => {
                if layout == own {
                    own_reason = Some(reason.clone());
                }
                let kind = reason.kind();
                rejected
                    .entry(kind)
                    .and_modify(|r| r.add(layout, &reason))
                    .or_insert(Rejected::first(kind, layout, reason));
            }
        }
    }
    progress(layouts.len(), layouts.len());
    ranked.sort_by(|a: &Ranked, b: &Ranked| {
        let key = |one: &Ranked| (one.forecast.seconds(), one.memory.total() as f64);
        key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut rejected: Vec<Rejected> = rejected.into_values().collect();
    rejected.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    let place = ranked.iter().position(|one| one.layout == own);
    let own = place.map(Ok).or(own_reason.map(Err));
    Found { n_enumerated: layouts.len(), ranked, rejected, own }
}

/// One layout: cheap checks, then its plan and memory, then its time. `drawn` keeps the plan of the last layout, since
/// neighbours differ only in what does not change it.
fn try_one(
    base: &JobSpec,
    layout: Layout,
    space: &Space,
    machine: &dyn Judge,
    drawn: &mut Option<(Layout, JobPlan)>,
) -> Result<Ranked, Reason> {
    space.check(layout)?;
    too_large_at_once(space, layout)?;
    let plan = match drawn.take() {
        Some((last, plan)) if last.same_plan(layout) => plan.with_memory_policy(layout.zero, layout.recompute),
        _ => JobPlan::new(layout.apply(base))?,
    };
    let (_, plan) = drawn.insert((layout, plan));
    let needs = (0..layout.pipeline).map(|pipeline| plan.memory_at(pipeline, ds_plan::IMBALANCE));
    let (largest_at, memory) = largest_rank(needs);
    if memory.total() > space.memory_bytes {
        return Err(Reason::Memory { pipeline: largest_at, memory, have: space.memory_bytes });
    }
    let forecast = machine.forecast(plan).map_err(Reason::NoForecast)?;
    let runs_today = executable(plan.spec()).is_ok();
    Ok(Ranked { layout, forecast, memory, largest_at, runs_today })
}
