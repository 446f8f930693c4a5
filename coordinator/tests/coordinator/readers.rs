//! Those who watch, and those who read logs.

use ds_proto::v1;
use ds_proto::v1::watch_event::Event;
use tokio::time::timeout;

use crate::cast::{Node, finish, train};
use crate::world::{PATIENCE, World};

fn steps(events: &[Event]) -> Vec<u64> {
    events.iter().filter_map(|event| if let Event::Step(step) = event { Some(step.step) } else { None }).collect()
}

#[tokio::test]
async fn a_watcher_who_comes_late_is_told_everything_once() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    let job = world.submit(1, 4).await;
    let starts = node.starts(1).await;
    let ranks = train(&world, &starts, 0).await;
    ranks[0].steps(1, 1..=2).await;
    world.until(&job, |job| job.step == 2).await;
    let request = v1::WatchRequest { job: job.clone(), from_step: 0 };
    let mut stream = world.jobs().await.watch(request).await.unwrap().into_inner();
    ranks[0].steps(1, 3..=4).await;
    finish(&node, &starts, ranks, 4).await;
    let mut events = Vec::new();
    while let Some(event) = timeout(PATIENCE, stream.message()).await.expect("it ends").unwrap() {
        events.extend(event.event);
    }
    assert!(matches!(events.first(), Some(Event::Job(_))));
    assert_eq!(steps(&events), [1, 2, 3, 4]);
    assert_eq!(steps(&world.watch(&job, 3).await), [3, 4]);
}

async fn logs(world: &World, request: v1::LogsRequest) -> Vec<(u32, u32, String)> {
    let mut stream = world.jobs().await.logs(request).await.unwrap().into_inner();
    let mut lines = Vec::new();
    while let Some(chunk) = timeout(PATIENCE, stream.message()).await.expect("it ends").unwrap() {
        lines.extend(chunk.lines.into_iter().map(|line| (chunk.rank, chunk.attempt, line)));
    }
    lines
}

#[tokio::test]
async fn what_ranks_print_can_be_read_while_they_run_and_afterwards() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    let job = world.submit(2, 1).await;
    let starts = node.starts(2).await;
    let ranks = train(&world, &starts, 0).await;
    let all = v1::LogsRequest { job: job.clone(), ..Default::default() };
    let following = v1::LogsRequest { follow: true, ..all.clone() };
    let mut follower = world.jobs().await.logs(following).await.unwrap().into_inner();
    node.prints(&starts[0], &["one", "two"]).await;
    let chunk = timeout(PATIENCE, follower.message()).await.expect("lines come").unwrap().unwrap();
    assert_eq!((chunk.rank, chunk.attempt, &chunk.lines[..]), (0, 1, &["one".to_owned(), "two".to_owned()][..]));
    node.prints(&starts[1], &["three"]).await;
    ranks[0].steps(1, 1..=1).await;
    finish(&node, &starts, ranks, 1).await;
    let mut rest = Vec::new();
    while let Some(chunk) = timeout(PATIENCE, follower.message()).await.expect("it ends with the job").unwrap() {
        rest.extend(chunk.lines);
    }
    assert_eq!(rest, ["three"]);
    let line = |rank, text: &str| (rank, 1, text.to_owned());
    assert_eq!(logs(&world, all.clone()).await, [line(0, "one"), line(0, "two"), line(1, "three")]);
    let tail = v1::LogsRequest { tail: 1, rank: Some(0), ..all.clone() };
    assert_eq!(logs(&world, tail).await, [line(0, "two")]);
    let nobody = v1::LogsRequest { rank: Some(2), ..all };
    let refusal = world.jobs().await.logs(nobody).await.unwrap_err();
    assert_eq!(refusal.message(), format!("job {job} has ranks 0 to 1, not 2"));
}
