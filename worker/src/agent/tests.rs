//! A rank against a coordinator that the test plays.

use std::sync::mpsc as blocking;

use ds_plan::RankId;
use ds_proto::v1;
use ds_proto::v1::rank_order::Order as Word;
use ds_proto::v1::rank_report::Report as Heard;
use ds_proto::{Evaluation, StepMetrics};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;

use super::fake::{Fake, PATIENCE, RankTalk, TOKEN};
use super::*;
use crate::comm::Peer;

fn args(join: String) -> RankArgs {
    RankArgs {
        join,
        job: "tiny-1".to_owned(),
        attempt: 2,
        rank: 3,
        device: "cpu".to_owned(),
        threads: 1,
        addresses: vec!["127.0.0.1".parse().unwrap()],
        ranks_in_process: 1,
    }
}

fn start(fake: &Fake, body: impl FnOnce(RankLink) -> SessionEnd + Send + 'static) -> JoinHandle<Outcome> {
    let coordinator = attachment::endpoint(&fake.join()).unwrap();
    tokio::spawn(serve(args(fake.join()), coordinator, TOKEN.to_owned(), body))
}

async fn outcome(rank: JoinHandle<Outcome>) -> Outcome {
    timeout(PATIENCE, rank).await.expect("the rank ends").unwrap()
}

/// The next report that is no heartbeat.
async fn hear(talk: &mut RankTalk) -> Heard {
    loop {
        match talk.hear().await.expect("the rank is there").report.expect("no report is empty") {
            Heard::Heartbeat(_) => {}
            report => return report,
        }
    }
}

async fn hear_register(talk: &mut RankTalk) {
    let registered = v1::RankRegister {
        version: ds_proto::VERSION.to_owned(),
        job: "tiny-1".to_owned(),
        attempt: 2,
        rank: 3,
        pid: std::process::id(),
    };
    assert_eq!(hear(talk).await, Heard::Register(registered));
}

async fn say(talk: &RankTalk, order: Word) {
    talk.say(v1::RankOrder { order: Some(order) }).await;
}

fn configure(orphan_grace_ms: u64) -> Word {
    Word::Configure(v1::Configure {
        spec_yaml: "kind: train".to_owned(),
        device: "cpu".to_owned(),
        checkpoint_folder: "/checkpoints".to_owned(),
        peer_token: "secret".to_owned(),
        orphan_grace_ms,
        token_cache: "/tokens".to_owned(),
    })
}

/// Listens, connects and gets ready, as `session` does.
fn until_go(link: &RankLink) -> Result<(), Orphaned> {
    assert!(matches!(link.next_order()?, Order::Configure(_)));
    link.report(Report::Listening { addresses: vec!["127.0.0.1:7000".to_owned()] });
    assert!(matches!(link.next_order()?, Order::Connect(_)));
    link.report(Report::Ready { resumed_step: 7 });
    assert!(matches!(link.next_order()?, Order::Go));
    Ok(())
}

fn failed(orphaned: &Orphaned) -> SessionEnd {
    SessionEnd::Failed(Failure { kind: "world", message: orphaned.to_string(), culprit: None, step: 0 })
}

#[tokio::test]
async fn a_rank_says_and_hears_everything_in_turn() {
    let mut fake = Fake::start().await;
    let rank = start(&fake, |link| {
        let Ok(Order::Configure(configure)) = link.next_order() else { panic!("not configured") };
        let addresses = vec!["127.0.0.1".parse().unwrap()];
        assert_eq!((configure.peer_token.as_str(), configure.addresses), ("secret", addresses));
        link.report(Report::Listening { addresses: vec!["127.0.0.1:7000".to_owned()] });
        let Ok(Order::Connect(peers)) = link.next_order() else { panic!("not connected") };
        let peers: Vec<_> = peers.into_iter().map(|Peer { rank, addresses, .. }| (rank, addresses)).collect();
        assert_eq!(peers, [(RankId(0), vec!["127.0.0.1:1".to_owned(), "10.0.0.1:1".to_owned()])]);
        link.report(Report::Ready { resumed_step: 7 });
        assert_eq!(link.next_order().unwrap(), Order::Go);
        link.report(Report::Step(StepMetrics { step: 8, loss: 2.5, ..StepMetrics::default() }));
        link.report(Report::Evaluation(Evaluation { step: 8, loss: 2.25, ..Evaluation::default() }));
        link.report(Report::Checkpoint { step: 8, folder: "/checkpoints/step-00000008".to_owned(), seconds: 0.5 });
        SessionEnd::Finished { step: 8 }
    });
    let mut talk = fake.rank().await;
    hear_register(&mut talk).await;
    say(&talk, configure(1000)).await;
    assert!(matches!(hear(&mut talk).await, Heard::Listening(listening) if listening.addresses == ["127.0.0.1:7000"]));
    let addresses = vec!["127.0.0.1:1".to_owned(), "10.0.0.1:1".to_owned()];
    say(
        &talk,
        Word::Connect(v1::Connect { peers: vec![v1::PeerAddresses { rank: 0, addresses, node: "a".to_owned() }] }),
    )
    .await;
    assert_eq!(hear(&mut talk).await, Heard::Ready(v1::RankReady { resumed_step: 7 }));
    say(&talk, Word::Go(v1::Go {})).await;
    assert!(matches!(hear(&mut talk).await, Heard::Step(step) if (step.step, step.loss) == (8, 2.5)));
    assert!(matches!(hear(&mut talk).await, Heard::Evaluation(evaluation) if evaluation.loss == 2.25));
    assert!(matches!(hear(&mut talk).await, Heard::Checkpoint(saved) if saved.step == 8));
    assert_eq!(hear(&mut talk).await, Heard::Finished(v1::RankFinished { step: 8, stopped: false }));
    drop(talk);
    assert_eq!(outcome(rank).await, Outcome { end: SessionEnd::Finished { step: 8 }, is_known: true });
}

#[tokio::test]
async fn a_panic_of_the_training_thread_is_reported_with_its_words_and_step() {
    let mut fake = Fake::start().await;
    let rank = start(&fake, |link| {
        link.at_step(5);
        panic!("the gate is {}", "open")
    });
    let mut talk = fake.rank().await;
    hear_register(&mut talk).await;
    let Heard::Failed(failure) = hear(&mut talk).await else { panic!("no failure") };
    assert_eq!((failure.kind.as_str(), failure.culprit, failure.step), ("bug", None, 5));
    assert!(failure.message.contains("the gate is open"), "{}", failure.message);
    drop(talk);
    assert!(outcome(rank).await.is_known);
}

#[tokio::test]
async fn a_failure_names_the_rank_that_is_to_blame() {
    let mut fake = Fake::start().await;
    let rank = start(&fake, |_| {
        let message = "rank 1 failed".to_owned();
        SessionEnd::Failed(Failure { kind: "peer", message, culprit: Some(RankId(1)), step: 4 })
    });
    let mut talk = fake.rank().await;
    hear_register(&mut talk).await;
    assert!(matches!(hear(&mut talk).await, Heard::Failed(failure) if failure.culprit == Some(1)));
    drop(talk);
    assert!(outcome(rank).await.is_known);
}

#[tokio::test]
async fn a_rank_that_loses_its_coordinator_registers_again_and_repeats_what_was_not_answered() {
    let mut fake = Fake::lasting().await;
    let rank = start(&fake, |link| match until_go(&link) {
        Ok(()) => SessionEnd::Finished { step: 0 },
        Err(orphaned) => failed(&orphaned),
    });
    let mut talk = fake.rank().await;
    hear_register(&mut talk).await;
    say(&talk, configure(600_000)).await;
    assert!(matches!(hear(&mut talk).await, Heard::Listening(_)));
    let address = fake.address;
    // In this order, so that the rank cannot come back to the one that ends.
    fake.stop().await;
    drop(talk);

    let mut fake = Fake::start_at(address).await;
    let mut talk = fake.rank().await;
    hear_register(&mut talk).await;
    assert!(matches!(hear(&mut talk).await, Heard::Listening(_)));
    // A coordinator that came back configures again, which says nothing new.
    say(&talk, configure(600_000)).await;
    say(&talk, Word::Connect(v1::Connect { peers: Vec::new() })).await;
    assert!(matches!(hear(&mut talk).await, Heard::Ready(_)));
    say(&talk, Word::Go(v1::Go {})).await;
    assert!(matches!(hear(&mut talk).await, Heard::Finished(_)));
    drop(talk);
    assert_eq!(outcome(rank).await.end, SessionEnd::Finished { step: 0 });
}

#[tokio::test]
async fn without_grace_a_rank_that_loses_its_coordinator_ends() {
    let mut fake = Fake::lasting().await;
    let rank = start(&fake, |link| {
        assert!(matches!(link.next_order(), Ok(Order::Configure(_))));
        link.report(Report::Listening { addresses: Vec::new() });
        failed(&link.next_order().expect_err("there is nobody to give orders"))
    });
    let mut talk = fake.rank().await;
    hear_register(&mut talk).await;
    say(&talk, configure(0)).await;
    assert!(matches!(hear(&mut talk).await, Heard::Listening(_)));
    fake.stop().await;
    drop(talk);
    let Outcome { end: SessionEnd::Failed(failure), is_known: false } = outcome(rank).await else {
        panic!("nobody can know")
    };
    assert!(failure.message.contains("is gone") && failure.message.contains("0 s"), "{}", failure.message);
}

#[tokio::test]
async fn a_rank_that_is_turned_away_does_not_try_again() {
    let mut fake = Fake::start().await;
    let rank = start(&fake, |link| failed(&link.next_order().expect_err("it is turned away")));
    let mut talk = fake.rank().await;
    hear_register(&mut talk).await;
    talk.refuse(Status::failed_precondition("attempt 2 is over")).await;
    let Outcome { end: SessionEnd::Failed(failure), is_known: false } = outcome(rank).await else {
        panic!("it is not wanted")
    };
    assert!(failure.message.contains("turns this rank away: attempt 2 is over"), "{}", failure.message);
}

#[tokio::test]
async fn reports_arrive_in_order_however_many_there_are() {
    let mut fake = Fake::start().await;
    let n_steps = 20 * u64::try_from(REPORTS_MAX).unwrap();
    let rank = start(&fake, move |link| {
        for step in 1..=n_steps {
            link.report(Report::Step(StepMetrics { step, ..StepMetrics::default() }));
        }
        SessionEnd::Finished { step: n_steps }
    });
    let mut talk = fake.rank().await;
    hear_register(&mut talk).await;
    for expected in 1..=n_steps {
        assert!(matches!(hear(&mut talk).await, Heard::Step(step) if step.step == expected));
    }
    assert!(matches!(hear(&mut talk).await, Heard::Finished(_)));
    drop(talk);
    assert!(outcome(rank).await.is_known);
}

#[tokio::test]
async fn a_stop_reaches_a_thread_that_is_busy_and_heartbeats_say_its_step() {
    let mut fake = Fake::start().await;
    let (go_on, wait) = blocking::channel();
    let rank = start(&fake, move |link| {
        link.at_step(41);
        wait.recv().unwrap();
        assert!(matches!(link.next_order(), Ok(Order::Stop(_))));
        assert_eq!(link.stop_wanted(), Some(Stop { checkpoint: true }));
        SessionEnd::Stopped { step: 41 }
    });
    let mut talk = fake.rank().await;
    hear_register(&mut talk).await;
    say(&talk, Word::Stop(v1::Stop { checkpoint: true })).await;
    loop {
        match talk.hear().await.unwrap().report {
            Some(Heard::Heartbeat(v1::RankHeartbeat { step: 41 })) => break,
            Some(Heard::Heartbeat(v1::RankHeartbeat { step: 0 })) => {}
            other => panic!("not a heartbeat: {other:?}"),
        }
    }
    go_on.send(()).unwrap();
    assert_eq!(hear(&mut talk).await, Heard::Finished(v1::RankFinished { step: 41, stopped: true }));
    drop(talk);
    assert_eq!(outcome(rank).await.end, SessionEnd::Stopped { step: 41 });
}
