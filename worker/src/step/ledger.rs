//! Where a rank's time goes: every second of a step is booked to one cause. Beside it, what the exchange with experts
//! sent.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use ds_proto::ExchangeBytes;

/// What a rank did, or waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Forward and backward, and all that is not booked elsewhere.
    Compute,
    /// Dispatch and combine of experts' tokens.
    Exchange,
    /// Waiting for a neighbour stage: the bubble.
    Pipeline,
    /// Summing gradients, norms and statistics.
    Reduce,
    /// The optimizer.
    Optimizer,
    /// Reading samples.
    Data,
}

impl Cause {
    /// Every cause, in the order of reports.
    pub const ALL: [Self; 6] =
        [Self::Compute, Self::Exchange, Self::Pipeline, Self::Reduce, Self::Optimizer, Self::Data];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Exchange => "exchange",
            Self::Pipeline => "pipeline",
            Self::Reduce => "reduce",
            Self::Optimizer => "optimizer",
            Self::Data => "data",
        }
    }
}

/// The seconds of one step. One thread owns it; calls do not nest.
#[derive(Debug)]
pub struct Ledger {
    start: Instant,
    booked: RefCell<[Duration; Cause::ALL.len()]>,
    exchanged: Cell<ExchangeBytes>,
}

impl Ledger {
    /// From now on.
    pub fn open() -> Self {
        Self { start: now(), booked: RefCell::default(), exchanged: Cell::default() }
    }

    /// Adds bytes that this rank has sent.
    pub fn exchange(&self, bytes: ExchangeBytes) {
        let mut sum = self.exchanged.get();
        sum += bytes;
        self.exchanged.set(sum);
    }

    /// Bytes that this rank has sent to experts and back since it was opened.
    pub fn exchanged(&self) -> ExchangeBytes {
        self.exchanged.get()
    }

    /// Runs `work` and books its time.
    pub fn book<T>(&self, cause: Cause, work: impl FnOnce() -> T) -> T {
        let start = now();
        let result = work();
        self.booked.borrow_mut()[cause as usize] += start.elapsed();
        result
    }

    /// Seconds since it was opened.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Seconds of every cause, in the order of [`Cause::ALL`]; what nobody booked was computation.
    pub fn by_cause(&self) -> [f64; Cause::ALL.len()] {
        let mut seconds = self.booked.borrow().map(|booked| booked.as_secs_f64());
        seconds[Cause::Compute as usize] = (self.seconds() - seconds.iter().sum::<f64>()).max(0.0);
        seconds
    }
}

/// The clock of a rank: deadlines and the ledger.
#[expect(clippy::disallowed_methods, reason = "a rank is a shell: it waits for real peers and reports real seconds")]
pub fn now() -> Instant {
    Instant::now()
}
