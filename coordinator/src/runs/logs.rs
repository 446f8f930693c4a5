//! What ranks print: one file a rank, over all attempts, with a line where an attempt begins.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot, watch};

use super::Runs;

/// Batches of lines that wait for the disk; the node agent that sends them waits with them.
const WAITING_MAX: usize = 64;
/// Files that are kept open. Beyond, the least recently used one is closed; twice the ranks of a large local job.
const OPEN_MAX: usize = 128;
/// A log does not fill the disk; what a rank prints beyond is left out.
const FILE_MAX: u64 = 256 << 20;
/// Lines that one reading returns.
const CHUNK_MAX: usize = 256;

const MARK: &str = "--- attempt ";
const MARK_END: &str = " ---";

/// Takes lines, from any task.
#[derive(Clone, Debug)]
pub struct LogWriter {
    sender: mpsc::Sender<Task>,
    /// Counts writes, for those who follow.
    written: watch::Receiver<u64>,
}

/// The thread that writes them.
#[derive(Debug)]
pub struct LogBook {
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
enum Task {
    Write(Lines),
    /// Everything before this is in the files.
    Flush(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Lines {
    job: String,
    attempt: u32,
    rank: u32,
    lines: Vec<String>,
}

/// A line that a rank printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// In which attempt.
    pub attempt: u32,
    /// Without its end.
    pub text: String,
}

impl LogBook {
    /// Starts writing into the folders of runs.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(runs: Runs) -> io::Result<(Self, LogWriter)> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let (count, written) = watch::channel(0);
        let write = move || write_all(&runs, receiver, &count);
        let thread = std::thread::Builder::new().name("logs".to_owned()).spawn(write)?;
        Ok((Self { thread: Some(thread) }, LogWriter { sender, written }))
    }

    /// Waits until all is written. Every writer must be gone.
    pub fn finish(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl LogWriter {
    /// Puts lines in; waits while the disk is slow.
    pub async fn write(&self, job: String, attempt: u32, rank: u32, lines: Vec<String>) {
        // Without its thread nothing is written any more, since the coordinator ends.
        let _ = self.sender.send(Task::Write(Lines { job, attempt, rank, lines })).await;
    }

    /// Waits until all that was put in before is in the files.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.sender.send(Task::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }

    /// Changes whenever something was written.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }
}

/// Reads a rank's log while it grows.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    offset: u64,
    attempt: u32,
}

impl LogReader {
    /// From the first line on.
    pub fn new(runs: &Runs, job: &str, rank: u32) -> Self {
        Self { path: path(runs, job, rank), offset: 0, attempt: 0 }
    }

    /// The ranks of a run that have printed something.
    pub fn ranks(runs: &Runs, job: &str) -> Vec<u32> {
        let names = std::fs::read_dir(runs.folder(job).join("logs")).into_iter().flatten().flatten();
        let rank = |name: &str| name.strip_prefix("rank-")?.strip_suffix(".log")?.parse().ok();
        let mut ranks: Vec<u32> = names.filter_map(|entry| rank(entry.file_name().to_str()?)).collect();
        ranks.sort_unstable();
        ranks
    }

    /// The newest `n` lines; what comes later is read by [`LogReader::more`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tail(&mut self, n: usize) -> io::Result<Vec<LogLine>> {
        let mut newest = VecDeque::new();
        loop {
            let lines = self.more()?;
            if lines.is_empty() {
                return Ok(newest.into());
            }
            newest.extend(lines);
            newest.drain(..newest.len().saturating_sub(n));
        }
    }

    /// Some of the lines that follow; empty at the end. A line that is not whole yet is left for later.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn more(&mut self) -> io::Result<Vec<LogLine>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut file = BufReader::new(file);
        let mut lines = Vec::new();
        let mut bytes = Vec::new();
        while lines.len() < CHUNK_MAX {
            bytes.clear();
            let n_bytes = file.read_until(b'\n', &mut bytes)?;
            if bytes.pop() != Some(b'\n') {
                break;
            }
            self.offset += n_bytes as u64;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match marked(&text) {
                Some(attempt) => self.attempt = attempt,
                None => lines.push(LogLine { attempt: self.attempt, text }),
            }
        }
        Ok(lines)
    }
}

fn path(runs: &Runs, job: &str, rank: u32) -> PathBuf {
    runs.folder(job).join("logs").join(format!("rank-{rank:03}.log"))
}

fn marked(line: &str) -> Option<u32> {
    line.strip_prefix(MARK)?.strip_suffix(MARK_END)?.parse().ok()
}

fn write_all(runs: &Runs, mut receiver: mpsc::Receiver<Task>, count: &watch::Sender<u64>) {
    let mut files = Files::default();
    while let Some(task) = receiver.blocking_recv() {
        let lines = match task {
            Task::Write(lines) => lines,
            Task::Flush(done) => {
                let _ = done.send(());
                continue;
            }
        };
        if let Err(error) = files.write(&path(runs, &lines.job, lines.rank), &lines) {
            tracing::warn!("lines of rank {} of job {} are lost: {error}", lines.rank, lines.job);
        }
        count.send_modify(|count| *count += 1);
    }
}

/// The files that are open.
#[derive(Default)]
struct Files {
    open: BTreeMap<PathBuf, LogFile>,
    clock: u64,
}

struct LogFile {
    file: File,
    n_bytes: u64,
    attempt: u32,
    last_used: u64,
}

impl Files {
    fn write(&mut self, path: &Path, lines: &Lines) -> io::Result<()> {
        self.clock += 1;
        if !self.open.contains_key(path) {
            self.make_room();
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            let n_bytes = file.metadata()?.len();
            self.open.insert(path.to_owned(), LogFile { file, n_bytes, attempt: 0, last_used: 0 });
        }
        let log = self.open.get_mut(path).expect("it was opened if it was not");
        log.last_used = self.clock;
        let written = log.write(lines);
        if written.is_err() {
            // The next lines try anew.
            self.open.remove(path);
        }
        written
    }

    fn make_room(&mut self) {
        while self.open.len() >= OPEN_MAX {
            let oldest = self.open.iter().min_by_key(|(_, log)| log.last_used).map(|(path, _)| path.clone());
            self.open.remove(&oldest.expect("a full map has an oldest entry"));
        }
    }
}

impl LogFile {
    fn write(&mut self, lines: &Lines) -> io::Result<()> {
        let mut text = String::new();
        if self.attempt != lines.attempt {
            text.push_str(&format!("{MARK}{}{MARK_END}\n", lines.attempt));
            self.attempt = lines.attempt;
        }
        for line in &lines.lines {
            if marked(line).is_some() {
                // Not ours, so it must not look like ours.
                text.push(' ');
            }
            text.push_str(&line.replace('\n', " "));
            text.push('\n');
        }
        if self.n_bytes >= FILE_MAX {
            return Ok(());
        }
        self.n_bytes += text.len() as u64;
        if self.n_bytes >= FILE_MAX {
            text.push_str(&format!("(this log has {} MiB; what follows is left out)\n", FILE_MAX >> 20));
        }
        self.file.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs() -> (tempfile::TempDir, Runs) {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::new(folder.path().to_owned());
        runs.create("a-0001", "").unwrap();
        (folder, runs)
    }

    async fn write(runs: &Runs, batches: &[(u32, &[&str])]) {
        let (book, writer) = LogBook::start(runs.clone()).unwrap();
        for (attempt, lines) in batches {
            let lines = lines.iter().map(|&line| line.to_owned()).collect();
            writer.write("a-0001".to_owned(), *attempt, 2, lines).await;
        }
        drop(writer);
        tokio::task::spawn_blocking(|| book.finish()).await.unwrap();
    }

    fn texts(lines: &[LogLine]) -> Vec<(u32, &str)> {
        lines.iter().map(|line| (line.attempt, line.text.as_str())).collect()
    }

    #[tokio::test]
    async fn lines_know_their_attempt() {
        let (_folder, runs) = runs();
        write(&runs, &[(1, &["one", "two"]), (2, &["three"])]).await;
        let mut reader = LogReader::new(&runs, "a-0001", 2);
        assert_eq!(texts(&reader.more().unwrap()), [(1, "one"), (1, "two"), (2, "three")]);
        assert!(reader.more().unwrap().is_empty());
        write(&runs, &[(2, &["four"])]).await;
        assert_eq!(texts(&reader.more().unwrap()), [(2, "four")]);
        assert_eq!(LogReader::ranks(&runs, "a-0001"), [2]);
    }

    #[tokio::test]
    async fn a_rank_cannot_forge_the_mark_of_an_attempt() {
        let (_folder, runs) = runs();
        write(&runs, &[(1, &["--- attempt 7 ---", "x"])]).await;
        let lines = LogReader::new(&runs, "a-0001", 2).more().unwrap();
        assert_eq!(texts(&lines), [(1, " --- attempt 7 ---"), (1, "x")]);
    }

    #[tokio::test]
    async fn the_tail_is_the_newest_lines() {
        let (_folder, runs) = runs();
        let many: Vec<String> = (0..600).map(|i| i.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        write(&runs, &[(1, &many)]).await;
        let mut reader = LogReader::new(&runs, "a-0001", 2);
        assert_eq!(texts(&reader.tail(2).unwrap()), [(1, "598"), (1, "599")]);
        assert!(reader.more().unwrap().is_empty());
    }

    #[test]
    fn half_a_line_waits_for_its_other_half() {
        let (_folder, runs) = runs();
        let path = path(&runs, "a-0001", 0);
        std::fs::write(&path, "--- attempt 1 ---\nwhole\nha").unwrap();
        let mut reader = LogReader::new(&runs, "a-0001", 0);
        assert_eq!(texts(&reader.more().unwrap()), [(1, "whole")]);
        std::fs::write(&path, "--- attempt 1 ---\nwhole\nhalf\n").unwrap();
        assert_eq!(texts(&reader.more().unwrap()), [(1, "half")]);
    }
}
