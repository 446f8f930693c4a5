//! A job's good days and bad days.

use ds_proto::v1::watch_event::Event;
use ds_proto::v1::{self, JobState, rank_report};
use tonic::Code;

use crate::cast::{Node, Rank, finish, registration, train};
use crate::world::World;

fn summary(world: &World, job: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(world.run(job).join("summary.json")).unwrap()).unwrap()
}

fn kinds_and_steps(world: &World, job: &str) -> Vec<(String, u64)> {
    let text = std::fs::read_to_string(world.run(job).join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        (value["kind"].as_str().unwrap().to_owned(), value["step"].as_u64().unwrap_or_default())
    };
    text.lines().map(line).filter(|(kind, _)| kind != "note").collect()
}

#[tokio::test]
async fn a_job_is_started_trained_and_summed_up() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    let job = world.submit(2, 3).await;
    assert_eq!(job, "tiny-0001");
    let starts = node.starts(2).await;
    let ranks = train(&world, &starts, 0).await;
    assert_eq!(world.job(&job).await.state(), JobState::Running);
    ranks[0].steps(1, 1..=3).await;
    let evaluation = v1::Evaluation { step: 3, loss: 1.5, nats_per_byte: 1.5, maxvio: 0.5, ..Default::default() };
    ranks[0].say(rank_report::Report::Evaluation(evaluation)).await;
    let folder = world.run(&job).join("checkpoints/step-00000003").display().to_string();
    ranks[0].say(rank_report::Report::Checkpoint(v1::CheckpointSaved { step: 3, folder, seconds: 0.1 })).await;
    finish(&node, &starts, ranks, 3).await;
    let events = world.watch(&job, 0).await;
    let Some(Event::Job(last)) = events.last() else { panic!("the last word is the job, not {:?}", events.last()) };
    assert_eq!((last.state(), last.step, last.restarts), (JobState::Done, 3, 0));
    let summary = summary(&world, &job);
    assert_eq!(summary["state"], "done");
    assert_eq!(summary["steps"], 3);
    assert_eq!(summary["validation_loss"], 1.5);
    assert_eq!(summary["tokens_per_second"], 512.0);
    assert!(summary["checkpoint"].as_str().unwrap().ends_with("step-00000003"), "{summary}");
    assert!(world.run(&job).join("job.yaml").exists());
}

#[tokio::test]
async fn ranks_are_told_what_the_job_is_and_where_all_peers_are() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    let job = world.submit(2, 3).await;
    let starts = node.starts(2).await;
    let mut ranks = Vec::new();
    let mut secrets = Vec::new();
    for start in &starts {
        let mut rank = Rank::attach(&world, start).await.unwrap();
        let configure = rank.listen().await;
        assert!(configure.spec_yaml.contains("name: tiny"), "{}", configure.spec_yaml);
        assert_eq!(configure.checkpoint_folder, world.run(&job).join("checkpoints").display().to_string());
        assert_eq!(configure.token_cache, world.home().join("tokens").display().to_string());
        secrets.push(configure.peer_token);
        ranks.push(rank);
    }
    assert!(secrets[0] == secrets[1] && secrets[0].len() >= 32, "peers share a secret");
    assert!(!secrets.contains(&world.server.token().to_owned()), "the secret of peers is not the coordinator's token");
    for rank in &mut ranks {
        let peers = rank.connect(0).await;
        let addresses: Vec<&str> = peers.iter().map(|peer| peer.addresses[0].as_str()).collect();
        assert_eq!(addresses, ["127.0.0.1:4000", "127.0.0.1:4001"]);
    }
}

#[tokio::test]
async fn a_rank_that_dies_ends_the_attempt_and_the_next_one_repeats_its_steps() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    let job = world.submit(2, 4).await;
    let starts = node.starts(2).await;
    let ranks = train(&world, &starts, 0).await;
    ranks[0].steps(1, 1..=3).await;
    world.until(&job, |job| job.step == 3).await;
    node.exited(&starts[1], None, Some(9)).await;
    node.exited(&starts[0], Some(1), None).await;
    let again = node.starts(2).await;
    assert!(again.iter().all(|start| start.attempt == 2), "{again:?}");
    let ranks = train(&world, &again, 1).await;
    ranks[0].steps(2, 2..=4).await;
    finish(&node, &again, ranks, 4).await;
    let events = world.watch(&job, 0).await;
    let steps: Vec<(u64, u32)> = events
        .iter()
        .filter_map(|event| match event {
            Event::Step(step) => Some((step.step, step.attempt)),
            _ => None,
        })
        .collect();
    assert_eq!(steps, [(1, 1), (2, 2), (3, 2), (4, 2)]);
    let notes =
        events.iter().filter_map(|event| if let Event::Note(note) = event { Some(note.as_str()) } else { None });
    let notes: Vec<&str> = notes.collect();
    assert!(notes.iter().any(|note| note.contains("rank 1")), "{notes:?}");
    assert_eq!(summary(&world, &job)["restarts"], 1);
    let expected = [1, 2, 3, 4].map(|step| ("step".to_owned(), step));
    assert_eq!(kinds_and_steps(&world, &job), expected);
}

#[tokio::test]
async fn words_of_an_older_attempt_are_not_heard() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    let job = world.submit(1, 4).await;
    let starts = node.starts(1).await;
    let _ranks = train(&world, &starts, 0).await;
    node.exited(&starts[0], None, Some(9)).await;
    let again = node.starts(1).await;
    let refusal = Rank::attach(&world, &starts[0]).await.err().expect("the first attempt is over");
    assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal:?}");
    assert!(Rank::attach(&world, &again[0]).await.is_ok());
    assert_eq!(world.job(&job).await.attempt, 2);
}

#[tokio::test]
async fn a_job_that_workers_cannot_execute_yet_is_not_taken() {
    let world = World::start().await;
    let spec_yaml = world.yaml(2, 3).replace("pipeline: 2", "pipeline: 2, recompute: full");
    let refusal = world.jobs().await.submit(v1::SubmitRequest { spec_yaml, priority: None }).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert_eq!(refusal.message(), "parallel.recompute full is planned, but workers run none and norms only");
    assert!(world.jobs().await.list(v1::ListRequest {}).await.unwrap().into_inner().jobs.is_empty());
}

#[tokio::test]
async fn all_mistakes_of_a_spec_come_back_at_once() {
    let world = World::start().await;
    let bad = world.yaml(1, 3).replace("steps: 3", "steps: many").replace("microbatch: 1", "microbatch: 3");
    let request = v1::SubmitRequest { spec_yaml: bad.replace("peak:", "peek:"), priority: None };
    let refusal = world.jobs().await.submit(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    for part in ["steps", "peek"] {
        assert!(refusal.message().contains(part), "{part} is missing in\n{}", refusal.message());
    }
    assert!(world.jobs().await.list(v1::ListRequest {}).await.unwrap().into_inner().jobs.is_empty());
}

#[tokio::test]
async fn a_job_waits_for_a_node_and_says_so_and_can_be_cancelled() {
    let world = World::start().await;
    let job = world.submit(1, 3).await;
    let waiting = world.job(&job).await;
    assert_eq!(waiting.state(), JobState::Queued);
    assert!(!waiting.reason.is_empty());
    let request = v1::CancelRequest { job: job.clone(), at_once: false };
    world.jobs().await.cancel(request).await.unwrap();
    assert_eq!(world.job(&job).await.state(), JobState::Cancelled);
    assert_eq!(summary(&world, &job)["state"], "cancelled");
}

#[tokio::test]
async fn nodes_are_listed_with_who_sits_on_them() {
    let world = World::start().await;
    let mut node = Node::join(&world).await;
    let job = world.submit(2, 3).await;
    node.starts(2).await;
    let nodes = world.jobs().await.nodes(v1::NodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!(nodes.len(), 1);
    assert_eq!((nodes[0].name.as_str(), nodes[0].n_cores, nodes[0].alive), ("alpha", 4, true));
    assert_eq!(nodes[0].seated.len(), 2);
    assert!(nodes[0].seated[0].contains(&job), "{:?}", nodes[0].seated);
}

#[tokio::test]
async fn a_node_of_another_version_is_turned_away_with_both_versions() {
    let world = World::start().await;
    let old = v1::NodeRegister { version: "0.0.1".to_owned(), ..registration("alpha") };
    let refusal = Node::attach(&world, old).await.err().expect("it is too old");
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    let both = format!("it is version 0.0.1, the coordinator is version {}", ds_proto::VERSION);
    assert!(refusal.message().starts_with(&both), "{}", refusal.message());
}

#[tokio::test]
async fn a_job_that_is_not_there_is_not_found() {
    let world = World::start().await;
    for job in ["nobody-0001", "../../etc"] {
        let request = v1::JobRequest { job: job.to_owned() };
        assert_eq!(world.jobs().await.get(request.clone()).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(world.jobs().await.resume(request).await.unwrap_err().code(), Code::NotFound);
        let logs = v1::LogsRequest { job: job.to_owned(), ..Default::default() };
        assert_eq!(world.jobs().await.logs(logs).await.unwrap_err().code(), Code::NotFound);
    }
}
