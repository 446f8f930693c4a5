//! What two ranks send each other over links that may be lost: numbered parcels, kept until the receiver has them, put in
//! order there. Nothing is lost, nothing comes twice.

use std::collections::{BTreeMap, VecDeque};

use super::super::payload::Payload;

/// No parcel is longer; more of a message are cut off.
pub(super) const PARCEL_MAX_BYTES: usize = 1 << 20;
/// A receiver answers after so many parcels, or so many bytes.
const ACK_EVERY: (u64, u64) = (16, 4 << 20);

/// A piece of what is sent: words, then a run of a payload.
pub(super) struct Parcel {
    pub(super) number: u64,
    pub(super) words: Vec<u8>,
    pub(super) payload: Option<Payload>,
}

impl Parcel {
    pub(super) fn n_bytes(&self) -> usize {
        self.words.len() + self.payload.as_ref().map_or(0, Payload::n_bytes)
    }
}

/// To one rank.
#[derive(Default)]
pub(super) struct Outgoing {
    next: u64,
    n_bytes: u64,
    /// In order.
    kept: VecDeque<Parcel>,
}

impl Outgoing {
    /// Words and a payload as parcels, which are kept. Gives their numbers.
    pub(super) fn add(&mut self, words: Vec<u8>, mut payload: Option<Payload>) -> std::ops::Range<u64> {
        let first = self.next;
        let mut words = Some(words);
        let (n, size) = payload.as_ref().map_or((0, 1), |p| (p.tensor().numel(), p.element_bytes()));
        let (mut done, each) = (0, PARCEL_MAX_BYTES / size);
        while words.is_some() || done < n {
            let length = each.min(n - done);
            let part = payload.as_mut().filter(|_| length > 0).map(|p| p.part(done as i64, length as i64));
            let payload = part.map(|part| part.expect("a run of a tensor that is there"));
            let parcel = Parcel { number: self.next, words: words.take().unwrap_or_default(), payload };
            self.n_bytes += parcel.n_bytes() as u64;
            self.kept.push_back(parcel);
            self.next += 1;
            done += length;
        }
        first..self.next
    }

    /// The receiver has all before `next`.
    pub(super) fn has_come(&mut self, next: u64) {
        while self.kept.front().is_some_and(|parcel| parcel.number < next) {
            self.n_bytes -= self.kept.pop_front().map_or(0, |parcel| parcel.n_bytes()) as u64;
        }
    }

    /// Those that the receiver may not have, from that number on.
    pub(super) fn kept_from(&mut self, number: u64) -> impl Iterator<Item = &mut Parcel> {
        // Their numbers have no gaps.
        let first = self.next - self.kept.len() as u64;
        self.kept.iter_mut().skip(number.saturating_sub(first) as usize)
    }

    pub(super) fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// From one rank.
#[derive(Default)]
pub(super) struct Incoming {
    next: u64,
    early: BTreeMap<u64, Vec<u8>>,
    early_bytes: u64,
    /// Since the last answer.
    unanswered: (u64, u64),
}

/// What a parcel leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arrived {
    /// In order.
    pub(super) parcels: Vec<Vec<u8>>,
    /// Whether the sender is to be told now.
    pub(super) is_answer_due: bool,
}

impl Incoming {
    /// A parcel has come, in whatever order, once or more often.
    pub(super) fn take(&mut self, number: u64, bytes: Vec<u8>) -> Arrived {
        if number < self.next || self.early.contains_key(&number) {
            // It was sent again, since the answer is lost, or late.
            return Arrived { parcels: Vec::new(), is_answer_due: true };
        }
        self.early_bytes += bytes.len() as u64;
        self.early.insert(number, bytes);
        let mut parcels = Vec::new();
        while let Some(bytes) = self.early.remove(&self.next) {
            self.next += 1;
            self.early_bytes -= bytes.len() as u64;
            self.unanswered = (self.unanswered.0 + 1, self.unanswered.1 + bytes.len() as u64);
            parcels.push(bytes);
        }
        let (n, n_bytes) = self.unanswered;
        Arrived { parcels, is_answer_due: n >= ACK_EVERY.0 || n_bytes >= ACK_EVERY.1 }
    }

    /// The first that has not come; whoever asks tells the sender.
    pub(super) fn answer(&mut self) -> u64 {
        self.unanswered = (0, 0);
        self.next
    }

    pub(super) fn early_bytes(&self) -> u64 {
        self.early_bytes
    }
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;

    fn bytes(parcel: &Parcel) -> Vec<u8> {
        let payload = parcel.payload.as_ref().map_or(&[][..], Payload::bytes);
        [&parcel.words[..], payload].concat()
    }

    #[test]
    fn a_long_message_is_cut_and_comes_whole_in_whatever_order() {
        let n = (5 * PARCEL_MAX_BYTES / 2 / 8) as i64;
        let tensor = Tensor::arange(n, (tch::Kind::Int64, tch::Device::Cpu));
        let mut outgoing = Outgoing::default();
        let numbers = outgoing.add(vec![7; 64], Some(Payload::copy_of(&tensor).unwrap()));
        assert_eq!(numbers, 0..3);
        let sent: Vec<Vec<u8>> = outgoing.kept_from(0).map(|parcel| bytes(parcel)).collect();
        let mut incoming = Incoming::default();
        for number in [2, 1, 1] {
            assert!(incoming.take(number, sent[number as usize].clone()).parcels.is_empty());
        }
        assert!(incoming.early_bytes() > 0);
        let arrived = incoming.take(0, sent[0].clone());
        assert_eq!((arrived.parcels.concat(), incoming.early_bytes()), (sent.concat(), 0));
        assert_eq!(sent.concat()[64..], *Payload::copy_of(&tensor).unwrap().bytes());
        outgoing.has_come(incoming.answer());
        assert!(outgoing.is_empty() && outgoing.n_bytes() == 0);
    }

    #[test]
    fn what_comes_again_is_answered_and_not_delivered() {
        let mut incoming = Incoming::default();
        assert_eq!(incoming.take(0, vec![1]), Arrived { parcels: vec![vec![1]], is_answer_due: false });
        assert_eq!(incoming.take(0, vec![1]), Arrived { parcels: vec![], is_answer_due: true });
        assert_eq!(incoming.answer(), 1);
    }

    #[test]
    fn many_parcels_are_answered_once_in_a_while() {
        let mut incoming = Incoming::default();
        let due: Vec<u64> = (0..40)
            .filter(|&number| {
                let due = incoming.take(number, vec![0]).is_answer_due;
                if due {
                    incoming.answer();
                }
                due
            })
            .collect();
        assert_eq!(due, [15, 31]);
    }

    #[test]
    fn words_without_a_payload_are_one_parcel() {
        let mut outgoing = Outgoing::default();
        assert_eq!(outgoing.add(vec![1, 2], None), 0..1);
        assert_eq!(outgoing.add(vec![3], Some(Payload::none().unwrap())), 1..2);
        assert_eq!(outgoing.kept_from(1).map(|parcel| parcel.words.clone()).collect::<Vec<_>>(), [[3]]);
    }
}
