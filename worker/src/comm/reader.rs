//! What comes over one connection: a thread that reads frames and hands on what they say.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use ds_plan::RankId;

use super::error::Reason;
use super::memory::Memory;
use super::outbox::{Item, Outbox};
use super::payload::Payload;
use super::shared::Shared;
use super::transport::{Message, WAITING_MAX_BYTES};
use super::wire::{Frame, HEADER_BYTES, Header, Label, Notice};

/// Peers ping every second, from a thread that does nothing else: one that is silent for so long has lost its machine
/// or its network, or was stopped. Seconds are counted while this rank listens: one that did not get to run itself blames
/// nobody for that time.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often a reader that hears nothing looks whether that matters.
pub(super) const LISTEN: Duration = Duration::from_secs(1);
/// No parcel is longer, its words included.
const PARCEL_MAX_BYTES: u32 = 2 << 20;

/// What a connection belongs to.
pub(super) trait Network: Send + Sync {
    /// A peer that is silent for longer is lost.
    fn silence_max(&self, peer: RankId) -> Duration;

    /// Whether nobody needs any more what is read.
    fn is_over(&self, shared: &Shared) -> bool;

    /// A connection ended without a goodbye.
    fn on_broken(&self, shared: &Shared, peer: RankId, reason: Reason);

    /// A goodbye came, over the connection itself.
    fn on_goodbye(&self, peer: RankId);

    /// A peer told, over the connection itself, that something failed.
    fn on_notice(&self, from: RankId, notice: &Notice);

    /// What only networks with other ways send; true where that was understood.
    fn on_way(&self, shared: &Shared, peer: RankId, said: OnWay) -> bool;

    /// Nothing is read from that peer any more.
    fn on_ended(&self, peer: RankId);
}

/// What is said between ranks that pass parcels on.
pub(super) enum OnWay {
    Parcel(Label, Vec<u8>),
    Answer(Label),
    LostLink(RankId),
    Done,
}

/// Reads what a peer sends.
pub(super) struct Reader {
    peer: RankId,
    stream: TcpStream,
    shared: Arc<Shared>,
    network: Arc<dyn Network>,
    /// To the same peer.
    outbox: Arc<Outbox>,
    /// The peer's, if it can be read.
    memory: Option<Memory>,
    /// Listened to since the last byte.
    silence: Duration,
    said_goodbye: bool,
}

/// How a connection ended, if not by a goodbye.
enum Broken {
    Reason(Reason),
    /// This rank has left; nothing matters any more.
    Left,
}

impl Reader {
    pub(super) fn new(
        (peer, stream): (RankId, TcpStream),
        shared: Arc<Shared>,
        network: Arc<dyn Network>,
        outbox: Arc<Outbox>,
    ) -> Self {
        Self { peer, stream, shared, network, outbox, memory: None, silence: Duration::ZERO, said_goodbye: false }
    }

    /// Until the connection ends.
    pub(super) fn run(mut self) {
        let broken = loop {
            match self.next() {
                Ok(()) => (),
                Err(broken) => break broken,
            }
        };
        match broken {
            Broken::Reason(reason) if !self.said_goodbye && !self.shared.has_left() => {
                self.network.on_broken(&self.shared, self.peer, reason);
            }
            _ => (),
        }
        self.network.on_ended(self.peer);
    }

    fn next(&mut self) -> Result<(), Broken> {
        let mut header = [0; HEADER_BYTES];
        self.read(&mut header)?;
        match Frame::decode(&header).ok_or(Broken::Reason(Reason::Garbled))? {
            Frame::Data(header) => self.message(header),
            Frame::Notice { n_bytes } => {
                let bytes = self.bytes(n_bytes as usize)?;
                let notice = Notice::decode(&bytes).ok_or(Broken::Reason(Reason::Garbled))?;
                self.network.on_notice(self.peer, &notice);
                self.shared.on_notice(self.peer, notice);
                Ok(())
            }
            Frame::Goodbye => {
                self.said_goodbye = true;
                self.shared.on_goodbye(self.peer);
                self.network.on_goodbye(self.peer);
                Ok(())
            }
            Frame::Ping => Ok(()),
            Frame::Probe { pid, address, word } => {
                self.memory = Memory::of(pid, address, word);
                if self.memory.is_some() {
                    self.answer(Frame::Readable);
                }
                Ok(())
            }
            Frame::Readable => {
                self.outbox.lend();
                Ok(())
            }
            Frame::Lent(header) => self.lent(header),
            Frame::Taken { address } => {
                self.outbox.taken(address);
                Ok(())
            }
            Frame::Parcel { n_bytes, .. } if n_bytes > PARCEL_MAX_BYTES => Err(Broken::Reason(Reason::Garbled)),
            Frame::Parcel { to, n_bytes } => {
                let bytes = self.bytes(n_bytes as usize)?;
                self.on_way(OnWay::Parcel(to, bytes))
            }
            Frame::Answer(to) => self.on_way(OnWay::Answer(to)),
            Frame::LostLink { to } => self.on_way(OnWay::LostLink(to)),
            Frame::Done => self.on_way(OnWay::Done),
        }
    }

    fn on_way(&self, said: OnWay) -> Result<(), Broken> {
        if self.network.on_way(&self.shared, self.peer, said) { Ok(()) } else { Err(Broken::Reason(Reason::Garbled)) }
    }

    fn answer(&self, frame: Frame) {
        // Too much waits for the peer; whoever put it there was told.
        let _ = self.outbox.put(Item::frame(frame));
    }

    fn message(&mut self, header: Header) -> Result<(), Broken> {
        let mut payload = self.room(&header)?;
        self.read(payload.bytes_mut())?;
        self.shared.on_message(Message { header, payload });
        Ok(())
    }

    /// The payload lies in the peer's memory.
    fn lent(&mut self, header: Header) -> Result<(), Broken> {
        let mut address = [0; 8];
        self.read(&mut address)?;
        let (address, mut payload) = (u64::from_le_bytes(address), self.room(&header)?);
        let memory = self.memory.ok_or(Broken::Reason(Reason::Garbled))?;
        let lost = |error: io::Error| Broken::Reason(Reason::Lost(text(&error)));
        memory.read(address, payload.bytes_mut()).map_err(lost)?;
        self.answer(Frame::Taken { address });
        self.shared.on_message(Message { header, payload });
        Ok(())
    }

    fn room(&self, header: &Header) -> Result<Payload, Broken> {
        room(self.peer, header).map_err(Broken::Reason)
    }

    fn bytes(&mut self, n: usize) -> Result<Vec<u8>, Broken> {
        let mut bytes = vec![0; n];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// All of `bytes`, however long that takes while pings come.
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), Broken> {
        let mut n = 0;
        while n < bytes.len() {
            match self.stream.read(&mut bytes[n..]) {
                Ok(0) => return Err(Broken::Reason(Reason::Lost("it hung up".to_owned()))),
                Ok(more) => {
                    n += more;
                    self.silence = Duration::ZERO;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.network.is_over(&self.shared) {
                        return Err(Broken::Left);
                    }
                    self.silence += LISTEN;
                    let longest = self.network.silence_max(self.peer);
                    if self.silence > longest {
                        return Err(Broken::Reason(Reason::Silent { seconds: longest.as_secs() }));
                    }
                }
                Err(error) => return Err(Broken::Reason(Reason::Lost(text(&error)))),
            }
        }
        Ok(())
    }
}

/// Memory for the payload of a message of that rank.
pub(super) fn room(from: RankId, header: &Header) -> Result<Payload, Reason> {
    let (dtype, n_bytes) = (header.signature.dtype, header.signature.n_bytes);
    if header.source != from || n_bytes > WAITING_MAX_BYTES || !n_bytes.is_multiple_of(dtype.n_bytes() as u64) {
        return Err(Reason::Garbled);
    }
    Payload::unwritten(dtype, n_bytes as usize).map_err(|error| Reason::Lost(error.to_string()))
}

fn text(error: &io::Error) -> String {
    error.kind().to_string()
}
