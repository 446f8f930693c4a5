//! The product against independent implementations, from folders of golden data: `tests/golden`, or those that
//! `GOLDEN_DIR` names (`make parity GOLDEN_DIR=DIR`). What a folder holds is known by its files, so that other seeds,
//! shapes and sizes are compared too. A folder of a kind that is not implemented yet is named and counts as ignored; a
//! file or case of a known kind that nothing compares fails.

mod compare;
mod deepseek_v3;
mod dual_pipe;
mod eplb;
mod folder;
mod fp8;
mod gate;
mod loss_free;
mod orders;
mod rope;
mod tokenizer;
mod torch_pipelining;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use folder::Folder;

/// One comparison; it panics where the two differ, and says how close they are where not.
struct Check {
    name: String,
    run: Box<dyn FnOnce() -> String + Send>,
}

impl Check {
    fn new(name: impl Into<String>, run: impl FnOnce() -> String + Send + 'static) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// The checks of a folder.
type Checks = fn(&Folder) -> Vec<Check>;

/// Whether a file of that name marks a folder of a kind.
type Marks = fn(&str) -> bool;

/// What can be compared: what marks a folder of the kind, and its checks.
const KINDS: &[(Marks, Checks)] = &[
    (|file| file == "forward.safetensors", deepseek_v3::checks),
    (|file| file == "eplb.json", eplb::checks),
    (|file| file == "fp8.json", fp8::checks),
    (|file| file == "gate.json", gate::checks),
    (|file| file == "lfb.json", loss_free::checks),
    (|file| file == "yarn.json", rope::checks),
    (|file| file == "tokenizer.json", tokenizer::checks),
    (dual_pipe::holds, dual_pipe::checks),
    (torch_pipelining::holds, torch_pipelining::checks),
];

fn main() -> ExitCode {
    // Checks run side by side; each is too small to be worth several threads inside LibTorch.
    tch::set_num_threads(1);
    folder::say(&format!("device: {:?}", folder::device()));
    let arguments = Arguments::from_args();
    let root = env::var_os("GOLDEN_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("golden"),
        |folder| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(folder),
    );
    let folders = folder::leaves(&root);
    assert!(!folders.is_empty(), "{} holds no folder with files", root.display());
    let trials = folders.iter().flat_map(trials).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials(folder: &Folder) -> Vec<Trial> {
    let Some((_, checks)) = KINDS.iter().find(|(marks, _)| folder.files().iter().any(|file| marks(file))) else {
        let refused = || Err("nothing compares folders of this kind yet".into());
        return vec![
            Trial::test(format!("{} (kind not implemented yet)", folder.name), refused).with_ignored_flag(true),
        ];
    };
    let trial = |check: Check| {
        let name = format!("{} {}", folder.name, check.name);
        let about = name.clone();
        Trial::test(name, move || {
            let report = (check.run)();
            folder::say(&format!("  {about}: {report}"));
            Ok(())
        })
    };
    checks(folder).into_iter().map(trial).collect()
}
