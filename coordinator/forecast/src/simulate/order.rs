//! The threads of an action: parts that follow each other, side by side with others.

use ds_plan::schedule::{Action, Pass, Piece};

use super::interleave::{Ask, interleave};
use super::job::StepJob;
use crate::Part;

/// Parts that follow each other.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) piece: Piece,
    pub(super) parts: Vec<Part>,
    /// Parts of the same pass that come before these.
    pub(super) first_part: usize,
    /// The thread of input gradients whose weight gradients these are.
    puts_off: Option<usize>,
}

/// The threads of an action, the more urgent first. What goes alone is one thread.
pub(super) fn threads(job: &StepJob<'_>, action: Action) -> Vec<Thread> {
    let work = |piece: Piece| &job.stages[piece.stage.0 as usize];
    match action {
        Action::One(piece) => {
            let parts = match piece.pass {
                Pass::Forward => work(piece).forward.parts.clone(),
                Pass::BackwardInput => work(piece).backward_input.parts.clone(),
                Pass::BackwardWeight => work(piece).backward_weight.parts.clone(),
                Pass::Backward => {
                    [work(piece).backward_input.parts.clone(), work(piece).backward_weight.parts.clone()].concat()
                }
            };
            vec![Thread { piece, parts, first_part: 0, puts_off: None }]
        }
        Action::Overlapped { forward, backward } => {
            let of = |piece, parts: &[Part]| Thread { piece, parts: parts.to_vec(), first_part: 0, puts_off: None };
            let input = &work(backward).backward_input.parts;
            let mut threads = vec![of(backward, input), of(forward, &work(forward).forward.parts)];
            if backward.pass == Pass::Backward {
                let parts = work(backward).backward_weight.parts.clone();
                threads.push(Thread { piece: backward, parts, first_part: input.len(), puts_off: Some(0) });
            }
            threads
        }
    }
}

/// The order of all parts, where an exchange takes as long as `seconds` says.
pub(super) fn order(threads: &[Thread], seconds: &dyn Fn(&Part) -> f64) -> Vec<(usize, usize)> {
    let ask = |part: &Part| match part {
        Part::Compute { seconds, .. } => Ask { computes: true, seconds: *seconds },
        Part::Exchange { .. } => Ask { computes: false, seconds: seconds(part) },
    };
    let asks: Vec<Vec<Ask>> = threads.iter().map(|thread| thread.parts.iter().map(ask).collect()).collect();
    interleave(&asks, |thread, part| opens(threads, thread, part))
}

/// How much longer the computations of an action take for what exchanges beside them: of the seconds that exchanges
/// would take alone, but not of more than there is to compute, only the share `left` is there to compute in.
pub(super) fn slower(left: f64, action: Action, threads: &[Thread], seconds: &dyn Fn(&Part) -> f64) -> f64 {
    if matches!(action, Action::One(_)) {
        return 1.0;
    }
    let parts = || threads.iter().flat_map(|thread| &thread.parts);
    let exchange: f64 = parts().map(seconds).sum();
    let compute: f64 = parts().map(|part| if let Part::Compute { seconds, .. } = part { *seconds } else { 0.0 }).sum();
    if compute > 0.0 { (1.0 + exchange * (1.0 - left) / compute).min(1.0 / left) } else { 1.0 }
}

/// The part of another thread that must have ended before: of n parts of weight gradients, the i-th waits for the
/// same share of the computations of the input gradients.
pub(super) fn opens(threads: &[Thread], thread: usize, part: usize) -> Option<(usize, usize)> {
    let other = threads[thread].puts_off?;
    let is_compute = |part: &Part| matches!(part, Part::Compute { .. });
    let input = &threads[other].parts;
    let computes: Vec<usize> = (0..input.len()).filter(|&i| is_compute(&input[i])).collect();
    let n = threads[thread].parts.len();
    let needed = ((part + 1) * computes.len()).div_ceil(n.max(1));
    Some((other, computes[needed.checked_sub(1)?]))
}
