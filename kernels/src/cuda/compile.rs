//! NVRTC: from a file of kernels to a card's machine code. Needs no card.
#![expect(unsafe_code, reason = "calls NVRTC; a program lives from its making to the end of its drop")]

use std::ffi::{CString, c_char, c_int};
use std::ptr::null_mut;

use cudarc::nvrtc::result::{self, NvrtcError};
use cudarc::nvrtc::sys;

use super::source::{HEADER, Source};
use crate::TorchError;
use crate::library::load_nvrtc;

/// Products and sums are not fused into one rounding, so that a card computes what the emulation does. Kernels that wait
/// for memory have the time. ptxas tells what each kernel takes.
const OPTIONS: [&str; 3] = ["--std=c++17", "--fmad=false", "--ptxas-options=-v"];

/// A file of kernels for one architecture.
#[derive(Debug)]
pub struct Compiled {
    /// What a driver loads.
    pub code: Vec<u8>,
    /// What ptxas says about its kernels.
    pub footprints: Vec<Footprint>,
}

/// What a kernel takes of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// The kernel.
    pub kernel: String,
    /// Of a thread.
    pub registers: u32,
    /// Of a thread, stored to and loaded from memory for want of registers.
    pub spilled_bytes: u32,
    /// Of a block; what a launch adds is not counted.
    pub shared_bytes: u32,
}

/// Machine code of `source` for an architecture such as `sm_90`.
///
/// # Errors
/// When NVRTC is not installed or refuses, with its log.
pub fn compile(source: &Source, architecture: &str) -> Result<Compiled, TorchError> {
    load_nvrtc()?;
    let program = Program::new(source).map_err(|error| refused(source, &error))?;
    let options = OPTIONS.iter().map(|&option| option.to_owned());
    let options: Vec<String> = options.chain([format!("--gpu-architecture={architecture}")]).collect();
    // SAFETY: the program is made and not destroyed.
    let compiled = unsafe { result::compile_program(program.0, &options) };
    let log = program.log();
    match compiled {
        Ok(()) => {
            let code = program.code().map_err(|error| refused(source, &error))?;
            Ok(Compiled { code, footprints: footprints(&log) })
        }
        Err(error) => Err(TorchError::Refused {
            op: "NVRTC",
            reason: format!("{} for {architecture}: {error:?}: {log}", source.name),
        }),
    }
}

fn refused(source: &Source, error: &NvrtcError) -> TorchError {
    TorchError::Refused { op: "NVRTC", reason: format!("{}: {error:?}", source.name) }
}

struct Program(sys::nvrtcProgram);

impl Program {
    fn new(source: &Source) -> Result<Self, NvrtcError> {
        let text = |text: &str| CString::new(text).expect("sources hold no zeros");
        let (source, name, header, header_name) =
            (text(source.text), text(source.name), text(HEADER.1), text(HEADER.0));
        let mut program = null_mut();
        // SAFETY: NVRTC copies all texts.
        unsafe {
            sys::nvrtcCreateProgram(
                &mut program,
                source.as_ptr(),
                name.as_ptr(),
                1,
                &header.as_ptr(),
                &header_name.as_ptr(),
            )
            .result()?;
        }
        Ok(Self(program))
    }

    fn log(&self) -> String {
        // SAFETY: the program is made and not destroyed.
        let log = unsafe { result::get_program_log(self.0) }.unwrap_or_default();
        let bytes: Vec<u8> = log.iter().map(|&c: &c_char| c as u8).filter(|&byte| byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn code(&self) -> Result<Vec<u8>, NvrtcError> {
        let mut size = 0;
        // SAFETY: the program is compiled; the buffer has the size that NVRTC asks for.
        unsafe {
            sys::nvrtcGetCUBINSize(self.0, &mut size).result()?;
            let mut code = vec![0_u8; size];
            sys::nvrtcGetCUBIN(self.0, code.as_mut_ptr().cast()).result()?;
            Ok(code)
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program is made and nobody else destroys it; there is nobody to tell of an error.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

/// What ptxas has written about each kernel: a line that names it, one with its spills, one with its registers.
fn footprints(log: &str) -> Vec<Footprint> {
    let mut found = Vec::new();
    let mut current = None;
    for line in log.lines() {
        if let Some(name) = between(line, "Compiling entry function '", "'") {
            current = Some(Footprint { kernel: name.to_owned(), registers: 0, spilled_bytes: 0, shared_bytes: 0 });
        } else if let Some(footprint) = &mut current {
            footprint.spilled_bytes +=
                number_before(line, " bytes spill stores") + number_before(line, " bytes spill loads");
            if line.contains(" registers") {
                footprint.registers = number_before(line, " registers");
                footprint.shared_bytes = number_before(line, " bytes smem");
                found.extend(current.take());
            }
        }
    }
    found
}

fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    line.split_once(before)?.1.split_once(after).map(|(inside, _)| inside)
}

/// The number that stands before these words; zero where the words are missing.
fn number_before(line: &str, words: &str) -> u32 {
    let before = line.split_once(words).map_or("", |(before, _)| before);
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The version of NVRTC.
///
/// # Errors
/// When it is not installed.
pub fn version() -> Result<(u32, u32), TorchError> {
    load_nvrtc()?;
    let (mut major, mut minor): (c_int, c_int) = (0, 0);
    // SAFETY: NVRTC writes two numbers.
    unsafe { sys::nvrtcVersion(&mut major, &mut minor) }
        .result()
        .map_err(|error| TorchError::Refused { op: "NVRTC", reason: format!("{error:?}") })?;
    Ok((major.unsigned_abs(), minor.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::not_run;
    use super::*;

    #[test]
    fn what_ptxas_says_is_read() {
        let log = "ptxas info    : 24 bytes gmem\n\
            ptxas info    : Compiling entry function 'a' for 'sm_90'\n\
            ptxas info    : Function properties for a\n\
            ptxas         .     8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n\
            ptxas info    : Used 78 registers, used 1 barriers, 32 bytes smem\n\
            ptxas info    : Compiling entry function 'b' for 'sm_90'\n\
            ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
            ptxas info    : Used 24 registers, used 0 barriers\n";
        let of = |kernel: &str, registers, spilled_bytes, shared_bytes| Footprint {
            kernel: kernel.to_owned(),
            registers,
            spilled_bytes,
            shared_bytes,
        };
        assert_eq!(footprints(log), [of("a", 78, 16, 32), of("b", 24, 0, 0)]);
    }

    #[test]
    fn every_kernel_compiles_for_hopper_without_spills() {
        if let Err(error) = load_nvrtc() {
            not_run(&format!("{error}. hint: make cuda-check"));
            return;
        }
        for source in super::super::SOURCES {
            let architecture = source.architecture("sm_90").expect("Hopper has them all");
            let compiled = compile(source, &architecture).unwrap_or_else(|error| panic!("{error}"));
            let mut names: Vec<&str> = compiled.footprints.iter().map(|f| f.kernel.as_str()).collect();
            let mut wanted = source.names();
            names.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(names, wanted, "{}", source.name);
            let spilled: Vec<&Footprint> = compiled.footprints.iter().filter(|f| f.spilled_bytes > 0).collect();
            assert!(spilled.is_empty(), "{spilled:?}");
        }
    }

    #[test]
    fn what_does_not_compile_is_told_with_its_line() {
        if load_nvrtc().is_err() {
            return; // As the test before says.
        }
        let source =
            Source { name: "wrong.cu", text: "#include \"common.cuh\"\nint x = y;\n", ..super::super::SOURCES[0] };
        let told = compile(&source, "sm_90").unwrap_err().to_string();
        assert!(told.contains("wrong.cu(2)"), "{told}");
    }
}
