//! Passes that take turns on one thread: each goes on until it would wait for rows that are on their way, so that the
//! communication of one hides behind the computation of the other (arXiv 2412.19437, §3.2.1).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::{Coming, ModelError};

/// What is on its way; before it is waited for, the other pass has its turn.
pub(crate) async fn arrived<T>(arrival: Coming<'_, T>) -> Result<T, ModelError> {
    let mut has_paused = false;
    poll_fn(|_| if std::mem::replace(&mut has_paused, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    arrival()
}

/// Runs a pass that has every turn.
pub(crate) fn alone<T>(pass: impl Future<Output = T>) -> T {
    let mut pass = pin!(pass);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = pass.as_mut().poll(&mut context) {
            return result;
        }
    }
}

/// Who has the next turn of two passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The forward pass.
    Forward,
    /// The backward pass.
    Backward,
}

/// Runs two passes in turns, `forward` first; nobody goes on after an error. `tell` hears of every turn.
pub(crate) fn in_turns<A, B, E>(
    forward: impl Future<Output = Result<A, E>>,
    backward: impl Future<Output = Result<B, E>>,
    tell: &mut dyn FnMut(Turn),
) -> Result<(A, B), E> {
    let (mut forward, mut backward) = (pin!(forward), pin!(backward));
    let mut context = Context::from_waker(Waker::noop());
    let (mut a, mut b) = (None, None);
    loop {
        if a.is_none() {
            tell(Turn::Forward);
            if let Poll::Ready(result) = forward.as_mut().poll(&mut context) {
                a = Some(result?);
            }
        }
        if b.is_none() {
            tell(Turn::Backward);
            if let Poll::Ready(result) = backward.as_mut().poll(&mut context) {
                b = Some(result?);
            }
        }
        match (a.take(), b.take()) {
            (Some(forward), Some(backward)) => return Ok((forward, backward)),
            others => (a, b) = others,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tch::Tensor;

    use super::*;

    /// Notes its letter before, between and after two arrivals.
    async fn pass(letter: char, said: &RefCell<String>, fails: bool) -> Result<char, ModelError> {
        for _ in 0..2 {
            said.borrow_mut().push(letter);
            let _ = arrived(Box::new(|| Ok(Tensor::from(0.0)))).await?;
        }
        said.borrow_mut().push(letter);
        if fails { Err(ModelError::NoLeaf { shape: vec![] }) } else { Ok(letter) }
    }

    #[test]
    fn passes_take_turns_and_one_alone_goes_straight_on() {
        let said = RefCell::default();
        let mut turns = Vec::new();
        let both = in_turns(pass('a', &said, false), pass('b', &said, false), &mut |turn| turns.push(turn));
        assert_eq!(both.unwrap(), ('a', 'b'));
        assert_eq!(turns, [Turn::Forward, Turn::Backward].repeat(3));
        assert_eq!(alone(pass('c', &said, false)).unwrap(), 'c');
        assert_eq!(said.borrow().as_str(), "abababccc");
    }

    #[test]
    fn nobody_goes_on_after_an_error() {
        let said = RefCell::default();
        assert!(in_turns(pass('a', &said, true), pass('b', &said, false), &mut |_| ()).is_err());
        assert_eq!(said.borrow().as_str(), "ababa");
    }
}
