//! What a coordinator knew, the next one in its home knows.

use ds_coordinator::home::running;
use ds_proto::v1::{self, JobState};

use crate::cast::{Node, Rank, finish, registration, train};
use crate::world::World;

#[tokio::test]
async fn jobs_and_metrics_outlive_the_coordinator() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    let done = world.submit(1, 2).await;
    let starts = node.starts(1).await;
    let ranks = train(&world, &starts, 0).await;
    ranks[0].steps(1, 1..=2).await;
    finish(&node, &starts, ranks, 2).await;
    let before = world.watch(&done, 0).await;
    drop(node);
    let world = world.restart().await;
    assert_eq!(world.job(&done).await.state(), JobState::Done);
    assert_eq!(world.watch(&done, 0).await, before);
    assert_eq!(world.submit(1, 2).await, "tiny-0002");
}

#[tokio::test]
async fn a_job_that_runs_goes_on_under_the_next_coordinator() {
    let world = World::start().await;
    let token = world.server.token().to_owned();
    let mut node = Node::join(&world).await;
    let job = world.submit(1, 3).await;
    let starts = node.starts(1).await;
    let ranks = train(&world, &starts, 0).await;
    ranks[0].steps(1, 1..=1).await;
    world.until(&job, |job| job.step == 1).await;
    let world = world.restart().await;
    assert_eq!(world.server.token(), token);
    let running = v1::RunningRank { job: job.clone(), attempt: 1, rank: 0, pid: 100 };
    let register = v1::NodeRegister { running: vec![running], ..registration("alpha") };
    let node = Node::attach(&world, register).await.unwrap();
    let ranks = vec![Rank::attach(&world, &starts[0]).await.unwrap()];
    ranks[0].steps(1, 2..=3).await;
    finish(&node, &starts, ranks, 3).await;
    world.watch(&job, 0).await;
    let job = world.job(&job).await;
    assert_eq!((job.state(), job.attempt, job.step), (JobState::Done, 1, 3));
}

#[tokio::test]
async fn a_home_says_who_runs_in_it_until_it_ends() {
    let world = World::start().await;
    let said = running(&world.home()).unwrap();
    assert_eq!(said.address, format!("http://{}", world.server.address()));
    assert_eq!(said.token, world.server.token());
    let home = world.home();
    world.server.shutdown().await;
    assert!(!home.join("coordinator.json").exists());
}
