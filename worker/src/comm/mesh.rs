//! Messages over TCP connections: a thread that reads and one that writes for each peer.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ds_plan::RankId;

use super::clock::now;
use super::endpoint::Endpoint;
use super::error::Reason;
use super::handshake::nonce;
use super::memory::{Memory, is_same_machine};
use super::outbox::{Item, Outbox};
use super::payload::Payload;
use super::shared::Shared;
use super::transport::{Behind, Message, Transport, WAITING_MAX_BYTES};
use super::wire::{Frame, HEADER_BYTES, Header, Notice};

/// Peers ping every second, from a thread that does nothing else: one that is silent for so long has lost its machine
/// or its network, or was stopped. Seconds are counted while this rank listens: one that did not get to run itself blames
/// nobody for that time.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often a reader that hears nothing looks whether that matters.
const LISTEN: Duration = Duration::from_secs(1);
/// For a peer to take the last that it is sent, or to leave too. Only one that is stuck takes so long.
const FAREWELL: Duration = Duration::from_secs(10);

/// This rank's end of connections to all peers.
pub(super) fn endpoint(rank: RankId, n_ranks: usize, links: BTreeMap<RankId, TcpStream>) -> io::Result<Endpoint> {
    let mut outboxes = BTreeMap::new();
    for (&peer, stream) in &links {
        stream.set_read_timeout(Some(LISTEN))?;
        stream.set_write_timeout(None)?;
        let word = *nonce()?.first_chunk().expect("a nonce is longer");
        outboxes.insert(peer, Arc::new(Outbox::new(stream.try_clone()?, word)));
    }
    let ended = Arc::new(Ended::default());
    let mesh = Mesh { outboxes: outboxes.clone(), ended: Arc::clone(&ended) };
    let shared = Arc::new(Shared::new(rank, n_ranks, Box::new(mesh)));
    for (peer, stream) in links {
        let (outbox, own) = (Arc::clone(&outboxes[&peer]), Arc::clone(&outboxes[&peer]));
        if is_same_machine(&stream) {
            // The first frame, so that nothing is in its way.
            let _ = outbox.probe();
        }
        let name = |what: &str| thread::Builder::new().name(format!("{what} rank {}", peer.0));
        // What fails here fails for the reader too, who first reads what the peer still said.
        name("to").spawn(move || outbox.write_until_ended().ok())?;
        let (reader, ended) = (Arc::clone(&shared), Arc::clone(&ended));
        ended.begin();
        name("from").spawn(move || {
            let (silence, said_goodbye) = (Duration::ZERO, false);
            Reader { peer, stream, shared: reader, outbox: own, memory: None, silence, said_goodbye }.run();
            ended.end();
        })?;
    }
    Ok(Endpoint::new(shared))
}

/// Readers that still listen.
#[derive(Default)]
struct Ended {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Ended {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        *self.lock() += 1;
    }

    fn end(&self) {
        *self.lock() -= 1;
        self.changed.notify_all();
    }

    fn wait(&self, longest: Duration) {
        let guard = self.lock();
        drop(self.changed.wait_timeout_while(guard, longest, |count| *count > 0));
    }
}

struct Mesh {
    outboxes: BTreeMap<RankId, Arc<Outbox>>,
    ended: Arc<Ended>,
}

impl Transport for Mesh {
    fn send(&self, to: RankId, message: Message) -> Result<(), Behind> {
        match self.outboxes.get(&to) {
            Some(outbox) => outbox.message(message),
            None => Ok(()),
        }
    }

    fn notify(&self, to: RankId, notice: &Notice) {
        if let Some(outbox) = self.outboxes.get(&to) {
            outbox.put_first(Item::notice(notice));
        }
    }

    fn close(&self) {
        let until = now() + FAREWELL;
        self.outboxes.values().for_each(|outbox| outbox.finish());
        self.outboxes.values().for_each(|outbox| outbox.wait_empty(until));
        // A socket that is closed with unread bytes takes the goodbye back, so peers may finish first.
        self.ended.wait(FAREWELL);
    }

    fn cut(&self) {
        let until = now() + FAREWELL / 2;
        self.outboxes.values().for_each(|outbox| outbox.keep_notices());
        self.outboxes.values().for_each(|outbox| outbox.wait_empty(until));
        self.outboxes.values().for_each(|outbox| outbox.shut());
    }
}

struct Reader {
    peer: RankId,
    stream: TcpStream,
    shared: Arc<Shared>,
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
    fn run(mut self) {
        let broken = loop {
            match self.next() {
                Ok(()) => (),
                Err(broken) => break broken,
            }
        };
        match broken {
            Broken::Reason(reason) if !self.said_goodbye && !self.shared.has_left() => {
                self.shared.on_failure(self.peer, reason);
            }
            _ => (),
        }
    }

    fn next(&mut self) -> Result<(), Broken> {
        let mut header = [0; HEADER_BYTES];
        self.read(&mut header)?;
        match Frame::decode(&header).ok_or(Broken::Reason(Reason::Garbled))? {
            Frame::Data(header) => self.message(header),
            Frame::Notice { n_bytes } => {
                let mut bytes = vec![0; n_bytes as usize];
                self.read(&mut bytes)?;
                let notice = Notice::decode(&bytes).ok_or(Broken::Reason(Reason::Garbled))?;
                self.shared.on_notice(self.peer, notice);
                Ok(())
            }
            Frame::Goodbye => {
                self.said_goodbye = true;
                self.shared.on_goodbye(self.peer);
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
        }
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

    /// Memory for the payload of a message.
    fn room(&self, header: &Header) -> Result<Payload, Broken> {
        let (dtype, n_bytes) = (header.signature.dtype, header.signature.n_bytes);
        if header.source != self.peer || n_bytes > WAITING_MAX_BYTES || !n_bytes.is_multiple_of(dtype.n_bytes() as u64)
        {
            return Err(Broken::Reason(Reason::Garbled));
        }
        let lost = |error: tch::TchError| Broken::Reason(Reason::Lost(error.to_string()));
        Payload::unwritten(dtype, n_bytes as usize).map_err(lost)
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
                    if self.shared.has_left() {
                        return Err(Broken::Left);
                    }
                    self.silence += LISTEN;
                    if self.silence > SILENCE_MAX {
                        return Err(Broken::Reason(Reason::Silent { seconds: SILENCE_MAX.as_secs() }));
                    }
                }
                Err(error) => return Err(Broken::Reason(Reason::Lost(text(&error)))),
            }
        }
        Ok(())
    }
}

fn text(error: &io::Error) -> String {
    error.kind().to_string()
}
