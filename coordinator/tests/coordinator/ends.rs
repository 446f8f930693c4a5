//! How jobs are ended, and how they end by themselves.

use ds_proto::v1::{self, JobState, node_order, rank_order, rank_report};
use tokio::time::timeout;
use tonic::Code;

use crate::cast::{Node, Rank, finish, registration, train};
use crate::world::{PATIENCE, World, pause};

async fn cancel(world: &World, job: &str, at_once: bool) -> v1::Job {
    let request = v1::CancelRequest { job: job.to_owned(), at_once };
    world.jobs().await.cancel(request).await.unwrap().into_inner()
}

async fn resume(world: &World, job: &str) -> v1::Job {
    let request = v1::JobRequest { job: job.to_owned() };
    world.jobs().await.resume(request).await.unwrap().into_inner()
}

/// Orders to end ranks, until there are so many.
async fn ends(node: &mut Node, n: usize) -> Vec<v1::EndRank> {
    let mut ends = Vec::new();
    while ends.len() < n {
        if let node_order::Order::End(end) = node.hear().await {
            ends.push(end);
        }
    }
    ends
}

#[tokio::test]
async fn a_job_that_is_stopped_saves_and_goes_on_when_it_is_resumed() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    let job = world.submit(2, 4).await;
    let starts = node.starts(2).await;
    let ranks = train(&world, &starts, 0).await;
    assert_eq!(cancel(&world, &job, false).await.state(), JobState::Stopping);
    for mut rank in ranks {
        assert_eq!(rank.hear().await, rank_order::Order::Stop(v1::Stop { checkpoint: true }));
        rank.leave(rank_report::Report::Finished(v1::RankFinished { step: 2, stopped: true })).await;
    }
    for start in &starts {
        node.exited(start, Some(0), None).await;
    }
    world.watch(&job, 0).await;
    assert_eq!(world.job(&job).await.state(), JobState::Cancelled);
    assert_eq!(resume(&world, &job).await.state(), JobState::Starting);
    let again = node.starts(2).await;
    let ranks = train(&world, &again, 2).await;
    finish(&node, &again, ranks, 4).await;
    world.watch(&job, 0).await;
    assert_eq!(world.job(&job).await.state(), JobState::Done);
    let request = v1::JobRequest { job };
    assert_eq!(world.jobs().await.resume(request).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_job_that_is_ended_at_once_has_its_ranks_ended() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    let job = world.submit(2, 4).await;
    let starts = node.starts(2).await;
    let _ranks = train(&world, &starts, 0).await;
    cancel(&world, &job, true).await;
    let told = ends(&mut node, 2).await;
    assert_eq!(told.iter().map(|end| end.rank).collect::<Vec<_>>(), [0, 1]);
    for start in &starts {
        node.exited(start, None, Some(15)).await;
    }
    world.watch(&job, 0).await;
    assert_eq!(world.job(&job).await.state(), JobState::Cancelled);
}

#[tokio::test]
async fn what_the_user_must_change_fails_the_job_at_once_with_the_ranks_words() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    let job = world.submit(2, 4).await;
    let starts = node.starts(2).await;
    let mut ranks = train(&world, &starts, 0).await;
    let failed = |kind: &str, message: &str, culprit| {
        let (kind, message) = (kind.to_owned(), message.to_owned());
        rank_report::Report::Failed(v1::RankFailed { kind, message, culprit, step: 1 })
    };
    ranks.remove(0).leave(failed("peer", "rank 1 closed the connection", Some(1))).await;
    ranks.remove(0).leave(failed("user", "the loss is not finite", None)).await;
    node.exited(&starts[0], Some(1), None).await;
    world.until(&job, |job| job.seats.iter().any(|seat| seat.state == "exited")).await;
    node.exited(&starts[1], Some(1), None).await;
    world.watch(&job, 0).await;
    let job = world.job(&job).await;
    assert_eq!((job.state(), job.restarts), (JobState::Failed, 0));
    let expected = "rank 1 on alpha failed (exit code 1): the loss is not finite\nits last words:";
    assert!(job.reason.starts_with(expected), "{}", job.reason);
}

#[tokio::test]
async fn an_attempt_ends_with_the_death_of_a_node() {
    let world = World::start().await;
    let small = |name| v1::NodeRegister { n_cores: 1, ..registration(name) };
    let mut alpha = Node::attach(&world, small("alpha")).await.unwrap();
    let mut beta = Node::attach(&world, small("beta")).await.unwrap();
    let job = world.submit(2, 4).await;
    let mut starts = alpha.starts(1).await;
    starts.extend(beta.starts(1).await);
    starts.sort_by_key(|start| start.rank);
    let ranks = train(&world, &starts, 0).await;
    let on_beta = world.job(&job).await.seats.into_iter().find(|seat| seat.node == "beta").unwrap();
    drop(beta);
    let told = ends(&mut alpha, 1).await;
    assert_ne!(told[0].rank, on_beta.rank);
    alpha.exited(&starts[told[0].rank as usize], None, Some(15)).await;
    world.until(&job, |job| job.state() == JobState::Queued).await;
    let nodes = world.jobs().await.nodes(v1::NodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!(nodes.iter().map(|node| node.alive).collect::<Vec<_>>(), [true, false]);
    drop(ranks);
}

#[tokio::test]
async fn a_second_job_starts_when_the_first_one_ends() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    let (first, second) = (world.submit(3, 1).await, world.submit(3, 1).await);
    let starts = node.starts(3).await;
    assert!(starts.iter().all(|start| start.job == first));
    let ranks = train(&world, &starts, 0).await;
    let waiting = world.job(&second).await;
    assert_eq!((waiting.state(), waiting.reason.contains(&first)), (JobState::Queued, true), "{}", waiting.reason);
    finish(&node, &starts, ranks, 1).await;
    let starts = node.starts(3).await;
    assert!(starts.iter().all(|start| start.job == second));
}

#[tokio::test]
async fn a_second_node_of_one_name_waits_outside() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    // One that was not heard for some seconds, as on a machine that pauses, is replaced by the next.
    let refused = async {
        loop {
            match Node::attach(&world, registration("alpha")).await {
                Ok(next) => node = next,
                Err(refusal) => return refusal,
            }
        }
    };
    let refusal = timeout(PATIENCE, refused).await.expect("there is one");
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
    assert!(refusal.message().contains("a node named alpha is attached already"), "{refusal:?}");
    drop(node);
    let enters = async {
        while Node::attach(&world, registration("alpha")).await.is_err() {
            pause().await;
        }
    };
    timeout(PATIENCE, enters).await.expect("there is room for it");
}

#[tokio::test]
async fn an_embedded_coordinator_takes_its_ranks_with_it_and_the_next_one_starts_them_again() {
    let world = World::embedded().await;
    let mut node = Node::join(&world).await;
    let job = world.submit(2, 4).await;
    let starts = node.starts(2).await;
    let mut ranks = train(&world, &starts, 0).await;
    let configured = starts.clone();
    let leaves = async {
        assert_eq!(ends(&mut node, 2).await.len(), 2);
        for start in &configured {
            node.exited(start, None, Some(15)).await;
        }
        node
    };
    let (world, node) = tokio::join!(world.restart(), leaves);
    drop((node, ranks.drain(..)));
    let now = world.job(&job).await;
    assert_eq!((now.state(), now.restarts), (JobState::Queued, 0), "{}", now.reason);
    let mut node = Node::join(&world).await;
    let again = node.starts(2).await;
    assert!(again.iter().all(|start| start.attempt == 2));
    assert!(Rank::attach(&world, &starts[0]).await.is_err());
}
