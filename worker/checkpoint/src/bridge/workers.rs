//! Threads that work through files, each with its own small memory.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use ds_arch::hugging_face::SharedCopy;

use super::convert::{Bench, difference};
use super::draft::{Draft, Note};
use super::error::BridgeError;
use super::layout::FilePlan;
use super::limits::Room;
use super::pull::Tensor;
use super::sink::{OutFile, Sink};

/// Messages that may wait: a few from every thread.
const WAITING: usize = 64;

/// How far a bridge is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Written, or found finished.
    pub done_bytes: u64,
    /// Of all files.
    pub total_bytes: u64,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files of weights that are there now.
    pub n_files: usize,
    /// Those of them that an earlier run had finished.
    pub n_resumed: usize,
    /// Tensors in them.
    pub n_tensors: usize,
    /// Of the files.
    pub bytes: u64,
}

/// A tensor that must repeat another.
pub(super) struct Comparison<'a> {
    pub(super) copy: &'a SharedCopy,
    pub(super) one: Tensor<'a>,
    pub(super) other: Tensor<'a>,
}

/// All that threads share.
pub(super) struct Workers<'a> {
    pub(super) draft: &'a Draft,
    /// Of all that is read and how.
    pub(super) run: &'a str,
    pub(super) room: Room,
    /// Where comparisons come from.
    pub(super) source: &'a Path,
}

/// Why a thread stopped.
enum Stop {
    Failed(BridgeError),
    /// Another did.
    Told,
}

impl From<BridgeError> for Stop {
    fn from(error: BridgeError) -> Self {
        Self::Failed(error)
    }
}

impl Workers<'_> {
    /// Makes all comparisons and files, until `progress` breaks. The notes are in the order of files; with each, whether an earlier run made it.
    pub(super) fn work(
        &self,
        comparisons: &[Comparison<'_>],
        files: &[FilePlan<'_>],
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Vec<(Note, bool)>, BridgeError> {
        let total_bytes = files.iter().map(|file| file.length - file.header.len() as u64).sum();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let failure = Mutex::new(None);
        let (sender, receiver) = sync_channel::<u64>(WAITING);
        let run = |sender: SyncSender<u64>| {
            let mut done = Vec::new();
            let tick = |n: u64| {
                // The receiver is there until the last sender is gone.
                let _ = sender.send(n);
                !stop.load(Ordering::Relaxed)
            };
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let outcome = match i.checked_sub(comparisons.len()) {
                    _ if stop.load(Ordering::Relaxed) => return done,
                    None => self.compare(&comparisons[i]).map(|()| None),
                    Some(file) if file < files.len() => {
                        self.file(&files[file], &tick).map(|(note, resumed)| Some((file, note, resumed)))
                    }
                    Some(_) => return done,
                };
                match outcome {
                    Ok(note) => done.extend(note),
                    Err(why) => {
                        stop.store(true, Ordering::Relaxed);
                        if let Stop::Failed(error) = why {
                            failure.lock().expect("nobody panics with it").get_or_insert(error);
                        }
                        return done;
                    }
                }
            }
        };
        let mut notes: Vec<(usize, Note, bool)> = thread::scope(|scope| {
            let senders = (0..self.room.n_threads).map(|_| sender.clone()).collect::<Vec<_>>();
            let threads: Vec<_> = senders.into_iter().map(|sender| scope.spawn(|| run(sender))).collect();
            drop(sender);
            let mut done_bytes = 0;
            for n in receiver {
                done_bytes += n;
                // What was found damaged counts twice.
                if progress(Progress { done_bytes: done_bytes.min(total_bytes), total_bytes }).is_break() {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            threads.into_iter().flat_map(|thread| thread.join().expect("it panics only if a job does")).collect()
        });
        if let Some(error) = failure.into_inner().expect("nobody panics with it") {
            return Err(error);
        }
        if notes.len() < files.len() {
            // Only who sees the progress stops threads that do not fail.
            return Err(BridgeError::Stopped { path: self.draft.folder().to_owned() });
        }
        notes.sort_by_key(|(file, ..)| *file);
        Ok(notes.into_iter().map(|(_, note, resumed)| (note, resumed)).collect())
    }

    fn compare(&self, comparison: &Comparison<'_>) -> Result<(), Stop> {
        let Comparison { copy, one, other } = comparison;
        match difference(one, other, self.room.block)? {
            None => Ok(()),
            Some(byte) => Err(Stop::Failed(BridgeError::Copy {
                folder: self.source.to_owned(),
                copy: copy.name.clone(),
                of: copy.of,
                byte,
            })),
        }
    }

    /// Writes a file, unless an earlier run has.
    fn file(&self, plan: &FilePlan<'_>, tick: &dyn Fn(u64) -> bool) -> Result<(Note, bool), Stop> {
        if let Some(note) = self.draft.finished(self.run, plan, tick) {
            return Ok((note, true));
        }
        if !tick(0) {
            return Err(Stop::Told);
        }
        let out = OutFile::create(&self.draft.folder().join(&plan.name), &plan.header)?;
        let mut checksums = vec![String::new(); plan.tensors.len()];
        let mut told = false;
        let mut tock = |n: u64| {
            told = !tick(n);
            // Any error stops the job; this one is seen by nobody.
            if told { Err(BridgeError::Busy { path: self.draft.folder().to_owned() }) } else { Ok(()) }
        };
        let mut bench = Bench::new(self.room.block, &mut tock);
        let outcome: Result<(), BridgeError> = plan.jobs.iter().try_for_each(|(job, places)| {
            let mut sinks: Vec<Sink<'_>> = places.iter().map(|&i| out.sink(&plan.tensors[i])).collect();
            bench.run(&job.work, &mut sinks, job.targets[0].element)?;
            for (sink, &i) in sinks.into_iter().zip(places) {
                checksums[i] = sink.finish();
            }
            Ok(())
        });
        drop(bench);
        match outcome {
            Err(_) if told => return Err(Stop::Told),
            outcome => outcome?,
        }
        out.finish()?;
        Ok((self.draft.note(self.run, plan, checksums)?, false))
    }
}
