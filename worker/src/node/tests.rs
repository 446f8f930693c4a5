//! A node agent against a coordinator that the test plays; its ranks are shell scripts.

use std::fs;
use std::process::{Command, Stdio};

use ds_proto::v1;
use ds_proto::v1::node_order::Order as Word;
use ds_proto::v1::node_report::Report as Heard;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::*;
use crate::agent::fake::{Fake, NodeTalk, PATIENCE, TOKEN};

/// A rank that stays.
const STAYS: &str = "echo ready; while :; do sleep 0.05; done";

fn config(join: String, script: &str) -> NodeConfig {
    NodeConfig {
        join,
        token: TOKEN.to_owned(),
        name: Some("node-a".to_owned()),
        cores: Some(6),
        work: None,
        addresses: vec!["127.0.0.1".parse().unwrap()],
        planes: Vec::new(),
        embedded: None,
        // What the agent adds become $1, $2, ..
        rank_command: ["/bin/sh", "-c", script, "rank"].map(str::to_owned).to_vec(),
    }
}

struct Running {
    agent: JoinHandle<Result<(), NodeError>>,
    asked: oneshot::Sender<()>,
}

fn start(config: NodeConfig) -> Running {
    let (asked, was_asked) = oneshot::channel::<()>();
    let agent = tokio::spawn(serve(config, async {
        match was_asked.await {
            Ok(()) => Ending::Asked,
            Err(_) => std::future::pending().await,
        }
    }));
    Running { agent, asked }
}

async fn end(agent: JoinHandle<Result<(), NodeError>>) -> Result<(), NodeError> {
    timeout(PATIENCE, agent).await.expect("the agent ends").unwrap()
}

/// The next report that is no heartbeat.
async fn hear(talk: &mut NodeTalk) -> Heard {
    loop {
        match talk.hear().await.expect("the node is there").report.expect("no report is empty") {
            Heard::Heartbeat(_) => {}
            report => return report,
        }
    }
}

/// Takes the registration and welcomes the node.
async fn welcome(talk: &mut NodeTalk, orphan_grace_ms: u64) -> v1::NodeRegister {
    let Heard::Register(register) = hear(talk).await else { panic!("a node registers first") };
    say(talk, Word::Welcome(v1::NodeWelcome { heartbeat_timeout_ms: 1000, orphan_grace_ms })).await;
    register
}

async fn say(talk: &NodeTalk, order: Word) {
    talk.say(v1::NodeOrder { order: Some(order) }).await;
}

async fn say_start(talk: &NodeTalk) {
    let job = "tiny-1".to_owned();
    let (device, threads, ranks_in_process) = ("cpu".to_owned(), 4, 1);
    say(talk, Word::Start(v1::StartRank { job, attempt: 2, rank: 3, device, threads, ranks_in_process })).await;
}

async fn say_end(talk: &NodeTalk, grace_ms: u64) {
    say(talk, Word::End(v1::EndRank { job: "tiny-1".to_owned(), attempt: 2, rank: 3, grace_ms })).await;
}

async fn hear_started(talk: &mut NodeTalk) -> u32 {
    let Heard::Started(started) = hear(talk).await else { panic!("not started") };
    assert_eq!((started.job.as_str(), started.attempt, started.rank), ("tiny-1", 2, 3));
    started.pid
}

async fn hear_line(talk: &mut NodeTalk, wanted: &str) {
    loop {
        match hear(talk).await {
            Heard::Lines(lines) if lines.lines.iter().any(|line| line == wanted) => return,
            Heard::Lines(_) => {}
            other => panic!("not a line: {other:?}"),
        }
    }
}

/// All lines until the end, and the end.
async fn hear_exited(talk: &mut NodeTalk) -> (Vec<String>, v1::RankExited) {
    let mut printed = Vec::new();
    loop {
        match hear(talk).await {
            Heard::Lines(lines) => printed.extend(lines.lines),
            Heard::Exited(exited) => return (printed, exited),
            other => panic!("neither lines nor an end: {other:?}"),
        }
    }
}

/// A node with one rank, which is ready.
async fn with_a_rank(config: NodeConfig, fake: &mut Fake, orphan_grace_ms: u64) -> (Running, NodeTalk, u32) {
    let running = start(config);
    let mut talk = fake.node().await;
    welcome(&mut talk, orphan_grace_ms).await;
    say_start(&talk).await;
    let pid = hear_started(&mut talk).await;
    hear_line(&mut talk, "ready").await;
    (running, talk, pid)
}

/// Until there is no such process, or only its remains.
async fn until_dead(pid: u32) {
    let dead = async {
        while let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
            if stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, dead).await.expect("the process dies");
}

#[tokio::test]
async fn a_node_registers_what_it_has() {
    let mut fake = Fake::start().await;
    let _running = start(NodeConfig { planes: vec![("lo".to_owned(), PlaneId(3))], ..config(fake.join(), "") });
    let mut talk = fake.node().await;
    let register = welcome(&mut talk, 0).await;
    assert_eq!((register.version.as_str(), register.name.as_str()), (ds_proto::VERSION, "node-a"));
    assert_eq!((register.n_cores, register.running), (6, Vec::new()));
    assert!(register.memory_bytes > 0);
    let nics: Vec<_> = register.nics.iter().map(|nic| (nic.name.as_str(), nic.address.as_str(), nic.plane)).collect();
    assert_eq!(nics, [("lo", "127.0.0.1", 3)]);
}

#[tokio::test]
async fn a_rank_gets_its_seat_and_the_token_and_its_lines_and_exit_code_are_told() {
    let mut fake = Fake::start().await;
    let script = r#"echo "$@"; echo "$DSCTL_TOKEN $OMP_NUM_THREADS $MALLOC_TRIM_THRESHOLD_" >&2; exit 3"#;
    let _running = start(config(fake.join(), script));
    let mut talk = fake.node().await;
    welcome(&mut talk, 0).await;
    say_start(&talk).await;
    hear_started(&mut talk).await;
    let (mut printed, exited) = hear_exited(&mut talk).await;
    printed.sort();
    let seat = "--job tiny-1 --attempt 2 --rank 3 --device cpu --threads 4 --address 127.0.0.1";
    assert_eq!(printed, [format!("--join {} {seat}", fake.join()), format!("{TOKEN} 4 4294967296")]);
    assert_eq!((exited.exit_code, exited.signal), (Some(3), None));
    let mut last = exited.last_lines;
    last.sort();
    assert_eq!(last, printed);
}

#[tokio::test]
async fn a_rank_that_a_signal_ends_is_told_with_the_signal() {
    let mut fake = Fake::start().await;
    let _running = start(config(fake.join(), "echo dying; kill -SEGV $$"));
    let mut talk = fake.node().await;
    welcome(&mut talk, 0).await;
    say_start(&talk).await;
    hear_started(&mut talk).await;
    let (_, exited) = hear_exited(&mut talk).await;
    assert_eq!((exited.exit_code, exited.signal), (None, Some(Signal::SIGSEGV as i32)));
    assert_eq!(exited.last_lines, ["dying"]);
}

#[tokio::test]
async fn a_rank_that_does_not_end_on_order_is_killed_after_the_grace() {
    let mut fake = Fake::start().await;
    let script = format!("trap '' TERM; {STAYS}");
    let (_running, mut talk, _) = with_a_rank(config(fake.join(), &script), &mut fake, 0).await;
    say_end(&talk, 10).await;
    assert_eq!(hear_exited(&mut talk).await.1.signal, Some(Signal::SIGKILL as i32));
}

#[tokio::test]
async fn a_rank_whose_program_is_missing_is_told_with_the_program() {
    let mut fake = Fake::start().await;
    let rank_command = vec!["/nowhere/ds-worker".to_owned(), "rank".to_owned()];
    let _running = start(NodeConfig { rank_command, ..config(fake.join(), "") });
    let mut talk = fake.node().await;
    welcome(&mut talk, 0).await;
    say_start(&talk).await;
    let Heard::NotStarted(not_started) = hear(&mut talk).await else { panic!("it cannot start") };
    assert!(not_started.reason.contains("/nowhere/ds-worker"), "{}", not_started.reason);
    assert_eq!((not_started.attempt, not_started.rank), (2, 3));
}

#[tokio::test]
async fn a_node_that_comes_back_names_the_ranks_that_still_run_and_tells_what_they_said_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let mut fake = Fake::lasting().await;
    let script = "echo ready; until [ -e lost ]; do sleep 0.01; done; echo alone; while :; do sleep 0.05; done";
    let config = NodeConfig { work: Some(folder.path().to_owned()), ..config(fake.join(), script) };
    let (_running, talk, pid) = with_a_rank(config, &mut fake, 600_000).await;
    let address = fake.address;
    fake.stop().await;
    drop(talk);
    fs::write(folder.path().join("lost"), "").unwrap();

    let mut fake = Fake::start_at(address).await;
    let mut talk = fake.node().await;
    let register = welcome(&mut talk, 600_000).await;
    assert_eq!(register.running, [v1::RunningRank { job: "tiny-1".to_owned(), attempt: 2, rank: 3, pid }]);
    hear_line(&mut talk, "alone").await;
    // The order that started it is repeated, and is not carried out again.
    say_start(&talk).await;
    say_end(&talk, 0).await;
    assert_eq!(hear_exited(&mut talk).await.1.signal, Some(Signal::SIGKILL as i32));
}

#[tokio::test]
async fn ranks_of_a_node_that_waited_for_its_coordinator_in_vain_are_ended() {
    let mut fake = Fake::lasting().await;
    let (running, talk, pid) = with_a_rank(config(fake.join(), STAYS), &mut fake, 1).await;
    fake.stop().await;
    drop(talk);
    let error = end(running.agent).await.expect_err("nobody is there");
    assert!(matches!(error, NodeError::Gone { .. }) && error.exit_code() == 1, "{error}");
    until_dead(pid).await;
}

#[tokio::test]
async fn an_embedded_agent_ends_in_peace_with_its_coordinator() {
    let mut fake = Fake::lasting().await;
    let config = NodeConfig { embedded: Some(std::process::id()), ..config(fake.join(), STAYS) };
    let (running, talk, pid) = with_a_rank(config, &mut fake, 600_000).await;
    fake.stop().await;
    drop(talk);
    end(running.agent).await.expect("that is how an embedded coordinator ends");
    until_dead(pid).await;
}

#[tokio::test]
async fn a_node_that_is_asked_to_end_ends_its_ranks_and_says_so() {
    let mut fake = Fake::start().await;
    let (running, mut talk, _) = with_a_rank(config(fake.join(), STAYS), &mut fake, 0).await;
    running.asked.send(()).unwrap();
    assert_eq!(hear_exited(&mut talk).await.1.signal, Some(Signal::SIGTERM as i32));
    drop(talk);
    end(running.agent).await.expect("it was asked to");
}

#[tokio::test]
async fn a_node_that_is_turned_away_says_why_and_that_the_user_must_change_something() {
    let mut fake = Fake::start().await;
    let running = start(config(fake.join(), ""));
    let talk = fake.node().await;
    talk.refuse(Status::failed_precondition("version 0.0.1 does not fit 0.1.0")).await;
    let error = end(running.agent).await.expect_err("it is not wanted");
    assert!(error.to_string().contains("version 0.0.1 does not fit 0.1.0"), "{error}");
    assert_eq!(error.exit_code(), 64);
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let fake = Fake::start().await;
    let running = start(NodeConfig { token: "guess".to_owned(), ..config(fake.join(), "") });
    let error = end(running.agent).await.expect_err("it is not known");
    assert!(error.to_string().contains("the token is wrong"), "{error}");
}

#[tokio::test]
async fn an_address_without_a_port_is_refused() {
    let error = serve(config("http://127.0.0.1".to_owned(), ""), std::future::pending()).await.unwrap_err();
    assert!(error.to_string().starts_with("--join http://127.0.0.1: it names no port"), "{error}");
    assert_eq!(error.exit_code(), 64);
}

/// An agent in a process of its own, which a test may kill.
#[test]
#[ignore = "it is what other tests start"]
fn an_agent_in_a_process_of_its_own() {
    let Ok(join) = std::env::var("AGENT_JOIN") else { return };
    let embedded = std::env::var("AGENT_EMBEDDED").is_ok().then(|| u32::try_from(getppid().as_raw()).unwrap());
    let config = NodeConfig { embedded, ..config(join, STAYS) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { serve(config, asked_to_end(embedded).unwrap()).await }).unwrap();
}

/// The command that starts it.
fn agent_process(fake: &Fake) -> [String; 5] {
    let test = format!("{}::an_agent_in_a_process_of_its_own", module_path!().split_once("::").unwrap().1);
    let program = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    [format!("AGENT_JOIN={}", fake.join()), program, "--ignored".to_owned(), "--exact".to_owned(), test]
}

#[tokio::test]
async fn ranks_die_with_an_agent_that_is_killed() {
    let mut fake = Fake::start().await;
    let mut agent = Command::new("env").args(agent_process(&fake)).stdout(Stdio::null()).spawn().unwrap();
    let mut talk = fake.node().await;
    welcome(&mut talk, 600_000).await;
    say_start(&talk).await;
    let rank = hear_started(&mut talk).await;
    hear_line(&mut talk, "ready").await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    until_dead(rank).await;
}

#[tokio::test]
async fn an_embedded_agent_and_its_ranks_end_with_the_process_that_it_belongs_to() {
    let mut fake = Fake::start().await;
    let mut parent = Command::new("/bin/sh")
        .args(["-c", r#"env AGENT_EMBEDDED=1 "$@" & wait"#, "parent"])
        .args(agent_process(&fake))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut talk = fake.node().await;
    welcome(&mut talk, 600_000).await;
    say_start(&talk).await;
    let rank = hear_started(&mut talk).await;
    hear_line(&mut talk, "ready").await;
    kill(Pid::from_raw(i32::try_from(parent.id()).unwrap()), Signal::SIGKILL).unwrap();
    parent.wait().unwrap();
    hear_exited(&mut talk).await;
    drop(talk);
    until_dead(rank).await;
}
