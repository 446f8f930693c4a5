//! How ranks find each other, and whom they do not let in.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use ds_plan::RankId;
use ds_worker::comm::{CommError, ConnectError, Listener, Peer, Refusal};

use crate::world::{soon, within, world};

fn two() -> (Vec<Listener>, Vec<Peer>) {
    let listeners: Vec<Listener> = (0..2).map(|_| Listener::bind(&[]).unwrap()).collect();
    let peer = |(rank, l): (u32, &Listener)| Peer::new(RankId(rank), l.addresses());
    let peers = (0..).zip(&listeners).map(peer).collect();
    (listeners, peers)
}

/// What two ranks say that do not fit. The one that listens waits for better ones to its deadline, and the other must
/// have knocked by then: on a machine that lets it wait they try again with more time.
fn refusals(tokens: [&str; 2], attempts: [u32; 2]) -> Vec<Refusal> {
    let tries = [1, 4, 16, 64].map(Duration::from_secs);
    let said = tries.into_iter().find_map(|time| {
        let errors = errors(tokens, attempts, within(time));
        errors.iter().map(refusal).collect()
    });
    said.expect("one of the two knocks within a minute")
}

fn errors(tokens: [&str; 2], attempts: [u32; 2], deadline: Instant) -> Vec<CommError> {
    let (listeners, peers) = two();
    let peers = &peers;
    thread::scope(|scope| {
        let join = |(rank, listener): (usize, Listener)| {
            scope.spawn(move || {
                let rank_id = RankId(rank as u32);
                listener.connect(rank_id, peers, tokens[rank], attempts[rank], deadline).err().expect("a refusal")
            })
        };
        let ranks: Vec<_> = listeners.into_iter().enumerate().map(join).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// None when the deadline came first.
fn refusal(error: &CommError) -> Option<Refusal> {
    match error {
        CommError::Connect(error) => match &**error {
            ConnectError::Refused { refusal, .. } => Some(*refusal),
            ConnectError::Missing { refusals, .. } => refusals.first().copied(),
            ConnectError::Unreachable { .. } => None,
            error => panic!("{error}"),
        },
        error => panic!("{error}"),
    }
}

#[test]
fn another_token_is_refused_and_both_sides_say_so() {
    assert_eq!(refusals(["right", "wrong"], [1, 1]), [Refusal::Token; 2]);
}

#[test]
fn a_rank_of_another_attempt_is_refused() {
    let said = refusals(["token", "token"], [2, 1]);
    assert_eq!(said, [Refusal::Attempt { theirs: 1, ours: 2 }, Refusal::Attempt { theirs: 2, ours: 1 }]);
}

#[test]
fn strangers_at_the_door_do_not_disturb() {
    let (mut listeners, peers) = two();
    let address = peers[0].addresses[0].clone();
    let silent: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let mut loud = TcpStream::connect(&address).unwrap();
    let peers = &peers;
    thread::scope(|scope| {
        let one = listeners.pop().unwrap();
        let zero = listeners.pop().unwrap();
        let ranks = [(0, zero), (1, one)].map(|(rank, listener)| {
            scope.spawn(move || {
                let endpoint = listener.connect(RankId(rank), peers, "token", 1, soon()).unwrap();
                world(&endpoint).barrier().wait(soon()).unwrap();
                endpoint.close();
            })
        });
        let _ =
            loud.write_all(b"GET / HTTP/1.1\r\nHost: somebody who is lost and has a lot to say about it all\r\n\r\n");
        let mut answer = Vec::new();
        let _ = loud.read_to_end(&mut answer);
        ranks.into_iter().for_each(|rank| rank.join().unwrap());
    });
    drop(silent);
}

#[test]
fn a_list_of_peers_names_every_rank_once() {
    for ranks in [vec![0, 0], vec![0, 2], vec![1]] {
        let peers: Vec<Peer> = ranks.iter().map(|&r| Peer::new(RankId(r), &[])).collect();
        let error = Listener::bind(&[]).unwrap().connect(RankId(0), &peers, "t", 1, soon()).err().unwrap();
        assert!(
            matches!(&error, CommError::Connect(error) if matches!(**error, ConnectError::Peers { .. })),
            "{ranks:?}: {error}"
        );
    }
}

#[test]
fn nobody_there_is_said_after_the_deadline() {
    let (listeners, peers) = two();
    let deadline = within(Duration::from_millis(300));
    let error = listeners.into_iter().next().unwrap().connect(RankId(0), &peers, "t", 1, deadline).err().unwrap();
    assert!(error.to_string().contains("rank 1 did not connect before the deadline"), "{error}");
}
