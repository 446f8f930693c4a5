//! Groups on cards, with memory of the host in the place of cards: what stands around NCCL, and what becomes of its
//! failures.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ds_plan::RankId;
use ds_worker::comm::{Cards, Channel, CommError, Endpoint, Group, Mark, Move, Op, ReduceOp};
use tch::{Device, Kind, Tensor, no_grad};

use crate::world::{Backend, on_ranks, soon, with_endpoints, world};

/// Long enough for what does not fail.
const LONG: Duration = Duration::from_secs(60);

/// Stands for NCCL; broken, in the words of the library, once somebody says so.
#[derive(Default)]
pub(crate) struct Fake {
    broken: Arc<Mutex<Option<String>>>,
}

static TABLES: LazyLock<Mutex<HashMap<u64, Arc<Table>>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Where the members of a group meet.
#[derive(Default)]
struct Table {
    state: Mutex<State>,
    changed: Condvar,
}

type Done = Arc<AtomicBool>;

#[derive(Default)]
struct State {
    /// By number: what every place has handed over.
    collectives: HashMap<usize, HashMap<usize, (Vec<Move>, Done)>>,
    sends: HashMap<(usize, usize), VecDeque<(Tensor, Done)>>,
    receives: HashMap<(usize, usize), VecDeque<(Tensor, Done)>>,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cards for Fake {
    fn id(&self) -> Result<Vec<u8>, String> {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        TABLES.lock().unwrap().insert(id, Arc::default());
        Ok(id.to_le_bytes().to_vec())
    }

    fn join(&self, id: &[u8], n_places: usize, place: usize) -> Result<Box<dyn Channel>, String> {
        let id = u64::from_le_bytes(id.try_into().map_err(|_| "an id of another length")?);
        let table = TABLES.lock().unwrap().get(&id).cloned().ok_or("nobody made that id")?;
        let (n_started, busy) = (AtomicUsize::new(0), AtomicUsize::new(3));
        let (started, aborted, broken) = (Mutex::default(), Done::default(), Arc::clone(&self.broken));
        Ok(Box::new(Seat { table, n_places, place, n_started, busy, started, aborted, broken }))
    }
}

struct Seat {
    table: Arc<Table>,
    n_places: usize,
    place: usize,
    n_started: AtomicUsize,
    /// Looks until what was handed over is taken, as without blocking.
    busy: AtomicUsize,
    started: Mutex<Vec<Done>>,
    aborted: Done,
    broken: Arc<Mutex<Option<String>>>,
}

impl Channel for Seat {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn is_ready(&self) -> Result<bool, String> {
        if self.aborted.load(Ordering::Relaxed) {
            return Err("it was aborted".to_owned());
        }
        match &*self.broken.lock().unwrap() {
            Some(words) => Err(words.clone()),
            None => Ok(self.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_err()),
        }
    }

    fn start(&self, moves: &[Move]) -> Result<(), String> {
        self.busy.store(3, Ordering::Relaxed);
        let mut state = self.table.lock();
        let mut started = self.started.lock().unwrap();
        if moves.iter().all(|step| matches!(step, Move::Send { .. } | Move::Receive { .. })) {
            for step in moves {
                let done = Done::default();
                started.push(Arc::clone(&done));
                let (queue, key, tensor) = match step {
                    Move::Send { tensor, to } => (&mut state.sends, (self.place, *to), tensor),
                    Move::Receive { tensor, from } => (&mut state.receives, (*from, self.place), tensor),
                    _ => unreachable!("looked at before"),
                };
                queue.entry(key).or_default().push_back((tensor.shallow_clone(), done));
                meet(&mut state, key);
            }
        } else {
            let number = self.n_started.fetch_add(1, Ordering::Relaxed);
            let done = Done::default();
            started.push(Arc::clone(&done));
            let handed = state.collectives.entry(number).or_default();
            handed.insert(self.place, (moves.iter().map(again).collect(), done));
            if handed.len() == self.n_places {
                let mut all: Vec<_> = state.collectives.remove(&number).unwrap().into_iter().collect();
                all.sort_by_key(|(place, _)| *place);
                let n = all[0].1.0.len();
                (0..n).for_each(|i| no_grad(|| step(&all.iter().map(|(_, (moves, _))| &moves[i]).collect::<Vec<_>>())));
                all.iter().for_each(|(_, (_, done))| done.store(true, Ordering::Release));
            }
        }
        drop(state);
        self.table.changed.notify_all();
        Ok(())
    }

    fn mark(&self) -> Result<Box<dyn Mark>, String> {
        let (table, aborted) = (Arc::clone(&self.table), Arc::clone(&self.aborted));
        Ok(Box::new(Point { table, aborted, before: self.started.lock().unwrap().clone() }))
    }

    fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
        drop(self.table.lock());
        self.table.changed.notify_all();
    }
}

fn again(step: &Move) -> Move {
    let t = Tensor::shallow_clone;
    match step {
        Move::AllReduce { tensor, op } => Move::AllReduce { tensor: t(tensor), op: *op },
        Move::Reduce { tensor, root, op } => Move::Reduce { tensor: t(tensor), root: *root, op: *op },
        Move::ReduceScatter { from, to, op } => Move::ReduceScatter { from: t(from), to: t(to), op: *op },
        Move::AllGather { from, to } => Move::AllGather { from: t(from), to: t(to) },
        Move::Broadcast { tensor, root } => Move::Broadcast { tensor: t(tensor), root: *root },
        Move::Send { tensor, to } => Move::Send { tensor: t(tensor), to: *to },
        Move::Receive { tensor, from } => Move::Receive { tensor: t(tensor), from: *from },
    }
}

/// A send and a receive of one pair, if both are there.
fn meet(state: &mut State, key: (usize, usize)) {
    let waits = |queue: &HashMap<_, VecDeque<_>>| queue.get(&key).is_some_and(|queue| !queue.is_empty());
    if waits(&state.sends) && waits(&state.receives) {
        let (sent, was_sent) = state.sends.get_mut(&key).unwrap().pop_front().unwrap();
        let (mut got, has_come) = state.receives.get_mut(&key).unwrap().pop_front().unwrap();
        no_grad(|| got.copy_(&sent));
        was_sent.store(true, Ordering::Release);
        has_come.store(true, Ordering::Release);
    }
}

/// One step of a collective, of all places.
fn step(places: &[&Move]) {
    let reduced = |tensors: Vec<&Tensor>, op: ReduceOp| {
        let wide = if tensors[0].kind() == Kind::BFloat16 { Kind::Float } else { tensors[0].kind() };
        let mut sum = tensors[0].to_kind(wide).copy();
        for tensor in &tensors[1..] {
            sum = if op == ReduceOp::Sum { sum + tensor.to_kind(wide) } else { sum.maximum(&tensor.to_kind(wide)) };
        }
        sum.to_kind(tensors[0].kind())
    };
    let own = |step: &Move| match step {
        Move::AllReduce { tensor, .. } | Move::Reduce { tensor, .. } | Move::Broadcast { tensor, .. } => {
            tensor.shallow_clone()
        }
        Move::ReduceScatter { from, .. } | Move::AllGather { from, .. } => from.shallow_clone(),
        Move::Send { tensor, .. } | Move::Receive { tensor, .. } => tensor.shallow_clone(),
    };
    let given: Vec<Tensor> = places.iter().map(|step| own(step)).collect();
    match places[0] {
        Move::AllReduce { op, .. } => {
            let sum = reduced(given.iter().collect(), *op);
            given.iter().for_each(|tensor| tensor.shallow_clone().copy_(&sum));
        }
        Move::Reduce { root, op, .. } => given[*root].shallow_clone().copy_(&reduced(given.iter().collect(), *op)),
        Move::Broadcast { root, .. } => {
            let sent = given[*root].copy();
            given.iter().for_each(|tensor| tensor.shallow_clone().copy_(&sent));
        }
        Move::ReduceScatter { op, .. } => {
            let sum = reduced(given.iter().collect(), *op).view([-1]);
            for (step, part) in places.iter().zip(sum.chunk(places.len() as i64, 0)) {
                let Move::ReduceScatter { to, .. } = step else { panic!("another operation") };
                to.shallow_clone().copy_(&part.view_as(to));
            }
        }
        Move::AllGather { .. } => {
            let all = Tensor::cat(&given, 0);
            for step in places {
                let Move::AllGather { to, .. } = step else { panic!("another operation") };
                to.shallow_clone().copy_(&all.view_as(to));
            }
        }
        Move::Send { .. } | Move::Receive { .. } => unreachable!("between two"),
    }
}

struct Point {
    table: Arc<Table>,
    aborted: Done,
    before: Vec<Done>,
}

impl Mark for Point {
    fn has_passed(&self) -> Result<bool, String> {
        Ok(self.before.iter().all(|done| done.load(Ordering::Acquire)))
    }

    fn hold(&self) -> Result<(), String> {
        let mut state = self.table.lock();
        while !self.has_passed()? && !self.aborted.load(Ordering::Relaxed) {
            let waited = self.table.changed.wait_timeout(state, Duration::from_millis(5));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

/// A group with all pairs.
pub(crate) fn on_cards(group: &Group, longest: Duration) -> Result<Group, CommError> {
    let places = 0..group.size();
    let pairs: BTreeSet<(usize, usize)> = places.clone().flat_map(|a| places.clone().map(move |b| (a, b))).collect();
    group.on_cards(&Fake::default(), &pairs, longest)
}

fn one() -> Tensor {
    Tensor::from_slice(&[1_f32, 2.0, 3.0])
}

/// What ranks end with, where `act` goes wrong.
fn errors(
    longest: Duration,
    act: impl Fn(usize, &Group, &Endpoint) -> Result<Tensor, CommError> + Sync,
) -> Vec<CommError> {
    let results = with_endpoints(Backend::Threads, 3, |rank, endpoint| {
        let group = on_cards(&world(&endpoint), longest).unwrap();
        act(rank, &group, &endpoint).err()
    });
    results.into_iter().filter_map(|(_, error)| error).collect()
}

#[test]
fn a_rank_that_never_comes_is_named() {
    let found = errors(Duration::from_millis(300), |rank, group, endpoint| match rank {
        // It waits for something else, by messages.
        2 => world(endpoint).barrier().wait(soon()).map(|()| one()),
        _ => group.all_reduce(&one(), ReduceOp::Sum).wait(soon()),
    });
    let is_named = |error: &CommError| matches!(error, CommError::Timeout { op: Op::AllReduce, missing, .. } if missing == &[RankId(2)]);
    assert!(found.len() == 3 && found.iter().any(is_named), "{found:?}");
}

#[test]
fn ranks_that_mean_different_operations_learn_of_it() {
    let found = errors(Duration::from_millis(300), |rank, group, _| match rank {
        0 => group.all_to_all(&one(), &[1, 1, 1], &[1, 1, 1]).wait(soon()),
        _ => group.all_reduce(&one(), ReduceOp::Sum).wait(soon()),
    });
    let text: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(
        text.len() == 3 && text.iter().any(|text| text.contains("all-to-all") && text.contains("all-reduce")),
        "{text:?}"
    );
}

#[test]
fn a_rank_that_falls_ends_what_waits_for_it() {
    let results = with_endpoints(Backend::Tcp, 3, |rank, endpoint| {
        let group = on_cards(&world(&endpoint), LONG).unwrap();
        if rank == 1 {
            drop(endpoint);
            return None;
        }
        let error = group.all_reduce(&one(), ReduceOp::Sum).wait(soon()).expect_err("rank 1 is gone");
        // And everything after it.
        assert!(group.all_gather(&one()).wait(soon()).is_err());
        Some(error)
    });
    for (rank, error) in results.into_iter().filter_map(|(rank, error)| Some((rank, error?))) {
        let CommError::PeerFailed { rank: fallen, op, .. } = &error else { panic!("rank {rank}: {error}") };
        assert_eq!((*fallen, *op), (RankId(1), Op::AllReduce));
    }
}

#[test]
fn what_the_library_notices_ends_the_group_everywhere() {
    let fake = Fake::default();
    let results = on_ranks(Backend::Threads, 3, |rank, endpoint| {
        let group = world(endpoint).on_cards(&fake, &BTreeSet::new(), LONG).unwrap();
        world(endpoint).barrier().wait(soon()).unwrap();
        if rank == 0 {
            *fake.broken.lock().unwrap() = Some("a cable fell out".to_owned());
        }
        loop {
            if let Err(error) = group.all_reduce(&one(), ReduceOp::Sum).wait(soon()) {
                return error.to_string();
            }
        }
    });
    for (rank, text) in results {
        assert!(
            text.contains("a cable fell out") && text.contains("all-reduce") || text.contains("barrier"),
            "rank {rank}: {text}"
        );
    }
}

#[test]
fn a_message_waits_for_none_in_the_other_direction() {
    on_ranks(Backend::Threads, 2, |rank, endpoint| {
        let group = on_cards(&world(endpoint), LONG).unwrap();
        let other = 1 - rank;
        // Both ask for what comes, in the order in which it is sent, send, and wait in another order.
        let asked: Vec<_> = (0..3).map(|_| group.receive(other, &[3], Kind::Float)).collect();
        let sent: Vec<_> = (0..3).map(|i| group.send(other, &(one() * f64::from(i + 10 * rank as i32)))).collect();
        for (i, asked) in asked.into_iter().enumerate().rev() {
            let expected = one() * (i + 10 * other) as f64;
            assert_eq!(asked.wait(soon()).unwrap(), expected);
        }
        sent.into_iter().for_each(|sent| sent.wait(soon()).unwrap());
    });
}

#[test]
fn a_library_that_refuses_is_heard_by_all() {
    struct Refuses;
    impl Cards for Refuses {
        fn id(&self) -> Result<Vec<u8>, String> {
            Err("no card is free".to_owned())
        }
        fn join(&self, _: &[u8], _: usize, _: usize) -> Result<Box<dyn Channel>, String> {
            unreachable!("there is no id")
        }
    }
    for (_, text) in on_ranks(Backend::Threads, 3, |_, endpoint| {
        world(endpoint).on_cards(&Refuses, &BTreeSet::new(), LONG).err().expect("refused").to_string()
    }) {
        assert!(text.contains("no card is free"), "{text}");
    }
}
