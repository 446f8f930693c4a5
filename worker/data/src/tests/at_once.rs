//! Several that make the same tokens at the same time.

use std::path::Path;
use std::process::{Command, Stdio};

use super::place::{Place, documents};
use crate::{TokenFolder, TokenizerChoice, prepare};

/// Tells a copy of this program to make tokens: the source and the cache.
const TOLD: [&str; 2] = ["DS_DATA_TEST_SOURCE", "DS_DATA_TEST_CACHE"];

#[test]
fn threads_agree() {
    let place = Place::new();
    let file = place.put("a.txt", "x".repeat(300_000));
    let made: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..8).map(|_| scope.spawn(|| place.prepare(&file, &TokenizerChoice::Bytes).unwrap())).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(made.iter().all(|path| *path == made[0]));
    assert_eq!(place.cached().len(), 2, "{:?}", place.cached());
    assert_eq!(documents(&TokenFolder::open(&made[0]).unwrap())[0].len(), 300_000);
}

#[test]
fn processes_agree() {
    let place = Place::new();
    let file = place.put("a.txt", "x".repeat(300_000));
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tests::at_once::a_copy_of_this_program"]).stdout(Stdio::null());
        command.envs(TOLD.into_iter().zip([file.clone(), place.cache()])).spawn().unwrap()
    };
    let copies: Vec<_> = (0..4).map(|_| start()).collect();
    for mut copy in copies {
        assert!(copy.wait().unwrap().success());
    }
    assert_eq!(place.cached().len(), 2, "{:?}", place.cached());
    let made = prepare(&file, &TokenizerChoice::Bytes, &place.cache(), &mut |_| panic!("it is made already")).unwrap();
    assert_eq!(documents(&TokenFolder::open(&made).unwrap())[0].len(), 300_000);
}

#[test]
fn a_copy_of_this_program() {
    let [Some(source), Some(cache)] = TOLD.map(std::env::var_os) else { return };
    let made = prepare(Path::new(&source), &TokenizerChoice::Bytes, Path::new(&cache), &mut |_| ()).unwrap();
    assert_eq!(TokenFolder::open(&made).unwrap().n_tokens(), 300_001);
}
