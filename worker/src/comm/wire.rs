//! What stands before every message: 64 bytes that say what the payload is, compared before it is used.

use ds_plan::{GroupId, RankId};

use super::dtype::Dtype;
use super::error::{CommError, Failure, Mismatch, Reason};
use super::signature::{Detail, Op, Shape, Signature};

pub(super) const HEADER_BYTES: usize = 64;
const MAGIC: u32 = 0x4d43_5344; // "DSCM"
const WHOLE_ENDPOINT: u32 = u32::MAX;
/// A notice is a sentence, not data.
pub(super) const NOTICE_MAX_BYTES: u64 = 16 << 10;
const REASON_MAX_BYTES: usize = 4 << 10;
/// The first bytes of a data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) group: GroupId,
    pub(super) source: RankId,
    pub(super) sequence: u64,
    /// Of an operation whose members send twice.
    pub(super) phase: u8,
    pub(super) signature: Signature,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Data(Header),
    /// Followed by this many bytes.
    Notice {
        n_bytes: u64,
    },
    Goodbye,
    Ping,
    /// The sender's process has this word at that address.
    Probe {
        pid: u32,
        address: u64,
        word: u64,
    },
    /// The sender has found the word of the receiver's probe.
    Readable,
    /// As data, but followed by the payload's address in the sender's memory.
    Lent(Header),
    /// The sender has read what was lent at that address.
    Taken {
        address: u64,
    },
    /// Followed by this many bytes, for a rank that may be another one.
    Parcel {
        to: Label,
        n_bytes: u32,
    },
    /// All parcels before that number have come.
    Answer(Label),
    /// The sender cannot reach that rank of another node any more.
    LostLink {
        to: RankId,
    },
    /// The sender needs nothing more.
    Done,
}

/// Of a parcel, or of the answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) from: RankId,
    pub(super) to: RankId,
    /// Notices do not wait for messages.
    pub(super) is_notice: bool,
    pub(super) number: u64,
}

impl Label {
    fn encode_into(self, bytes: &mut [u8; HEADER_BYTES]) {
        bytes[5] = u8::from(self.is_notice);
        bytes[8..12].copy_from_slice(&self.from.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.to.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let (from, to) = (RankId(u32_at(bytes, 8)), RankId(u32_at(bytes, 12)));
        Self { from, to, is_notice: bytes[5] == 1, number: u64_at(bytes, 16) }
    }
}

impl Frame {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        match self {
            Self::Data(header) => {
                bytes[4] = 1;
                header.encode_into(&mut bytes);
            }
            Self::Notice { n_bytes } => {
                bytes[4] = 2;
                bytes[32..40].copy_from_slice(&n_bytes.to_le_bytes());
            }
            Self::Goodbye => bytes[4] = 3,
            Self::Ping => bytes[4] = 4,
            Self::Probe { pid, address, word } => {
                bytes[4] = 5;
                bytes[8..12].copy_from_slice(&pid.to_le_bytes());
                bytes[16..24].copy_from_slice(&address.to_le_bytes());
                bytes[24..32].copy_from_slice(&word.to_le_bytes());
            }
            Self::Readable => bytes[4] = 6,
            Self::Lent(header) => {
                bytes[4] = 7;
                header.encode_into(&mut bytes);
            }
            Self::Taken { address } => {
                bytes[4] = 8;
                bytes[16..24].copy_from_slice(&address.to_le_bytes());
            }
            Self::Parcel { to, n_bytes } => {
                bytes[4] = 9;
                to.encode_into(&mut bytes);
                bytes[32..36].copy_from_slice(&n_bytes.to_le_bytes());
            }
            Self::Answer(to) => {
                bytes[4] = 10;
                to.encode_into(&mut bytes);
            }
            Self::LostLink { to } => {
                bytes[4] = 11;
                bytes[12..16].copy_from_slice(&to.0.to_le_bytes());
            }
            Self::Done => bytes[4] = 12,
        }
        bytes
    }

    /// Nothing when the bytes are not a header.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        if u32_at(bytes, 0) != MAGIC {
            return None;
        }
        match bytes[4] {
            1 => Header::decode(bytes).map(Self::Data),
            2 => Some(Self::Notice { n_bytes: u64_at(bytes, 32) }).filter(|_| u64_at(bytes, 32) <= NOTICE_MAX_BYTES),
            3 => Some(Self::Goodbye),
            4 => Some(Self::Ping),
            5 => Some(Self::Probe { pid: u32_at(bytes, 8), address: u64_at(bytes, 16), word: u64_at(bytes, 24) }),
            6 => Some(Self::Readable),
            7 => Header::decode(bytes).map(Self::Lent),
            8 => Some(Self::Taken { address: u64_at(bytes, 16) }),
            9 => Some(Self::Parcel { to: Label::decode(bytes), n_bytes: u32_at(bytes, 32) }),
            10 => Some(Self::Answer(Label::decode(bytes))),
            11 => Some(Self::LostLink { to: RankId(u32_at(bytes, 12)) }),
            12 => Some(Self::Done),
            _ => None,
        }
    }
}

impl Header {
    fn encode_into(&self, bytes: &mut [u8; HEADER_BYTES]) {
        let Signature { op, dtype, detail, shape, n_bytes } = self.signature;
        bytes[5] = op as u8;
        bytes[6] = dtype as u8;
        bytes[7] = self.phase;
        bytes[8..12].copy_from_slice(&self.group.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.source.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&shape.hash.to_le_bytes());
        bytes[32..40].copy_from_slice(&n_bytes.to_le_bytes());
        bytes[40..44].copy_from_slice(&detail.encode().to_le_bytes());
        bytes[44] = shape.n_dims;
        for (slot, dim) in bytes[48..64].chunks_exact_mut(4).zip(shape.dims) {
            slot.copy_from_slice(&dim.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let dims = [48, 52, 56, 60].map(|at| u32_at(bytes, at));
        Some(Self {
            group: GroupId(u32_at(bytes, 8)),
            source: RankId(u32_at(bytes, 12)),
            sequence: u64_at(bytes, 16),
            phase: bytes[7],
            signature: Signature {
                op: Op::ALL.into_iter().find(|&op| op as u8 == bytes[5])?,
                dtype: Dtype::ALL.into_iter().find(|&dtype| dtype as u8 == bytes[6])?,
                detail: Detail::decode(u32_at(bytes, 40))?,
                shape: Shape { hash: u64_at(bytes, 24), n_dims: bytes[44], dims },
                n_bytes: u64_at(bytes, 32),
            },
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Tells peers that a group, or all that a rank takes part in, has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// One group, or the whole endpoint.
    pub(super) group: Option<GroupId>,
    pub(super) cause: Cause,
}

/// Why a group fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Failed(Failure),
    Mismatch(Box<Mismatch>),
}

impl Cause {
    /// What an operation that fails from it reports on `here`.
    pub(super) fn error(&self, here: RankId, group: GroupId, op: Op, sequence: u64) -> CommError {
        match self {
            Self::Mismatch(mismatch) => CommError::Mismatch(mismatch.clone()),
            Self::Failed(Failure { rank, reason: Reason::Aborted(reason) }) if *rank == here => {
                CommError::Aborted { rank: here, group, op, sequence, reason: reason.clone() }
            }
            Self::Failed(Failure { rank, reason }) => {
                CommError::PeerFailed { rank: *rank, group, op, sequence, reason: reason.clone() }
            }
        }
    }
}

impl Notice {
    /// The rank that will say nothing more, if that is what it tells.
    pub(super) fn fallen(&self) -> Option<RankId> {
        match &self.cause {
            Cause::Failed(Failure { reason: Reason::Aborted(_) | Reason::Closed, .. }) | Cause::Mismatch(_) => None,
            Cause::Failed(Failure { rank, .. }) => Some(*rank),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.group.map_or(WHOLE_ENDPOINT, |group| group.0).to_le_bytes().to_vec();
        match &self.cause {
            Cause::Failed(Failure { rank, reason }) => {
                let (tag, text) = reason.encode();
                bytes.extend([0, tag]);
                bytes.extend(rank.0.to_le_bytes());
                bytes.extend(&text.as_bytes()[..text.floor_char_boundary(REASON_MAX_BYTES)]);
            }
            Cause::Mismatch(mismatch) => {
                let &Mismatch { group, sequence, rank, signature, other, other_signature } = &**mismatch;
                bytes.extend([1, 0]);
                for (source, signature) in [(rank, signature), (other, other_signature)] {
                    bytes.extend(Frame::Data(Header { group, source, sequence, phase: 0, signature }).encode());
                }
            }
        }
        bytes
    }

    /// Its frame and its words, as they travel.
    pub(super) fn framed(&self) -> Vec<u8> {
        let words = self.encode();
        let mut bytes = Frame::Notice { n_bytes: words.len() as u64 }.encode().to_vec();
        bytes.extend(words);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (scope, rest) = bytes.split_at_checked(4)?;
        let group = Some(u32_at(scope, 0)).filter(|&group| group != WHOLE_ENDPOINT).map(GroupId);
        let cause = match rest {
            [0, tag, rest @ ..] => {
                let (rank, text) = rest.split_at_checked(4)?;
                let reason = Reason::decode(*tag, &String::from_utf8_lossy(text))?;
                Cause::Failed(Failure { rank: RankId(u32_at(rank, 0)), reason })
            }
            [1, 0, rest @ ..] => {
                let (one, other) = rest.split_at_checked(HEADER_BYTES)?;
                let header = |bytes: &[u8]| Header::decode(bytes.try_into().ok()?);
                let (one, other) = (header(one)?, header(other)?);
                Cause::Mismatch(Box::new(Mismatch {
                    group: one.group,
                    sequence: one.sequence,
                    rank: one.source,
                    signature: one.signature,
                    other: other.source,
                    other_signature: other.signature,
                }))
            }
            _ => return None,
        };
        Some(Self { group, cause })
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let shape = Shape::new(7, &[4, 3, 2, 9, 8]);
        let detail = Detail::Root(RankId(3));
        let signature = Signature { op: Op::Broadcast, dtype: Dtype::Bf16, detail, shape, n_bytes: 1 << 40 };
        Header { group: GroupId(5), source: RankId(3), sequence: u64::MAX - 1, phase: 1, signature }
    }

    fn label(is_notice: bool) -> Label {
        Label { from: RankId(3), to: RankId(4), is_notice, number: 1 << 40 }
    }

    #[test]
    fn a_header_survives_the_wire() {
        let address = 1 << 40;
        for kind in [
            Frame::Data(header()),
            Frame::Notice { n_bytes: 9 },
            Frame::Goodbye,
            Frame::Ping,
            Frame::Probe { pid: 7, address, word: 9 },
            Frame::Readable,
            Frame::Lent(header()),
            Frame::Taken { address },
            Frame::Parcel { to: label(true), n_bytes: 1 << 20 },
            Frame::Answer(label(false)),
            Frame::LostLink { to: RankId(6) },
            Frame::Done,
        ] {
            assert_eq!(Frame::decode(&kind.encode()), Some(kind));
        }
    }

    #[test]
    fn bytes_that_are_no_header_are_refused() {
        let good = Frame::Data(header()).encode();
        for at in [0, 4, 5, 6] {
            let mut bad = good;
            bad[at] = 200;
            assert_eq!(Frame::decode(&bad), None, "byte {at}");
        }
        assert_eq!(Frame::decode(&Frame::Notice { n_bytes: NOTICE_MAX_BYTES + 1 }.encode()), None);
    }

    #[test]
    fn a_notice_survives_the_wire() {
        let Header { group, source, sequence, signature, .. } = header();
        let mut other_signature = signature;
        other_signature.op = Op::Barrier;
        let mismatch = Mismatch { group, sequence, rank: source, signature, other: RankId(1), other_signature };
        let mut causes = vec![Cause::Mismatch(Box::new(mismatch))];
        for reason in [
            Reason::Aborted("no memory".into()),
            Reason::Panicked,
            Reason::Dropped,
            Reason::Lost("reset".into()),
            Reason::Silent { seconds: 10 },
            Reason::Closed,
            Reason::Garbled,
            Reason::Flooded { n_bytes: 5 },
            Reason::Behind { n_bytes: 6 },
        ] {
            causes.push(Cause::Failed(Failure { rank: RankId(9), reason }));
        }
        for cause in causes {
            for group in [None, Some(GroupId(4))] {
                let notice = Notice { group, cause: cause.clone() };
                assert_eq!(Notice::decode(&notice.encode()), Some(notice));
            }
        }
    }

    #[test]
    fn a_cut_notice_is_refused_or_shorter_but_never_a_panic() {
        let notice =
            Notice { group: None, cause: Cause::Failed(Failure { rank: RankId(1), reason: Reason::Panicked }) };
        let bytes = notice.encode();
        for n in 0..bytes.len() {
            assert_eq!(Notice::decode(&bytes[..n]), None, "{n} bytes");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        let failure = |text: String| Cause::Failed(Failure { rank: RankId(1), reason: Reason::Aborted(text) });
        let notice = Notice { group: None, cause: failure("é".repeat(REASON_MAX_BYTES)) };
        let back = Notice { group: None, cause: failure("é".repeat(REASON_MAX_BYTES / 2)) };
        assert_eq!(Notice::decode(&notice.encode()), Some(back));
    }
}
