//! Two ranks make sure of each other before they talk: who, of which attempt, and that both know the secret. The secret
//! itself never travels.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use ds_plan::RankId;

const MAGIC: &[u8; 8] = b"dsctl c1";
const NONCE_BYTES: usize = 32;
const HELLO_BYTES: usize = 8 + 4 * 4 + NONCE_BYTES + 32;
const ANSWER_BYTES: usize = 4 * 3 + 32;

/// Why a rank does not accept another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not know the secret of the attempt.
    #[error("one of the two does not know the token of this attempt")]
    Token,
    /// It is of another attempt.
    #[error("it is of attempt {theirs}, this rank of attempt {ours}")]
    Attempt {
        /// What it said.
        theirs: u32,
        /// What it should be.
        ours: u32,
    },
    /// It meant another rank, or counts ranks otherwise.
    #[error("it looked for rank {theirs}, this is rank {ours}")]
    Rank {
        /// Whom it meant.
        theirs: u32,
        /// Whom it found.
        ours: u32,
    },
    /// That rank is connected, or connects the other way round.
    #[error("rank {0} is not awaited, or is connected already")]
    NotAwaited(u32),
    /// It speaks something else.
    #[error("it does not speak as ranks do")]
    Stranger,
}

/// What both sides know beforehand.
#[derive(Clone)]
pub(super) struct Secret {
    key: [u8; 32],
    pub(super) attempt: u32,
}

impl Secret {
    pub(super) fn new(token: &str, attempt: u32) -> Self {
        Self { key: blake3::derive_key("dsctl 2026 connection between ranks", token.as_bytes()), attempt }
    }

    fn proof(&self, side: &[u8], nonces: [&[u8]; 2], said: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [side, nonces[0], nonces[1], said] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hasher.finalize()
    }

    /// The side that connects.
    pub(super) fn knock(
        &self,
        stream: &mut TcpStream,
        from: RankId,
        to: RankId,
        n_ranks: u32,
    ) -> io::Result<Result<(), Refusal>> {
        let mut challenge = [0; 8 + NONCE_BYTES];
        stream.read_exact(&mut challenge)?;
        let Some(theirs) = challenge.strip_prefix(MAGIC) else { return Ok(Err(Refusal::Stranger)) };
        let own = nonce()?;
        let said = words([from.0, to.0, self.attempt, n_ranks]);
        let mut hello = Vec::with_capacity(HELLO_BYTES);
        hello.extend(MAGIC);
        hello.extend(said);
        hello.extend(own);
        hello.extend(self.proof(b"hello", [theirs, &own], &said).as_bytes());
        stream.write_all(&hello)?;
        let mut answer = [0; ANSWER_BYTES];
        stream.read_exact(&mut answer)?;
        let (said_back, proof) = answer.split_at(12);
        let proof: [u8; 32] = proof.try_into().expect("the rest of an answer");
        if self.proof(b"answer", [theirs, &own], said_back) != proof {
            return Ok(Err(Refusal::Token));
        }
        Ok(decode(said_back))
    }

    /// The side that listens, first half: who is there.
    pub(super) fn open(
        &self,
        stream: &mut TcpStream,
        own: RankId,
        n_ranks: u32,
    ) -> io::Result<(Door, Result<RankId, Refusal>)> {
        let ours = nonce()?;
        let mut challenge = MAGIC.to_vec();
        challenge.extend(ours);
        stream.write_all(&challenge)?;
        let mut hello = [0; HELLO_BYTES];
        stream.read_exact(&mut hello)?;
        let (magic, rest) = hello.split_at(8);
        let (said, rest) = rest.split_at(16);
        let (theirs, proof) = rest.split_at(NONCE_BYTES);
        let door = Door { ours, theirs: theirs.try_into().expect("a nonce") };
        if magic != MAGIC {
            return Ok((door, Err(Refusal::Stranger)));
        }
        let proof: [u8; 32] = proof.try_into().expect("the rest of a hello");
        if self.proof(b"hello", [&ours, theirs], said) != proof {
            return Ok((door, Err(Refusal::Token)));
        }
        let [from, to, attempt, n] = numbers(said);
        let judged = if attempt != self.attempt {
            Err(Refusal::Attempt { theirs: attempt, ours: self.attempt })
        } else if to != own.0 || n != n_ranks {
            Err(Refusal::Rank { theirs: to, ours: own.0 })
        } else {
            Ok(RankId(from))
        };
        Ok((door, judged))
    }

    /// The side that listens, second half: whether it may stay.
    pub(super) fn answer(&self, stream: &mut TcpStream, door: &Door, verdict: Result<(), Refusal>) -> io::Result<()> {
        let said = encode(verdict);
        let mut answer = said.to_vec();
        answer.extend(self.proof(b"answer", [&door.ours, &door.theirs], &said).as_bytes());
        stream.write_all(&answer)
    }
}

/// The nonces of a knock that was heard.
pub(super) struct Door {
    ours: [u8; NONCE_BYTES],
    theirs: [u8; NONCE_BYTES],
}

pub(super) fn nonce() -> io::Result<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut nonce)?;
    Ok(nonce)
}

fn words<const N: usize>(numbers: [u32; N]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (slot, number) in bytes.chunks_exact_mut(4).zip(numbers) {
        slot.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn numbers<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut numbers = [0; N];
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
        *number = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    }
    numbers
}

fn encode(verdict: Result<(), Refusal>) -> [u8; 12] {
    let said = match verdict {
        Ok(()) => [0, 0, 0],
        Err(Refusal::Token) => [1, 0, 0],
        Err(Refusal::Attempt { theirs, ours }) => [2, ours, theirs],
        Err(Refusal::Rank { theirs, ours }) => [3, theirs, ours],
        Err(Refusal::NotAwaited(rank)) => [4, rank, 0],
        Err(Refusal::Stranger) => [5, 0, 0],
    };
    let mut bytes = [0; 12];
    bytes.copy_from_slice(&words(said)[..12]);
    bytes
}

/// As the other side sees it: its attempt is now "theirs".
fn decode(said: &[u8]) -> Result<(), Refusal> {
    match numbers::<3>(said) {
        [0, ..] => Ok(()),
        [1, ..] => Err(Refusal::Token),
        [2, theirs, ours] => Err(Refusal::Attempt { theirs, ours }),
        [3, theirs, ours] => Err(Refusal::Rank { theirs, ours }),
        [4, rank, _] => Err(Refusal::NotAwaited(rank)),
        _ => Err(Refusal::Stranger),
    }
}
