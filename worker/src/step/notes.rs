//! What a rank writes down of a step for a simulated network: in which exchange of which pass it sent how much to whom.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use ds_forecast::Exchange;
use ds_plan::RankId;
use ds_plan::schedule::Piece;
use serde::{Deserialize, Serialize};

/// An exchange of a pass, as one rank saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Noted {
    /// Of which pass.
    pub piece: Piece,
    /// Which way.
    pub exchange: Exchange,
    /// That came for the experts of this rank; only where tokens come.
    pub rows: i64,
    /// Bytes that left for other ranks, all legs together, with what was told ahead of them.
    pub sends: BTreeMap<u32, u64>,
}

/// What a rank has written down of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Notes {
    /// In the order in which they began.
    pub exchanges: Vec<Noted>,
    /// Bytes of the stream that passes gave to other ranks.
    pub passed: Vec<(Piece, u64)>,
}

/// Which of the exchanges; none where nobody writes.
pub(crate) type Entry = Option<usize>;

/// Writes while the step runs. One thread owns it.
#[derive(Debug, Default)]
pub(crate) struct Notebook {
    piece: Cell<Option<Piece>>,
    notes: RefCell<Notes>,
    /// Told before the rows that it is about: counts, choices. By pass, since two of them may take turns.
    ahead: RefCell<HashMap<Piece, BTreeMap<u32, u64>>>,
}

impl Notebook {
    /// From now on, `piece` is at work.
    pub(super) fn enter(&self, piece: Option<Piece>) {
        self.piece.set(piece);
    }

    /// An exchange begins; what was told ahead belongs to it.
    pub(super) fn opens(&self, exchange: Exchange, rows: i64) -> Entry {
        let piece = self.piece.get()?;
        let sends = self.ahead.borrow_mut().remove(&piece).unwrap_or_default();
        let mut notes = self.notes.borrow_mut();
        notes.exchanges.push(Noted { piece, exchange, rows, sends });
        Some(notes.exchanges.len() - 1)
    }

    /// Bytes leave in an exchange, or ahead of one.
    pub(super) fn sent(&self, entry: Entry, to: RankId, bytes: u64) {
        let mut notes = self.notes.borrow_mut();
        let mut ahead = self.ahead.borrow_mut();
        let sends = match (entry, self.piece.get()) {
            (Some(entry), _) => &mut notes.exchanges[entry].sends,
            (None, Some(piece)) => ahead.entry(piece).or_default(),
            (None, None) => return,
        };
        *sends.entry(to.0).or_default() += bytes;
    }

    /// A pass gave bytes to another rank.
    pub(super) fn passed(&self, piece: Piece, bytes: u64) {
        self.notes.borrow_mut().passed.push((piece, bytes));
    }

    /// All of it. What was told after the last exchange of a pass belongs to that.
    pub(super) fn take(&self) -> Notes {
        let mut notes = self.notes.take();
        for (piece, sends) in self.ahead.take() {
            let Some(last) = notes.exchanges.iter_mut().rev().find(|noted| noted.piece == piece) else { continue };
            sends.into_iter().for_each(|(to, bytes)| *last.sends.entry(to).or_default() += bytes);
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use ds_plan::schedule::{Microbatch, Pass, StageId};

    use super::*;

    #[test]
    fn what_is_told_ahead_belongs_to_the_next_exchange_and_a_late_leg_to_its_own() {
        let piece = |microbatch| Piece { stage: StageId(0), microbatch: Microbatch(microbatch), pass: Pass::Forward };
        let book = Notebook::default();
        book.enter(Some(piece(0)));
        book.sent(None, RankId(3), 8);
        // The other pass has its turn before the rows leave.
        book.enter(Some(piece(1)));
        book.sent(None, RankId(1), 4);
        book.enter(Some(piece(0)));
        let first = book.opens(Exchange::Dispatch, 5);
        book.sent(first, RankId(3), 100);
        book.enter(Some(piece(1)));
        let second = book.opens(Exchange::Dispatch, 7);
        book.sent(second, RankId(1), 50);
        book.sent(first, RankId(2), 10);
        book.passed(piece(1), 64);
        book.sent(None, RankId(5), 7);
        let notes = book.take();
        assert_eq!(notes.exchanges[0].sends, BTreeMap::from([(2, 10), (3, 108)]));
        assert_eq!((notes.exchanges[1].piece, notes.exchanges[1].rows), (piece(1), 7));
        assert_eq!(
            (notes.exchanges[1].sends.clone(), notes.passed),
            (BTreeMap::from([(1, 54), (5, 7)]), vec![(piece(1), 64)])
        );
        assert_eq!(book.take(), Notes::default());
    }

    #[test]
    fn outside_of_passes_nothing_is_written() {
        let book = Notebook::default();
        assert_eq!(book.opens(Exchange::Combine, 1), None);
    }
}
