//! Bad days: each ends with a sentence, nothing is lost, and no process is left behind.
#![cfg(feature = "train")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ds_tests::in_time::{TooLate, ended_well, in_time, running_at};
use ds_tests::job::Job;
use ds_tests::launch::{Coordinator, Launched, checkpoints, newest_tensors, run_folder, summary, wait_until, workers};
use ds_tests::not_run;
use ds_tests::programs::{dsctl, run};

const N_STEPS: u64 = 40;

fn job(folder: &Path, n_steps: u64) -> Job {
    Job::tiny(folder).grid(2, 2, 2).with("train[0].steps", n_steps).with("checkpoint.every", 4)
}

/// Goes on with the job in `home`, whose weights at the end are those of a run that nothing happened to.
fn assert_goes_on_to_the_same_weights(job: &Job, folder: &Path, home: &Path) {
    ended_well(Launched::resume(home), home);
    let whole = folder.join("whole");
    ended_well(Launched::start(job, &whole), &whole);
    assert!(newest_tensors(&whole) == newest_tensors(home), "the weights differ after the resume");
}

/// Interrupts a job at a step; what it said.
fn interrupt_at(step: u64, job: &Job, home: &Path) -> Result<String, TooLate> {
    let launched = running_at(Launched::start(job, home), home, step)?;
    launched.interrupt();
    let (status, talk) = launched.wait();
    if status.success() {
        return Err(TooLate);
    }
    assert_eq!(status.code(), Some(1), "{talk}");
    Ok(talk)
}

#[test]
fn an_interrupt_saves_a_checkpoint_and_the_job_goes_on_from_it() {
    in_time(N_STEPS, |n_steps| {
        let folder = tempfile::tempdir().expect("a folder");
        let (home, job) = (folder.path().join("home"), job(folder.path(), n_steps));
        let talk = interrupt_at(5, &job, &home)?;
        assert!(talk.contains("saving a checkpoint, then stopping"), "{talk}");
        let (step, _) = newest_tensors(&home);
        assert!((5..n_steps).contains(&step), "step {step}");
        assert_eq!(summary(&home)["state"], "cancelled");
        assert_goes_on_to_the_same_weights(&job, folder.path(), &home);
        Ok(())
    });
}

#[test]
fn a_second_interrupt_ends_everything_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let mut launched = Launched::start(&job(folder.path(), 100_000), &home);
    launched.wait_for_step(2);
    let address = Coordinator::of(&home).expect("it runs").address;
    launched.interrupt();
    // Two signals of a kind that come at once are one.
    let talk = || fs::read_to_string(home.join("talk.txt")).unwrap_or_default();
    wait_until("its answer", || talk().contains("Ctrl-C again stops at once"));
    launched.interrupt();
    let (status, talk) = launched.wait();
    assert_eq!(status.code(), Some(1), "{talk}");
    wait_until("the end of every worker", || workers(&address).is_empty());
}

#[test]
fn a_corrupt_checkpoint_is_named_and_an_older_one_taken() {
    in_time(N_STEPS, |n_steps| {
        let folder = tempfile::tempdir().expect("a folder");
        let (home, job) = (folder.path().join("home"), job(folder.path(), n_steps));
        let talk = interrupt_at(9, &job, &home)?;
        let saved = checkpoints(&home);
        assert!(saved.len() >= 2, "{saved:?}\n{talk}");
        let newest = saved.last().expect("a checkpoint");
        damage(&newest.join("part-00002.safetensors"));
        assert_goes_on_to_the_same_weights(&job, folder.path(), &home);
        let log = fs::read_to_string(run_folder(&home).expect("a run").join("logs/rank-000.log")).expect("a log");
        let name = newest.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(log.contains("checkpoint passed over") && log.contains(&name), "{log}");
        Ok(())
    });
}

fn damage(part: &Path) {
    let mut bytes = fs::read(part).expect("the rank wrote a part");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(part, bytes).expect("it can be damaged");
}

/// A file system of a few megabytes; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None without the right to mount.
    fn new(path: PathBuf, kib: u32) -> Option<Self> {
        fs::create_dir_all(&path).expect("the test's folder can be written");
        let options = format!("size={kib}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_while_saving_ends_the_job_with_its_path_and_loses_no_older_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    // One checkpoint of the tiny model has room, a second one has not.
    let probe = folder.path().join("probe");
    let (status, talk) = Launched::start(&job(folder.path(), 6), &probe).wait();
    assert!(status.success(), "{talk}");
    let size: u64 = fs::read_dir(checkpoints(&probe).last().expect("a checkpoint"))
        .expect("it reads")
        .flatten()
        .map(|file| file.metadata().expect("a file").len())
        .sum();
    let Some(disk) = SmallDisk::new(folder.path().join("disk"), (size * 3 / 2 / 1024) as u32) else {
        not_run("a small file system needs the right to mount one");
        return;
    };
    let home = folder.path().join("home");
    let small = job(folder.path(), N_STEPS).with("checkpoint.folder", disk.0.display()).with("cluster.max_restarts", 0);
    let (status, talk) = Launched::start(&small, &home).wait();
    assert_eq!(status.code(), Some(1), "{talk}");
    assert!(talk.contains("No space left on device") && talk.contains(&disk.0.display().to_string()), "{talk}");
    let (code, stdout, stderr) = run(dsctl(&home).args(["ckpt", "verify"]).arg(disk.0.join("step-00000004")));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}

#[test]
fn a_checkpoint_to_start_from_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let absent = job(folder.path(), N_STEPS).with("checkpoint.start_from", folder.path().join("nowhere").display());
    let (status, talk) = Launched::start(&absent, &home).wait();
    assert_ne!(status.code(), Some(0), "{talk}");
    assert!(talk.contains("nowhere"), "{talk}");
}
