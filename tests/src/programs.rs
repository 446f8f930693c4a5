//! The product's programs, as users run them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

/// A program of the product, built beside this test.
///
/// # Panics
/// When it was not built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.parent().and_then(Path::parent).expect("target/release/deps");
    let program = folder.join(name);
    assert!(program.is_file(), "{} is missing: `make build` makes it", program.display());
    program
}

/// A process that ends with the test, however that ends.
#[derive(Debug)]
pub struct Ours(pub Child);

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `dsctl` with a home of its own.
pub fn dsctl(home: &Path) -> Command {
    let mut command = Command::new(program("dsctl"));
    command.env("DSCTL_HOME", home).env("NO_COLOR", "1");
    command
}

/// Runs to the end; stdout and stderr as text.
///
/// # Panics
/// When the program cannot be started.
pub fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}
