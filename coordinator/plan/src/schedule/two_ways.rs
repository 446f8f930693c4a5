//! The program that DualPipe and DualPipeV share (arXiv 2412.19437, §3.2.1, and the published implementation): two
//! streams of microbatches run through a coordinate, and the forward of one hides the communication of the backward
//! of the other.

use std::collections::VecDeque;

use super::stream::Stream;
use super::{Action, Pass, Piece};

/// The actions of the coordinate that is `depth` steps from the outer end of a fold of `n_fold`: `near` enters (or
/// leaves) at that end, `far` comes from beyond the fold; each has `n_each` microbatches, at least 2 `n_fold`.
pub(super) fn two_ways(depth: u32, n_fold: u32, n_each: u32, near: Stream, far: Stream) -> Vec<Action> {
    let mut writer = Writer { near, far, put_off: VecDeque::new(), actions: Vec::new() };
    let inner = n_fold - 1 - depth;
    for _ in 0..2 * inner {
        writer.forward(Way::Near);
    }
    for _ in 0..=depth {
        writer.forward(Way::Near);
        writer.forward(Way::Far);
    }
    for _ in 0..inner {
        writer.backward_input(Way::Far);
        writer.backward_weight();
        writer.forward(Way::Far);
    }
    for n in 0..n_each + depth + 1 - 2 * n_fold {
        // At the fold the first pair would wait for itself.
        if n == 0 && inner == 0 {
            writer.forward(Way::Near);
            writer.backward(Way::Far);
        } else {
            writer.overlapped(Way::Near, Way::Far);
        }
        writer.overlapped(Way::Far, Way::Near);
    }
    for _ in 0..inner {
        writer.backward(Way::Far);
        writer.overlapped(Way::Far, Way::Near);
    }
    // In the second half weight gradients are put off, to fill the time in which the pipeline drains.
    for n in 0..2 * (depth + 1) {
        let way = if n % 2 == 0 { Way::Far } else { Way::Near };
        if n > depth { writer.backward_input(way) } else { writer.backward(way) }
    }
    for _ in 0..inner {
        writer.backward_weight();
        writer.backward_input(Way::Near);
    }
    for _ in 0..=depth {
        writer.backward_weight();
    }
    assert!(writer.put_off.is_empty(), "every weight gradient that was put off is computed");
    writer.actions
}

#[derive(Clone, Copy)]
enum Way {
    Near,
    Far,
}

struct Writer {
    near: Stream,
    far: Stream,
    /// Weight gradients, first in first out.
    put_off: VecDeque<Piece>,
    actions: Vec<Action>,
}

impl Writer {
    fn stream(&mut self, way: Way) -> &mut Stream {
        match way {
            Way::Near => &mut self.near,
            Way::Far => &mut self.far,
        }
    }

    fn one(&mut self, way: Way, pass: Pass) -> Piece {
        let piece = self.stream(way).next(pass);
        self.actions.push(Action::One(piece));
        piece
    }

    fn forward(&mut self, way: Way) {
        self.one(way, Pass::Forward);
    }

    fn backward(&mut self, way: Way) {
        self.one(way, Pass::Backward);
    }

    fn backward_input(&mut self, way: Way) {
        let piece = self.one(way, Pass::BackwardInput);
        self.put_off.push_back(Piece { pass: Pass::BackwardWeight, ..piece });
    }

    fn backward_weight(&mut self) {
        let piece = self.put_off.pop_front().expect("as many are put off as are called for");
        self.actions.push(Action::One(piece));
    }

    fn overlapped(&mut self, forward: Way, backward: Way) {
        let forward = self.stream(forward).next(Pass::Forward);
        let backward = self.stream(backward).next(Pass::Backward);
        self.actions.push(Action::Overlapped { forward, backward });
    }
}
