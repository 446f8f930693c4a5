//! Ranks that `mpirun` has started: messages over MPI. One thread sends and one receives; nobody else of an endpoint
//! calls MPI. A process that dies takes all others with it, which is MPI's own rule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ds_plan::RankId;
use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, Destination as _, Source as _};

use super::clock::{now, pause};
use super::endpoint::Endpoint;
use super::error::{CommError, ConnectError, Reason};
use super::payload::Payload;
use super::reader::room;
use super::shared::Shared;
use super::transport::{Behind, Message, Transport, WAITING_MAX_BYTES};
use super::wire::{Frame, HEADER_BYTES, Header, Notice};

/// MPI counts in 32 bits with a sign.
const PART_BYTES: usize = 1 << 30;
/// Two tags an endpoint, for what stands before a message and for its bytes; MPI promises 32,767 of them.
const N_ENDPOINTS: i32 = 8192;
/// Looks for a message before the receiver gives its core away: ranks may outnumber cores.
const LOOKS: u32 = 64;
/// Between two looks then.
const PAUSE: Duration = Duration::from_micros(20);
/// For a peer to take the last that it is sent, or to leave too.
const FAREWELL: Duration = Duration::from_secs(10);

/// MPI in this process, until it is dropped; endpoints are closed before.
pub struct Mpi {
    universe: Option<Universe>,
    n_endpoints: AtomicI32,
    /// A thread is inside MPI and does not come back.
    is_stuck: Arc<AtomicBool>,
}

impl Mpi {
    /// Starts MPI, once in a process.
    ///
    /// # Errors
    /// When it runs already, or lets no threads call it.
    pub fn start() -> Result<Self, CommError> {
        let refused = |reason: String| ConnectError::Mpi { reason };
        let (universe, level) = mpi::initialize_with_threading(Threading::Multiple)
            .ok_or_else(|| refused("it was started before in this process".to_owned()))?;
        if level != Threading::Multiple {
            return Err(refused(format!("it offers threads {level:?}, Multiple is needed")).into());
        }
        let (n_endpoints, is_stuck) = Default::default();
        Ok(Self { universe: Some(universe), n_endpoints, is_stuck })
    }

    /// This process among those that `mpirun` started.
    pub fn rank(&self) -> RankId {
        RankId(SimpleCommunicator::world().rank() as u32)
    }

    /// The place of this process among those on its machine.
    pub fn index_on_node(&self) -> usize {
        let world = SimpleCommunicator::world();
        world.split_shared(world.rank()).rank() as usize
    }

    /// Processes that `mpirun` started.
    pub fn n_ranks(&self) -> usize {
        SimpleCommunicator::world().size() as usize
    }

    /// The end of this rank for a job of the first `n_ranks` processes; none for the others. All call it as often.
    ///
    /// # Errors
    /// When no thread can be started.
    ///
    /// # Panics
    /// When there are fewer processes, or more endpoints than MPI has tags for.
    pub fn endpoint(&self, n_ranks: usize) -> Result<Option<Endpoint>, CommError> {
        assert!(n_ranks <= self.n_ranks(), "mpirun started {} processes, not {n_ranks}", self.n_ranks());
        let number = self.n_endpoints.fetch_add(1, Ordering::Relaxed);
        assert!(number < N_ENDPOINTS, "{N_ENDPOINTS} endpoints are all");
        let rank = self.rank();
        if rank.0 as usize >= n_ranks {
            return Ok(None);
        }
        let link = Arc::new(Link { tag: 2 * number, n_ranks, ..Link::default() });
        let transport =
            OverMpi { rank, link: Arc::clone(&link), threads: Mutex::default(), is_stuck: self.is_stuck.clone() };
        let transport = Arc::new(transport);
        let shared = Arc::new(Shared::new(rank, n_ranks, Box::new(Arc::clone(&transport))));
        let (sender, receiver) = (Arc::clone(&link), Receiver { link, shared: Arc::clone(&shared) });
        let spawn =
            |name: &str, work: Box<dyn FnOnce() + Send>| thread::Builder::new().name(name.to_owned()).spawn(work);
        let started = [
            spawn("to ranks", Box::new(move || sender.send_all())).map_err(system)?,
            spawn("from ranks", Box::new(move || receiver.receive_all())).map_err(system)?,
        ];
        transport.threads.lock().unwrap_or_else(PoisonError::into_inner).extend(started);
        Ok(Some(Endpoint::new(shared)))
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if self.is_stuck.load(Ordering::Relaxed) {
            // A peer never took what it was sent. Leaving in order would wait for it without end.
            SimpleCommunicator::world().abort(1);
        }
        drop(self.universe.take());
    }
}

fn system(error: io::Error) -> CommError {
    ConnectError::System(error).into()
}

/// Bytes for one peer.
struct Parcel {
    to: RankId,
    header: [u8; HEADER_BYTES],
    body: Body,
}

enum Body {
    Nothing,
    Words(Vec<u8>),
    Payload(Payload),
}

impl Parcel {
    fn new(to: RankId, frame: Frame, body: Body) -> Self {
        Self { to, header: frame.encode(), body }
    }

    fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Nothing => &[],
            Body::Words(words) => words,
            Body::Payload(payload) => payload.bytes(),
        }
    }

    fn n_bytes(&self) -> u64 {
        (HEADER_BYTES + self.bytes().len()) as u64
    }
}

/// What an endpoint and its two threads share.
#[derive(Default)]
struct Link {
    tag: i32,
    n_ranks: usize,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Parcel>,
    /// Bytes in it for every peer.
    waiting: BTreeMap<RankId, u64>,
    /// Nothing is taken any more.
    is_finished: bool,
    /// All that was taken is with MPI.
    is_sent: bool,
    /// Peers that have left.
    gone: BTreeSet<RankId>,
    /// Nobody is listened to any more.
    is_deaf: bool,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, parcel: Parcel, is_first: bool) -> Result<(), Behind> {
        let mut inner = self.lock();
        if inner.is_finished {
            return Ok(());
        }
        let waiting = inner.waiting.entry(parcel.to).or_default();
        *waiting += parcel.n_bytes();
        let n_bytes = *waiting;
        let place = if is_first { 0 } else { inner.queue.len() };
        inner.queue.insert(place, parcel);
        drop(inner);
        self.changed.notify_all();
        if n_bytes > WAITING_MAX_BYTES { Err(Behind { n_bytes }) } else { Ok(()) }
    }

    /// The last words to all peers.
    fn finish(&self, own: RankId) {
        for to in (0..self.n_ranks as u32).map(RankId).filter(|&to| to != own) {
            // Beyond the limit it is sent all the same.
            let _ = self.put(Parcel::new(to, Frame::Goodbye, Body::Nothing), false);
        }
        self.lock().is_finished = true;
        self.changed.notify_all();
    }

    fn wait_until(&self, until: Instant, is_so: impl Fn(&Inner) -> bool) {
        let left = until.saturating_duration_since(now());
        drop(self.changed.wait_timeout_while(self.lock(), left, |inner| !is_so(inner)));
    }

    fn next(&self) -> Option<Parcel> {
        let is_idle = |inner: &mut Inner| inner.queue.is_empty() && !inner.is_finished;
        let mut inner = self.changed.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let parcel = inner.queue.pop_front()?;
        if let Some(waiting) = inner.waiting.get_mut(&parcel.to) {
            *waiting = waiting.saturating_sub(parcel.n_bytes());
        }
        Some(parcel)
    }

    /// The sender's work.
    fn send_all(&self) {
        let world = SimpleCommunicator::world();
        while let Some(parcel) = self.next() {
            let peer = world.process_at_rank(parcel.to.0 as i32);
            peer.send_with_tag(&parcel.header[..], self.tag);
            for part in parcel.bytes().chunks(PART_BYTES) {
                peer.send_with_tag(part, self.tag + 1);
            }
        }
        self.lock().is_sent = true;
        self.changed.notify_all();
    }
}

struct OverMpi {
    rank: RankId,
    link: Arc<Link>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    is_stuck: Arc<AtomicBool>,
}

impl OverMpi {
    fn leave(&self, longest: Duration) {
        let (link, until) = (&self.link, now() + longest);
        link.finish(self.rank);
        link.wait_until(until, |inner| inner.is_sent);
        // Peers may still have something on its way to here, and MPI ends when all of it was taken.
        link.wait_until(until, |inner| inner.gone.len() + 1 == link.n_ranks);
        link.lock().is_deaf = true;
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            while !thread.is_finished() && now() < until {
                pause(PAUSE);
            }
            if !thread.is_finished() || thread.join().is_err() {
                self.is_stuck.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Transport for Arc<OverMpi> {
    fn send(&self, to: RankId, message: Message) -> Result<(), Behind> {
        self.link.put(Parcel::new(to, Frame::Data(message.header), Body::Payload(message.payload)), false)
    }

    fn notify(&self, to: RankId, notice: &Notice) {
        let words = notice.encode();
        // A notice is short: what waits beyond the limit does not keep it.
        let _ = self.link.put(Parcel::new(to, Frame::Notice { n_bytes: words.len() as u64 }, Body::Words(words)), true);
    }

    fn close(&self) {
        self.leave(FAREWELL);
    }

    fn cut(&self) {
        self.link.lock().queue.retain(|parcel| matches!(parcel.body, Body::Words(_)));
        self.leave(FAREWELL);
    }
}

struct Receiver {
    link: Arc<Link>,
    shared: Arc<Shared>,
}

impl Receiver {
    fn receive_all(&self) {
        let world = SimpleCommunicator::world();
        let mut looks = 0;
        loop {
            let Some((message, status)) = world.any_process().immediate_matched_probe_with_tag(self.link.tag) else {
                if self.link.lock().is_deaf {
                    return;
                }
                looks += 1;
                if looks < LOOKS {
                    thread::yield_now()
                } else {
                    pause(PAUSE)
                }
                continue;
            };
            looks = 0;
            let mut header = [0_u8; HEADER_BYTES];
            message.matched_receive_into(&mut header[..]);
            let peer = RankId(status.source_rank() as u32);
            if let Err(reason) = self.take(&world, peer, &header) {
                self.shared.on_failure(peer, reason);
            }
        }
    }

    fn take(&self, world: &SimpleCommunicator, peer: RankId, header: &[u8; HEADER_BYTES]) -> Result<(), Reason> {
        match Frame::decode(header).ok_or(Reason::Garbled)? {
            Frame::Data(header) => {
                let payload = self.payload(world, peer, &header)?;
                self.shared.on_message(Message { header, payload });
            }
            Frame::Notice { n_bytes } => {
                let mut words = vec![0_u8; n_bytes as usize];
                self.read(world, peer, &mut words);
                let notice = Notice::decode(&words).ok_or(Reason::Garbled)?;
                self.shared.on_notice(peer, notice);
            }
            Frame::Goodbye => {
                self.shared.on_goodbye(peer);
                self.link.lock().gone.insert(peer);
                self.link.changed.notify_all();
            }
            // Of connections only.
            Frame::Ping | Frame::Probe { .. } | Frame::Readable | Frame::Lent(_) | Frame::Taken { .. } => (),
            Frame::Parcel { .. } | Frame::Answer(_) | Frame::LostLink { .. } | Frame::Done => {
                return Err(Reason::Garbled);
            }
        }
        Ok(())
    }

    fn payload(&self, world: &SimpleCommunicator, peer: RankId, header: &Header) -> Result<Payload, Reason> {
        let mut payload = room(peer, header)?;
        self.read(world, peer, payload.bytes_mut());
        Ok(payload)
    }

    fn read(&self, world: &SimpleCommunicator, peer: RankId, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(PART_BYTES) {
            world.process_at_rank(peer.0 as i32).receive_into_with_tag(part, self.link.tag + 1);
        }
    }
}
