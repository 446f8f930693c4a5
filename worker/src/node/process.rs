//! One rank's process, in a process group of its own: started, its output read, ended on order, its end reported.
//!
//! A rank dies with its node agent, however that dies: the kernel kills it. The kernel watches the *thread* that started
//! the process, so ranks are started on the agent's main thread.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getppid};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::lines::{Splitter, Tail};

/// Lines wait this long for others, so that a chatty rank costs ten messages a second, not thousands.
const LINES_WAIT: Duration = Duration::from_millis(100);
/// Lines of a batch.
const BATCH_MAX: usize = 200;
/// After a rank's end, children that it left behind may hold its output open; nobody waits longer for them. What it
/// printed itself lies ready, but is read late on a machine with other work to do.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Chunks of output that are read ahead, per rank. When they are full, the rank's prints wait.
const CHUNKS_MAX: usize = 16;
/// Orders to end; the shortest grace wins, so more than a few have nothing to add.
const ENDS_MAX: usize = 4;

/// What to start.
#[derive(Clone, Debug)]
pub(super) struct ProcessSpec {
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    /// Added to the agent's own environment.
    pub(super) environment: Vec<(String, String)>,
    /// Where it works, if not where the agent does.
    pub(super) folder: Option<PathBuf>,
}

/// What a process did. `K` says whose process it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProcessEvent<K> {
    /// It printed.
    Lines(K, Vec<String>),
    /// It ended, and all that it printed has been reported.
    Exited(K, Exit),
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    /// Unless a signal ended it.
    pub(super) code: Option<i32>,
    /// Unless it ended itself.
    pub(super) signal: Option<i32>,
    /// The newest, stdout and stderr together.
    pub(super) last_lines: Vec<String>,
}

/// A process that has been started.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    ends: mpsc::Sender<Duration>,
}

impl Process {
    /// Starts it. From now on its events arrive, `Exited` last. Call it on a thread that lives as long as the agent.
    pub(super) fn start<K: Clone + Send + 'static>(
        spec: &ProcessSpec,
        key: K,
        events: mpsc::Sender<ProcessEvent<K>>,
    ) -> std::io::Result<Self> {
        let (program, arguments) = spec.command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // The terminal's Ctrl-C is for dsctl, which decides what becomes of the job.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(folder) = &spec.folder {
            command.current_dir(folder);
        }
        tie_to_this_thread(&mut command);
        let child = command.spawn()?;
        let pid = child.id().expect("it has not been waited for");
        let (ends, orders) = mpsc::channel(ENDS_MAX);
        tokio::spawn(attend(child, pid, key, orders, events));
        Ok(Self { pid, ends })
    }

    /// Asks it to end (SIGTERM) and kills its group after the grace; with none, at once. May be called again.
    pub(super) fn end(&self, grace: Duration) {
        // A full queue already holds orders to end.
        let _ = self.ends.try_send(grace);
    }
}

/// Has the kernel kill the process when the thread that starts it ends.
#[expect(unsafe_code, reason = "only the child, between fork and exec, can ask for its parent-death signal")]
fn tie_to_this_thread(command: &mut Command) {
    let agent = Pid::this();
    let tie = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // An agent that ended before that sends no signal any more.
        if getppid() == agent { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: `tie` makes two system calls and touches no memory but its own, so it holds in the forked child of a
    // process with other threads.
    unsafe { command.pre_exec(tie) };
}

/// From the start of a process to its end.
async fn attend<K: Clone>(
    mut child: Child,
    pid: u32,
    key: K,
    mut ends: mpsc::Receiver<Duration>,
    events: mpsc::Sender<ProcessEvent<K>>,
) {
    let mut log = Log::new(&mut child, key.clone(), events.clone());
    let mut kill_at: Option<Instant> = None;
    let status = loop {
        tokio::select! {
            () = log.advance() => {}
            status = child.wait() => break status,
            Some(grace) = ends.recv() => {
                let at = Instant::now() + grace;
                kill_at = Some(kill_at.map_or(at, |earlier| earlier.min(at)));
                if !grace.is_zero() {
                    signal_group(pid, Signal::SIGTERM);
                }
            }
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                signal_group(pid, Signal::SIGKILL);
                kill_at = None;
            }
        }
    };
    // What the rank itself has started goes with it.
    signal_group(pid, Signal::SIGKILL);
    let last_lines = log.finish().await;
    let (code, signal) = status.map_or((None, None), |status: ExitStatus| (status.code(), status.signal()));
    let _ = events.send(ProcessEvent::Exited(key, Exit { code, signal, last_lines })).await;
}

/// The group may be gone by itself, which is what the signal is for.
fn signal_group(pid: u32, signal: Signal) {
    let Ok(group) = i32::try_from(pid) else { return };
    let _ = killpg(Pid::from_raw(group), signal);
}

/// The output of a process on its way to the agent.
struct Log<K> {
    key: K,
    chunks: mpsc::Receiver<Vec<String>>,
    batch: Vec<String>,
    send_at: Option<Instant>,
    tail: Tail,
    events: mpsc::Sender<ProcessEvent<K>>,
    /// Ends the readers when the log is dropped.
    _readers: JoinSet<()>,
}

impl<K: Clone> Log<K> {
    fn new(child: &mut Child, key: K, events: mpsc::Sender<ProcessEvent<K>>) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(read(stdout, sender.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(read(stderr, sender));
        }
        Self { key, chunks, batch: Vec::new(), send_at: None, tail: Tail::default(), events, _readers: readers }
    }

    /// Waits for output, or until a batch is due, and handles that. Nothing is lost when it is dropped half-way.
    async fn advance(&mut self) {
        let due = self.send_at;
        tokio::select! {
            Some(lines) = self.chunks.recv() => self.keep(lines),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.send_at = Some(Instant::now()),
            else => std::future::pending().await,
        }
        if self.batch.len() >= BATCH_MAX || self.send_at.is_some_and(|at| at <= Instant::now()) {
            self.send().await;
        }
    }

    fn keep(&mut self, lines: Vec<String>) {
        self.tail.extend(&lines);
        self.batch.extend(lines);
        self.send_at.get_or_insert_with(|| Instant::now() + LINES_WAIT);
    }

    async fn send(&mut self) {
        // The room is waited for first, so that a batch is still ours if this wait is given up.
        let Ok(permit) = self.events.reserve().await else { return };
        self.send_at = None;
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            permit.send(ProcessEvent::Lines(self.key.clone(), batch));
        }
    }

    /// Reads what is left and gives the newest lines. Only the wait for output has an end, not that for the agent.
    async fn finish(mut self) -> Vec<String> {
        let mut left = DRAIN_MAX;
        loop {
            let start = Instant::now();
            let Ok(Some(lines)) = timeout(left, self.chunks.recv()).await else { break };
            left = left.saturating_sub(start.elapsed());
            self.keep(lines);
            if self.batch.len() >= BATCH_MAX {
                self.send().await;
            }
        }
        self.send().await;
        self.tail.into_lines()
    }
}

/// Reads until the end of the stream.
async fn read(mut stream: impl AsyncRead + Unpin, chunks: mpsc::Sender<Vec<String>>) {
    let mut splitter = Splitter::default();
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n_read @ 1..) = stream.read(&mut buffer).await {
        let lines = splitter.push(&buffer[..n_read]);
        if !lines.is_empty() && chunks.send(lines).await.is_err() {
            return;
        }
    }
    if let Some(line) = splitter.finish() {
        let _ = chunks.send(vec![line]).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(120);

    fn shell(script: &str) -> (Process, mpsc::Receiver<ProcessEvent<()>>) {
        let (events, inbox) = mpsc::channel(8);
        let spec = ProcessSpec {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            environment: vec![("GREETING".to_owned(), "hello".to_owned())],
            folder: None,
        };
        (Process::start(&spec, (), events).unwrap(), inbox)
    }

    /// All lines, and how it ended.
    async fn to_the_end(inbox: &mut mpsc::Receiver<ProcessEvent<()>>) -> (Vec<String>, Exit) {
        let mut printed = Vec::new();
        loop {
            match timeout(PATIENCE, inbox.recv()).await.expect("the process ends").expect("`Exited` is last") {
                ProcessEvent::Lines((), lines) => printed.extend(lines),
                ProcessEvent::Exited((), exit) => return (printed, exit),
            }
        }
    }

    async fn until_printed(inbox: &mut mpsc::Receiver<ProcessEvent<()>>, wanted: &str) {
        loop {
            match timeout(PATIENCE, inbox.recv()).await.expect("it prints").expect("it lives") {
                ProcessEvent::Lines((), lines) if lines.iter().any(|line| line == wanted) => return,
                ProcessEvent::Lines((), _) => {}
                ProcessEvent::Exited((), exit) => panic!("ended before {wanted:?}: {exit:?}"),
            }
        }
    }

    #[tokio::test]
    async fn all_lines_of_both_streams_come_before_the_exit_code() {
        let (_process, mut inbox) = shell("echo $GREETING; echo oops >&2; printf unfinished; exit 3");
        let (mut printed, exit) = to_the_end(&mut inbox).await;
        assert_eq!((exit.code, exit.signal), (Some(3), None));
        let mut last = exit.last_lines;
        printed.sort();
        last.sort();
        assert_eq!(printed, ["hello", "oops", "unfinished"]);
        assert_eq!(last, printed);
    }

    #[tokio::test]
    async fn a_flood_arrives_whole_and_its_newest_fifty_are_kept() {
        let (_process, mut inbox) = shell("i=0; while [ $i -lt 5000 ]; do echo $i; i=$((i+1)); done");
        let (printed, exit) = to_the_end(&mut inbox).await;
        let expected: Vec<String> = (0..5000).map(|line| line.to_string()).collect();
        assert_eq!(printed, expected);
        assert_eq!(exit.last_lines, expected[4950..]);
    }

    #[tokio::test]
    async fn a_process_that_ends_on_request_is_not_killed() {
        let (process, mut inbox) = shell("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
        until_printed(&mut inbox, "ready").await;
        process.end(Duration::from_secs(60));
        let (printed, exit) = to_the_end(&mut inbox).await;
        assert_eq!((printed.last().map(String::as_str), exit.code), (Some("bye"), Some(7)));
    }

    #[tokio::test]
    async fn a_process_that_does_not_listen_is_killed_after_the_grace() {
        let (process, mut inbox) = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
        until_printed(&mut inbox, "ready").await;
        process.end(Duration::from_millis(10));
        assert_eq!(to_the_end(&mut inbox).await.1.signal, Some(Signal::SIGKILL as i32));
    }

    #[tokio::test]
    async fn without_grace_the_whole_group_dies_at_once() {
        let (process, mut inbox) = shell("sleep 1000 & echo ready; wait");
        until_printed(&mut inbox, "ready").await;
        process.end(Duration::ZERO);
        assert_eq!(to_the_end(&mut inbox).await.1.signal, Some(Signal::SIGKILL as i32));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_cannot_be_started() {
        let (events, _inbox) = mpsc::channel::<ProcessEvent<()>>(1);
        let spec =
            ProcessSpec { command: vec!["/nowhere/ds-worker".to_owned()], environment: Vec::new(), folder: None };
        assert_eq!(Process::start(&spec, (), events).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
}
