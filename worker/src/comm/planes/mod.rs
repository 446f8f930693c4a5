//! Ranks on several planes: each sends over its own NIC only. It is linked with the ranks of its node and, across, with
//! those on its plane; what is for others goes by them (`route`). Across nodes everything travels in parcels that are kept
//! until they have come (`stream`), so a lost plane loses nothing: what may be lost with it is sent again another way.
//! Within a node a link lasts as long as the process at its other end, as in a mesh.

mod arriving;
mod leaving;
mod route;
mod stream;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ds_plan::RankId;

use super::clock::now;
use super::endpoint::Endpoint;
use super::error::Reason;
use super::links::{Awaited, FAREWELL, Links, Outboxes, cut, finish, outboxes, start};
use super::outbox::{Item, Outbox};
use super::payload::Payload;
use super::reader::{Network, OnWay, SILENCE_MAX};
use super::shared::Shared;
use super::transport::{Behind, Message, PlaneTraffic, Transport, WAITING_MAX_BYTES};
use super::wire::{Frame, Label, Notice};
use arriving::{Arriving, Said};
use leaving::Leaving;
pub(super) use route::Seats;
use route::{Came, Lost};
use stream::{Incoming, Outgoing, Parcel};

/// A link across that is silent for so long is lost, where there is another way; on the planes after the first, a second more
/// each. So a node that stands still for a while loses one plane after the other, and not the last.
const SILENCE_MAX_ACROSS: Duration = Duration::from_secs(4);

/// This rank's end of connections to the peers that it is linked with.
pub(super) fn endpoint(seats: Seats, links: Links, stripe: bool) -> io::Result<Endpoint> {
    let (own, n_ranks) = (seats.own, seats.ranks().count());
    let stream = |to: RankId| (to, Stream::default());
    let planes = Arc::new(Planes {
        streams: seats.ranks().filter(|&rank| !seats.is_local(rank)).map(stream).collect(),
        outboxes: outboxes(&links)?,
        seats,
        stripe,
        lost: Mutex::default(),
        leaving: Awaited::default(),
        across_bytes: AtomicU64::new(0),
    });
    let shared = Arc::new(Shared::new(own, n_ranks, Box::new(Arc::clone(&planes))));
    let network: Arc<dyn Network> = Arc::<Planes>::clone(&planes);
    start(links, &planes.outboxes, &shared, &network)?;
    Ok(Endpoint::new(shared))
}

struct Planes {
    seats: Seats,
    /// Whether parcels of long messages take turns on all ways.
    stripe: bool,
    outboxes: Outboxes,
    /// With ranks of other nodes.
    streams: BTreeMap<RankId, Stream>,
    lost: Mutex<Lost>,
    leaving: Awaited<Leaving>,
    /// That this rank's NIC was given.
    across_bytes: AtomicU64,
}

/// Both directions, messages and notices apart.
#[derive(Default)]
struct Stream {
    outgoing: [Mutex<Outgoing>; 2],
    incoming: [Mutex<Arriving>; 2],
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Planes {
    /// The link to another rank of the node.
    fn neighbour(&self, to: RankId) -> Option<&Arc<Outbox>> {
        self.outboxes.get(&to).filter(|_| self.seats.is_local(to))
    }

    /// Words and a payload to a rank of another node, in order with what goes the same lane.
    fn post(&self, to: RankId, is_notice: bool, words: Vec<u8>, payload: Option<Payload>) -> Result<(), Behind> {
        let Some(stream) = self.streams.get(&to) else { return Ok(()) };
        let mut outgoing = lock(&stream.outgoing[usize::from(is_notice)]);
        let numbers = outgoing.add(words, payload);
        self.send_from(to, is_notice, &mut outgoing, numbers.start);
        match outgoing.n_bytes() {
            n_bytes if n_bytes > WAITING_MAX_BYTES => Err(Behind { n_bytes }),
            _ => Ok(()),
        }
    }

    /// Sends what is kept from that number on. The caller holds the stream, so that whoever reroutes it comes before or
    /// after.
    fn send_from(&self, to: RankId, is_notice: bool, outgoing: &mut Outgoing, number: u64) {
        let hops = self.seats.hops(to, Came::Here, &lock(&self.lost));
        let Some(&best) = hops.first() else { return };
        let n = outgoing.kept_from(number).count();
        for (i, Parcel { number, words, payload }) in outgoing.kept_from(number).enumerate() {
            let label = Label { from: self.seats.own, to, is_notice, number: *number };
            let item = Item::parcel(label, words, payload.as_mut().map(Payload::share));
            let hop = if self.stripe && n > 1 { hops[i % hops.len()] } else { best };
            self.put(hop, item);
        }
    }

    fn put(&self, hop: RankId, item: Item) {
        let Some(outbox) = self.outboxes.get(&hop) else { return };
        if !self.seats.is_local(hop) {
            self.across_bytes.fetch_add(item.n_bytes() as u64, Ordering::Relaxed);
        }
        // What does not fit any more is kept, and so is not lost; the sender of a message is told.
        let _ = outbox.put(item);
    }

    /// Tells a rank how much of its stream has come. The caller holds it.
    fn answer(&self, from: RankId, is_notice: bool, parcels: &mut Incoming) {
        let label = Label { from: self.seats.own, to: from, is_notice, number: parcels.answer() };
        let hop = self.seats.hops(from, Came::Here, &lock(&self.lost)).first().copied();
        if let Some(hop) = hop {
            self.put(hop, Item::frame(Frame::Answer(label)));
        }
    }

    /// For another rank.
    fn pass_on(&self, link: RankId, to: RankId, item: Item) {
        let came = if self.seats.is_local(link) { Came::Local } else { Came::Across };
        let hop = self.seats.hops(to, came, &lock(&self.lost)).first().copied();
        // Where no way is left here, the sender hears of it and takes another.
        if let Some(hop) = hop {
            self.put(hop, item);
        }
    }

    /// A parcel for this rank. False when it makes no sense.
    fn take(&self, shared: &Shared, label: Label, bytes: Vec<u8>) -> bool {
        let Some(stream) = self.streams.get(&label.from) else { return false };
        let mut arriving = lock(&stream.incoming[usize::from(label.is_notice)]);
        let arrived = arriving.parcels.take(label.number, bytes);
        // Few are notices, and no goodbye follows them.
        let mut is_answer_due = arrived.is_answer_due || label.is_notice;
        if arriving.parcels.early_bytes() > WAITING_MAX_BYTES {
            self.fails(shared, label.from, Reason::Flooded { n_bytes: arriving.parcels.early_bytes() });
            return true;
        }
        for parcel in arrived.parcels {
            match arriving.add(label.from, &parcel) {
                Ok(None) => (),
                Ok(Some(Said::Message(message))) => shared.on_message(message),
                Ok(Some(Said::Notice(notice))) => {
                    self.on_notice(label.from, &notice);
                    shared.on_notice(label.from, notice);
                }
                Ok(Some(Said::Goodbye)) => {
                    is_answer_due = true;
                    shared.on_goodbye(label.from);
                    self.on_goodbye(label.from);
                }
                Err(reason) => self.fails(shared, label.from, reason),
            }
        }
        if is_answer_due {
            self.answer(label.from, label.is_notice, &mut arriving.parcels);
        }
        true
    }

    /// The NIC of this rank, or of that one, or what is between, carries nothing more.
    fn lose(&self, shared: &Shared, far: RankId, reason: Reason) {
        if !lock(&self.lost).add(self.seats.own, far) {
            return;
        }
        let plane = self.seats.plane(self.seats.own);
        tracing::warn!("plane {plane}: the link to rank {} is lost ({reason}); its traffic goes another way", far.0);
        self.outboxes[&far].shut();
        for local in self.seats.locals() {
            self.put(local, Item::frame(Frame::LostLink { to: far }));
        }
        self.reroute(shared, far, &reason);
    }

    /// Sends what ranks of a node may not have got once more, and names those that cannot be reached any more.
    fn reroute(&self, shared: &Shared, far: RankId, reason: &Reason) {
        for to in self.seats.node_of(far) {
            if self.leaving.lock().fallen.contains(&to) {
                continue;
            }
            if self.seats.hops(to, Came::Here, &lock(&self.lost)).is_empty() {
                self.fails(shared, to, reason.clone());
                continue;
            }
            let stream = &self.streams[&to];
            for (lane, is_notice) in [(0, false), (1, true)] {
                self.answer(to, is_notice, &mut lock(&stream.incoming[lane]).parcels);
                self.send_from(to, is_notice, &mut lock(&stream.outgoing[lane]), 0);
            }
        }
    }

    fn fails(&self, shared: &Shared, rank: RankId, reason: Reason) {
        if !self.leaving.lock().goodbye.contains(&rank) {
            shared.on_failure(rank, reason);
        }
        self.leaving.change(|leaving| leaving.fallen.insert(rank));
    }

    fn is_all_come(&self, to: RankId) -> bool {
        self.streams.get(&to).is_none_or(|stream| stream.outgoing.iter().all(|lane| lock(lane).is_empty()))
    }

    /// Waits until all of those have said that they are done, or are lost.
    fn wait_done(&self, linked: impl Fn(RankId) -> bool, until: Instant) {
        let all: Vec<RankId> = self.outboxes.keys().copied().filter(|&rank| linked(rank)).collect();
        for peer in &all {
            let _ = self.outboxes[peer].put(Item::frame(Frame::Done));
        }
        self.leaving.wait_while(left(until), |leaving| {
            !all.iter().all(|peer| leaving.done.contains(peer) || leaving.ended.contains(peer))
        });
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(now())
}

impl Transport for Arc<Planes> {
    fn send(&self, to: RankId, message: Message) -> Result<(), Behind> {
        match self.neighbour(to) {
            Some(outbox) => outbox.message(message),
            None => self.post(to, false, Frame::Data(message.header).encode().to_vec(), Some(message.payload)),
        }
    }

    fn notify(&self, to: RankId, notice: &Notice) {
        match self.neighbour(to) {
            Some(outbox) => outbox.put_first(Item::notice(notice)),
            // Nobody is told that more than the limit waits: the group fails anyway.
            None => drop(self.post(to, true, notice.framed(), None)),
        }
    }

    /// First everybody has what this rank sent, and this rank what they did; then those of the node need no more of it,
    /// then those on its plane, whose nodes need no more either.
    fn close(&self) {
        let until = now() + FAREWELL;
        for to in self.streams.keys() {
            let _ = self.post(*to, false, Frame::Goodbye.encode().to_vec(), None);
        }
        for local in self.seats.locals() {
            let _ = self.outboxes[&local].put(Item::frame(Frame::Goodbye));
        }
        let others: Vec<RankId> = self.seats.ranks().filter(|&rank| rank != self.seats.own).collect();
        self.leaving.wait_while(left(until), |leaving| {
            let is_over = |rank| leaving.goodbye.contains(&rank) && self.is_all_come(rank);
            !others.iter().all(|&rank| is_over(rank) || leaving.fallen.contains(&rank))
        });
        self.wait_done(|rank| self.seats.is_local(rank), until);
        self.wait_done(|rank| !self.seats.is_local(rank), until);
        self.leaving.change(|leaving| leaving.is_over = true);
        finish(&self.outboxes, until);
        self.leaving.wait_while(left(until), |leaving| leaving.ended.len() < self.outboxes.len());
    }

    fn cut(&self) {
        self.leaving.change(|leaving| leaving.is_over = true);
        cut(&self.outboxes);
    }

    fn plane(&self) -> Option<PlaneTraffic> {
        let own = self.seats.own;
        Some(PlaneTraffic {
            plane: self.seats.plane(own),
            bytes: self.across_bytes.load(Ordering::Relaxed),
            is_lost: lock(&self.lost).any_of(own),
        })
    }
}

impl Network for Planes {
    fn silence_max(&self, peer: RankId) -> Duration {
        if self.seats.is_local(peer) {
            return SILENCE_MAX;
        }
        let has_another_way = self.seats.hops(peer, Came::Here, &lock(&self.lost)).len() > 1;
        let later = Duration::from_secs(self.seats.plane(self.seats.own).into());
        if has_another_way { SILENCE_MAX.min(SILENCE_MAX_ACROSS + later) } else { SILENCE_MAX }
    }

    fn is_over(&self, _: &Shared) -> bool {
        self.leaving.lock().is_over
    }

    fn on_broken(&self, shared: &Shared, peer: RankId, reason: Reason) {
        if self.seats.is_local(peer) {
            self.fails(shared, peer, reason);
        } else if !self.leaving.lock().done.contains(&peer) && !shared.is_gone(peer) {
            self.lose(shared, peer, reason);
        }
    }

    fn on_goodbye(&self, peer: RankId) {
        self.leaving.change(|leaving| leaving.goodbye.insert(peer));
    }

    fn on_notice(&self, from: RankId, notice: &Notice) {
        // Who gives up everything says nothing more.
        let deserted = Some(from).filter(|_| notice.group.is_none());
        self.leaving.change(|leaving| leaving.fallen.extend(deserted.into_iter().chain(notice.fallen())));
    }

    fn on_way(&self, shared: &Shared, peer: RankId, said: OnWay) -> bool {
        match said {
            OnWay::Parcel(label, bytes) if label.to == self.seats.own => self.take(shared, label, bytes),
            OnWay::Parcel(label, bytes) if self.seats.has(label.to) => {
                self.pass_on(peer, label.to, Item::parcel(label, &bytes, None));
                true
            }
            OnWay::Answer(label) if label.to == self.seats.own => {
                let Some(stream) = self.streams.get(&label.from) else { return false };
                let mut outgoing = lock(&stream.outgoing[usize::from(label.is_notice)]);
                outgoing.has_come(label.number);
                let is_empty = outgoing.is_empty();
                drop(outgoing);
                if is_empty {
                    self.leaving.change(|_| ());
                }
                true
            }
            OnWay::Answer(label) if self.seats.has(label.to) => {
                self.pass_on(peer, label.to, Item::frame(Frame::Answer(label)));
                true
            }
            OnWay::LostLink(far) => {
                let is_there = self.streams.contains_key(&far);
                if is_there && lock(&self.lost).add(peer, far) {
                    let reason = Reason::Lost(format!("rank {} cannot reach it", peer.0));
                    self.reroute(shared, far, &reason);
                }
                is_there
            }
            OnWay::Parcel(..) | OnWay::Answer(_) => false,
            OnWay::Done => {
                self.leaving.change(|leaving| leaving.done.insert(peer));
                true
            }
        }
    }

    fn on_ended(&self, peer: RankId) {
        self.leaving.change(|leaving| leaving.ended.insert(peer));
    }
}
