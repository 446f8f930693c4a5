//! A step under the schedules whose bubble depends on how passes and stages differ (DualPipe, DualPipeV, ZB-V, interleaved
//! zero-bubble, looped breadth-first): the schedule's own actions are played, each with the time of its stage.

use ds_plan::schedule::{Action, Microbatch, Pass, Piece, Schedule as Actions, StageId, Timeline, timeline};
use ds_plan::spec::ScheduleKind;

use super::collective::exchange_alone;
use super::optimizer::{copies_seconds, held};
use super::stage::{RankTime, StageTime, sparse_layer_time, stage_times};
use super::step::{Part, ends, mean_time};
use super::term::{Term, Terms};
use crate::hardware::Hardware;
use crate::workload::{Layout, Network};

/// The timeline counts in whole units.
const NANOSECONDS: f64 = 1e9;

/// The parts of a step; none where the schedule is another or does not exist in that size.
pub(super) fn played(hardware: &Hardware, network: &Network, layout: &Layout, terms: Terms) -> Option<Vec<Part>> {
    let actions = actions(layout)?;
    let n_stages = actions.placement.n_stages() as usize;
    let mut stages = stage_times(hardware, network, layout, n_stages);
    if terms.has(Term::Skew) {
        stages.iter_mut().for_each(|stage| skew(&mut stage.time, network, layout));
    }
    let dispatch = dispatch_seconds(hardware, network, layout);
    let real = Prices { hardware, terms, stages: stages.iter().map(|stage| stage.time).collect(), dispatch };
    let even = Prices { stages: vec![mean_time(&real.stages); n_stages], ..real.clone() };
    let prices = if terms.has(Term::Imbalance) { &real } else { &even };
    let played = play(&actions, prices)?;
    let schedule_alone = idle(&play(&actions, &even)?);
    let fill = if terms.has(Term::Fill) { schedule_alone } else { 0.0 };
    let busy = busy(&played, prices);
    let ranks: Vec<RankTime> = (0..layout.pipeline)
        .map(|rank| {
            let own = actions.placement.stages_at(rank);
            let mut held = RankTime { time: StageTime::default(), layers: Vec::new(), ends: 0.0 };
            for stage in own {
                held.layers.extend(&stages[stage.0 as usize].layers);
                held.ends += stages[stage.0 as usize].ends;
            }
            held
        })
        .collect();
    // Gradients are complete with the last weight pass: nothing is left to hide their reduction.
    let (reduce, update, gather) = ends(hardware, network, layout, &ranks, &StageTime::default());
    let copies = |rank: &RankTime| copies_seconds(hardware, layout, held(network, layout, &rank.layers, rank.ends));
    let copies = if terms.has(Term::Copies) { ranks.iter().map(copies).fold(0.0, f64::max) } else { 0.0 };
    let part = |name, seconds, about| Part { name, seconds, about };
    Some(vec![
        part("forward", busy.forward, "1F: forwards that overlap with no backward, mean of ranks"),
        part("backward_input", busy.input, "1B: input gradients that overlap with no forward, and what they recompute"),
        part("backward_weight", busy.weight, "1W: weight gradients on their own"),
        part("overlapped", busy.overlapped, "1F1B: a forward and a backward that hide each other's exchange"),
        part("bubble", fill, "the schedule's own: the pipeline fills and drains"),
        part("imbalance", idle(&played) - schedule_alone, "waiting for stages with more to do"),
        part("gather", gather, "weights that are divided and gathered"),
        part("data", reduce, "gradients over data ranks"),
        part("copies", copies, "gradients of stages that two ranks hold, summed between them"),
        part("optimizer", update, "AdamW"),
        part("fixed", hardware.step_seconds, "what a step costs whatever it computes"),
    ])
}

/// The actions of a step in time, in nanoseconds, as its parts are taken from; none where the schedule is another or
/// does not exist in that size.
pub fn played_timeline(hardware: &Hardware, network: &Network, layout: &Layout) -> Option<Timeline> {
    let actions = actions(layout)?;
    let mut stages = stage_times(hardware, network, layout, actions.placement.n_stages() as usize);
    stages.iter_mut().for_each(|stage| skew(&mut stage.time, network, layout));
    let stages = stages.iter().map(|stage| stage.time).collect();
    let dispatch = dispatch_seconds(hardware, network, layout);
    play(&actions, &Prices { hardware, terms: Terms::ALL, stages, dispatch })
}

/// What every rank does; none where the schedule is another or does not exist in that size.
fn actions(layout: &Layout) -> Option<Actions> {
    let kind = layout.schedule;
    let has_formula =
        matches!(kind, ScheduleKind::OneFOneB | ScheduleKind::GPipe | ScheduleKind::Interleaved | ScheduleKind::ZbH1);
    if has_formula {
        return None;
    }
    Actions::new(kind, layout.pipeline, layout.virtual_stages, layout.n_microbatches).ok()
}

/// Seconds of a forward and a backward of `n_layers` sparse layers that hide each other's exchange.
pub fn pair_seconds(hardware: &Hardware, network: &Network, layout: &Layout, n_layers: f64) -> f64 {
    let layer = sparse_layer_time(hardware, network, layout);
    let terms = Terms::ALL.without(Term::Sends).without(Term::Skew);
    let dispatch = dispatch_seconds(hardware, network, layout);
    let stages = vec![layer.times(n_layers)];
    let piece = |pass| Piece { stage: StageId(0), microbatch: Microbatch(0), pass };
    Prices { hardware, terms, stages, dispatch }.together(piece(Pass::Forward), piece(Pass::Backward))
}

/// What actions cost on each stage.
#[derive(Clone)]
struct Prices<'a> {
    hardware: &'a Hardware,
    terms: Terms,
    stages: Vec<StageTime>,
    /// Seconds of one layer's dispatch.
    dispatch: f64,
}

/// Seconds of an action by kind.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    forward: f64,
    input: f64,
    weight: f64,
    overlapped: f64,
}

impl Busy {
    fn total(self) -> f64 {
        self.forward + self.input + self.weight + self.overlapped
    }
}

impl Prices<'_> {
    fn action(&self, action: Action) -> Busy {
        match action {
            Action::One(piece) => self.alone(piece),
            Action::Overlapped { forward, backward } => {
                Busy { overlapped: self.together(forward, backward), ..Busy::default() }
            }
        }
    }

    /// A pass with nothing beside it: its exchange is waited for.
    fn alone(&self, piece: Piece) -> Busy {
        let stage = &self.stages[piece.stage.0 as usize];
        let waits = stage.exchange / 2.0 + self.send(stage) + inner(stage);
        let (forward, input, weight) = (stage.forward + waits, stage.input + stage.again + waits, stage.weight);
        match piece.pass {
            Pass::Forward => Busy { forward, ..Busy::default() },
            Pass::BackwardInput => Busy { input, ..Busy::default() },
            Pass::BackwardWeight => Busy { weight, ..Busy::default() },
            Pass::Backward => Busy { input, weight, ..Busy::default() },
        }
    }

    /// Computation goes on beside the exchange, on the multiprocessors that it leaves; the longer of the two sets the
    /// pace. The first dispatch of the pair has nothing to hide behind.
    fn together(&self, forward: Piece, backward: Piece) -> f64 {
        let [ahead, back] = [forward, backward].map(|piece| &self.stages[piece.stage.0 as usize]);
        let compute = ahead.forward + back.input + back.again + back.weight + inner(ahead) + inner(back);
        let exchange = (ahead.exchange + back.exchange) / 2.0;
        let sends = self.send(ahead) + self.send(back);
        let first = if self.terms.has(Term::FirstDispatch) { self.dispatch } else { 0.0 };
        if !self.terms.has(Term::Contention) {
            return compute.max(exchange + sends) + first;
        }
        let exchange = exchange * self.hardware.exchange_contention + sends;
        let all = self.hardware.n_multiprocessors;
        let left = (all - self.hardware.exchange_multiprocessors) / all;
        // What is computed while the exchange runs takes 1 / left as long.
        (compute + exchange * (1.0 - left)).max(exchange) + first
    }

    fn send(&self, stage: &StageTime) -> f64 {
        if self.terms.has(Term::Sends) { stage.sends / 2.0 } else { 0.0 }
    }
}

/// What one pass waits for between its own kernels: collectives of tensor and context ranks.
fn inner(stage: &StageTime) -> f64 {
    (stage.tensor + stage.context) / 2.0
}

fn play(actions: &Actions, prices: &Prices<'_>) -> Option<Timeline> {
    timeline(&actions.actions, actions.placement, |action| (prices.action(action).total() * NANOSECONDS) as u64).ok()
}

/// Mean over ranks of the time between the beginning and the end of the whole in which they do nothing.
fn idle(timeline: &Timeline) -> f64 {
    let n = timeline.rows.len() as u32;
    (0..n).map(|rank| timeline.idle(rank)).sum::<u64>() as f64 / f64::from(n.max(1)) / NANOSECONDS
}

/// Mean over ranks of what they do, by kind.
fn busy(timeline: &Timeline, prices: &Prices<'_>) -> Busy {
    let mut sum = Busy::default();
    for span in timeline.rows.iter().flatten() {
        let own = prices.action(span.action);
        sum.forward += own.forward;
        sum.input += own.input;
        sum.weight += own.weight;
        sum.overlapped += own.overlapped;
    }
    let n = timeline.rows.len().max(1) as f64;
    Busy { forward: sum.forward / n, input: sum.input / n, weight: sum.weight / n, overlapped: sum.overlapped / n }
}

/// Seconds of one layer's dispatch.
fn dispatch_seconds(hardware: &Hardware, network: &Network, layout: &Layout) -> f64 {
    exchange_alone(hardware, network, layout).map_or(0.0, |exchange| exchange.dispatch_seconds)
}

/// Even with a perfectly even gate, tokens choose by chance: of n ranks that expect `rows` each, the busiest gets
/// about √(2 ln n) standard deviations more. How many times the mean that is.
pub(crate) fn busiest(rows: f64, n: u32) -> f64 {
    if n > 1 && rows > 0.0 { 1.0 + (2.0 * f64::from(n).ln() / rows).sqrt() } else { 1.0 }
}

/// The layer waits for the busiest rank.
fn skew(time: &mut StageTime, network: &Network, layout: &Layout) {
    let Some(experts) = network.experts.filter(|_| layout.expert > 1) else { return };
    let more = busiest(layout.tokens() * f64::from(experts.top_k), layout.expert) - 1.0;
    let share = time.experts / time.compute().max(f64::MIN_POSITIVE) * more;
    for part in [&mut time.forward, &mut time.input, &mut time.weight] {
        *part *= 1.0 + share;
    }
    time.exchange *= 1.0 + more;
}
