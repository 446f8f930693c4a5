//! What waits to be sent to one peer. A message goes straight to the socket as far as that takes it at once; the rest is
//! written by a thread.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, sendmsg};

use super::clock::now;
use super::memory::LEND_MIN_BYTES;
use super::payload::Payload;
use super::transport::{Behind, Message, WAITING_MAX_BYTES};
use super::wire::{Frame, HEADER_BYTES, Label, Notice};

/// A peer hears something at least this often.
const PING_EVERY: Duration = Duration::from_secs(1);

/// A frame on its way.
pub(super) struct Item {
    head: Vec<u8>,
    payload: Option<Payload>,
    sent: usize,
    is_notice: bool,
}

impl Item {
    fn message(message: Message) -> Self {
        let head = Frame::Data(message.header).encode().to_vec();
        Self { head, payload: Some(message.payload), sent: 0, is_notice: false }
    }

    pub(super) fn notice(notice: &Notice) -> Self {
        Self { head: notice.framed(), payload: None, sent: 0, is_notice: true }
    }

    /// Only says where the payload lies.
    fn lent(message: &Message) -> Self {
        let mut head = Frame::Lent(message.header).encode().to_vec();
        head.extend(address(&message.payload).to_le_bytes());
        Self { head, payload: None, sent: 0, is_notice: false }
    }

    pub(super) fn frame(frame: Frame) -> Self {
        Self { head: frame.encode().to_vec(), payload: None, sent: 0, is_notice: false }
    }

    /// What another rank is to pass on, or has for itself.
    pub(super) fn parcel(to: Label, words: &[u8], payload: Option<Payload>) -> Self {
        let n_bytes = (words.len() + payload.as_ref().map_or(0, Payload::n_bytes)) as u32;
        let mut head = Frame::Parcel { to, n_bytes }.encode().to_vec();
        head.extend(words);
        Self { head, payload, sent: 0, is_notice: to.is_notice }
    }

    pub(super) fn n_bytes(&self) -> usize {
        self.head.len() + self.payload.as_ref().map_or(0, Payload::n_bytes)
    }

    /// What is left of head and payload.
    fn left(&self) -> [&[u8]; 2] {
        let payload = self.payload.as_ref().map_or(&[][..], Payload::bytes);
        let in_payload = self.sent.saturating_sub(self.head.len());
        [&self.head[self.sent.min(self.head.len())..], &payload[in_payload..]]
    }

    fn is_sent(&self) -> bool {
        self.sent == self.n_bytes()
    }
}

/// Where a payload lies in this process.
fn address(payload: &Payload) -> u64 {
    payload.bytes().as_ptr() as u64
}

pub(super) struct Outbox {
    stream: TcpStream,
    /// What the peer looks for, to know that it can read this process.
    word: Box<[u8; 8]>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Item>,
    n_bytes: u64,
    /// The thread has taken an item out and writes it.
    is_writing: bool,
    /// The peer reads this process.
    lends: bool,
    /// What the peer reads now, or will.
    lent: Vec<Payload>,
    /// Nothing is taken any more.
    is_finished: bool,
    /// The connection is of no use any more.
    is_broken: bool,
}

impl Outbox {
    /// `word` is eight bytes that nobody guesses.
    pub(super) fn new(stream: TcpStream, word: [u8; 8]) -> Self {
        Self { stream, word: Box::new(word), inner: Mutex::default(), changed: Condvar::new() }
    }

    /// Asks the peer whether it can read this process.
    pub(super) fn probe(&self) -> Result<(), Behind> {
        let (address, word) = (self.word.as_ptr() as u64, u64::from_le_bytes(*self.word));
        self.put(Item::frame(Frame::Probe { pid: std::process::id(), address, word }))
    }

    /// The peer can.
    pub(super) fn lend(&self) {
        self.lock().lends = true;
    }

    /// The peer has read what lies at that address.
    pub(super) fn taken(&self, at: u64) {
        let mut inner = self.lock();
        if let Some(place) = inner.lent.iter().position(|payload| address(payload) == at) {
            let payload = inner.lent.swap_remove(place);
            inner.n_bytes -= payload.n_bytes() as u64;
        }
    }

    /// Sends a message after all that waits: itself, or where the peer finds it.
    pub(super) fn message(&self, message: Message) -> Result<(), Behind> {
        let mut inner = self.lock();
        if !inner.lends || message.payload.n_bytes() < LEND_MIN_BYTES || inner.is_finished || inner.is_broken {
            drop(inner);
            return self.put(Item::message(message));
        }
        let item = Item::lent(&message);
        inner.n_bytes += message.payload.n_bytes() as u64;
        inner.lent.push(message.payload);
        drop(inner);
        self.put(item)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends after all that waits. Never waits itself.
    pub(super) fn put(&self, mut item: Item) -> Result<(), Behind> {
        let mut inner = self.lock();
        if inner.is_finished || inner.is_broken {
            return Ok(());
        }
        if self.send_at_once(&inner, &mut item) {
            return Ok(());
        }
        inner.n_bytes += item.n_bytes() as u64;
        let n_bytes = inner.n_bytes;
        inner.queue.push_back(item);
        drop(inner);
        self.changed.notify_all();
        if n_bytes > WAITING_MAX_BYTES { Err(Behind { n_bytes }) } else { Ok(()) }
    }

    /// Sends before all that waits, but for a frame that was begun. Why a rank falls does not depend on whether its
    /// threads still get to run.
    pub(super) fn put_first(&self, mut item: Item) {
        let mut inner = self.lock();
        if inner.is_finished || inner.is_broken {
            return;
        }
        if self.send_at_once(&inner, &mut item) {
            return;
        }
        inner.n_bytes += item.n_bytes() as u64;
        let place = usize::from(inner.queue.front().is_some_and(|front| front.sent > 0));
        inner.queue.insert(place, item);
        drop(inner);
        self.changed.notify_all();
    }

    /// Whether all of it is with the system, since nothing is before it and the socket takes it. What goes wrong here
    /// goes wrong again in the thread, which tells.
    fn send_at_once(&self, inner: &Inner, item: &mut Item) -> bool {
        if !inner.queue.is_empty() || inner.is_writing {
            return false;
        }
        while !item.is_sent() {
            let left = item.left().map(IoSlice::new);
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<()>(self.stream.as_raw_fd(), &left, &[], flags, None) {
                Ok(n) => item.sent += n,
                Err(Errno::EINTR) => (),
                Err(_) => return false,
            }
        }
        true
    }

    /// The thread's work: writes what waits, and a ping when nothing does.
    pub(super) fn write_until_ended(&self) -> io::Result<()> {
        loop {
            let mut inner = self.lock();
            let pause = |inner: &mut Inner| inner.queue.is_empty() && !inner.is_finished && !inner.is_broken;
            if pause(&mut inner) {
                let waited = self.changed.wait_timeout_while(inner, PING_EVERY, |inner| pause(inner));
                inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if inner.is_broken {
                return Ok(());
            }
            let item = match inner.queue.pop_front() {
                Some(item) => {
                    inner.n_bytes -= item.n_bytes() as u64;
                    item
                }
                None if inner.is_finished => return self.stream.shutdown(Shutdown::Write).or(Ok(())),
                None => Item::frame(Frame::Ping),
            };
            inner.is_writing = true;
            drop(inner);
            let written = self.write(item);
            let mut inner = self.lock();
            inner.is_writing = false;
            let was_shut = inner.is_broken;
            inner.is_broken |= written.is_err();
            drop(inner);
            self.changed.notify_all();
            if !was_shut {
                written?;
            }
        }
    }

    fn write(&self, mut item: Item) -> io::Result<()> {
        let mut stream = &self.stream;
        while !item.is_sent() {
            match stream.write_vectored(&item.left().map(IoSlice::new)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => item.sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A goodbye after all that waits, and nothing more.
    pub(super) fn finish(&self) {
        let mut inner = self.lock();
        if !inner.is_finished {
            inner.queue.push_back(Item::frame(Frame::Goodbye));
            inner.n_bytes += HEADER_BYTES as u64;
            inner.is_finished = true;
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Gives up what was not begun, but for notices.
    pub(super) fn keep_notices(&self) {
        let mut inner = self.lock();
        inner.queue.retain(|item| item.is_notice || item.sent > 0);
        let lent: u64 = inner.lent.iter().map(|payload| payload.n_bytes() as u64).sum();
        inner.n_bytes = lent + inner.queue.iter().map(|item| item.n_bytes() as u64).sum::<u64>();
        inner.is_finished = true;
        drop(inner);
        self.changed.notify_all();
    }

    pub(super) fn wait_empty(&self, until: Instant) {
        let inner = self.lock();
        let left = until.saturating_duration_since(now());
        let waits = |inner: &mut Inner| (!inner.queue.is_empty() || inner.is_writing) && !inner.is_broken;
        drop(self.changed.wait_timeout_while(inner, left, waits));
    }

    /// Ends the connection in both directions.
    pub(super) fn shut(&self) {
        self.lock().is_broken = true;
        self.changed.notify_all();
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        // A peer may be reading still, and would take what stands there next for the payload.
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        inner.lent.drain(..).for_each(std::mem::forget);
    }
}
