//! Compiles every CUDA kernel, without a card, and says what each takes of one: `cuda_check [ARCHITECTURE]`, sm_90 if none is
//! given. Exits 1 when NVRTC is missing or refuses, or a kernel spills registers.
#![expect(clippy::print_stdout, reason = "a table is what it gives")]

use std::process::ExitCode;

use ds_kernels::TorchError;
use ds_kernels::cuda::{Footprint, SOURCES, compile, version};

fn main() -> ExitCode {
    let architecture = std::env::args().nth(1).unwrap_or_else(|| "sm_90".to_owned());
    match check(&architecture) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(n) => {
            eprintln!("cuda-check: {n} kernels spill registers");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("cuda-check: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Kernels that spill.
fn check(architecture: &str) -> Result<usize, TorchError> {
    let (major, minor) = version()?;
    let mut all: Vec<(&str, Footprint)> = Vec::new();
    for source in SOURCES {
        let Some(architecture) = source.architecture(architecture) else { continue };
        all.extend(compile(source, &architecture)?.footprints.into_iter().map(|kernel| (source.name, kernel)));
    }
    println!("{:<14} {:<24} {:>9} {:>9} {:>13}", "source", "kernel", "registers", "spilled B", "shared B");
    for (source, f) in &all {
        println!("{source:<14} {:<24} {:>9} {:>9} {:>13}", f.kernel, f.registers, f.spilled_bytes, f.shared_bytes);
    }
    println!("{} kernels for {architecture}, NVRTC {major}.{minor}", all.len());
    Ok(all.iter().filter(|(_, kernel)| kernel.spilled_bytes > 0).count())
}
