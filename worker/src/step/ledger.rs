//! Where a rank's time goes: every second of a step is booked to one cause. Beside it, what the exchange with experts
//! sent.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use ds_forecast::Exchange;
use ds_plan::RankId;
use ds_plan::schedule::Piece;
use ds_proto::ExchangeBytes;

use super::notes::{Entry, Notebook, Notes};
use super::trace::{Lane, Span};

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
    /// The piece that is at work, and since when.
    piece: Cell<Option<(Piece, Instant)>>,
    /// Where the step is traced.
    spans: Option<RefCell<Vec<Span>>>,
    /// Where the step is played on a fabric afterwards.
    notebook: Option<Notebook>,
}

impl Ledger {
    /// From now on.
    pub fn open() -> Self {
        let (booked, exchanged, piece) = Default::default();
        Self { start: now(), booked, exchanged, piece, spans: None, notebook: None }
    }

    /// Likewise; remembers every span, if that is asked for, and writes down what the step sends, if that is.
    pub fn remembering(spans: bool, sends: bool) -> Self {
        let (spans, notebook) = (spans.then(RefCell::default), sends.then(Notebook::default));
        Self { spans, notebook, ..Self::open() }
    }

    /// What has been traced, in the order of ends.
    pub fn take_spans(&self) -> Vec<Span> {
        self.spans.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// What was sent.
    pub fn take_notes(&self) -> Notes {
        self.notebook.as_ref().map(Notebook::take).unwrap_or_default()
    }

    /// From now on, `piece` is at work, or none of the schedule is.
    pub fn enter(&self, piece: Option<Piece>) {
        self.notebook.as_ref().inspect(|book| book.enter(piece));
        let Some(now) = self.spans.as_ref().map(|_| now()) else { return };
        if let Some((before, since)) = self.piece.replace(piece.map(|piece| (piece, now))) {
            let name = format!("{}{}", before.pass.letter(), before.microbatch.0);
            self.span(Lane::Work, name, Some(before.stage.0), since);
        }
    }

    /// Remembers that something took until now, where the step is traced.
    fn span(&self, lane: Lane, name: impl Into<String>, stage: Option<u32>, since: Instant) {
        if let Some(spans) = &self.spans {
            let start = (since - self.start).as_secs_f64();
            spans.borrow_mut().push(Span { lane, name: name.into(), stage, start, end: self.seconds() });
        }
    }

    /// Rows that left at `since` have arrived.
    pub fn arrived(&self, since: Instant) {
        self.span(Lane::Exchange, "rows", None, since);
    }

    /// An exchange of the piece at work begins, for whose experts so many rows come here.
    pub(crate) fn opens(&self, exchange: Exchange, rows: i64) -> Entry {
        self.notebook.as_ref()?.opens(exchange, rows)
    }

    /// Bytes leave for another rank, in that exchange, or ahead of the next one.
    pub(crate) fn sent(&self, entry: Entry, to: RankId, bytes: u64) {
        self.notebook.as_ref().inspect(|book| book.sent(entry, to, bytes));
    }

    /// A piece gave bytes to a rank of another stage.
    pub fn passed(&self, piece: Piece, bytes: u64) {
        self.notebook.as_ref().inspect(|book| book.passed(piece, bytes));
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
        let lane = if matches!(cause, Cause::Exchange | Cause::Pipeline) { Lane::Wait } else { Lane::Work };
        self.span(lane, cause.name(), None, start);
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
